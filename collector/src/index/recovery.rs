//! What Events and Jobs tell of pods that came and went while nobody watched.
//!
//! Events live an hour, so they reach back further than the history of a watch. A `Scheduled` Event names pod, node and
//! instant; `Started` and `Killing` tell more of its life. What it asked for is known from its siblings or from the
//! template of its Job. What no Event tells stays unknown.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;

use super::{Index, after, micros, time};
use crate::facts::{Fact, Owner, PodIdentity, PodState};
use crate::request::Resources;

/// Times of Events are whole seconds, cut off.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// What was found of the time between two instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub facts: Vec<Fact>,
    /// Pods of which nothing was known before.
    pub pods: u64,
}

/// What Events tell of one pod.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Trace {
    namespace: String,
    name: String,
    node: Option<String>,
    scheduled_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    killing_at: Option<Timestamp>,
}

/// How a pod that was not watched ended, as far as something tells it.
struct End {
    at: Timestamp,
    earliest_at: Timestamp,
    latest_at: Timestamp,
}

impl Index {
    /// What `events` tell of pods that were bound, or ended, between `since` and `until` and that the list at `until` did
    /// not show.
    pub fn recover(&mut self, events: &[Event], since: Timestamp, until: Timestamp) -> Recovered {
        let mut recovered = Recovered {
            facts: Vec::new(),
            pods: 0,
        };
        let vanished = std::mem::take(&mut self.pods.vanished);
        let owners: HashMap<(&str, &str), &str> = self
            .owners
            .by_uid
            .values()
            .map(|owner| {
                let namespace = owner.fact.namespace.as_deref().unwrap_or_default();
                (
                    (namespace, owner.fact.name.as_str()),
                    owner.fact.owner_uid.as_str(),
                )
            })
            .collect();
        for (uid, trace) in traces(events, since, until) {
            if self.pods.by_uid.contains(&uid) {
                continue;
            }
            if let Some(state) = vanished.get(&uid) {
                let owner = owner_of(&owners, &trace);
                recovered
                    .facts
                    .extend(self.refine(state, &trace, owner, until).map(Fact::from));
            } else if let Some(bound_at) = trace.scheduled_at
                && bound_at > since - RESOLUTION
            {
                let owner = owner_of(&owners, &trace);
                let (state, identity) = self.unseen(uid, &trace, bound_at, owner, until);
                recovered.facts.push(state.into());
                recovered.facts.push(identity.into());
                recovered.pods += 1;
            }
        }
        recovered
    }

    /// A pod that was known and vanished: Events may tell when it was bound, and when it ended.
    fn refine(
        &self,
        state: &PodState,
        trace: &Trace,
        owner: Option<&str>,
        until: Timestamp,
    ) -> Option<PodState> {
        if !matches!(state.end_source, None | Some("sampled")) {
            return None;
        }
        let bound_at = state.bound_at.or(trace.scheduled_at.map(micros))?;
        let end = self.end(trace, bound_at, owner, until);
        if state.bound_at.is_some() && end.latest_at == until && trace.killing_at.is_none() {
            // Nothing is told that was not known.
            return None;
        }
        let earliest_at = state
            .end_earliest_at
            .unwrap_or(bound_at)
            .max(micros(end.earliest_at));
        let node_name = state.node_name.clone().or_else(|| trace.node.clone());
        Some(PodState {
            observed_at: after(Some(state.observed_at), micros(until)),
            machine: state.machine.clone().or_else(|| {
                let machine = self.machines.machine_at(node_name.as_deref()?, bound_at);
                machine.map(str::to_owned)
            }),
            node_name,
            bound_at: Some(bound_at),
            start_source: state.start_source.or(Some("event")),
            running_at: state
                .running_at
                .or(trace.started_at.map(|at| micros(at).max(bound_at))),
            released_at: Some(micros(end.at).max(earliest_at)),
            end_source: Some("event"),
            end_earliest_at: Some(earliest_at),
            end_latest_at: Some(micros(end.latest_at).max(earliest_at)),
            ..state.clone()
        })
    }

