//! Pods that are kept long after they ended: they hold no machine, but every list and watch of pods carries them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Index, after, micros};
use crate::facts::{Fact, KeptPod, PodState};
use crate::occupancy::Sight;

/// For how long a pod that ended may be there before it is told to be kept: the logs of yesterday's work are looked at today.
const KEPT_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Pods that ended and are still there, and not known to be kept, by when they ended.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeSet<(Timestamp, String)>);

impl Ended {
    /// A pod's state was `last` and is `state`.
    pub(super) fn note(&mut self, last: Option<&PodState>, state: &PodState) {
        let before = last.and_then(|last| last.released_at);
        if before == state.released_at {
            return;
        }
        if let Some(before) = before {
            self.0.remove(&(before, state.pod_uid.clone()));
        }
        if let Some(released_at) = state.released_at {
            self.0.insert((released_at, state.pod_uid.clone()));
        }
    }

    /// A pod is not there any more.
    fn forget(&mut self, state: &PodState) {
        if let Some(released_at) = state.released_at {
            self.0.remove(&(released_at, state.pod_uid.clone()));
        }
    }
}

impl Index {
    /// What follows from that a cluster is observed through an instant: pods that ended a day before it and are still there are
    /// kept. Which fact this makes does not depend on when it is asked for; after a restart it may be told again.
    pub fn tell_kept(&mut self, through: Timestamp) -> Vec<Fact> {
        let mut facts = Vec::new();
        while let Some((released_at, _)) = self.pods.ended.0.first()
            && kept_since(*released_at).is_some_and(|since| since <= through)
            && let Some((released_at, pod_uid)) = self.pods.ended.0.pop_first()
        {
            facts.extend(self.kept(pod_uid, released_at).map(Fact::from));
        }
        facts
    }

    /// A pod that had ended is not there any more.
    pub(super) fn tell_removed(&mut self, state: &PodState, seen: Sight, facts: &mut Vec<Fact>) {
        self.pods.ended.forget(state);
        let Some(released_at) = state.released_at else {
            return;
        };
        if kept_since(released_at).is_none_or(|since| since > seen.at) {
            return;
        }
        if let Some(kept) = self.kept(state.pod_uid.clone(), released_at) {
            let removed_at = micros(seen.at);
            let removed = KeptPod {
                observed_at: after(Some(kept.observed_at), removed_at),
                removed_at: Some(removed_at),
                ..kept.clone()
            };
            facts.extend([Fact::from(kept), removed.into()]);
        }
    }

    fn kept(&self, pod_uid: String, released_at: Timestamp) -> Option<KeptPod> {
        Some(KeptPod {
            cluster: self.settings.cluster.clone(),
            pod_uid,
            observed_at: kept_since(released_at)?,
            released_at,
            removed_at: None,
        })
    }
}

/// Since when a pod that ended then is kept; `None` beyond the end of time.
fn kept_since(released_at: Timestamp) -> Option<Timestamp> {
    released_at.checked_add(KEPT_AFTER).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::index::{Entry, Settings};
    use crate::object::Object;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    fn seen(text: &str) -> Sight {
        Sight {
            at: at(text),
            is_prompt: true,
        }
    }

    fn pod(phase: &str) -> Object {
        let pod: Value = json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "creationTimestamp": "2026-11-16T10:00:00Z"},
            "spec": {"nodeName": "n", "containers": [{"name": "c"}]},
            "status": {"phase": phase, "startTime": "2026-11-16T10:00:00Z"},
        });
        Object::from_json("Pod", &pod.to_string()).unwrap()
    }

    /// Since when it is kept, and when it was removed.
    fn told(facts: Vec<Fact>) -> Vec<(Timestamp, Option<Timestamp>)> {
        let kept = facts.into_iter().filter_map(|fact| match fact {
            Fact::KeptPod(kept) => Some((kept.observed_at, kept.removed_at)),
            _ => None,
        });
        kept.collect()
    }

    fn ended() -> Index {
        let mut index = Index::new(Settings::new("c"));
        index.apply(&pod("Running"), seen("16T10:00")).unwrap();
        index.apply(&pod("Succeeded"), seen("16T11:00")).unwrap();
        index
    }

    #[test]
    fn a_pod_is_kept_a_day_after_it_ended_and_until_it_is_removed() {
        let mut index = ended();
        assert_eq!(told(index.tell_kept(at("17T10:59"))), []);
        assert_eq!(told(index.tell_kept(at("17T12:00"))), [(at("17T11:00"), None)]);
        assert_eq!(told(index.tell_kept(at("18T12:00"))), []);
        assert_eq!(
            told(index.delete(&pod("Succeeded"), seen("19T09:00")).unwrap()),
            [(at("17T11:00"), None), (at("19T09:00"), Some(at("19T09:00")))]
        );
    }

    #[test]
    fn what_is_removed_within_a_day_is_not_kept_and_not_remembered() {
        let mut index = ended();
        assert_eq!(
            told(index.delete(&pod("Succeeded"), seen("17T10:00")).unwrap()),
            []
        );
        assert_eq!(told(index.tell_kept(at("18T12:00"))), []);
        assert!(index.pods.ended.0.is_empty());
    }

    #[test]
    fn a_pod_that_runs_or_that_nobody_has_seen_end_is_not_kept() {
        let mut index = Index::new(Settings::new("c"));
        index.apply(&pod("Running"), seen("16T10:00")).unwrap();
        assert_eq!(told(index.tell_kept(at("18T12:00"))), []);
        assert_eq!(told(index.delete(&pod("Running"), seen("18T13:00")).unwrap()), []);
    }

    #[test]
    fn a_restart_forgets_no_pod_that_is_kept() {
        let mut before = ended();
        let entries: Vec<Entry> = before.changed().unwrap();
        let mut after = Index::new(Settings::new("c"));
        for entry in entries {
            after.restore(&entry).unwrap();
        }
        assert_eq!(told(after.tell_kept(at("17T12:00"))), [(at("17T11:00"), None)]);
    }
}
