//! A simulated platform, of which everything is known, through the whole line: recorded, imported, built, and held against
//! the truth.

mod paths;
mod regressions;
mod storage;

use std::cell::Cell;
use std::collections::BTreeMap;

use jiff::civil::date;
use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::{prices, query, recording};
use podledger_simulator::causes::RunTruth;
use podledger_simulator::truth::{MachineTruth, PodTruth, Sums, VolumeTruth, WasteKey};
use podledger_simulator::{ChangeKind, Object, Scenario, Told, record};

use crate::conservation::sharing;
use crate::findings::planted::are_what_was_planted;
use crate::harness::{World, for_seeds};

/// Monday 2026-11-02, 00:00 UTC.
pub(crate) const START_MS: i64 = 1_793_577_600_000;

pub(crate) fn scenario(seed: u64, days: u32, pipelines: usize) -> Scenario {
    Scenario {
        seed,
        start_ms: START_MS,
        days,
        teams: 3 + pipelines / 10,
        pipelines,
        has_noise: false,
        has_pod_events: false,
        has_flaws: true,
        slower_from_ms: None,
        request_percent: None,
        heavier_from_ms: None,
        has_branches: false,
    }
}

/// All that is true of a scenario.
#[derive(Default)]
pub(crate) struct Truth {
    pub pods: Vec<PodTruth>,
    pub machines: Vec<MachineTruth>,
    pub volumes: Vec<VolumeTruth>,
    runs: Vec<RunTruth>,
    unmounted: storage::Unmounted,
    pub sums: Sums,
}

impl Truth {
    /// Nano-dollars by whatever `key` tells of a pod.
    fn pods_by(&self, key: impl Fn(&PodTruth) -> String) -> BTreeMap<String, i128> {
        let mut sums = BTreeMap::new();
        for pod in &self.pods {
            *sums.entry(key(pod)).or_default() += pod.costs.values().sum::<i128>();
        }
        sums
    }
}

/// A ledger of what a watch of the scenario would have recorded, and the truth.
pub(crate) fn ledger_of(scenario: Scenario) -> (World, Truth) {
    let mut world = World::new();
    world.config.sharing.weights = sharing::weights();
    let out = world.folder.path().join("recorded");
    std::fs::create_dir(&out).unwrap();
    let mut truth = Truth::default();
    let (_, sums) = record(scenario, &out, |told| match told {
        Told::Pod(pod) => truth.pods.push(pod.clone()),
        Told::Machine(machine) => truth.machines.push(machine.clone()),
        Told::Volume(volume) => truth.volumes.push(volume.clone()),
        Told::Run(run) => truth.runs.push(run.clone()),
        Told::Change(_) | Told::Usage(_) => {}
    })
    .unwrap();
    truth.sums = sums;
    prices::import(&world.lake(), &out.join("prices.csv"), date(2026, 11, 16)).unwrap();
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: date(2026, 11, 16),
    };
    let (_, contents) = recording::import(&world.lake(), &out, &options).unwrap();
    assert_eq!(contents.rejected, Vec::<String>::new());
    let services = format!(
        "select * replace (cast(price_usd as decimal(18,9)) as price_usd) from '{}'",
        out.join("services.csv").display()
    );
    query::import_query(&world.lake(), "service_prices", &services, date(2026, 11, 16)).unwrap();
    let usage = format!("from '{}'", out.join("usage.csv").display());
    query::import_query(&world.lake(), "usage_hours", &usage, date(2026, 11, 16)).unwrap();
    world.build(true);
    let end_ms = world.rows("select max(watermark_ms) from staging.stg_watermarks")[0]
        .parse()
        .unwrap();
    truth.unmounted = storage::charge(&mut truth.pods, &truth.volumes, end_ms);
    (world, truth)
}

fn same(seed: u64, what: &str, found: &BTreeMap<String, i128>, truth: &BTreeMap<String, i128>) {
    for (key, sum) in truth {
        assert_eq!(found.get(key), Some(sum), "seed {seed}: {what}: {key}");
    }
    for key in found.keys() {
        assert!(
            truth.contains_key(key),
            "seed {seed}: {what}: {key} is not in the truth"
        );
    }
}

fn without_zeros(sums: impl IntoIterator<Item = (String, i128)>) -> BTreeMap<String, i128> {
    sums.into_iter().filter(|(_, sum)| *sum != 0).collect()
}

const NANO: &str = "coalesce(cast(sum(total_cost) * 1000000000 as bigint), 0)";

