//! Findings: what was made to go wrong is found with its exact cost, and nothing else is.

use std::collections::BTreeMap;

use podledger_simulator::truth::{PodTruth, Sums, VolumeTruth, WasteKey};

use crate::harness::World;

const NANO: &str = "coalesce(cast(sum(cost) * 1000000000 as bigint), 0)";

/// Findings about jobs.
const OF_JOBS: &[&str] = &[
    "failed_work",
    "oom_kills",
    "evicted_work",
    "stuck_pods",
    "impossible_request",
    "runaway_attempts",
    // The simulator's Jobs have none.
    "jobs_without_deadline",
];

/// Findings that divide idle time.
const IDLE: &[&str] = &[
    "pool_never_zero",
    "pool_minimum_above_need",
    "unpacked_capacity",
    "seldom_busy_machines",
    "late_scale_down",
    "idle_between_work",
    "slow_start",
];

/// Longer than any honest task of the simulator, and than what a run-away is told by.
const CERTAIN_MS: i64 = 40 * 3_600_000;

/// A finding as the mart tells it.
struct Told {
    finding: String,
    team: String,
    /// Without the cause that follows it.
    subject: String,
    cause: String,
    /// Of a pool or a node.
    pool: String,
    cost: i128,
    is_counted: bool,
    evidence: String,
}

fn told(world: &World) -> Vec<Told> {
    let rows = world.rows(&format!(
        "select finding, team, split_part(subject, ' (', 1), rtrim(split_part(subject, ' (', 2), ')'), \
             coalesce(machines.pool, subject), {NANO}, counted_in is null, evidence \
         from marts.findings \
         left join (select distinct node_name, pool from intermediate.int_machines) as machines \
             on subject_kind = 'node' and subject = node_name \
         where findings.zone = 'UTC' group by all"
    ));
    rows.iter()
        .map(|row| {
            let cells: Vec<&str> = row.splitn(8, '|').collect();
            let text = |cell: usize| cells[cell].to_owned();
            Told {
                finding: text(0),
                team: text(1),
                subject: text(2),
                cause: text(3),
                pool: text(4),
                cost: cells[5].parse().unwrap(),
                is_counted: cells[6] == "true",
                evidence: text(7),
            }
        })
        .collect()
}

