//! Pods: states, identities, container requests and ends.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use super::gone::GonePods;
use super::kept::Ended;
use super::open::OpenPods;
use super::{Index, after, labels, micros, name, time, uid};
use crate::error::Result;
use crate::facts::{ContainerRequest, Fact, PodClaim, PodIdentity, PodState};
use crate::fargate::billed_shape;
use crate::occupancy::{self, Clues, Ending, Sight};
use crate::request::effective_request;

/// The kubelet's mark on the API object of a static pod: the hash of its configuration.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// That hash has so many characters, and a UID more.
const CONFIG_HASH_LENGTH: usize = 32;

/// Reasons for which a bound pod is stuck: changes among them change no cost.
const STUCK: &[&str] = &[
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// How a pod left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    Deleted,
    /// A list did not show it any more; it was there until `since`.
    Vanished {
        since: Option<Timestamp>,
    },
}

/// The pods that are there.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pub(super) by_uid: OpenPods,
    by_node: HashMap<String, HashSet<String>>,
    by_owner: HashMap<String, HashSet<String>>,
    by_name: HashMap<(String, String), String>,
    /// Static pods whose mirror was deleted: the kubelet makes another, and the pod has run on all the while.
    pub(super) unmirrored: HashMap<String, PodState>,
    /// Pods that the last list did not show any more, until Events have told what became of them.
    pub(super) vanished: HashMap<String, PodState>,
    /// Pods that ended and are still there.
    pub(super) ended: Ended,
    /// Pods that are gone, and of which their engine may still speak.
    pub(super) gone: GonePods,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Known {
    #[serde(skip)]
    pub(super) list: u64,
    is_mirror: bool,
    last_seen_at: Timestamp,
    first_bound_at: Option<Timestamp>,
    clues: Clues,
    state: Option<PodState>,
    pub(super) identity: Option<PodIdentity>,
    pub(super) requests: Vec<ContainerRequest>,
    pub(super) ends: Vec<(String, i64)>,
    /// Name of the object in its engine's records, beside the pod's own.
    engine_node: Option<String>,
}

impl Known {
    /// A pod as facts tell of it; what its status said besides is not known.
    pub(super) fn of(state: PodState) -> Self {
        Self {
            list: 0,
            is_mirror: state.pod_uid.len() == CONFIG_HASH_LENGTH,
            last_seen_at: state.observed_at,
            first_bound_at: state.bound_at,
            clues: Clues::of_times(state.running_at, state.finished_at),
            state: Some(state),
            identity: None,
            requests: Vec::new(),
            ends: Vec::new(),
            engine_node: None,
        }
    }

    pub(super) fn identity(&self) -> Option<&PodIdentity> {
        self.identity.as_ref()
    }

    pub(super) fn engine_node(&self) -> Option<&str> {
        self.engine_node.as_deref()
    }

    pub(super) fn state(&self) -> Option<&PodState> {
        self.state.as_ref()
    }

    pub(super) fn machine(&self) -> Option<&str> {
        self.state.as_ref()?.machine.as_deref()
    }
}

impl Pods {
    /// Takes a pod back as it was kept.
    pub(super) fn restore(&mut self, key: &str, known: Box<Known>) {
        if let Some(state) = &known.state {
            if let Some(node) = &state.node_name {
                let pods = self.by_node.entry(node.clone()).or_default();
                pods.insert(key.to_owned());
            }
            let place = (
                state.namespace.clone().unwrap_or_default(),
                state.pod_name.clone().unwrap_or_default(),
            );
            self.by_name.insert(place, key.to_owned());
            self.ended.note(None, state);
        }
        for owner in known.identity.iter().flat_map(|identity| &identity.owners) {
            let pods = self.by_owner.entry(owner.uid.clone()).or_default();
            pods.insert(key.to_owned());
        }
        self.by_uid.insert(key, known);
    }

    /// The nearest owner of a pod, as far as it is known.
    pub(super) fn owner_of(&self, uid: &str) -> Option<crate::facts::Owner> {
        self.by_uid.get(uid)?.identity.as_ref()?.owners.first().cloned()
    }

    /// A node is gone, and its static pods with it.
    pub(super) fn forget_unmirrored(&mut self, node: &str) {
        self.unmirrored
            .retain(|_, state| state.node_name.as_deref() != Some(node));
    }

