//! What goes wrong with an API server, by seed: what can be known in the end is known, once, and what cannot is stated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use podledger_collector::live::{Clock, Settings};
use podledger_simulator::{ApiServer, Fault, Scenario};

use super::costs::{Costs, assert_costs};
use super::known::{
    Seen, assert_all_known_once, assert_known_or_unseen, assert_known_within, assert_telling, doubled, gaps,
    last_states,
};
use super::platform::told_more;
use super::{begin, collection, in_simulated_time, serve_changes, settings, start};
use crate::harness::{World, contents};

/// How long the platform goes on.
const HOURS: i64 = 8;

/// A kind of trouble.
struct Trouble {
    name: &'static str,
    /// What happens every half an hour.
    faults: Vec<Fault>,
    lifted_after: Duration,
    has_streaming_lists: bool,
    /// By how much the collector's clock is wrong.
    skew: SignedDuration,
}

impl Trouble {
    fn new(name: &'static str, faults: Vec<Fault>) -> Self {
        Self {
            name,
            faults,
            lifted_after: Duration::from_secs(20),
            has_streaming_lists: true,
            skew: SignedDuration::ZERO,
        }
    }
}

/// Five, in `make soak` a hundred, or the one that `PODLEDGER_SEED` names, to see again what failed.
fn seeds() -> std::ops::RangeInclusive<u64> {
    let named = std::env::var("PODLEDGER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    if let Some(seed) = named {
        seed..=seed
    } else if std::env::var_os("PODLEDGER_SOAK").is_some() {
        1..=100
    } else {
        1..=5
    }
}

fn scenario(seed: u64) -> Scenario {
    Scenario {
        has_pod_events: true,
        ..super::scenario(seed, 1, 8, false)
    }
}

/// Collects some hours in which there is trouble.
fn collect_with(seed: u64, trouble: &Trouble) -> World {
    let world = World::new();
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings {
            has_streaming_lists: trouble.has_streaming_lists,
            ..podledger_simulator::Settings::new(start())
        };
        let until = start().as_millisecond() + HOURS * 3_600_000;
        let changes = told_more(scenario(seed)).take_while(move |change| change.at_ms < until);
        let (server, platform) = serve_changes(of_server, changes).await;
        let settings = Settings {
            commit_every: Duration::from_secs(600),
            watch_timeout: Duration::from_secs(290),
            page: 7,
            seed,
            ..settings(&world)
        };
        let mut collection = collection(&world, &server, settings);
        let (told, skew) = (server.clone(), trouble.skew);
        collection.clock = Clock::new(move || told.now() + skew);
        let running = begin(collection);
        // Not at the same second of each hour.
        tokio::time::sleep(Duration::from_secs(60 + 97 * seed)).await;
        while !platform.is_finished() {
            for fault in &trouble.faults {
                server.fault(fault.clone());
            }
            tokio::time::sleep(trouble.lifted_after).await;
            server.lift();
            tokio::time::sleep(Duration::from_secs(1800)).await;
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        running.stop().await;
    });
    world
}

/// The same hours without trouble; small platforms need not have something of every kind, but the first has.
fn undisturbed(seed: u64) -> World {
    let whole = collect_with(seed, &Trouble::new("none", Vec::new()));
    if seed == 1 {
        assert_telling(&whole);
    }
    whole
}

/// What is costed: building takes its time, so the first seed, in `make soak` all.
fn costs_of(found: &World, whole: &World, slack: SignedDuration, after: &str) -> Costs {
    let until = start() + SignedDuration::from_hours(HOURS - 1);
    assert_costs(found, whole, until, slack, after)
}

fn is_costed(seed: u64) -> bool {
    seed == *seeds().start() || std::env::var_os("PODLEDGER_SOAK").is_some()
}