/// Sums without those of nothing.
fn sums_of(amounts: impl Iterator<Item = (String, i128)>) -> BTreeMap<String, i128> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for (key, amount) in amounts {
        *sums.entry(key).or_default() += amount;
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

/// Holds the findings of a simulated platform without noise, all of it in one week, against what was planted.
pub fn are_what_was_planted(
    seed: u64,
    world: &World,
    sums: &Sums,
    pods: &[PodTruth],
    volumes: &[VolumeTruth],
) {
    let told = told(world);
    let found = |is_meant: &dyn Fn(&Told) -> bool| {
        let meant = told.iter().filter(|told| is_meant(told));
        sums_of(meant.map(|told| (format!("{}|{}", told.team, told.subject), told.cost)))
    };
    let planted = |kinds: &[&str]| {
        let meant = sums
            .wastes
            .iter()
            .filter(|(waste, _)| kinds.contains(&waste.kind));
        sums_of(meant.map(|(waste, found)| (owner(waste), found.cost)))
    };
    for (findings, kinds) in [
        (
            &["failed_work", "oom_kills"][..],
            &["failed", "failure", "out_of_memory"][..],
        ),
        (
            &["evicted_work"],
            &["lost", "spot_interruption", "eviction", "consolidation"],
        ),
        (&["stuck_pods"], &["image_pull"]),
    ] {
        let found = found(&|told| findings.contains(&told.finding.as_str()));
        assert_eq!(found, planted(kinds), "seed {seed}: {findings:?}");
    }

    // By cause. What a driver takes with it has no cause of its own in the truth.
    for (finding, cause, kind, rest) in [
        ("oom_kills", "", "out_of_memory", "failed"),
        ("evicted_work", "spot_interruption", "spot_interruption", "lost"),
        ("evicted_work", "node_pressure", "eviction", "lost"),
        ("evicted_work", "consolidation", "consolidation", "lost"),
    ] {
        let found = found(&|told| told.finding == finding && told.cause == cause);
        let (planted, rest) = (planted(&[kind]), planted(&[rest]));
        for owner in found.keys().chain(planted.keys()) {
            let of = |sums: &BTreeMap<String, i128>| sums.get(owner).copied().unwrap_or(0);
            let more = of(&found) - of(&planted);
            assert!(
                (0..=of(&rest)).contains(&more),
                "seed {seed}: {kind} of {owner}: {more} more"
            );
        }
    }

    // What no machine can take costs nothing; how many wait is what was planted.
    let impossible = told.iter().filter(|told| told.finding == "impossible_request");
    let waiting = sums_of(impossible.map(|told| {
        let count = told.evidence.split(' ').next().unwrap().parse().unwrap();
        (format!("{}|{}", told.team, told.subject), count)
    }));
    let meant = sums
        .wastes
        .iter()
        .filter(|(waste, _)| waste.kind == "impossible_request");
    let expected = sums_of(meant.map(|(waste, found)| (owner(waste), i128::from(found.count))));
    // The last of them have not waited for a quarter of an hour yet.
    let young = world.sums(
        "select team || '|' || pipeline || '/' || job, count(*) from marts.pods where bound_ms is null \
         and created_ms > (select max(watermark_ms) from staging.stg_watermarks) - 900000 group by all",
    );
    for (owner, count) in &expected {
        let found = waiting.get(owner).copied().unwrap_or(0);
        let young = young.get(owner).copied().unwrap_or(0);
        assert!(
            (count - young..=*count).contains(&found),
            "seed {seed}: {found} of {count} impossible requests of {owner}"
        );
    }
    assert!(
        waiting.keys().all(|owner| expected.contains_key(owner)),
        "seed {seed}: {waiting:?}"
    );

    // What runs away is found once it is far beyond what is usual; nothing else is told to.
    let end_ms: i64 = world.rows("select max(watermark_ms) from staging.stg_watermarks")[0]
        .parse()
        .unwrap();
    let runaways = found(&|told| told.finding == "runaway_attempts");
    let planted = planted(&["runaway"]);
    for (owner, cost) in &runaways {
        let most = planted.get(owner).copied().unwrap_or(0);
        assert!(
            *cost <= most,
            "seed {seed}: {owner} ran away for {cost} of {most}"
        );
    }
    for pod in pods.iter().filter(|pod| pod.planted == Some("runaway")) {
        let held_ms = pod.released_ms.unwrap_or(end_ms) - pod.bound_ms.unwrap_or(end_ms);
        let owner = format!("{}|{}/{}", pod.team, pod.pipeline, pod.job);
        assert!(
            held_ms < CERTAIN_MS || runaways.contains_key(&owner),
            "seed {seed}: {owner} ran for {held_ms} ms and is not found"
        );
    }

    // Idle time is told once, by pool.
    let idle = told.iter().filter(|told| IDLE.contains(&told.finding.as_str()));
    let by_pool = sums_of(idle.map(|told| (told.pool.clone(), told.cost)));
    let meant = sums
        .wastes
        .iter()
        .filter(|(waste, _)| waste.kind.starts_with("idle_"));
    let expected = sums_of(meant.map(|(waste, found)| (waste.pool.to_owned(), found.cost)));
    assert_eq!(by_pool, expected, "seed {seed}: idle by pool");

    // A run's critical path adds up to the run, and no part of it goes back in time; the same of a pod's wait.
    for nonsense in [
        "select count(*) from (select count(*) from marts.run_critical_paths group by cluster, system, installation, pipeline, run, run_epoch \
         having sum(gap_ms + queue_wait_ms + startup_ms + work_ms + release_ms) <> max(run_duration_ms) \
             or min(least(gap_ms, queue_wait_ms, startup_ms, work_ms, release_ms)) < 0)",
        "select count(*) from marts.pod_waits where queue_wait_ms <> machine_order_ms + machine_boot_ms + scheduling_ms \
             or startup_ms <> stuck_ms + image_pull_ms + init_ms + setup_ms \
             or least(machine_order_ms, machine_boot_ms, scheduling_ms, stuck_ms, image_pull_ms, init_ms, setup_ms) < 0",
        // None is planted.
        "select count(*) from marts.findings where finding = 'run_cost_regression'",
    ] {
        assert_eq!(world.rows(nonsense), ["0"], "seed {seed}: {nonsense}");
    }

    // What storage is paid for after its run is over; what has been for less than an hour is not told yet.
    let orphaned = told.iter().filter(|told| told.finding == "orphaned_claims");
    let found = sums_of(orphaned.map(|told| (format!("{}|{}", told.team, told.subject), told.cost)));
    let old = |volume: &&VolumeTruth| volume.orphaned_ms.is_some_and(|at| end_ms - at >= 3_600_000);
    let expected = volumes.iter().filter(old);
    let expected = sums_of(expected.map(|volume| {
        (
            format!("{}|{}", volume.team, volume.pipeline),
            volume.orphaned_cost,
        )
    }));
    assert_eq!(found, expected, "seed {seed}: orphaned claims");

    // Nothing else is found: GPUs without work are a view of the idle time of their pools.
    for told in told.iter().filter(|told| told.is_counted) {
        let kind = told.finding.as_str();
        assert!(
            OF_JOBS.contains(&kind) || IDLE.contains(&kind) || kind == "orphaned_claims",
            "seed {seed}: {kind} was found"
        );
    }
}

/// Who a finding about a job names.
fn owner(waste: &WasteKey) -> String {
    let WasteKey {
        team, pipeline, job, ..
    } = waste;
    match job.as_str() {
        "unattributed" => format!("{team}|{pipeline}"),
        job => format!("{team}|{pipeline}/{job}"),
    }
}
