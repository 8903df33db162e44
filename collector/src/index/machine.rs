//! Machines: what is billed, told from the nodes that it registers as and the claims that ordered it.
//!
//! A machine is one boot of one instance. A Node object made anew for the same boot is the same machine; a name used
//! again by another instance is another one, and so is an instance that was stopped and started.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use serde::{Deserialize, Serialize};

use super::claim::KnownClaim;
use super::cloud::{GPU_MODEL, INSTANCE_TYPE, POOL, REGION, ZONE, billing_model, capacity_type, provider};
use super::entry::Key;
use super::{Index, after, created, label, micros, name, time, uid};
use crate::error::Result;
use crate::facts::{Fact, Machine, NodeState};
use crate::occupancy::Sight;
use crate::request::node_resources;
use crate::words::{Word, word};

/// Not ready for longer than this before a new boot, the instance was stopped; else it was rebooted. A reboot takes a
/// minute or two; a stop and start goes through the cloud's control plane.
const REBOOT_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// Taints that announce the end of a node, and what they say of its cause; the first that a node has counts.
const GOING_AWAY: &[(&str, &str)] = &[
    ("aws-node-termination-handler/spot-itn", "SpotInterrupted"),
    ("cloud.google.com/impending-node-termination", "SpotInterrupted"),
    (
        "aws-node-termination-handler/rebalance-recommendation",
        "RebalanceRecommended",
    ),
    (
        "aws-node-termination-handler/scheduled-maintenance",
        "ScheduledMaintenance",
    ),
    (
        "aws-node-termination-handler/asg-lifecycle-termination",
        "ScaledDown",
    ),
    ("ToBeDeletedByClusterAutoscaler", "ScaledDown"),
    ("node.kubernetes.io/out-of-service", "NodeLost"),
    ("node.kubernetes.io/unreachable", "NodeLost"),
    ("karpenter.sh/disrupted", UNKNOWN_CAUSE),
    ("karpenter.sh/disruption", UNKNOWN_CAUSE),
];

/// The end reason where nothing tells a cause.
pub(super) const UNKNOWN_CAUSE: &str = "disrupted_unknown";

#[derive(Debug, Default)]
pub(super) struct Machines {
    pub(super) nodes: HashMap<String, KnownNode>,
    pub(super) machines: HashMap<String, Machine>,
    pub(super) claims: HashMap<String, KnownClaim>,
    /// Causes that Events named, by the name of the node or claim that they are about.
    pub(super) causes: HashMap<String, Word>,
    /// Those of which there was neither a node nor a claim when that was asked last.
    causes_of_nothing: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KnownNode {
    #[serde(skip)]
    list: u64,
    pub(super) machine: String,
    /// Since when the name stands for this machine: pods that were bound before are on another.
    #[serde(default = "ever")]
    since: Timestamp,
    boot_id: Option<String>,
    last_seen_at: Timestamp,
    not_ready_since: Option<Timestamp>,
    #[serde(deserialize_with = "word::optional")]
    cause: Option<Word>,
    state: NodeState,
    /// Where its kubelet answers: address and port.
    #[serde(default)]
    pub(super) kubelet: Option<String>,
}

/// Where nothing is known of an earlier machine.
fn ever() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

impl KnownNode {
    /// A node as facts tell of it.
    pub(super) fn of(machine: &Machine, state: NodeState) -> Self {
        Self {
            list: 0,
            machine: machine.machine.clone(),
            since: machine.launched_at,
            boot_id: machine.boot_id.clone(),
            last_seen_at: state.observed_at.max(machine.observed_at),
            not_ready_since: None,
            cause: None,
            state,
            kubelet: None,
        }
    }
}

/// The port of kubelets that name none.
const KUBELET_PORT: i32 = 10_250;

/// Where the kubelet of a node answers.
fn kubelet(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let addresses = status.addresses.iter().flatten();
    let address = addresses
        .filter(|address| address.type_ == "InternalIP")
        .map(|address| address.address.as_str())
        .next()?;
    let endpoint = status
        .daemon_endpoints
        .as_ref()
        .and_then(|endpoints| endpoints.kubelet_endpoint.as_ref());
    let port = endpoint.map_or(KUBELET_PORT, |endpoint| endpoint.port);
    Some(if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    })
}

impl Machines {
    pub(super) fn nodes_older_than(&self, list: u64) -> Vec<String> {
        older(self.nodes.iter().map(|(name, node)| (name, node.list)), list)
    }

