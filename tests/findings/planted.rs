//! Findings: what was made to go wrong is found with its exact cost, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use podledger_simulator::truth::{HourTruth, MachineTruth, PodTruth, VolumeTruth, WasteKey};

use crate::harness::World;
use crate::simulated::Truth;

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

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A finding as the mart tells it.
struct Told {
    finding: String,
    team: String,
    /// Without the cause that follows it.
    subject: String,
    cause: String,
    cost: i128,
    is_counted: bool,
    evidence: String,
}

fn told(world: &World) -> Vec<Told> {
    let rows = world.rows(&format!(
        "select finding, team, split_part(subject, ' (', 1), rtrim(split_part(subject, ' (', 2), ')'), {NANO}, counted_in is null, \
             evidence \
         from marts.findings where zone = 'UTC' group by all"
    ));
    rows.iter()
        .map(|row| {
            let cells: Vec<&str> = row.splitn(7, '|').collect();
            let text = |cell: usize| cells[cell].to_owned();
            Told {
                finding: text(0),
                team: text(1),
                subject: text(2),
                cause: text(3),
                cost: cells[4].parse().unwrap(),
                is_counted: cells[5] == "true",
                evidence: text(6),
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
pub fn are_what_was_planted(seed: u64, world: &World, truth: &Truth) {
    let Truth {
        pods, volumes, sums, ..
    } = truth;
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
    for (finding, kinds) in [
        ("oom_kills", &["out_of_memory"][..]),
        ("failed_work", &["failed", "failure"]),
        ("stuck_pods", &["image_pull"]),
    ] {
        let found = found(&|told| told.finding == finding);
        assert_eq!(found, planted(kinds), "seed {seed}: {finding}");
    }
    let evicted = told.iter().filter(|told| told.finding == "evicted_work");
    let causes = evicted.map(|told| {
        (
            format!("{}|{}|{}", told.team, told.subject, told.cause),
            told.cost,
        )
    });
    let meant = sums.wastes.iter().filter_map(|(waste, found)| {
        let cause = match waste.kind {
            "eviction" => "node_pressure",
            "lost" => "node_lost",
            kind @ ("spot_interruption" | "consolidation") => kind,
            _ => return None,
        };
        Some((format!("{}|{cause}", owner(waste)), found.cost))
    });
    assert_eq!(sums_of(causes), sums_of(meant), "seed {seed}: evicted work");

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

    let end_ms: i64 = world.rows("select max(watermark_ms) from staging.stg_watermarks")[0]
        .parse()
        .unwrap();
    let runaways = found(&|told| told.finding == "runaway_attempts");
    assert_eq!(runaways, runaways_of(pods, end_ms), "seed {seed}: runaways");

    // Idle time is told once, under the first finding that fits.
    let idle = told.iter().filter(|told| IDLE.contains(&told.finding.as_str()));
    let found_idle = sums_of(idle.map(|told| (format!("{}|{}", told.finding, told.subject), told.cost)));
    assert_eq!(found_idle, idle_of(&truth.machines), "seed {seed}: idle");

    // A run's critical path adds up to the run, and no part of it goes back in time; the same of a pod's wait.
    for nonsense in [
        "select count(*) from (select count(*) from marts.run_critical_paths group by cluster, system, installation, pipeline, run, run_epoch \
         having sum(gap_ms + queue_wait_ms + startup_ms + work_ms + release_ms) <> max(run_duration_ms) \
             or min(least(gap_ms, queue_wait_ms, startup_ms, work_ms, release_ms)) < 0)",
        "select count(*) from marts.pod_waits where queue_wait_ms <> machine_order_ms + machine_boot_ms + unschedulable_ms + scheduling_ms \
             or startup_ms <> stuck_ms + image_pull_ms + init_ms + setup_ms \
             or least(machine_order_ms, machine_boot_ms, unschedulable_ms, scheduling_ms, stuck_ms, image_pull_ms, init_ms, setup_ms) < 0",
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

/// What pods that were made to run for ever paid while they ran, by job: those that ran for more than four times what 99 of 100 that
/// succeeded took, and six hours; with fewer than ten to compare four times the longest, and a day.
fn runaways_of(pods: &[PodTruth], end_ms: i64) -> BTreeMap<String, i128> {
    let ran_ms = |pod: &PodTruth| {
        let ended_ms = pod.finished_ms.or(pod.released_ms).unwrap_or(end_ms);
        pod.running_ms.map(|running_ms| ended_ms - running_ms)
    };
    let job = |pod: &PodTruth| (pod.namespace.clone(), pod.pipeline.clone(), pod.job.clone());
    let mut usual: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for pod in pods {
        let is_usual = pod.outcome == "succeeded" && pod.run != "unattributed" && !pod.is_executor;
        if let Some(ms) = ran_ms(pod).filter(|_| is_usual) {
            usual.entry(job(pod)).or_default().push(ms);
        }
    }
    for all in usual.values_mut() {
        all.sort_unstable();
    }
    let planted = pods.iter().filter(|pod| pod.planted == Some("runaway"));
    let told = planted.filter(|pod| {
        let usual = usual.get(&job(pod)).map_or(&[][..], Vec::as_slice);
        let most_ms = match usual.len() {
            count @ 10.. => (4 * usual[(99 * count).div_ceil(100) - 1]).max(6 * HOUR_MS),
            _ => (4 * usual.last().copied().unwrap_or(0)).max(DAY_MS),
        };
        ran_ms(pod).is_some_and(|ms| ms > most_ms)
    });
    let running = ["used", "unused_request", "unmetered"];
    sums_of(told.map(|pod| {
        let costs = running.iter().filter_map(|category| pod.costs.get(category));
        (format!("{}|{}/{}", pod.team, pod.pipeline, pod.job), costs.sum())
    }))
}

/// Machines in an hour.
type Machines<'a> = Vec<(&'a MachineTruth, &'a HourTruth)>;

/// Idle time of a week, as far as it is observed, by the finding that tells it and its pool or node.
fn idle_of(machines: &[MachineTruth]) -> BTreeMap<String, i128> {
    // Hours of each pool, and in each its machines.
    let mut pools: BTreeMap<&str, BTreeMap<i64, Machines>> = BTreeMap::new();
    for machine in machines {
        for hour in &machine.hours {
            let hours = pools.entry(machine.pool).or_default();
            hours.entry(hour.hour_start_ms).or_default().push((machine, hour));
        }
    }
    // There are machines in every hour.
    let all = machines.iter().flat_map(|machine| &machine.hours);
    let all: BTreeSet<i64> = all.map(|hour| hour.hour_start_ms).collect();
    let is_empty = |hour: &HourTruth| hour.up_ms == HOUR_MS && hour.busy_ms == 0;
    let is_seldom_busy = |machine: &MachineTruth| {
        let up_ms: i64 = machine.hours.iter().map(|hour| hour.up_ms).sum();
        let busy_ms: i64 = machine.hours.iter().map(|hour| hour.busy_ms).sum();
        up_ms >= DAY_MS && busy_ms * 3 <= up_ms
    };
    let mut told = Vec::new();
    for (pool, hours) in &mut pools {
        let is_whole_week = hours.len() == all.len();
        let is_without_work = |hour: &Machines| hour.iter().all(|(_, hour)| hour.busy_ms == 0);
        let is_never_zero = is_whole_week
            && hours
                .values()
                .all(|hour| hour.iter().any(|(_, hour)| hour.up_ms == HOUR_MS))
            && hours.values().filter(|hour| is_without_work(hour)).count() * 8 >= hours.len();
        let empty = |hour: &Machines| hour.iter().filter(|(_, hour)| is_empty(hour)).count();
        let surplus = hours.values().map(empty).min().filter(|_| is_whole_week);
        for hour in hours.values_mut() {
            hour.sort_by_key(|(machine, hour)| (!is_empty(hour), hour.cost, &machine.provider_id));
            let without_work = is_without_work(hour);
            for (place, (machine, hour)) in hour.iter().enumerate() {
                for (kind, cost) in &hour.idle {
                    let is_whole = matches!(*kind, "idle_gap" | "idle_startup" | "idle_tail");
                    let (finding, subject) = match *kind {
                        _ if is_never_zero && without_work => ("pool_never_zero", *pool),
                        _ if is_whole && place < surplus.unwrap_or(0) => ("pool_minimum_above_need", *pool),
                        "idle_unpacked" => ("unpacked_capacity", *pool),
                        _ if is_whole && is_seldom_busy(machine) => {
                            ("seldom_busy_machines", machine.node.as_str())
                        }
                        "idle_tail" => ("late_scale_down", *pool),
                        "idle_gap" => ("idle_between_work", *pool),
                        _ => ("slow_start", *pool),
                    };
                    told.push((format!("{finding}|{subject}"), *cost));
                }
            }
        }
    }
    sums_of(told.into_iter())
}
