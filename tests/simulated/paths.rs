//! Why runs took as long as they did, and what pods waited for: step by step against what the simulated engines did.

use std::collections::BTreeMap;

use podledger_simulator::causes::StepTruth;
use podledger_simulator::truth::PodTruth;

use super::Truth;
use crate::harness::World;

/// What there was to decide.
#[derive(Debug, Default)]
pub struct Seen {
    pub paths: usize,
    /// Of runs of which other pods ran beside those on the path.
    pub choices: usize,
    /// Steps of the paths of these that are later tries of their jobs.
    pub tried_again: usize,
}

fn text(step: &StepTruth, pod: &PodTruth) -> String {
    let cost: i128 = pod.costs.values().sum();
    format!(
        "{}|{}|{}|{}|{}|{}|{}|{}|{}|{cost}",
        step.job,
        pod.outcome,
        step.created_ms,
        step.released_ms,
        step.gap_ms,
        step.queue_wait_ms,
        step.startup_ms,
        step.work_ms,
        step.release_ms
    )
}

/// Holds the critical path of every run against what started what, from the end back: each step must be one whose end made the engine
/// start the next.
pub fn are_the_truth(seed: u64, world: &World, truth: &Truth) -> Seen {
    let pods: BTreeMap<&str, &PodTruth> = truth.pods.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in world.rows(
        "select installation || '|' || pipeline || '|' || run, job, outcome, epoch_ms(created_at), epoch_ms(ended_at), gap_ms, \
             queue_wait_ms, startup_ms, work_ms, release_ms, coalesce(cast(cast(cost as decimal(38,9)) * 1000000000 as bigint), 0) \
         from marts.run_critical_paths order by cluster, system, installation, pipeline, run, run_epoch, step",
    ) {
        let key = row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|");
        let step = row[key.len() + 1..].to_owned();
        found.entry(key).or_default().push(step);
    }
    let mut seen = Seen::default();
    for run in truth.runs.iter().filter(|run| run.run != "unattributed") {
        let key = format!("{}|{}|{}", run.namespace, run.pipeline, run.run);
        let path = found.remove(&key).unwrap_or_default();
        let mut may_be = &run.last;
        let mut tried = Vec::new();
        for (back, row) in path.iter().rev().enumerate() {
            let texts: Vec<String> = may_be
                .iter()
                .map(|step| text(&run.steps[*step], pods[run.steps[*step].pod_uid.as_str()]))
                .collect();
            let met = texts.iter().position(|text| text == row);
            assert!(
                met.is_some(),
                "seed {seed}: path of {key}: {back} steps before its end is {row}, not one of {texts:#?}"
            );
            let step = &run.steps[may_be[met.unwrap()]];
            tried.push(&step.job);
            may_be = &step.after;
        }
        assert!(
            may_be.is_empty(),
            "seed {seed}: path of {key} begins late: {path:#?}"
        );
        seen.paths += 1;
        let is_choice = run.steps.len() > path.len();
        seen.choices += usize::from(is_choice);
        if is_choice {
            let again = tried.windows(2).filter(|jobs| jobs[0] == jobs[1]);
            seen.tried_again += again.count();
        }
    }
    assert!(
        found.is_empty(),
        "seed {seed}: these runs go on, and have a path: {found:#?}"
    );
    seen
}

/// Holds what pods waited for until they were bound against what the scheduler and machines did; returns how long they waited, by what for.
pub fn waits_are_the_truth(seed: u64, world: &World, truth: &Truth) -> BTreeMap<&'static str, i64> {
    const KINDS: [&str; 4] = ["machine_order", "machine_boot", "unschedulable", "scheduling"];
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for row in world.rows(
        "select pod_uid, machine_order_ms, machine_boot_ms, unschedulable_ms, scheduling_ms from marts.pod_waits",
    ) {
        let (uid, waits) = row.split_once('|').unwrap();
        found.insert(uid.to_owned(), waits.to_owned());
    }
    let mut sums = BTreeMap::new();
    for pod in truth.pods.iter().filter(|pod| pod.namespace != "kube-system") {
        let waits = KINDS.map(|kind| pod.waits.get(kind).copied().unwrap_or(0));
        let expected = waits.map(|ms| ms.to_string()).join("|");
        assert_eq!(
            found.remove(&pod.uid),
            Some(expected),
            "seed {seed}: waits of {pod:?}"
        );
        for (kind, ms) in KINDS.into_iter().zip(waits) {
            *sums.entry(kind).or_default() += ms;
        }
    }
    assert!(found.is_empty(), "seed {seed}: {found:?}");
    sums
}