    /// A list shows a node, whatever it is like.
    pub(super) fn keep_node(&mut self, name: &str, list: u64) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.list = list;
        }
    }

    pub(super) fn machine_of(&self, node: &str) -> Option<&str> {
        self.nodes.get(node).map(|node| node.machine.as_str())
    }

    /// Since when the name of a node stands for the machine that it is.
    pub(super) fn since(&self, node: &str) -> Option<Timestamp> {
        self.nodes.get(node).map(|node| node.since)
    }

    /// The machine that a pod is on which was bound to a node at an instant. Watches arrive one beside the other, and names are
    /// used again: the node may be another machine by now, or gone.
    pub(super) fn machine_of_pod(&self, node: &str, bound_at: Option<Timestamp>) -> Option<&str> {
        let known = self.nodes.get(node);
        bound_at
            .filter(|at| known.is_none_or(|known| *at < known.since))
            .and_then(|at| self.machine_at(node, at))
            .or_else(|| known.map(|known| known.machine.as_str()))
    }

    /// The machine that a node was at an instant.
    pub(super) fn machine_at(&self, node: &str, at: Timestamp) -> Option<&str> {
        let lived = self.machines.values().filter(|machine| {
            machine.node_name.as_deref() == Some(node)
                && machine.launched_at <= at
                && machine.ended_at.is_none_or(|ended_at| at <= ended_at)
        });
        lived
            .max_by_key(|machine| (machine.launched_at, &machine.machine))
            .map(|machine| machine.machine.as_str())
    }

    pub(super) fn ended_at(&self, machine: Option<&str>) -> Option<Timestamp> {
        self.machines.get(machine?)?.ended_at
    }

    /// Notes what an Event says of why a node or claim goes away.
    pub(super) fn note_cause(&mut self, involved: &str, cause: &'static str) {
        self.causes.insert(involved.to_owned(), cause);
    }

    /// Forgets causes of which there was neither a node nor a claim now and the last time this was asked: an Event may come after what it
    /// tells of is gone, or before it is listed.
    pub(super) fn forget_causes(&mut self) -> Vec<String> {
        let claims: BTreeSet<&str> = self
            .claims
            .values()
            .map(|known| known.claim.node_claim.as_str())
            .collect();
        let of_nothing = |name: &&String| !self.nodes.contains_key(*name) && !claims.contains(name.as_str());
        let of_nothing: BTreeSet<String> = self.causes.keys().filter(of_nothing).cloned().collect();
        let before = std::mem::replace(&mut self.causes_of_nothing, of_nothing);
        let over: Vec<String> = before.intersection(&self.causes_of_nothing).cloned().collect();
        for name in &over {
            self.causes.remove(name);
            self.causes_of_nothing.remove(name);
        }
        over
    }
}

pub(super) fn older<'a>(known: impl Iterator<Item = (&'a String, u64)>, list: u64) -> Vec<String> {
    let mut older: Vec<String> = known
        .filter(|(_, seen_in)| *seen_in < list)
        .map(|(key, _)| key.clone())
        .collect();
    older.sort_unstable();
    older
}

