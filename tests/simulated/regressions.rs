//! Runs that cost more since a day: found where that was planted, with what it changed by, and nowhere else.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use podledger_simulator::Scenario;
use podledger_simulator::truth::{ChangedJob, PodTruth};

use super::{Truth, ledger_of, scenario};
use crate::harness::for_seeds;

const DAY: i64 = 86_400_000;

/// What successful runs of a pipeline cost, and each of their jobs.
struct Run {
    is_after: bool,
    cost: i128,
    jobs: BTreeMap<String, i128>,
}

fn runs_of(changed: &ChangedJob, truth: &Truth, from_ms: i64) -> Vec<Run> {
    let runs = truth.runs.iter();
    let of_pipeline = runs.filter(|run| run.pipeline == changed.pipeline && run.succeeded);
    of_pipeline
        .map(|run| {
            let mut jobs: BTreeMap<String, i128> = BTreeMap::new();
            let is_its = |pod: &&PodTruth| {
                pod.namespace == run.namespace && pod.pipeline == run.pipeline && pod.run == run.run
            };
            for pod in truth.pods.iter().filter(is_its) {
                *jobs.entry(pod.job.clone()).or_default() += pod.costs.values().sum::<i128>();
            }
            let created_ms = run.steps.iter().map(|step| step.created_ms).min().unwrap();
            Run {
                is_after: created_ms >= from_ms,
                cost: jobs.values().sum(),
                jobs,
            }
        })
        .collect()
}

/// The middle one; the lower of two.
fn median(costs: impl Iterator<Item = i128>) -> Option<i128> {
    let mut costs: Vec<i128> = costs.collect();
    costs.sort_unstable();
    let middle = costs.len().checked_sub(1)? / 2;
    Some(costs[middle])
}

/// How much more the median is after than before.
fn more(runs: &[Run], cost: impl Fn(&Run) -> Option<i128>) -> Option<(i128, i128)> {
    let of = |is_after| {
        let meant = runs.iter().filter(|run| run.is_after == is_after);
        median(meant.filter_map(&cost))
    };
    let before = of(false)?;
    Some((before, of(true)? - before))
}

/// How surely costs after a day differ from those before it: the square of Mann and Whitney's z, counted pair by pair.
fn z_squared(runs: &[Run]) -> f64 {
    let costs = |is_after: bool| -> Vec<i128> {
        let meant = runs.iter().filter(|run| run.is_after == is_after);
        meant.map(|run| run.cost).collect()
    };
    let (before, after) = (costs(false), costs(true));
    let count = |values: &[i128]| f64::from(u32::try_from(values.len()).unwrap());
    let (n, m) = (count(&before), count(&after));
    let above = |after: i128, before: i128| match after.cmp(&before) {
        Ordering::Greater => 1.0,
        Ordering::Equal => 0.5,
        Ordering::Less => 0.0,
    };
    let u: f64 = after
        .iter()
        .flat_map(|after| before.iter().map(|before| above(*after, *before)))
        .sum();
    12.0 * (u - n * m / 2.0).powi(2) / (n * m * (n + m + 1.0))
}