fn ledger_equals_truth(scenario: Scenario) {
    let seed = scenario.seed;
    let (world, truth) = ledger_of(scenario);

    // Every pod: what it paid in each category, who it worked for, and how it ended.
    let mut pods = BTreeMap::new();
    for pod in &truth.pods {
        for (category, cost) in &pod.costs {
            pods.insert(format!("{}|{category}", pod.uid), *cost);
        }
    }
    let query = format!(
        "select pod_uid, cost_category, {NANO} from marts.allocations_hourly where pod_uid is not null group by all"
    );
    same(seed, "pods", &world.sums(&query), &without_zeros(pods));
    let names: BTreeMap<String, i128> = truth
        .pods
        .iter()
        .map(|pod| {
            let name = [&pod.uid, &pod.team, &pod.pipeline, &pod.run, &pod.job]
                .map(String::as_str)
                .join("|");
            (format!("{name}|{}", pod.outcome), 1)
        })
        .collect();
    same(
        seed,
        "names and outcomes",
        &world.sums("select pod_uid, team, pipeline, run, job, outcome, 1 from marts.pods"),
        &names,
    );

    // Every machine: what nobody held, by kind, and what it kept for itself.
    let mut nodes = BTreeMap::new();
    for machine in &truth.machines {
        for (category, cost) in &machine.costs {
            *nodes.entry(format!("{}|{category}", machine.node)).or_default() += cost;
        }
    }
    let query = format!(
        "select node_name, cost_category, {NANO} from marts.allocations_hourly where machine is not null and pod_uid is null group by all"
    );
    same(seed, "machines", &world.sums(&query), &without_zeros(nodes));

    // Sums, as reports show them.
    let daily = |columns: &str, filter: &str| {
        format!(
            "select {columns}, coalesce(cast(sum(cost) * 1000000000 as bigint), 0) from marts.costs_daily where {filter} group by all"
        )
    };
    let bounds = world.rows("select from_ms, to_ms from intermediate.int_clusters");
    let (from_ms, to_ms) = bounds[0].split_once('|').unwrap();
    let of_pods: i128 = truth.pods.iter().filter_map(|pod| pod.costs.get("storage")).sum();
    let services = [
        (
            "storage",
            of_pods + truth.unmounted.storage.values().sum::<i128>(),
        ),
        ("orphaned_storage", truth.unmounted.orphaned.values().sum()),
        (
            "control_plane",
            storage::control_plane(from_ms.parse().unwrap(), to_ms.parse().unwrap()),
        ),
    ];
    let categories = truth.sums.categories.iter();
    let categories = categories
        .map(|(category, sum)| ((*category).to_owned(), *sum))
        .chain(services.map(|(category, sum)| (category.to_owned(), sum)));
    same(
        seed,
        "categories",
        &world.sums(&daily("cost_category", "true")),
        &without_zeros(categories),
    );
    let unmounted = |category: &str| {
        format!(
            "select team, pipeline, {NANO} from marts.allocations_hourly where consumer_kind = 'volume' and cost_category = '{category}' \
             group by all"
        )
    };
    for (category, expected) in [
        ("storage", &truth.unmounted.storage),
        ("orphaned_storage", &truth.unmounted.orphaned),
    ] {
        same(
            seed,
            category,
            &world.sums(&unmounted(category)),
            &without_zeros(expected.clone()),
        );
    }
    let of_pods = "(job <> 'unattributed' or team <> 'unattributed') and cost_category <> 'orphaned_storage'";
    let mut teams = truth.pods_by(|pod| pod.team.clone());
    for (owner, cost) in &truth.unmounted.storage {
        let (team, _) = owner.split_once('|').unwrap();
        *teams.entry(team.to_owned()).or_default() += cost;
    }
    same(
        seed,
        "teams",
        &world.sums(&daily("team", of_pods)),
        &without_zeros(teams),
    );
    let jobs = truth.pods_by(|pod| format!("{}|{}|{}", pod.team, pod.pipeline, pod.job));
    same(
        seed,
        "jobs",
        &world.sums(&format!(
            "select team, pipeline, job, {NANO} from marts.allocations_hourly where pod_uid is not null \
                 and (job <> 'unattributed' or team <> 'unattributed') group by all"
        )),
        &without_zeros(jobs),
    );
    let runs = truth.pods_by(|pod| format!("{}|{}|{}", pod.namespace, pod.pipeline, pod.run));
    let runs = runs
        .into_iter()
        .filter(|(key, _)| !key.ends_with("|unattributed"));
    same(
        seed,
        "runs",
        &world.sums("select installation, pipeline, run, coalesce(cast(sum(cost) * 1000000000 as bigint), 0) from marts.runs group by all",
        ),
        &without_zeros(runs),
    );
    assert_eq!(
        world.rows("select coalesce(cast(sum(cost) * 1000000000 as bigint), 0) from marts.machines_daily"),
        [truth.sums.total.to_string()],
        "seed {seed}"
    );
    sharing::adds_up(world.ledger().connection());
    paths::are_the_truth(seed, &world, &truth);
    wastes_are_found(seed, &world, &truth);
    are_what_was_planted(seed, &world, &truth);
}

