//! Pods that are gone and of which their engine may still speak: its watch may come back later than that of pods.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::entry::Key;
use super::{Index, micros, pod};
use crate::occupancy::Sight;

/// For how long an engine may be behind: watches are asked for again every half a minute at least.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// Kinds of owners that tell how their pods ended.
const ENGINES: &[&str] = &[
    "Workflow",
    "TaskRun",
    "SparkApplication",
    "ScheduledSparkApplication",
];

/// Pods that are gone, by UID, and what their engines call them.
#[derive(Debug, Default)]
pub(super) struct GonePods {
    by_uid: BTreeMap<String, Gone>,
    by_name: HashMap<(String, String), String>,
}

/// A pod that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone {
    namespace: String,
    names: Vec<String>,
    at: Timestamp,
}

impl GonePods {
    pub(super) fn get(&self, uid: &str) -> Option<&Gone> {
        self.by_uid.get(uid)
    }

    pub(super) fn insert(&mut self, uid: String, gone: Gone) {
        for name in &gone.names {
            self.by_name
                .insert((gone.namespace.clone(), name.clone()), uid.clone());
        }
        self.by_uid.insert(uid, gone);
    }

    /// The pod that an engine calls so.
    pub(super) fn named(&self, place: &(String, String)) -> Option<String> {
        self.by_name.get(place).cloned()
    }

    fn remove(&mut self, uid: &str) {
        let Some(gone) = self.by_uid.remove(uid) else {
            return;
        };
        for name in gone.names {
            let place = (gone.namespace.clone(), name);
            // A name may have come again.
            if self.by_name.get(&place).is_some_and(|of| of == uid) {
                self.by_name.remove(&place);
            }
        }
    }
}

impl Index {
    /// A pod goes: is its engine yet to speak of it?
    pub(super) fn note_gone(&mut self, key: &str, known: &pod::Known, seen: Sight) {
        let owners = known.identity().map(|identity| identity.owners.as_slice());
        let is_of_engine = owners
            .unwrap_or_default()
            .iter()
            .any(|owner| ENGINES.contains(&owner.kind.as_str()));
        let Some(state) = known.state().filter(|_| is_of_engine) else {
            return;
        };
        let namespace = state.namespace.clone().unwrap_or_default();
        let names = known.engine_node().into_iter().chain(state.pod_name.as_deref());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let is_told = names.iter().any(|name| {
            let place = (namespace.clone(), name.clone());
            let record = self.owners.records.get(&place);
            record.is_some_and(|record| record.is_told_of(key))
        });
        if !is_told {
            let gone = Gone {
                namespace,
                names,
                at: micros(seen.at),
            };
            self.pods.gone.insert(key.to_owned(), gone);
            self.touched.add(Key::GonePod(key.to_owned()));
        }
    }

    /// Forgets pods that went long before `now`.
    pub(super) fn forget_gone(&mut self, now: Timestamp) {
        let over: Vec<String> = self
            .pods
            .gone
            .by_uid
            .iter()
            .filter(|(_, gone)| now.duration_since(gone.at) > REMEMBERED)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in over {
            self.pods.gone.remove(&uid);
            self.touched.add(Key::GonePod(uid));
        }
    }
}