/// What was seen by kind of trouble: printed for the table of `docs/faults.md`.
#[derive(Default)]
struct Table(BTreeMap<&'static str, (Seen, Costs)>);

impl Table {
    fn row(&mut self, trouble: &'static str) -> &mut (Seen, Costs) {
        self.0.entry(trouble).or_default()
    }

    fn print(&self) {
        for (trouble, (seen, costs)) in &self.0 {
            eprintln!("{trouble}: {seen}; {costs}");
        }
    }
}

/// Trouble after which everything is told in the end.
fn late() -> Vec<Trouble> {
    vec![
        Trouble::new("watches are closed", vec![Fault::CloseWatches]),
        Trouble::new("lines are cut", vec![Fault::CutLine]),
        Trouble {
            lifted_after: Duration::from_secs(40),
            ..Trouble::new(
                "streams are slow",
                vec![Fault::Trickle {
                    bytes: 700,
                    every: Duration::from_millis(900),
                }],
            )
        },
        Trouble::new(
            "requests are throttled",
            vec![
                Fault::CloseWatches,
                Fault::Throttle {
                    requests: 20,
                    retry_after_secs: 3,
                },
            ],
        ),
        Trouble::new(
            "requests fail",
            vec![
                Fault::CloseWatches,
                Fault::Broken { requests: 30 },
                Fault::Unavailable { requests: 30 },
            ],
        ),
        Trouble::new("changes are repeated", vec![Fault::Repeat { changes: 1 }]),
        Trouble::new("watches say nothing", vec![Fault::Silence]),
    ]
}

/// Trouble that makes the collector read lists anew.
fn relisted() -> Vec<Trouble> {
    vec![
        Trouble::new(
            "versions are forgotten",
            vec![Fault::ForgetHistory, Fault::CloseWatches],
        ),
        Trouble {
            has_streaming_lists: false,
            ..Trouble::new(
                "pages are forgotten",
                vec![Fault::ForgetPages { requests: 2 }, Fault::Restart],
            )
        },
        Trouble::new("older changes are repeated", vec![Fault::Repeat { changes: 5 }]),
        Trouble::new("the server starts anew", vec![Fault::Restart]),
        Trouble::new("the server is set back", vec![Fault::RunBackwards]),
    ]
}

#[test]
fn what_is_told_late_is_known_in_the_end_and_once() {
    let mut table = Table::default();
    for seed in seeds() {
        let whole = undisturbed(seed);
        for trouble in late() {
            let world = collect_with(seed, &trouble);
            let after = format!("{}, seed {seed}", trouble.name);
            let (seen, costs) = table.row(trouble.name);
            seen.add(&assert_all_known_once(&world, &whole, &after));
            if is_costed(seed) {
                costs.add(&costs_of(&world, &whole, SignedDuration::ZERO, &after));
            }
        }
    }
    table.print();
    assert!(table.0.values().all(|(_, costs)| costs.is_telling()));
}

#[test]
fn after_a_new_list_everything_is_known_but_what_came_and_went_in_a_gap() {
    let mut table = Table::default();
    let mut stated = 0;
    for seed in seeds() {
        let whole = undisturbed(seed);
        for trouble in relisted() {
            let world = collect_with(seed, &trouble);
            let name = format!("{}, seed {seed}", trouble.name);
            let (seen, _) = table.row(trouble.name);
            seen.add(&assert_known_or_unseen(&world, &whole, &name));
            for gap in gaps(&world) {
                stated += 1;
                let seconds: i64 = gap.rsplit('|').next().unwrap().parse().unwrap();
                // A server that was set back is found out when it has said nothing for a while.
                assert!(seconds <= 300, "{name}: {gap}");
            }
        }
    }
    assert!(stated > 10, "{stated} gaps were stated");
    table.print();
}

#[test]
fn a_wrong_clock_is_set_right_by_the_servers() {
    let mut table = Table::default();
    for seed in seeds() {
        let whole = undisturbed(seed);
        let seconds = i64::try_from(seed * 37 % 120).unwrap() + 3;
        for skew in [
            SignedDuration::from_secs(seconds),
            SignedDuration::from_secs(-seconds),
        ] {
            let world = collect_with(
                seed,
                &Trouble {
                    skew,
                    ..Trouble::new("skew", Vec::new())
                },
            );
            // The server tells its time in whole seconds.
            let after = format!("skew {skew:?}, seed {seed}");
            let slack = SignedDuration::from_millis(1500);
            let (seen, costs) = table.row("the clock is wrong");
            seen.add(&assert_known_within(&world, &whole, slack, &after));
            if is_costed(seed) {
                costs.add(&costs_of(&world, &whole, slack, &after));
            }
        }
    }
    table.print();
}

#[test]
fn an_object_that_cannot_be_read_is_left_out_and_the_watch_goes_on() {
    let malformed = Trouble {
        lifted_after: Duration::from_secs(60),
        ..Trouble::new(
            "garbage",
            vec![Fault::Malformed {
                resource: "pods".to_owned(),
            }],
        )
    };
    let mut unread = 0;
    for seed in seeds() {
        let whole = undisturbed(seed);
        let world = collect_with(seed, &malformed);
        assert_eq!(doubled(&world, &[]), Vec::<String>::new());
        let columns = "pod_name, machine, bound_at";
        let (found, all) = (last_states(&world, columns), last_states(&whole, columns));
        // Of a pod that lived no longer than the fault, nobody could read anything.
        let differ = all.iter().filter(|row| !found.contains(row)).count();
        assert!(differ <= 16, "seed {seed}: {differ} pods are known otherwise");
        unread += differ;
        let pods = |rows: &[String]| -> BTreeSet<String> {
            rows.iter()
                .filter_map(|row| Some(row.split_once('|')?.0.to_owned()))
                .collect()
        };
        assert!(pods(&found).is_subset(&pods(&all)), "seed {seed}");
    }
    eprintln!("garbage: {unread} pods are known otherwise or not at all");
}

#[test]
fn two_collectors_at_once_double_nothing_in_the_ledger() {
    for seed in seeds() {
        let (one, two) = (World::new(), World::new());
        for (world, collectors) in [(&one, 1), (&two, 2)] {
            in_simulated_time(async {
                let until = start().as_millisecond() + HOURS * 3_600_000;
                let changes = told_more(scenario(seed)).take_while(move |change| change.at_ms < until);
                let of_server = podledger_simulator::Settings::new(start());
                let (server, platform) = serve_changes(of_server, changes).await;
                let running: Vec<_> = (0..collectors)
                    .map(|number| begin(beside(world, &server, number)))
                    .collect();
                platform.await.unwrap();
                tokio::time::sleep(Duration::from_secs(120)).await;
                for running in running {
                    running.stop().await;
                }
            });
            world.build(true);
        }
        assert_eq!(contents(&two), contents(&one), "seed {seed}");
    }
}

/// A collection with an intake of its own, into the lake of all.
fn beside(world: &World, server: &ApiServer, number: u32) -> podledger_collector::live::Collection {
    let path = world.folder.path().join(format!("intake-{number}.duckdb"));
    let made_at = server.now() + SignedDuration::from_millis(i64::from(number));
    let store = podledger_sql::intake::Intake::open(&path, made_at).unwrap();
    super::collection_into(world.folder.path(), server, store, settings(world))
}