/// What was made to go wrong is in the ledger, with its cost: by who caused it, or by the pool that it happened to.
fn wastes_are_found(seed: u64, world: &World, truth: &Truth) {
    let planted = |kinds: &[&str], key: &dyn Fn(&WasteKey) -> String| {
        let mut sums: BTreeMap<String, i128> = BTreeMap::new();
        for (waste, found) in &truth.sums.wastes {
            if kinds.contains(&waste.kind) {
                *sums.entry(key(waste)).or_default() += found.cost;
            }
        }
        without_zeros(sums)
    };
    let owner = |waste: &WasteKey| format!("{}|{}|{}", waste.team, waste.pipeline, waste.job);
    for (category, kinds) in [
        ("stuck", &["image_pull"][..]),
        ("unused_request", &["unused_request"]),
        ("failed", &["failed", "failure", "out_of_memory"]),
        (
            "lost",
            &["lost", "spot_interruption", "eviction", "consolidation"],
        ),
    ] {
        let query = format!(
            "select team, pipeline, job, {NANO} from marts.allocations_hourly where cost_category = '{category}' group by all"
        );
        same(seed, category, &world.sums(&query), &planted(kinds, &owner));
    }
    let idle = [
        "idle_boot",
        "idle_startup",
        "idle_gap",
        "idle_tail",
        "idle_unpacked",
    ];
    same(
        seed,
        "idle by pool",
        &world.sums(&format!(
                "select pools.pool, cost_category, {NANO} from marts.allocations_hourly as costs \
                 inner join (select distinct machine, pool from marts.machine_prices) as pools on costs.machine = pools.machine \
                 where cost_category like 'idle%' group by all"
            ),
        ),
        &planted(&idle, &|waste| format!("{}|{}", waste.pool, waste.kind)),
    );
    // Volumes: what stays when the run that it was made for is over.
    let volumes: BTreeMap<String, i128> = truth
        .volumes
        .iter()
        .map(|volume| (format!("{}|{}", volume.uid, volume.deleted_ms.is_some()), 1))
        .collect();
    let folder = world.folder.path().join("lake/volume_states");
    let query = format!(
        "select volume_uid, max(deleted_at) is not null, 1 from read_parquet('{}/**/*.parquet', union_by_name => true) \
         where volume_uid is not null group by all",
        folder.display()
    );
    if !volumes.is_empty() {
        same(seed, "volumes", &world.sums(&query), &volumes);
    }
}

/// Everything that the simulator promises to plant is there in a week of a middle-sized platform.
#[test]
fn a_week_has_every_kind_of_waste_and_what_controllers_say_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut notes: BTreeMap<String, usize> = BTreeMap::new();
    let (mut mirrors, mut names) = (0, BTreeMap::new());
    let noisy = Scenario {
        has_noise: true,
        ..scenario(7, 7, 60)
    };
    let (_, sums) = record(noisy, folder.path(), |told| {
        let Told::Change(change) = told else { return };
        match &change.object {
            Object::Event(event) => *notes.entry(event.reason.clone().unwrap()).or_default() += 1,
            Object::Pod(pod) if change.kind == ChangeKind::Deleted => {
                let annotations = pod.metadata.annotations.iter().flatten();
                mirrors += annotations
                    .filter(|(key, _)| *key == "kubernetes.io/config.mirror")
                    .count();
                let metadata = &pod.metadata;
                let place = (metadata.namespace.clone(), metadata.name.clone());
                *names.entry(place).or_insert(0) += 1;
            }
            _ => {}
        }
    })
    .unwrap();
    let mut kinds: Vec<&str> = sums.wastes.keys().map(|key| key.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "consolidation",
            "eviction",
            "failed",
            "failure",
            "idle_boot",
            "idle_gap",
            "idle_startup",
            "idle_tail",
            "idle_unpacked",
            "image_pull",
            "impossible_request",
            "orphaned_volume",
            "out_of_memory",
            "runaway",
            "spot_interruption",
            "unused_request"
        ]
    );
    assert_eq!(
        notes.keys().collect::<Vec<_>>(),
        [
            "BackOff",
            "DisruptionTerminating",
            "Evicted",
            "FailedScheduling",
            "Killing",
            "Nominated",
            "Scheduled",
            "SpotInterrupted",
            "TriggeredScaleUp"
        ]
    );
    assert!(mirrors > 1, "no mirror of a static pod was deleted");
    assert!(names.values().any(|times| *times > 2), "no name came again");
}