impl Index {
    pub(super) fn apply_node(&mut self, node: &Node, seen: Sight, facts: &mut Vec<Fact>) -> Result<()> {
        let node_name = name(&node.metadata)?;
        let node_uid = uid(&node.metadata)?;
        let status = node.status.as_ref();
        let capacity = node_resources(
            status.and_then(|status| status.capacity.as_ref()),
            false,
            &self.settings.accelerators,
        )?;
        let allocatable = node_resources(
            status.and_then(|status| status.allocatable.as_ref()),
            true,
            &self.settings.accelerators,
        )?;
        let info = status.and_then(|status| status.node_info.as_ref());
        let boot_id = info.map(|info| info.boot_id.clone()).filter(|id| !id.is_empty());
        let provider_id = node
            .spec
            .as_ref()
            .and_then(|spec| spec.provider_id.clone())
            .filter(|id| !id.is_empty());
        let system = info
            .map(|info| info.system_uuid.clone())
            .filter(|id| !id.is_empty());
        let instance = provider_id
            .clone()
            .or(system)
            .unwrap_or_else(|| node_name.clone());
        // A node that boots nothing (a virtual one) is told from the next of its name by its UID.
        let machine = format!("{instance}#{}", boot_id.as_deref().unwrap_or(&node_uid));
        // One whose boot was not told before is the one that tells it now.
        let machine = self
            .machines
            .nodes
            .get(&node_name)
            .filter(|known| known.boot_id.is_none() && boot_id.is_some())
            .filter(|known| {
                known
                    .machine
                    .rsplit_once('#')
                    .is_some_and(|(of, _)| of == instance)
            })
            .map_or(machine, |known| known.machine.clone());
        let cause = going_away(node);
        let ready = ready_condition(node);
        let seen_at = micros(seen.at);

        let mut launched_at = None;
        let before = self.machines.nodes.get(&node_name).map(|known| {
            (
                known.machine.clone(),
                known.last_seen_at,
                known.not_ready_since,
                known.boot_id.clone(),
            )
        });
        if let Some((old, last_seen_at, not_ready_since, old_boot)) = before
            && old != machine
        {
            let same_instance =
                old.rsplit_once('#').is_some_and(|(of, _)| of == instance) && old_boot.is_some();
            let back_at = ready
                .filter(|ready| ready.status == "True")
                .and_then(|ready| time(ready.last_transition_time.as_ref()))
                .filter(|at| *at >= last_seen_at.min(seen.at))
                .map_or(seen_at, micros)
                .min(seen_at);
            let stopped_at = not_ready_since.filter(|since| back_at.duration_since(*since) > REBOOT_WITHIN);
            let (ended_at, reason) = match (same_instance, stopped_at) {
                (true, Some(since)) => (micros(since), "Stopped"),
                (true, None) => (back_at, "Rebooted"),
                // Its Node was gone when that of the next was made.
                (false, _) => (
                    created(&node.metadata).map_or(seen_at, micros).min(seen_at),
                    UNKNOWN_CAUSE,
                ),
            };
            if same_instance {
                launched_at = Some(back_at);
            }
            self.end_machine(&old, ended_at, "boot_id", reason, seen, facts);
            self.machines.nodes.remove(&node_name);
        }

        let labels = node.metadata.labels.clone().unwrap_or_default();
        let provider = provider_id.as_deref().and_then(provider);
        let claim = self.machines.claim_of(&node_name, provider_id.as_deref());
        let (claimed_at, claimed_type) = claim.map_or((None, None), |claim| {
            (claim.launched_at.or(claim.created_at), claim.capacity_type)
        });
        let known = self.machines.machines.get(&machine);
        let (launched_at, launch_source) = match (launched_at, claimed_at, known) {
            (Some(at), _, _) => (at, "boot_id"),
            (None, Some(at), _) => (micros(at), "node_claim"),
            (None, None, Some(known)) => (known.launched_at, known.launch_source),
            (None, None, None) => (created(&node.metadata).map_or(seen_at, micros), "node_created"),
        };
        let zone = label(&labels, ZONE).map(str::to_owned);
        let instance_type = label(&labels, INSTANCE_TYPE).map(str::to_owned);
        let fact = Machine {
            cluster: self.settings.cluster.clone(),
            machine: machine.clone(),
            observed_at: after(known.map(|known| known.observed_at), seen_at),
            node_name: Some(node_name.clone()),
            provider: provider.map(str::to_owned),
            region: label(&labels, REGION).map(str::to_owned),
            zone,
            capacity_type: capacity_type(&labels)
                .or(claimed_type)
                .or(provider.map(|_| "on-demand")),
            pool: label(&labels, POOL).map(str::to_owned),
            provider_id,
            boot_id: boot_id.clone(),
            billing_model: billing_model(&node_name, &labels, provider, instance_type.as_deref()),
            instance_type,
            launched_at,
            launch_source,
            ended_at: None,
            end_source: None,
            end_reason: None,
            gpu_model: label(&labels, GPU_MODEL).map(str::to_owned),
            labels,
        };
        self.keep_machine(fact, facts);

        let state = NodeState {
            cluster: self.settings.cluster.clone(),
            machine: machine.clone(),
            observed_at: seen_at,
            cpu_capacity_millicores: capacity.cpu_millicores,
            cpu_allocatable_millicores: allocatable.cpu_millicores,
            memory_capacity_bytes: capacity.memory_bytes,
            memory_allocatable_bytes: allocatable.memory_bytes,
            gpu_capacity_milligpus: capacity.gpu_milligpus,
            gpu_allocatable_milligpus: allocatable.gpu_milligpus,
            readiness: ready.map(|ready| match ready.status.as_str() {
                "True" => "ready",
                "False" => "not_ready",
                _ => "unknown",
            }),
            disruption: cause.map(str::to_owned),
        };
        let list = self.list("Node");
        let not_ready_since = ready
            .filter(|ready| ready.status != "True")
            .map(|ready| time(ready.last_transition_time.as_ref()).map_or(seen_at, micros));
        match self.machines.nodes.get_mut(&node_name) {
            Some(known) => {
                known.list = list;
                known.last_seen_at = seen_at;
                known.not_ready_since = not_ready_since;
                known.boot_id = boot_id;
                known.cause = cause.or(known.cause);
                known.kubelet = kubelet(node);
                let same = NodeState {
                    observed_at: state.observed_at,
                    ..known.state.clone()
                } == state;
                if !same {
                    let observed_at = after(Some(known.state.observed_at), state.observed_at);
                    known.state = NodeState { observed_at, ..state };
                    facts.push(known.state.clone().into());
                }
            }
            None => {
                // The node registered when it was made, not when it was first seen.
                let registered_at = created(&node.metadata).map_or(seen_at, micros).max(launched_at);
                let state = NodeState {
                    observed_at: registered_at,
                    ..state
                };
                facts.push(state.clone().into());
                self.machines.nodes.insert(
                    node_name.clone(),
                    KnownNode {
                        list,
                        machine: machine.clone(),
                        since: registered_at,
                        boot_id,
                        last_seen_at: seen_at,
                        not_ready_since,
                        cause,
                        state,
                        kubelet: kubelet(node),
                    },
                );
            }
        }
        self.place_pods(&node_name, seen, facts);
        Ok(())
    }