/// Holds the one regression that is found against the one that was planted, with its day, the change, the job and its part, and what it
/// came to. Whether it is found: not if what the costs of a few dozen runs tell apart, or by how much, is too little.
fn is_found(seed: u64, scenario: Scenario) -> bool {
    let from_ms = scenario.slower_from_ms.or(scenario.heavier_from_ms).unwrap();
    let (world, truth) = ledger_of(scenario);
    let found = world.rows(
        "select team, subject, epoch_ms(since_at), cast(cast(cost as decimal(38,9)) * 1000000000 as bigint), evidence from marts.findings \
         where zone = 'UTC' and finding = 'run_cost_regression'",
    );
    let Some(changed) = &truth.sums.changed else {
        assert!(found.is_empty(), "seed {seed}: {found:?}");
        return false;
    };
    let runs = runs_of(changed, &truth, from_ms);
    let change = more(&runs, |run| Some(run.cost));
    if found.is_empty() {
        let z_squared = z_squared(&runs);
        let is_little = change.is_none_or(|(before, more)| more * 5 < before);
        assert!(
            z_squared < 20.0 || is_little,
            "seed {seed}: {changed:?} is not found, z squared {z_squared}"
        );
        return false;
    }
    let (before, more_of_run) = change.unwrap();
    let (after_runs, before_runs) = (
        runs.iter().filter(|run| run.is_after).count(),
        runs.iter().filter(|run| !run.is_after).count(),
    );
    let (_, more_of_job) = more(&runs, |run| run.jobs.get(&changed.job).copied()).unwrap();
    assert_eq!(found.len(), 1, "seed {seed}: {found:?}");
    let cells: Vec<&str> = found[0].splitn(5, '|').collect();
    let day = from_ms.to_string();
    assert_eq!(
        cells[..3],
        [changed.team.as_str(), &changed.pipeline, &day],
        "seed {seed}: {changed:?}"
    );
    let explained = more_of_job.clamp(0, more_of_run) * 100 / more_of_run;
    assert!(
        cells[4].contains(&format!(" more: {after_runs} runs since, {before_runs} before;"))
            && cells[4].ends_with(&format!("; job {} explains {explained}%", changed.job)),
        "seed {seed}: {found:?}, not {explained}% of {after_runs} runs by {changed:?}"
    );
    let percent = more_of_run * 100 / before;
    assert!(
        cells[4].contains(&format!(" {percent}% more: ")),
        "seed {seed}: {found:?}, not {percent}%"
    );
    let cost: i128 = cells[3].parse().unwrap();
    let expected = more_of_run * i128::try_from(after_runs).unwrap();
    assert_eq!(cost, expected, "seed {seed}: {found:?}");
    true
}

fn are_found(seeds: std::ops::RangeInclusive<u64>, planted: impl Fn(Scenario) -> Scenario) {
    let all = seeds.clone().count();
    let faint = RefCell::new(Vec::new());
    for_seeds(seeds, |seed| {
        if !is_found(seed, planted(scenario(seed, 3, 10))) {
            faint.borrow_mut().push(seed);
        }
    });
    let faint = faint.into_inner();
    println!("{all} seeds, too faint to be found: {faint:?}");
    assert!(faint.len() * 4 <= all, "too faint: {faint:?} of {all}");
}

/// Runs that cost more from a day on are found, with the day and the job; no other pipeline is told to have changed. What is not
/// found is what the costs of a few dozen runs do not tell apart, and that is seldom.
#[test]
fn a_job_that_becomes_slower_is_found_with_its_day() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    are_found(401..=if soak { 420 } else { 402 }, |quiet| Scenario {
        slower_from_ms: Some(quiet.start_ms + 2 * DAY),
        ..quiet
    });
}

/// On the second day, on which spot machines become dearer too: runs that are as steady as these would show two changes otherwise.
#[test]
fn a_job_that_asks_for_twice_as_much_is_found_with_its_day() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    are_found(if soak { 441..=460 } else { 442..=442 }, |quiet| Scenario {
        heavier_from_ms: Some(quiet.start_ms + DAY),
        ..quiet
    });
}

/// Platforms of three days, on which runs fail, are tried again and cost what they happen to, or on which nothing goes wrong.
#[test]
fn where_no_pipeline_changed_no_regression_is_found() {
    let soak = std::env::var_os("PODLEDGER_SOAK").is_some();
    for_seeds(461..=if soak { 480 } else { 463 }, |seed| {
        let quiet = scenario(seed, 3, 10);
        let days = [quiet.start_ms + DAY, quiet.start_ms + 2 * DAY];
        let (world, _) = ledger_of(Scenario {
            has_flaws: seed.is_multiple_of(2),
            ..quiet
        });
        let judged: i64 = world.rows(&format!(
            "select count(distinct pipeline) from (select pipeline, day from marts.runs, (values ({}), ({})) as days(day) \
             where status = 'succeeded' and cost is not null and pipeline <> 'unattributed' group by all \
             having count(*) filter (epoch_ms(created_at) < day) >= 8 and count(*) filter (epoch_ms(created_at) >= day) >= 8)",
            days[0], days[1]
        ))[0]
            .parse()
            .unwrap();
        assert!(
            judged >= 2,
            "seed {seed}: {judged} pipelines have runs enough to be judged"
        );
        assert_eq!(
            world.rows("select subject, evidence from marts.findings where finding = 'run_cost_regression'"),
            Vec::<String>::new(),
            "seed {seed}"
        );
    });
}
