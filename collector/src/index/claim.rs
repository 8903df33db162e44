//! NodeClaims of Karpenter: what was ordered, and when it was launched and given up.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::{INSTANCE_TYPE, POOL, ZONE, capacity_type};
use super::entry::Key;
use super::machine::{Machines, UNKNOWN_CAUSE, older};
use super::{Index, after, created, label, micros, required, time, uid};
use crate::error::Result;
use crate::facts::{Fact, Machine, NodeClaim};
use crate::object::Other;
use crate::occupancy::Sight;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KnownClaim {
    #[serde(skip)]
    list: u64,
    pub(super) claim: NodeClaim,
}

impl KnownClaim {
    /// A claim as a fact tells of it.
    pub(super) fn of(claim: NodeClaim) -> Self {
        Self { list: 0, claim }
    }
}

impl Machines {
    pub(super) fn claims_older_than(&self, list: u64) -> Vec<String> {
        older(self.claims.iter().map(|(uid, claim)| (uid, claim.list)), list)
    }

    /// A list shows a claim, whatever it is like.
    pub(super) fn keep_claim(&mut self, uid: &str, list: u64) {
        if let Some(claim) = self.claims.get_mut(uid) {
            claim.list = list;
        }
    }

    pub(super) fn claim_of(&self, node: &str, provider_id: Option<&str>) -> Option<&NodeClaim> {
        let claims = self.claims.values().map(|known| &known.claim);
        claims
            .filter(|claim| {
                claim.node_name.as_deref() == Some(node)
                    || provider_id.is_some() && claim.provider_id.as_deref() == provider_id
            })
            .min_by_key(|claim| &claim.node_claim_uid)
    }
}

impl Index {
    pub(super) fn apply_node_claim(
        &mut self,
        claim: &Other,
        seen: Sight,
        facts: &mut Vec<Fact>,
    ) -> Result<()> {
        let claim_uid = uid(&claim.metadata)?;
        let claim_name = required(claim.metadata.name.as_ref(), "metadata.name")?;
        let labels = claim.metadata.labels.clone().unwrap_or_default();
        let since = |kind: &str| {
            condition(&claim.status, kind)
                .filter(|condition| condition["status"] == "True")
                .and_then(|condition| condition["lastTransitionTime"].as_str())
                .and_then(|at| at.parse::<Timestamp>().ok())
                .map(micros)
        };
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let last = self.machines.claims.get(&claim_uid).map(|known| &known.claim);
        let fact = NodeClaim {
            cluster: self.settings.cluster.clone(),
            node_claim_uid: claim_uid.clone(),
            observed_at: after(last.map(|last| last.observed_at), micros(seen.at)),
            node_claim: claim_name,
            node_name: text(&claim.status["nodeName"]),
            provider_id: text(&claim.status["providerID"]),
            pool: label(&labels, POOL).map(str::to_owned),
            instance_type: label(&labels, INSTANCE_TYPE).map(str::to_owned),
            capacity_type: capacity_type(&labels),
            zone: label(&labels, ZONE).map(str::to_owned),
            created_at: created(&claim.metadata),
            launched_at: since("Launched"),
            registered_at: since("Registered"),
            initialized_at: since("Initialized"),
            // The timestamp is request plus grace, and a claim has no grace of its own.
            deletion_requested_at: time(claim.metadata.deletion_timestamp.as_ref()),
            deleted_at: None,
            disruption_reason: condition(&claim.status, "DisruptionReason")
                .filter(|condition| condition["status"] == "True")
                .and_then(|condition| text(&condition["reason"])),
        };
        let list = self.list("NodeClaim");
        let same = last.is_some_and(|last| {
            NodeClaim {
                observed_at: fact.observed_at,
                ..last.clone()
            } == fact
        });
        if !same {
            facts.push(fact.clone().into());
        }
        let launched_at = fact.launched_at.or(fact.created_at).map(micros);
        let node = fact.node_name.clone();
        let claim = if same { last.cloned().unwrap_or(fact) } else { fact };
        self.machines.claims.insert(claim_uid, KnownClaim { list, claim });
        // The node came first: now its launch is known better.
        let machine = node.and_then(|node| self.machines.machine_of(&node).map(str::to_owned));
        if let (Some(machine), Some(launched_at)) = (machine, launched_at)
            && let Some(known) = self.machines.machines.get(&machine)
            && known.launch_source == "node_created"
        {
            let fact = Machine {
                observed_at: after(Some(known.observed_at), micros(seen.at)),
                launched_at: launched_at.min(known.launched_at),
                launch_source: "node_claim",
                ..known.clone()
            };
            self.keep_machine(fact, facts);
        }
        Ok(())
    }

    pub(super) fn node_claim_gone(&mut self, claim_uid: &str, seen: Sight, facts: &mut Vec<Fact>) {
        let Some(known) = self.machines.claims.remove(claim_uid) else {
            return;
        };
        let claim = NodeClaim {
            observed_at: after(Some(known.claim.observed_at), micros(seen.at)),
            deleted_at: Some(micros(seen.at)),
            ..known.claim
        };
        // Karpenter keeps a claim until its instance is gone: that, not the end of the node, ends the bill.
        let machine = self
            .machines
            .machines
            .values()
            .filter(|machine| machine.provider_id.is_some() && machine.provider_id == claim.provider_id)
            .max_by_key(|machine| (machine.launched_at, &machine.machine));
        if let Some(machine) = machine.cloned()
            && seen.is_prompt
            && !self
                .machines
                .nodes
                .values()
                .any(|node| node.machine == machine.machine)
        {
            let named = self.machines.causes.get(&claim.node_claim).copied();
            let told = machine.end_reason.filter(|reason| reason != UNKNOWN_CAUSE);
            let reason = named
                .map(str::to_owned)
                .or(told)
                .or_else(|| claim.disruption_reason.clone())
                .unwrap_or_else(|| UNKNOWN_CAUSE.to_owned());
            self.end_machine(&machine.machine, seen.at, "node_claim", &reason, seen, facts);
        }
        self.machines.causes.remove(&claim.node_claim);
        self.touched.add(Key::Cause(claim.node_claim.clone()));
        facts.push(claim.into());
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}