    /// A pod that was never seen.
    fn unseen(
        &self,
        uid: String,
        trace: &Trace,
        bound_at: Timestamp,
        owner: Option<&str>,
        until: Timestamp,
    ) -> (PodState, PodIdentity) {
        let end = self.end(trace, bound_at, owner, until);
        let known = owner.and_then(|uid| self.owners.by_uid.get(uid));
        let request = owner
            .and_then(|owner| self.sibling_request(owner))
            .or_else(|| known?.template)
            .unwrap_or_default();
        let phase = known.and_then(|owner| match owner.fact.outcome? {
            "succeeded" => Some("Succeeded".to_owned()),
            "failed" => Some("Failed".to_owned()),
            _ => None,
        });
        let state = PodState {
            cluster: self.settings.cluster.clone(),
            pod_uid: uid.clone(),
            observed_at: micros(until),
            pod_name: Some(trace.name.clone()),
            namespace: Some(trace.namespace.clone()),
            machine: trace
                .node
                .as_deref()
                .and_then(|node| self.machines.machine_at(node, bound_at))
                .map(str::to_owned),
            node_name: trace.node.clone(),
            created_at: micros(bound_at),
            bound_at: Some(micros(bound_at)),
            start_source: Some("event"),
            running_at: trace.started_at.map(|at| micros(at.max(bound_at))),
            finished_at: None,
            released_at: Some(micros(end.at)),
            end_source: Some("event"),
            end_earliest_at: Some(micros(end.earliest_at)),
            end_latest_at: Some(micros(end.latest_at)),
            phase,
            waiting_reason: None,
            end_reason: None,
            exit_code: None,
            deletion_requested_at: trace.killing_at.map(micros),
            cpu_request_millicores: request.cpu_millicores,
            memory_request_bytes: request.memory_bytes,
            gpu_request_milligpus: request.gpu_milligpus,
            billed_cpu_millicores: None,
            billed_memory_bytes: None,
        };
        let owners = known.map_or_else(Vec::new, |owner| {
            self.chain(Owner {
                kind: owner.fact.kind.clone(),
                name: owner.fact.name.clone(),
                uid: owner.fact.owner_uid.clone(),
            })
        });
        // Pods carry the labels of their template, and so do those of the same owner.
        let labels = owner
            .and_then(|owner| self.sibling(owner))
            .and_then(|sibling| sibling.identity().map(|identity| identity.labels.clone()))
            .unwrap_or_default();
        let identity = PodIdentity {
            cluster: self.settings.cluster.clone(),
            pod_uid: uid,
            valid_from_at: micros(bound_at),
            labels,
            annotations: Default::default(),
            owners,
        };
        (state, identity)
    }

    /// The last sign of life, or the end of its Job; it was gone by then, or by the list at the latest.
    fn end(&self, trace: &Trace, bound_at: Timestamp, owner: Option<&str>, until: Timestamp) -> End {
        let signs = [trace.scheduled_at, trace.started_at, trace.killing_at];
        let earliest_at = signs
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(bound_at)
            .max(bound_at)
            .min(until.max(bound_at));
        let until = until.max(earliest_at);
        let finished_at = owner
            .and_then(|uid| self.owners.by_uid.get(uid)?.fact.finished_at)
            .filter(|at| (earliest_at..=until).contains(at));
        End {
            at: finished_at.unwrap_or(earliest_at),
            earliest_at,
            latest_at: finished_at.unwrap_or(until),
        }
    }

    /// Another pod of the same owner; of several, always the same one.
    fn sibling(&self, owner: &str) -> Option<Cow<'_, super::pod::Known>> {
        self.pods
            .pods_of(owner)
            .min()
            .and_then(|uid| self.pods.by_uid.get(uid))
    }

    fn sibling_request(&self, owner: &str) -> Option<Resources> {
        let sibling = self.sibling(owner)?;
        let state = sibling.state()?;
        Some(Resources {
            cpu_millicores: state.cpu_request_millicores,
            memory_bytes: state.memory_request_bytes,
            gpu_milligpus: state.gpu_request_milligpus,
        })
    }
}

/// What Events of pods tell, by the UID of the pod.
fn traces(events: &[Event], since: Timestamp, until: Timestamp) -> BTreeMap<String, Trace> {
    let mut traces: BTreeMap<String, Trace> = BTreeMap::new();
    for event in events {
        let involved = &event.involved_object;
        let (Some("Pod"), Some(uid), Some(name)) = (involved.kind.as_deref(), &involved.uid, &involved.name)
        else {
            continue;
        };
        let at = event
            .event_time
            .as_ref()
            .map(|at| at.0)
            .or_else(|| time(event.last_timestamp.as_ref()))
            .or_else(|| time(event.first_timestamp.as_ref()));
        let Some(at) = at.filter(|at| *at > since - RESOLUTION && *at <= until) else {
            continue;
        };
        let reason = event.reason.as_deref().unwrap_or_default();
        if !matches!(reason, "Scheduled" | "Started" | "Killing") {
            continue;
        }
        let trace = traces.entry(uid.clone()).or_default();
        trace.namespace = involved.namespace.clone().unwrap_or_default();
        trace.name.clone_from(name);
        let slot = match reason {
            "Scheduled" => {
                let assigned = event.message.as_deref().and_then(assigned_node);
                trace.node = assigned.map(str::to_owned).or(trace.node.take());
                &mut trace.scheduled_at
            }
            "Started" => &mut trace.started_at,
            _ => &mut trace.killing_at,
        };
        *slot = Some(slot.map_or(at, |known| known.min(at)));
        if reason != "Scheduled" && trace.node.is_none() {
            trace.node = event.source.as_ref().and_then(|source| source.host.clone());
        }
    }
    traces
}

