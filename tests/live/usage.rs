//! What containers use, as simulated kubelets measure it, held against what they used.

use std::collections::BTreeMap;
use std::time::Duration;

use podledger_collector::live::{Collection, Settings, scrape};
use podledger_simulator::usage::{Pod, Profile};
use podledger_simulator::{ApiServer, ChangeKind, Object};

use super::known::{doubled, facts};
use super::restarts::given_prices;
use super::{begin, changes, collection, in_simulated_time, scenario, serve, settings, start};
use crate::harness::World;

const HOURS: i64 = 7;

fn measuring(world: &World, server: &ApiServer, source: scrape::Source) -> Collection {
    collection(
        world,
        server,
        Settings {
            usage: Some(scrape::Settings {
                source,
                every: Duration::from_secs(30),
            }),
            commit_every: Duration::from_secs(60),
            ..settings(world)
        },
    )
}

/// How a collector lives.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    Whole,
    /// It is stopped twice, for some minutes.
    Stopped,
}

fn collect(world: &World, of_server: podledger_simulator::Settings, source: scrape::Source, life: Life) {
    in_simulated_time(async {
        let (server, platform) = serve(of_server, scenario(11, 1, 12, false)).await;
        let mut running = begin(measuring(world, &server, source));
        let mut passed = 0;
        if life == Life::Stopped {
            for (minutes, away) in [(95, 4), (111, 2)] {
                tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
                running.stop().await;
                tokio::time::sleep(Duration::from_secs(away * 60)).await;
                running = begin(measuring(world, &server, source));
                passed += minutes + away;
            }
        }
        let rest = u64::try_from(HOURS * 60).unwrap() - passed;
        tokio::time::sleep(Duration::from_secs(rest * 60)).await;
        running.stop().await;
        platform.abort();
    });
}

/// How every container of a pod's name used what it had: profile and start.
fn profiles() -> BTreeMap<String, (Profile, i64)> {
    let mut profiles = BTreeMap::new();
    for change in changes(scenario(11, 1, 12, false)) {
        if change.kind == ChangeKind::Deleted {
            continue;
        }
        if let Object::Pod(object) = &change.object {
            let pod: Pod = serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap();
            let state = pod.status.container_statuses.first().map(|status| &status.state);
            let Some(running) = state.and_then(|state| state.running.as_ref()) else {
                continue;
            };
            let uid = pod.metadata.annotations.get("kubernetes.io/config.mirror");
            let uid = uid.unwrap_or(&pod.metadata.uid).clone();
            profiles.insert(uid, (Profile::of(&pod), running.started_at.as_millisecond()));
        }
    }
    profiles
}

/// What is known of a container: of all its hours together.
#[derive(Debug)]
struct Known {
    from_ms: i64,
    to_ms: i64,
    cpu_millicore_ms: i64,
    cpu_measured_ms: i64,
    memory_byte_ms: i128,
    memory_measured_ms: i64,
    peak_bytes: i64,
    max_millicores: i64,
    samples: i64,
}

fn known(world: &World) -> BTreeMap<String, Known> {
    let rows = facts(
        world,
        "select pod_uid, epoch_ms(min(measured_from_at)), epoch_ms(max(measured_to_at)), \
         sum(cpu_usage_millicore_ms)::bigint, sum(cpu_measured_ms)::bigint, sum(memory_usage_byte_ms)::hugeint, \
         sum(memory_measured_ms)::bigint, coalesce(max(memory_peak_bytes), 0), coalesce(max(cpu_max_millicores), 0), \
         sum(samples)::bigint from {usage_hours} group by all order by 1",
    );
    let known = rows.iter().map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let number = |cell: usize| cells[cell].parse::<i64>().unwrap();
        let known = Known {
            from_ms: number(1),
            to_ms: number(2),
            cpu_millicore_ms: number(3),
            cpu_measured_ms: number(4),
            memory_byte_ms: cells[5].parse().unwrap(),
            memory_measured_ms: number(6),
            peak_bytes: number(7),
            max_millicores: number(8),
            samples: number(9),
        };
        (cells[0].to_owned(), known)
    });
    known.collect()
}