#[test]
fn the_ledger_of_a_simulated_platform_is_the_truth_to_the_nano_dollar() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    for_seeds(1..=20, |seed| {
        ledger_equals_truth(scenario(seed, 1, 6));
        if soak || seed % 7 == 0 {
            ledger_equals_truth(scenario(seed, 2, 25));
        }
    });
}

/// Jobs that run beside each other, each tried again by itself, so that what decided when a run ended is one of several.
#[test]
fn critical_paths_and_waits_are_what_happened() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    // Of some platforms no pipeline has jobs beside each other.
    let (choices, tried_again) = (Cell::new(0), Cell::new(0));
    for_seeds(601..=if soak { 620 } else { 602 }, |seed| {
        let (world, truth) = ledger_of(Scenario {
            has_pod_events: true,
            has_branches: true,
            ..scenario(seed, 2, 20)
        });
        let seen = paths::are_the_truth(seed, &world, &truth);
        let waits = paths::waits_are_the_truth(seed, &world, &truth);
        println!("seed {seed}: {seen:?}, {waits:?}");
        assert!(waits.values().all(|ms| *ms > 0), "seed {seed}: {waits:?}");
        choices.set(choices.get() + seen.choices);
        tried_again.set(tried_again.get() + seen.tried_again);
    });
    assert!(
        choices.get() >= 100 && tried_again.get() >= 10,
        "{choices:?} {tried_again:?}"
    );
}

#[test]
fn the_ledger_of_a_large_platform_is_the_truth_to_the_nano_dollar() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    for_seeds(if soak { 1 } else { 20 }..=20, |seed| {
        let (days, pipelines) = if soak { (7, 60) } else { (5, 40) };
        ledger_equals_truth(scenario(seed, days, pipelines));
    });
}

#[test]
fn where_nothing_goes_wrong_nothing_is_found_to_have() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    for_seeds(201..=if soak { 220 } else { 202 }, |seed| {
        let (world, truth) = ledger_of(Scenario {
            has_flaws: false,
            ..scenario(seed, 1, 6)
        });
        are_what_was_planted(seed, &world, &truth);
        assert_eq!(
            world.rows("select distinct status from marts.runs where ended_at is not null"),
            ["succeeded"],
            "seed {seed}"
        );
        assert_eq!(
            world.rows(
                "select cost_category, sum(cost) from marts.costs_daily \
                 where cost_category in ('failed', 'lost', 'stuck', 'orphaned_storage') group by all having sum(cost) <> 0"
            ),
            Vec::<String>::new(),
            "seed {seed}"
        );
        // Pools idle all the same, and the simulator's Jobs have no deadline.
        assert_eq!(
            world.rows(
                "select finding, subject, evidence from marts.findings where zone = 'UTC' and finding <> 'jobs_without_deadline' \
                 and subject_kind not in ('pool', 'node')"
            ),
            Vec::<String>::new(),
            "seed {seed}"
        );
    });
}