    /// The pods below an owner, in no order.
    pub(super) fn pods_of(&self, owner_uid: &str) -> impl Iterator<Item = &String> {
        self.by_owner.get(owner_uid).into_iter().flatten()
    }

    pub(super) fn named(&self, namespace: &str, name: &str) -> Option<&String> {
        self.by_name.get(&(namespace.to_owned(), name.to_owned()))
    }
}

/// What identifies a pod: its UID, but for a static pod the hash of its configuration, since the API object that
/// mirrors it may be made anew while the pod runs on.
pub(super) fn key(pod: &Pod) -> Result<String> {
    let annotations = pod.metadata.annotations.as_ref();
    match annotations.and_then(|annotations| annotations.get(MIRROR_ANNOTATION)) {
        Some(hash) if !hash.is_empty() => Ok(hash.clone()),
        _ => uid(&pod.metadata),
    }
}

/// The claims that a pod mounts: those that it names, and those that are made for it alone.
fn claims(pod: &Pod, pod_name: &str) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(
        |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{pod_name}-{}", volume.name)),
            (None, None) => None,
        },
    );
    names.collect::<std::collections::BTreeSet<String>>().into_iter()
}

impl Index {
    pub(super) fn apply_pod(&mut self, pod: &Pod, seen: Sight, facts: &mut Vec<Fact>) -> Result<()> {
        let key = key(pod)?;
        let pod_name = name(&pod.metadata)?;
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        // A kubelet lists its static pods without a creation.
        let created_at = occupancy::created_at(pod)
            .or_else(|| time(pod.status.as_ref()?.start_time.as_ref()))
            .unwrap_or(seen.at);
        // Everything that can fail comes before anything is changed.
        let request = effective_request(pod, &self.settings.accelerators)?;
        let requests = self.container_requests(pod, &key, seen)?;
        let billed = billed_shape(pod, &request);
        let (list, clues) = (self.list("Pod"), Clues::of(pod));

        let node_name = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone())
            .filter(|name| !name.is_empty());
        let unmirrored = self.pods.unmirrored.remove(&key);
        let is_again = unmirrored.is_some();
        let known = self.pods.by_uid.get_or_insert(&key, || Known {
            list,
            is_mirror: pod.metadata.uid.as_ref() != Some(&key),
            last_seen_at: seen.at,
            first_bound_at: None,
            clues,
            state: unmirrored,
            identity: None,
            requests: Vec::new(),
            ends: Vec::new(),
            engine_node: None,
        });
        known.list = list;
        known.clues = clues;
        known.last_seen_at = known.last_seen_at.max(seen.at);
        if node_name.is_some() && known.first_bound_at.is_none() {
            known.first_bound_at = Some(seen.at.max(created_at));
        }
        let last = known.state.as_ref();
        let is_new = last.is_none();
        // The object that mirrors a static pod may be younger than the pod.
        let start = occupancy::start(pod, known.first_bound_at).filter(|start| {
            let bound_at = last.and_then(|last| last.bound_at);
            bound_at.is_none_or(|bound_at| micros(start.at) <= bound_at)
        });
        let bound_at = start
            .map(|start| micros(start.at))
            .or_else(|| last.and_then(|last| last.bound_at));
        let not_before = |at: Option<Timestamp>, floor: Option<Timestamp>| {
            at.map(|at| micros(floor.map_or(at, |floor| at.max(floor))))
        };
        let running_at = [occupancy::running_at(pod), last.and_then(|last| last.running_at)]
            .into_iter()
            .flatten()
            .min();
        let running_at = not_before(running_at, bound_at).filter(|_| bound_at.is_some());
        let finished_at = not_before(
            occupancy::finished_at(pod).or_else(|| last.and_then(|last| last.finished_at)),
            running_at.or(bound_at),
        )
        .filter(|_| running_at.is_some());
        let waiting_reason = occupancy::waiting_reason(pod).map(|reason| {
            // The first reason stands for all that follow it: the pod stays stuck.
            let still = last
                .and_then(|last| last.waiting_reason.as_deref())
                .filter(|before| STUCK.contains(before) && STUCK.contains(&reason));
            still.unwrap_or(reason).to_owned()
        });
        let mut state = PodState {
            cluster: self.settings.cluster.clone(),
            pod_uid: key.clone(),
            observed_at: after(last.map(|last| last.observed_at), micros(seen.at)),
            pod_name: Some(pod_name.clone()),
            namespace: Some(namespace.clone()),
            machine: last.and_then(|last| last.machine.clone()).or_else(|| {
                let name = node_name.as_deref()?;
                self.machines.machine_of_pod(name, bound_at).map(str::to_owned)
            }),
            node_name: node_name.clone(),
            created_at: last.map_or(micros(created_at), |last| last.created_at.min(micros(created_at))),
            bound_at,
            start_source: start
                .map(|start| start.source)
                .or_else(|| last.and_then(|last| last.start_source)),
            running_at,
            finished_at,
            released_at: last.and_then(|last| last.released_at),
            end_source: last.and_then(|last| last.end_source),
            end_earliest_at: last.and_then(|last| last.end_earliest_at),
            end_latest_at: last.and_then(|last| last.end_latest_at),
            phase: occupancy::phase(pod).map(str::to_owned),
            waiting_reason,
            end_reason: occupancy::end_reason(pod).map(str::to_owned),
            exit_code: occupancy::exit_code(pod),
            deletion_requested_at: occupancy::deletion_requested_at(pod)
                .map(micros)
                .or_else(|| last.and_then(|last| last.deletion_requested_at)),
            cpu_request_millicores: request.cpu_millicores,
            memory_request_bytes: request.memory_bytes,
            gpu_request_milligpus: request.gpu_milligpus,
            billed_cpu_millicores: billed.map(|(millicores, _)| millicores),
            billed_memory_bytes: billed.map(|(_, bytes)| bytes),
        };
        if occupancy::is_terminal(pod) && state.released_at.is_none() {
            let ended_at = self.machines.ended_at(state.machine.as_deref());
            release(&mut state, &clues, Ending::Terminal, seen, ended_at);
        }
        if is_again && let Some(known) = self.pods.by_uid.get_mut(&key) {
            // What was told last is that it had ended.
            known.state = None;
        }
        self.keep(state, facts);
        if let Some(node_name) = node_name {
            self.pods
                .by_node
                .entry(node_name)
                .or_default()
                .insert(key.clone());
        }
        self.pods
            .by_name
            .insert((namespace.clone(), pod_name.clone()), key.clone());
        if let Some(known) = self.pods.by_uid.get_mut(&key) {
            for request in requests {
                let same = |held: &ContainerRequest| {
                    ContainerRequest {
                        observed_at: request.observed_at,
                        ..held.clone()
                    } == request
                };
                if !known.requests.iter().any(same) {
                    known
                        .requests
                        .retain(|held| held.container_name != request.container_name);
                    known.requests.push(request.clone());
                    facts.push(request.into());
                }
            }
        }
        if is_new {
            // What a pod mounts never changes.
            facts.extend(claims(pod, &pod_name).map(|claim_name| {
                Fact::from(PodClaim {
                    cluster: self.settings.cluster.clone(),
                    pod_uid: key.clone(),
                    claim_name,
                    namespace: Some(namespace.clone()),
                    observed_at: micros(seen.at),
                })
            }));
        }
        self.container_ends(pod, &key, seen, facts);
        self.apply_identity(pod, &key, created_at, seen, facts);
        self.tell_engine_outcome(&key, &namespace, &pod_name, pod, seen, facts);
        Ok(())
    }

    /// Notes a state and tells it, if it differs from the last in anything but the time of observation.
    fn keep(&mut self, state: PodState, facts: &mut Vec<Fact>) {
        let Some(known) = self.pods.by_uid.get_mut(&state.pod_uid) else {
            return;
        };
        let same = known.state.as_ref().is_some_and(|last| {
            PodState {
                observed_at: state.observed_at,
                ..last.clone()
            } == state
        });
        if !same {
            self.pods.ended.note(known.state.as_ref(), &state);
            known.state = Some(state.clone());
            facts.push(state.into());
        }
    }

    pub(super) fn pod_gone(&mut self, key: &str, how: Gone, seen: Sight, facts: &mut Vec<Fact>) {
        let Some(known) = self.pods.by_uid.get_mut(key) else {
            return;
        };
        let (clues, last_seen_at, is_mirror) = (known.clues, known.last_seen_at, known.is_mirror);
        if let Some(last) = &known.state {
            let mut state = last.clone();
            state.observed_at = after(Some(state.observed_at), micros(seen.at));
            if state.released_at.is_none() {
                let ending = match how {
                    Gone::Deleted => Ending::Deleted,
                    Gone::Vanished { since } => Ending::Vanished {
                        last_seen_at: since.map_or(last_seen_at, |since| since.max(last_seen_at)),
                    },
                };
                let ended_at = self.machines.ended_at(state.machine.as_deref());
                release(&mut state, &clues, ending, seen, ended_at);
                state.waiting_reason = None;
                if state.end_reason.is_none()
                    && !matches!(state.phase.as_deref(), Some("Succeeded" | "Failed"))
                {
                    state.end_reason = Some("Deleted".to_owned());
                }
                if is_mirror && ended_at.is_none() {
                    let still = PodState {
                        observed_at: state.observed_at,
                        deletion_requested_at: None,
                        ..last.clone()
                    };
                    self.pods.unmirrored.insert(key.to_owned(), still);
                }
                if matches!(how, Gone::Vanished { .. }) {
                    self.pods.vanished.insert(key.to_owned(), state.clone());
                }
                self.keep(state, facts);
            }
        }
        if let Some(known) = self.pods.by_uid.remove(key) {
            self.note_gone(key, &known, seen);
            if let Some(state) = known.state {
                self.tell_removed(&state, seen, facts);
                let place = (
                    state.namespace.unwrap_or_default(),
                    state.pod_name.unwrap_or_default(),
                );
                if self.pods.by_name.get(&place).is_some_and(|uid| uid == key) {
                    self.pods.by_name.remove(&place);
                }
                if let Some(node) = state.node_name {
                    forget(&mut self.pods.by_node, &node, key);
                }
            }
            for owner in known.identity.into_iter().flat_map(|identity| identity.owners) {
                forget(&mut self.pods.by_owner, &owner.uid, key);
            }
        }
    }

    /// The machine of a node has become known: pods that were bound to it before they could be told to be on it belong to it,
    /// also those that were taken to be on the machine that had the name before.
    pub(super) fn place_pods(&mut self, node: &str, seen: Sight, facts: &mut Vec<Fact>) {
        let Some(since) = self.machines.since(node) else {
            return;
        };
        for key in sorted(self.pods.by_node.get(node)) {
            let Some(known) = self.pods.by_uid.get(&key) else {
                continue;
            };
            let Some(last) = &known.state else { continue };
            if last.machine.is_some() && last.bound_at.is_none_or(|bound_at| bound_at < since) {
                continue;
            }
            let machine = self.machines.machine_of_pod(node, last.bound_at);
            if last.machine.as_deref() != machine {
                let mut state = last.clone();
                state.machine = machine.map(str::to_owned);
                state.observed_at = after(Some(state.observed_at), micros(seen.at));
                self.keep(state, facts);
            }
        }
    }

    /// More of a chain of owners has become known: pods below it get it all.
    pub(super) fn extend_owners(&mut self, owner_uid: &str, facts: &mut Vec<Fact>) {
        for key in sorted(self.pods.by_owner.get(owner_uid)) {
            let Some(last) = self
                .pods
                .by_uid
                .get(&key)
                .and_then(|known| known.into_owned().identity)
            else {
                continue;
            };
            let owners = match last.owners.first() {
                Some(nearest) => self.chain(nearest.clone()),
                None => continue,
            };
            if owners.len() > last.owners.len() {
                // The same instant: it is the same identity, known better.
                self.keep_identity(PodIdentity { owners, ..last }, facts);
            }
        }
    }

    fn apply_identity(
        &mut self,
        pod: &Pod,
        key: &str,
        created_at: Timestamp,
        seen: Sight,
        facts: &mut Vec<Fact>,
    ) {
        let references = pod.metadata.owner_references.as_deref().unwrap_or_default();
        let nearest = references
            .iter()
            .find(|owner| owner.controller == Some(true))
            .or_else(|| references.first());
        let owners = nearest.map_or_else(Vec::new, |owner| {
            self.chain(crate::facts::Owner {
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            })
        });
        let annotations = self.annotations(&pod.metadata);
        let known = self.pods.by_uid.get(key);
        let last = known.as_ref().and_then(|known| known.identity.as_ref());
        // The rest of a chain may be gone, or not be listed yet: it was seen once.
        let owners = match last {
            Some(last) if !owners.is_empty() && last.owners.starts_with(&owners) => last.owners.clone(),
            _ => owners,
        };
        let identity = PodIdentity {
            cluster: self.settings.cluster.clone(),
            pod_uid: key.to_owned(),
            valid_from_at: last.map_or(created_at, |last| {
                let labels = pod.metadata.labels.as_ref();
                let same = labels.map_or(last.labels.is_empty(), |labels| *labels == last.labels)
                    && last.annotations == annotations;
                if same {
                    last.valid_from_at
                } else {
                    after(Some(last.valid_from_at), micros(seen.at))
                }
            }),
            labels: labels(&pod.metadata),
            annotations,
            owners,
        };
        self.keep_identity(identity, facts);
    }

    fn keep_identity(&mut self, identity: PodIdentity, facts: &mut Vec<Fact>) {
        let Some(known) = self.pods.by_uid.get_mut(&identity.pod_uid) else {
            return;
        };
        if known.identity.as_ref() == Some(&identity) {
            return;
        }
        for owner in &identity.owners {
            self.pods
                .by_owner
                .entry(owner.uid.clone())
                .or_default()
                .insert(identity.pod_uid.clone());
        }
        known.identity = Some(identity.clone());
        facts.push(identity.into());
    }

    /// The UID of the pod that an engine's record names.
    pub(super) fn pod_of_engine(&self, namespace: &str, name: &str) -> Option<String> {
        self.pods.named(namespace, name).cloned()
    }

    pub(super) fn pod_of_engine_node(&self, node: &str, pods: &HashSet<String>) -> Option<String> {
        pods.iter()
            .find(|uid| {
                self.pods
                    .by_uid
                    .get(uid)
                    .is_some_and(|known| known.engine_node.as_deref() == Some(node))
            })
            .cloned()
    }

    pub(super) fn pods_below(&self, owner_uid: &str) -> HashSet<String> {
        self.pods.by_owner.get(owner_uid).cloned().unwrap_or_default()
    }

    pub(super) fn set_engine_node(&mut self, key: &str, node: Option<String>) {
        if let Some(known) = self.pods.by_uid.get_mut(key) {
            known.engine_node = node;
        }
    }
}