    pub(super) fn keep_machine(&mut self, fact: Machine, facts: &mut Vec<Fact>) {
        let same = self.machines.machines.get(&fact.machine).is_some_and(|known| {
            Machine {
                observed_at: fact.observed_at,
                ..known.clone()
            } == fact
        });
        if !same {
            self.machines.machines.insert(fact.machine.clone(), fact.clone());
            facts.push(fact.into());
        }
    }

    pub(super) fn end_machine(
        &mut self,
        machine: &str,
        ended_at: Timestamp,
        source: &'static str,
        reason: &str,
        seen: Sight,
        facts: &mut Vec<Fact>,
    ) {
        let Some(known) = self.machines.machines.get(machine) else {
            return;
        };
        let fact = Machine {
            observed_at: after(Some(known.observed_at), micros(seen.at)),
            ended_at: Some(micros(ended_at).max(known.launched_at)),
            end_source: Some(source),
            end_reason: Some(reason.to_owned()),
            ..known.clone()
        };
        self.keep_machine(fact, facts);
    }

    /// Takes in why a node or claim goes away, as an Event of an instant tells it. The Event may be of a machine that had the name
    /// before, and watches arrive one beside the other: then the end of that machine is explained.
    pub(super) fn take_cause(
        &mut self,
        involved: &str,
        cause: &'static str,
        at: Timestamp,
        facts: &mut Vec<Fact>,
    ) {
        let since = self.machines.since(involved);
        if since.is_none_or(|since| at < since) {
            let ended = self.machines.machines.values().filter(|machine| {
                machine.node_name.as_deref() == Some(involved)
                    && machine.launched_at <= at
                    && machine.ended_at.is_some_and(|ended_at| at <= ended_at)
            });
            if let Some(machine) = ended.max_by_key(|machine| (machine.launched_at, &machine.machine)) {
                if machine.end_reason.as_deref() == Some(UNKNOWN_CAUSE) {
                    let fact = Machine {
                        observed_at: after(Some(machine.observed_at), at),
                        end_reason: Some(cause.to_owned()),
                        ..machine.clone()
                    };
                    self.keep_machine(fact, facts);
                }
                return;
            }
            if since.is_some() {
                return;
            }
        }
        self.machines.note_cause(involved, cause);
        self.touched.add(Key::Cause(involved.to_owned()));
    }

    pub(super) fn node_gone(&mut self, node_name: &str, seen: Sight, facts: &mut Vec<Fact>) {
        self.pods.forget_unmirrored(node_name);
        let Some(known) = self.machines.nodes.remove(node_name) else {
            return;
        };
        let provider_id = self
            .machines
            .machines
            .get(&known.machine)
            .and_then(|machine| machine.provider_id.clone());
        let claim = self.machines.claim_of(node_name, provider_id.as_deref()).cloned();
        let named = claim
            .as_ref()
            .and_then(|claim| self.machines.causes.get(&claim.node_claim).copied());
        let by_event = self.machines.causes.remove(node_name).or(named);
        self.touched.add(Key::Cause(node_name.to_owned()));
        let told = known.cause.filter(|cause| *cause != UNKNOWN_CAUSE);
        let reason = by_event
            .or(told)
            .map(str::to_owned)
            .or_else(|| claim.and_then(|claim| claim.disruption_reason))
            .unwrap_or_else(|| UNKNOWN_CAUSE.to_owned());
        let (ended_at, source) = match (seen.is_prompt, known.not_ready_since) {
            (true, _) => (seen.at, "watch"),
            // Found missing: it was last known to be well before it stopped reporting.
            (false, Some(since)) => (since, "readiness"),
            (false, None) => (seen.at, "sampled"),
        };
        self.end_machine(&known.machine, ended_at, source, &reason, seen, facts);
    }
}

fn going_away(node: &Node) -> Option<&'static str> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    GOING_AWAY
        .iter()
        .find(|(key, _)| taints.iter().any(|taint| taint.key == *key))
        .map(|(_, cause)| *cause)
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}