/// Memory from one instant to another, in bytes times milliseconds, second by second.
fn memory(profile: &Profile, started_ms: i64, from_ms: i64, to_ms: i64) -> i128 {
    (from_ms..to_ms)
        .step_by(1000)
        .map(|at_ms| i128::from(profile.memory_bytes(started_ms, at_ms + 500)) * 1000)
        .sum()
}

/// Whether two amounts differ by no more than so many permille of the second.
fn is_within(found: i128, truth: i128, permille: i128) -> bool {
    (found - truth).abs() * 1000 <= truth.abs() * permille
}

/// Held against the truth: the counter exactly, the gauge to some permille.
fn assert_true(world: &World, is_whole: bool) -> usize {
    let (profiles, known) = (profiles(), known(world));
    assert!(known.len() > 100, "{} containers", known.len());
    let (mut long, mut furthest) = (0, (0, String::new()));
    for (uid, known) in &known {
        let (profile, started_ms) = &profiles[uid];
        let truth = profile.cpu_nanoseconds(known.from_ms, known.to_ms) / 1000;
        let is_counted = known.cpu_measured_ms == known.to_ms - known.from_ms;
        assert!(is_counted || !is_whole, "{uid}: {known:?}");
        if is_counted {
            // To the microsecond, for each hour and each stretch of it.
            let off = i128::from(known.cpu_millicore_ms) - i128::from(truth);
            assert!(
                off.abs() <= 2 * (HOURS as i128 + 2),
                "{uid}: {known:?}, truth {truth}"
            );
        }
        let most = (*started_ms..known.to_ms)
            .step_by(1000)
            .map(|at_ms| profile.memory_bytes(*started_ms, at_ms));
        let most = most.chain([profile.memory_bytes(*started_ms, known.to_ms)]).max();
        assert!(
            u64::try_from(known.peak_bytes).unwrap() <= most.unwrap(),
            "{uid}: {known:?}"
        );
        let fastest = (known.from_ms..known.to_ms)
            .step_by(1000)
            .map(|at_ms| profile.cpu_nanoseconds(at_ms, at_ms + 1) / 1000);
        assert!(
            u64::try_from(known.max_millicores).unwrap() <= fastest.max().unwrap_or(0),
            "{uid}: {known:?}"
        );
        if known.samples >= 10 && known.memory_measured_ms == known.to_ms - known.from_ms {
            let truth = memory(profile, *started_ms, known.from_ms, known.to_ms);
            let off = (known.memory_byte_ms - truth).abs() * 1_000_000 / truth;
            furthest = furthest.max((off, uid.clone()));
            assert!(
                is_within(known.memory_byte_ms, truth, 1),
                "{uid}: {known:?}, truth {truth}"
            );
            long += 1;
        }
    }
    println!("memory of {long} containers is at most {furthest:?} millionths off");
    assert_eq!(doubled(world, &["cluster_events"]), Vec::<String>::new());
    long
}

#[test]
fn kubelets_tell_what_was_used_and_no_peak_is_above_the_truth() {
    let world = World::new();
    let of_server = podledger_simulator::Settings::new(start());
    collect(&world, of_server, scrape::Source::Auto, Life::Whole);
    let long = assert_true(&world, true);
    assert!(long > 40, "{long} containers with ten samples");

    // It comes out of the ledger as it went in.
    given_prices(&world, scenario(11, 1, 12, false));
    world.build(true);
    let usage = "select sum(cpu_usage_millicore_ms)::bigint, sum(memory_usage_byte_ms)::hugeint from";
    assert_eq!(
        world.rows(&format!("{usage} marts.usage_daily")),
        facts(&world, &format!("{usage} {{usage_hours}}"))
    );
    // Workloads alone have attempts, and their percentiles are those of the facts where there is one hour of one pod.
    let wrong = world.rows(
        "select a.* from marts.attempt_usage as a \
         where not (cpu_p50_millicores <= cpu_p95_millicores and cpu_p95_millicores <= cpu_max_millicores) \
            or samples > samples_expected or source <> 'kubelet'",
    );
    assert_eq!(wrong, Vec::<String>::new());
    assert!(
        world
            .rows("select 1 from marts.attempt_usage where cpu_p95_millicores > 0")
            .len()
            > 40
    );
    let unmetered = world.rows("select value from marts.data_quality where measure = 'pods_unmetered'");
    assert!(
        unmetered[0].parse::<i64>().unwrap() > 0,
        "short pods are never sampled"
    );
    // What ran beyond its last sample is unmetered, not unused.
    let parts = world.rows(
        "select cost_category, sum(cost) > 0 from marts.costs_daily \
         where cost_category in ('used', 'unused_request', 'unmetered') group by all order by all",
    );
    assert_eq!(parts, ["unmetered|true", "unused_request|true", "used|true"]);
}