/// The node in the scheduler's message: `Successfully assigned NAMESPACE/POD to NODE`.
fn assigned_node(message: &str) -> Option<&str> {
    let (_, node) = message
        .strip_prefix("Successfully assigned ")?
        .rsplit_once(" to ")?;
    Some(node.trim()).filter(|node| !node.is_empty())
}

/// The owner whose name the pod's name begins with: controllers append five characters, and an index before them.
fn owner_of<'a>(owners: &HashMap<(&str, &str), &'a str>, trace: &Trace) -> Option<&'a str> {
    let (first, _) = trace.name.rsplit_once('-')?;
    let named = |name: &str| owners.get(&(trace.namespace.as_str(), name)).copied();
    named(first).or_else(|| named(first.rsplit_once('-')?.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::Settings;
    use crate::object::Object;
    use crate::occupancy::Sight;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-16T{time}Z").parse().unwrap()
    }

    fn apply(index: &mut Index, kind: &str, object: &serde_json::Value, time: &str) {
        let seen = Sight {
            at: at(time),
            is_prompt: true,
        };
        let object = Object::from_json(kind, &object.to_string()).unwrap();
        index.apply(&object, seen).unwrap();
    }

    fn event(pod: &str, reason: &str, time: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{pod}.{reason}"), "namespace": "data", "uid": format!("{pod}-{reason}")},
            "involvedObject": {"kind": "Pod", "namespace": "data", "name": pod, "uid": format!("uid-{pod}")},
            "reason": reason, "message": message, "lastTimestamp": at(time),
        }))
        .unwrap()
    }

    /// A node and a Job that has finished at 10:05.
    fn index() -> Index {
        let mut index = Index::new(Settings::new("c"));
        let node = json!({
            "metadata": {"name": "n", "uid": "node", "creationTimestamp": at("09:00:00")},
            "status": {"capacity": {"cpu": "4", "memory": "16Gi"}, "allocatable": {"cpu": "4", "memory": "16Gi"},
                "nodeInfo": {"architecture": "", "bootID": "b", "containerRuntimeVersion": "", "kernelVersion": "",
                    "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
                    "systemUUID": "s"}},
        });
        apply(&mut index, "Node", &node, "09:00:01");
        let job = json!({
            "metadata": {"name": "load", "namespace": "data", "uid": "job", "creationTimestamp": at("10:01:00")},
            "spec": {"template": {"spec": {"containers": [
                {"name": "main", "resources": {"requests": {"cpu": "1500m", "memory": "2Gi"}}}]}}},
            "status": {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at("10:05:00")}]},
        });
        apply(&mut index, "Job", &job, "10:10:00");
        index
    }

    fn states(recovered: &Recovered) -> Vec<&PodState> {
        let states = recovered.facts.iter().filter_map(|fact| match fact {
            Fact::PodState(state) => Some(state.as_ref()),
            _ => None,
        });
        states.collect()
    }

    #[test]
    fn a_pod_that_nobody_saw_has_the_request_of_its_job_and_ends_with_it() {
        let mut index = index();
        let events = [
            event(
                "load-x7k2p",
                "Scheduled",
                "10:02:00",
                "Successfully assigned data/load-x7k2p to n",
            ),
            event("load-x7k2p", "Started", "10:02:09", "Started container main"),
        ];
        let recovered = index.recover(&events, at("10:00:00"), at("10:10:00"));
        assert_eq!(recovered.pods, 1);
        let state = states(&recovered)[0];
        assert_eq!(
            (state.pod_uid.as_str(), state.machine.as_deref()),
            ("uid-load-x7k2p", Some("s#b"))
        );
        assert_eq!(
            (state.bound_at, state.running_at),
            (Some(at("10:02:00")), Some(at("10:02:09")))
        );
        assert_eq!(
            (state.released_at, state.end_latest_at),
            (Some(at("10:05:00")), Some(at("10:05:00")))
        );
        assert_eq!(
            (state.cpu_request_millicores, state.memory_request_bytes),
            (1500, 2 << 30)
        );
        assert_eq!(state.phase.as_deref(), Some("Succeeded"));
        let owners = recovered.facts.iter().find_map(|fact| match fact {
            Fact::PodIdentity(identity) => Some(&identity.owners),
            _ => None,
        });
        assert_eq!(owners.unwrap()[0].uid, "job");
    }

    #[test]
    fn a_pod_of_which_nothing_else_is_known_ends_with_its_last_sign_of_life_and_asks_for_nothing() {
        let mut index = index();
        let events = [event(
            "loner",
            "Scheduled",
            "10:02:00",
            "Successfully assigned data/loner to n",
        )];
        let recovered = index.recover(&events, at("10:00:00"), at("10:10:00"));
        let state = states(&recovered)[0];
        assert_eq!(
            (state.released_at, state.end_earliest_at),
            (Some(at("10:02:00")), Some(at("10:02:00")))
        );
        assert_eq!(state.end_latest_at, Some(at("10:10:00")));
        assert_eq!(state.cpu_request_millicores, 0);
    }

    #[test]
    fn what_was_told_before_the_gap_and_pods_that_are_there_are_left_alone() {
        let mut index = index();
        let pod = json!({
            "metadata": {"name": "here", "namespace": "data", "uid": "uid-here", "creationTimestamp": at("10:03:00")},
            "spec": {"nodeName": "n", "containers": [{"name": "main"}]},
        });
        apply(&mut index, "Pod", &pod, "10:10:00");
        let events = [
            event(
                "here",
                "Scheduled",
                "10:03:00",
                "Successfully assigned data/here to n",
            ),
            event(
                "before",
                "Scheduled",
                "09:58:00",
                "Successfully assigned data/before to n",
            ),
        ];
        assert_eq!(index.recover(&events, at("10:00:00"), at("10:10:00")).facts, []);
    }

    #[test]
    fn a_pod_that_vanished_ends_where_an_event_says() {
        let mut index = index();
        let pod = json!({
            "metadata": {"name": "web", "namespace": "data", "uid": "uid-web", "creationTimestamp": at("09:30:00")},
            "spec": {"nodeName": "n", "containers": [{"name": "main"}]},
            "status": {"phase": "Running", "startTime": at("09:30:00")},
        });
        apply(&mut index, "Pod", &pod, "09:30:00");
        let seen = Sight {
            at: at("10:10:00"),
            is_prompt: false,
        };
        index.relisting("Pod");
        let facts = index.relisted("Pod", seen, Some(at("10:00:00")));
        let Some(Fact::PodState(gone)) = facts.first() else {
            panic!("{facts:?}")
        };
        assert_eq!(
            (gone.end_source, gone.end_earliest_at),
            (Some("sampled"), Some(at("10:00:00")))
        );
        let events = [event("web", "Killing", "10:04:00", "Stopping container main")];
        let recovered = index.recover(&events, at("10:00:00"), at("10:10:00"));
        assert_eq!(recovered.pods, 0);
        let state = states(&recovered)[0];
        assert_eq!(
            (state.end_source, state.released_at),
            (Some("event"), Some(at("10:04:00")))
        );
    }

    #[test]
    fn an_index_that_is_restored_answers_as_if_it_had_never_stopped() {
        let mut whole = index();
        let mut restored = Index::new(Settings::new("c"));
        for entry in whole.changed().unwrap() {
            restored.restore(&entry).unwrap();
        }
        let pod = |phase: &str, label: &str| {
            json!({
                "metadata": {"name": "load-x7k2p", "namespace": "data", "uid": "p", "creationTimestamp": at("10:12:00"),
                    "labels": {"team": label},
                    "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "load", "uid": "job", "controller": true}]},
                "spec": {"nodeName": "n", "containers": [{"name": "main"}]},
                "status": {"phase": phase, "startTime": at("10:12:00")},
            })
        };
        let steps = [
            ("Pending", "a", "10:12:01"),
            ("Running", "b", "10:12:05"),
            ("Running", "b", "10:12:06"),
            ("Succeeded", "b", "10:13:00"),
        ];
        for (phase, label, time) in steps {
            let seen = Sight {
                at: at(time),
                is_prompt: true,
            };
            let object = Object::from_json("Pod", &pod(phase, label).to_string()).unwrap();
            assert_eq!(
                restored.apply(&object, seen).unwrap(),
                whole.apply(&object, seen).unwrap()
            );
            // Kept and taken back after every change.
            let mut again = Index::new(Settings::new("c"));
            let mut kept: BTreeMap<(String, String), crate::index::Entry> = BTreeMap::new();
            for entry in index()
                .changed()
                .unwrap()
                .into_iter()
                .chain(restored.changed().unwrap())
            {
                kept.insert((entry.kind.clone(), entry.key.clone()), entry);
            }
            for entry in kept.values() {
                again.restore(entry).unwrap();
            }
            restored = again;
        }
    }
}
