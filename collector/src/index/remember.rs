//! What was told of open objects before, taken back from the facts alone.
//!
//! Less comes back than from [`Index::restore`]: facts do not say what an object's next state would be compared with in
//! full (readiness that is pending, engines' records, parents of owners). Lists tell that anew.

use std::collections::HashMap;

use super::claim::KnownClaim;
use super::machine::KnownNode;
use super::{Index, entry, owner, pod};
use crate::facts::{
    ContainerEnd, ContainerRequest, Fact, Machine, NodeClaim, NodeState, OwnerObject, PodIdentity, PodState,
    ServiceState, VolumeClaim, VolumeState,
};
use crate::object::Kind;

impl Index {
    /// Takes back machines and the nodes on them.
    pub fn remember_machines(&mut self, machines: Vec<Machine>, nodes: Vec<NodeState>) {
        let mut nodes: HashMap<String, NodeState> = nodes
            .into_iter()
            .map(|state| (state.machine.clone(), state))
            .collect();
        for machine in machines {
            if machine.ended_at.is_none()
                && let Some(node) = &machine.node_name
                && let Some(state) = nodes.remove(&machine.machine)
            {
                self.touched.add(entry::Key::Node(node.clone()));
                self.machines
                    .nodes
                    .insert(node.clone(), KnownNode::of(&machine, state));
            }
            self.touched.add(entry::Key::Machine(machine.machine.clone()));
            self.machines.machines.insert(machine.machine.clone(), machine);
        }
    }

    /// Takes back claims of machines.
    pub fn remember_claims(&mut self, claims: Vec<NodeClaim>) {
        for claim in claims {
            let uid = claim.node_claim_uid.clone();
            self.touched.add(entry::Key::NodeClaim(uid.clone()));
            self.machines.claims.insert(uid, KnownClaim::of(claim));
        }
    }

    /// Takes back owners of pods.
    pub fn remember_owners(&mut self, owners: Vec<OwnerObject>) {
        for fact in owners {
            let uid = fact.owner_uid.clone();
            self.touched.add(entry::Key::Owner(uid.clone()));
            self.owners.by_uid.insert(uid, owner::Known::of(fact));
        }
    }

    /// Takes back pods, with what is known of those among them.
    pub fn remember_pods(
        &mut self,
        pods: Vec<PodState>,
        identities: Vec<PodIdentity>,
        requests: Vec<ContainerRequest>,
        ends: Vec<ContainerEnd>,
    ) {
        let mut known: HashMap<String, Box<pod::Known>> = pods
            .into_iter()
            .map(|state| (state.pod_uid.clone(), Box::new(pod::Known::of(state))))
            .collect();
        for identity in identities {
            if let Some(known) = known.get_mut(&identity.pod_uid) {
                known.identity = Some(identity);
            }
        }
        for request in requests {
            if let Some(known) = known.get_mut(&request.pod_uid) {
                known.requests.push(request);
            }
        }
        for end in ends {
            if let Some(known) = known.get_mut(&end.pod_uid) {
                known.ends.push((end.container_name, end.restart_count));
            }
        }
        for (uid, known) in known {
            self.touched.add(entry::Key::Pod(uid.clone()));
            self.pods.restore(&uid, known);
            self.pods.by_uid.pack();
        }
    }

    /// Takes back volumes, claims of volumes and load balancers.
    pub fn remember_plain(
        &mut self,
        volumes: Vec<VolumeState>,
        claims: Vec<VolumeClaim>,
        services: Vec<ServiceState>,
    ) {
        let volumes = volumes
            .into_iter()
            .map(|fact| (Kind::PersistentVolume, fact.volume_uid.clone(), Fact::from(fact)));
        let claims = claims.into_iter().map(|fact| {
            (
                Kind::PersistentVolumeClaim,
                fact.claim_uid.clone(),
                Fact::from(fact),
            )
        });
        let services = services
            .into_iter()
            .map(|fact| (Kind::Service, fact.service_uid.clone(), Fact::from(fact)));
        for (kind, uid, fact) in volumes.chain(claims).chain(services) {
            self.touched.add(entry::Key::Plain(kind, uid.clone()));
            self.plain.restore(kind, uid, fact);
        }
    }
}