/// Sets the end of a state, clamped to the end of its machine where that is known.
fn release(
    state: &mut PodState,
    clues: &Clues,
    ending: Ending,
    seen: Sight,
    machine_ended_at: Option<Timestamp>,
) {
    let Some(bound_at) = state.bound_at else {
        // It never held anything.
        return;
    };
    let mut end = clues.end(ending, seen, bound_at);
    if let Some(ended_at) = machine_ended_at.filter(|ended| *ended < end.at) {
        end.at = ended_at.max(bound_at);
        end.source = "machine_end";
        end.earliest_at = end.earliest_at.min(end.at);
        end.latest_at = end.at;
    }
    state.released_at = Some(micros(end.at));
    state.end_source = Some(end.source);
    state.end_earliest_at = Some(micros(end.earliest_at));
    state.end_latest_at = Some(micros(end.latest_at));
    // Containers do not outlive the pod, whatever clock wrote their end.
    state.running_at = state.running_at.map(|at| at.min(micros(end.latest_at)));
    state.finished_at = state.finished_at.map(|at| at.min(micros(end.latest_at)));
}

fn sorted(keys: Option<&HashSet<String>>) -> Vec<String> {
    let mut sorted: Vec<String> = keys.into_iter().flatten().cloned().collect();
    sorted.sort_unstable();
    sorted
}

fn forget(map: &mut HashMap<String, HashSet<String>>, key: &str, value: &str) {
    if let Some(held) = map.get_mut(key) {
        held.remove(value);
        if held.is_empty() {
            map.remove(key);
        }
    }
}