/// Late, cut off and missing reports, clocks that differ, labels that change: what podledger makes of them must lie within the
/// bounds that it states, and must not favour anybody.
fn noisy_ledger_is_close_to_truth(scenario: Scenario) {
    let seed = scenario.seed;
    let (world, truth) = ledger_of(Scenario {
        has_noise: true,
        ..scenario
    });
    let pods: BTreeMap<&str, _> = truth.pods.iter().map(|pod| (pod.uid.as_str(), pod)).collect();

    // Starts and ends, pod by pod. Kubernetes writes whole seconds: a start lies up to one before the truth.
    let rows = world.rows(
        "select pod_uid, bound_ms, coalesce(released_ms, -1), coalesce(end_earliest_ms, -1), coalesce(end_latest_ms, -1) \
         from marts.pods where bound_ms is not null",
    );
    assert!(!rows.is_empty());
    for row in &rows {
        let cells: Vec<&str> = row.split('|').collect();
        let number = |cell: usize| cells[cell].parse::<i64>().unwrap();
        let pod = pods[cells[0]];
        let late_ms = pod.bound_ms.unwrap() - number(1);
        assert!(
            (0..1000).contains(&late_ms),
            "seed {seed}: {row} was bound {late_ms} ms later"
        );
        if let Some(released) = pod.released_ms.filter(|_| number(2) >= 0) {
            assert!(
                (number(3)..=number(4)).contains(&released),
                "seed {seed}: {row} ended at {released}"
            );
        }
    }

    // Money, by team: the sum of what its pods pay.
    let query =
        format!("select team, {NANO} from marts.allocations_hourly where pod_uid is not null group by all");
    let found = world.sums(&query);
    for (team, cost) in truth.pods_by(|pod| pod.team.clone()) {
        let off = (found.get(&team).copied().unwrap_or(0) - cost).abs();
        assert!(
            off * 100 < cost,
            "seed {seed}: {team} pays {off} of {cost} too much or too little"
        );
    }

    // Whose it is, by money; and how it ended.
    let rows = world.rows("select pod_uid, team, pipeline, run, job, outcome from marts.pods");
    let (mut right, mut all, mut other_outcomes, mut untold) = (0, 0, 0, 0);
    for row in &rows {
        let cells: Vec<&str> = row.split('|').collect();
        let pod = pods[cells[0]];
        let cost: i128 = pod.costs.values().sum();
        all += cost;
        if cells[1..5] == [&pod.team, &pod.pipeline, &pod.run, &pod.job] {
            right += cost;
        }
        other_outcomes += usize::from(cells[5] != pod.outcome && !pod.is_untold);
        untold += usize::from(pod.is_untold);
    }
    assert!(
        right * 100 >= all * 99,
        "seed {seed}: {right} of {all} is attributed rightly"
    );
    assert_eq!(other_outcomes, 0, "seed {seed}: outcomes");
    assert!(
        untold > 0,
        "seed {seed}: nothing was hidden, so nothing was shown"
    );
}

#[test]
fn a_noisy_cluster_is_told_within_the_stated_bounds() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    for_seeds(101..=if soak { 120 } else { 105 }, |seed| {
        noisy_ledger_is_close_to_truth(scenario(seed, 1, 15));
    });
}

/// A recording is the same whatever the machine, and importing it twice changes nothing.
#[test]
fn a_seed_gives_the_same_recording_and_it_is_imported_once() {
    let record_bytes = |seed| {
        let folder = tempfile::tempdir().unwrap();
        record(scenario(seed, 1, 6), folder.path(), |_| {}).unwrap();
        std::fs::read(folder.path().join("recording-0000.jsonl")).unwrap()
    };
    assert_eq!(record_bytes(5), record_bytes(5));
    assert_ne!(record_bytes(5), record_bytes(6));

    let (world, _) = ledger_of(scenario(5, 1, 6));
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: date(2026, 11, 16),
    };
    let again = recording::import(&world.lake(), &world.folder.path().join("recorded"), &options).unwrap();
    assert_eq!(again.0, podledger_collector::import::Imported::Already);
}

#[test]
fn a_broken_recording_is_refused_by_file_and_line() {
    let world = World::new();
    let path = world.folder.path().join("recording.jsonl");
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: Vec::new(),
        recorded_date: date(2026, 11, 16),
    };
    let namespace = |at: &str| {
        format!(
            "{{\"at\": \"{at}\", \"type\": \"ADDED\", \"object\": {{\"kind\": \"Namespace\", \"metadata\": {{\"name\": \"n\", \"uid\": \"u\"}}}}}}\n"
        )
    };
    for (text, expected) in [
        (
            namespace("2026-11-02T00:00:01Z") + &namespace("2026-11-02T00:00:00Z"),
            "line 2: 2026-11-02T00:00:00Z is before",
        ),
        (
            namespace("2026-11-02T00:00:01Z") + "{\"at\": \"now\"}\n",
            "line 2: ",
        ),
        (String::new(), "records no change"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = recording::import(&world.lake(), &path, &options)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("recording.jsonl") && error.contains(expected),
            "{error}"
        );
        assert!(world.lake().segments().unwrap().is_empty());
    }
}
