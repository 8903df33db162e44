//! Why a run took as long as it did: what made the engine start each of its pods, and what each pod's time went to. The world
//! notes it while it happens; nothing is found out afterwards.

use std::collections::BTreeMap;

use serde::Serialize;

/// A run, once it is over; or at the end of what is looked at, if none of its pods lives then.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunTruth {
    pub namespace: String,
    pub pipeline: String,
    /// `unattributed` where the system tells no run.
    pub run: String,
    /// Whether the engine would start nothing more.
    pub is_over: bool,
    /// Whether the last try of each of its jobs succeeded.
    pub succeeded: bool,
    /// Its pods but executors, in the order in which they ended.
    pub steps: Vec<StepTruth>,
    /// With which of them it ended.
    pub last: Vec<usize>,
}

/// A pod of a run that something may have waited for.
#[derive(Debug, Clone, Serialize)]
pub struct StepTruth {
    pub pod_uid: String,
    pub job: String,
    /// The end of which steps made the engine start it. Of several that ended at the same instant any may be named.
    pub after: Vec<usize>,
    pub created_ms: i64,
    pub released_ms: i64,
    /// From the end of what it was started by to its creation.
    pub gap_ms: i64,
    pub queue_wait_ms: i64,
    /// From its binding until it ran; of what never did, until it was gone.
    pub startup_ms: i64,
    pub work_ms: i64,
    pub release_ms: i64,
}

impl RunTruth {
    /// Those that ended at an instant.
    pub(crate) fn ended(&self, at: i64) -> impl Iterator<Item = usize> {
        let steps = self.steps.iter().enumerate();
        steps
            .filter(move |(_, step)| step.released_ms == at)
            .map(|(number, _)| number)
    }
}

/// What a pod waited for before it was bound, or gone, in milliseconds: slice by slice of its time.
pub(crate) fn waits(
    (from, to): (i64, i64),
    refused_ms: Option<i64>,
    machine: Option<(i64, i64)>,
) -> BTreeMap<&'static str, i64> {
    let mut cuts = vec![from, to];
    cuts.extend(refused_ms);
    cuts.extend(
        machine
            .into_iter()
            .flat_map(|(launched, registered)| [launched, registered]),
    );
    cuts.retain(|cut| (from..=to).contains(cut));
    cuts.sort_unstable();
    let mut waits = BTreeMap::new();
    for slice in cuts.windows(2) {
        let &[begin, end] = slice else { continue };
        let what = match machine {
            Some((launched, _)) if begin < launched => "machine_order",
            Some((_, registered)) if begin < registered => "machine_boot",
            _ if refused_ms.is_some_and(|refused| begin >= refused) => "unschedulable",
            _ => "scheduling",
        };
        *waits.entry(what).or_default() += end - begin;
    }
    waits
}
