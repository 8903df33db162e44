//! A simulated platform, of which everything is known, through the whole line: recorded, imported, built, and held against
//! the truth.

use std::collections::BTreeMap;

use jiff::civil::date;
use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::{prices, recording};
use podledger_simulator::truth::Truth;
use podledger_simulator::{Scenario, record};

use crate::harness::World;

/// Monday 2026-11-02, 00:00 UTC.
const START_MS: i64 = 1_793_577_600_000;

fn scenario(seed: u64, days: u32, pipelines: usize) -> Scenario {
    Scenario {
        seed,
        start_ms: START_MS,
        days,
        teams: 3 + pipelines / 10,
        pipelines,
        has_noise: false,
    }
}

/// A ledger of what a watch of the scenario would have recorded, and the truth.
fn ledger_of(scenario: Scenario) -> (World, Truth) {
    let world = World::new();
    let out = world.folder.path().join("recorded");
    std::fs::create_dir(&out).unwrap();
    let (_, truth) = record(scenario, &out).unwrap();
    prices::import(&world.lake(), &out.join("prices.csv"), date(2026, 11, 16)).unwrap();
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: date(2026, 11, 16),
    };
    let (_, contents) = recording::import(&world.lake(), &out, &options).unwrap();
    assert_eq!(contents.rejected, Vec::<String>::new());
    world.build(true);
    (world, truth)
}

/// Rows of a query as a map from all columns but the last to the last, which is a whole number.
fn sums(world: &World, query: &str) -> BTreeMap<String, i128> {
    let rows = world.rows(query);
    rows.iter()
        .map(|row| {
            let (key, sum) = row.rsplit_once('|').unwrap();
            (key.to_owned(), sum.parse().unwrap())
        })
        .filter(|(_, sum)| *sum != 0)
        .collect()
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
    same(seed, "pods", &sums(&world, &query), &without_zeros(pods));
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
        &sums(
            &world,
            "select pod_uid, team, pipeline, run, job, outcome, 1 from marts.pods",
        ),
        &names,
    );

    // Every machine: what nobody held, by kind, and what it kept for itself.
    let mut nodes = BTreeMap::new();
    for (node, costs) in &truth.nodes {
        for (category, cost) in costs {
            nodes.insert(format!("{node}|{category}"), *cost);
        }
    }
    let query = format!(
        "select node_name, cost_category, {NANO} from marts.allocations_hourly where pod_uid is null group by all"
    );
    same(seed, "machines", &sums(&world, &query), &without_zeros(nodes));

    // Sums, as reports show them.
    let text = |(key, sum): (String, i128)| (key, sum);
    let daily = |columns: &str, filter: &str| {
        format!(
            "select {columns}, coalesce(cast(sum(cost) * 1000000000 as bigint), 0) from marts.costs_daily where {filter} group by all"
        )
    };
    let categories = truth
        .categories()
        .into_iter()
        .map(|(category, sum)| (category.to_owned(), sum));
    same(
        seed,
        "categories",
        &sums(&world, &daily("cost_category", "true")),
        &without_zeros(categories),
    );
    let of_pods = "job <> 'unattributed' or team <> 'unattributed'";
    let teams = truth.pods_by(|pod| pod.team.clone());
    same(
        seed,
        "teams",
        &sums(&world, &daily("team", of_pods)),
        &without_zeros(teams.into_iter().map(text)),
    );
    let jobs = truth.pods_by(|pod| format!("{}|{}|{}", pod.team, pod.pipeline, pod.job));
    same(
        seed,
        "jobs",
        &sums(&world, &daily("team, pipeline, job", of_pods)),
        &without_zeros(jobs.into_iter().map(text)),
    );
    let runs = truth.pods_by(|pod| format!("{}|{}|{}", pod.namespace, pod.pipeline, pod.run));
    let runs = runs
        .into_iter()
        .filter(|(key, _)| !key.ends_with("|unattributed"));
    same(
        seed,
        "runs",
        &sums(
            &world,
            "select installation, pipeline, run, coalesce(cast(sum(cost) * 1000000000 as bigint), 0) from marts.runs group by all",
        ),
        &without_zeros(runs),
    );
    assert_eq!(
        world.rows("select coalesce(cast(sum(cost) * 1000000000 as bigint), 0) from marts.machines_daily"),
        [truth.total.to_string()],
        "seed {seed}"
    );
}

#[test]
fn the_ledger_of_a_simulated_platform_is_the_truth_to_the_nano_dollar() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    for seed in 1..=20 {
        ledger_equals_truth(scenario(seed, 1, 6));
        if soak || seed % 7 == 0 {
            ledger_equals_truth(scenario(seed, 2, 25));
        }
        if soak || seed == 20 {
            ledger_equals_truth(scenario(seed, 7, 60));
        }
    }
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
    let found = sums(&world, &query);
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
    for seed in 1..=if soak { 20 } else { 5 } {
        noisy_ledger_is_close_to_truth(scenario(100 + seed, 1, 15));
    }
}

/// A recording is the same whatever the machine, and importing it twice changes nothing.
#[test]
fn a_seed_gives_the_same_recording_and_it_is_imported_once() {
    let record_bytes = |seed| {
        let folder = tempfile::tempdir().unwrap();
        record(scenario(seed, 1, 6), folder.path()).unwrap();
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