#[test]
fn a_collector_that_is_stopped_goes_on_from_its_counters_and_counts_nothing_twice() {
    let world = World::new();
    let of_server = podledger_simulator::Settings::new(start());
    collect(&world, of_server, scrape::Source::Kubelet, Life::Stopped);
    assert_true(&world, false);
    // Containers that were there all the time are known without a gap, by their counters.
    let long = facts(
        &world,
        "select count(*) from (select pod_uid, sum(cpu_measured_ms) as known_ms, \
         epoch_ms(max(measured_to_at)) - epoch_ms(min(measured_from_at)) as span_ms from {usage_hours} group by 1) \
         where span_ms > 6 * 3600000 and known_ms = span_ms",
    );
    assert!(long[0].parse::<i64>().unwrap() >= 5, "{long:?}");
    world.build(true);
    let overlaps = world.rows(
        "select count(*) from staging.stg_usage_stretches as one \
         join staging.stg_usage_stretches as other using (cluster, pod_uid, container_name, source, hour_start_ms) \
         where one.from_ms < other.from_ms and one.to_ms > other.from_ms",
    );
    assert_eq!(overlaps, ["0"]);
}

#[test]
fn where_no_kubelet_answers_the_metrics_api_tells_averages() {
    let world = World::new();
    let of_server = podledger_simulator::Settings {
        has_kubelets: false,
        ..podledger_simulator::Settings::new(start())
    };
    collect(&world, of_server, scrape::Source::Auto, Life::Whole);
    let profiles = profiles();
    let known = known(&world);
    assert!(known.len() > 30, "{}", known.len());
    let sources = facts(&world, "select distinct source from {usage_hours}");
    assert_eq!(sources, ["metrics_api"]);
    let (mut found, mut truth) = (0, 0);
    for (uid, known) in known.iter().filter(|(_, known)| known.samples >= 30) {
        let (profile, _) = &profiles[uid];
        found += i128::from(known.cpu_millicore_ms);
        truth += i128::from(profile.cpu_nanoseconds(known.from_ms, known.to_ms) / 1000);
    }
    // A quarter of the time is seen.
    assert!(is_within(found, truth, 50), "{found} of {truth}");
}

/// A kubelet that has no summary, and one that refuses it.
#[test]
fn without_a_summary_resource_metrics_tell_the_same() {
    let world = World::new();
    let of_server = podledger_simulator::Settings {
        has_stats_summary: false,
        ..podledger_simulator::Settings::new(start())
    };
    collect(&world, of_server, scrape::Source::Auto, Life::Stopped);
    let sources = facts(&world, "select distinct source from {usage_hours}");
    assert_eq!(sources, ["kubelet"]);
    let long = assert_true(&world, false);
    assert!(long > 30, "{long} containers with ten samples");
}

#[test]
fn kubelets_are_asked_through_the_api_server_only_where_that_is_wanted() {
    for (source, is_through) in [
        (scrape::Source::KubeletProxy, true),
        (scrape::Source::Auto, false),
    ] {
        let world = World::new();
        let uses = in_simulated_time(async {
            let of_server = podledger_simulator::Settings::new(start());
            let (server, platform) = serve(of_server, scenario(11, 1, 3, false)).await;
            let running = begin(measuring(&world, &server, source));
            tokio::time::sleep(Duration::from_secs(3600)).await;
            running.stop().await;
            platform.abort();
            server.uses()
        });
        let proxied = uses
            .iter()
            .any(|used| used.subresource.as_deref() == Some("proxy"));
        assert_eq!(proxied, is_through);
        let table = podledger_sql::facts::Fact::named("usage_hours").unwrap();
        let segments = world.lake().segments().unwrap();
        assert!(segments.iter().any(|segment| segment.table == table.table));
    }
}
