//! What is known of a cluster, and which facts follow from what is seen next.
//!
//! ```text
//! relisting(kind), apply(object, sight)..., relisted(kind, sight, since)      a list
//! apply(object, sight), delete(object, sight)                                a watch
//!        -> facts, in the order in which they became known
//! ```
//!
//! Architecture invariant: plain data with one owner. No locks, no client, no clock: time comes with every call.
//! Architecture invariant: an update that changes nothing of what facts hold makes no fact, and the same objects in the
//! same order make the same facts.

mod claim;
mod cloud;
mod container;
mod entry;
mod event;
mod gone;
mod kept;
mod machine;
mod open;
mod owner;
mod plain;
mod pod;
mod recovery;
mod remember;

use std::collections::{BTreeMap, HashMap};

pub use cloud::node_labels;
pub use entry::Entry;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
pub use recovery::Recovered;

use crate::error::{Error, Result};
use crate::facts::{Fact, Machine, Texts};
use crate::object::{Kind, Object};
use crate::occupancy::Sight;
use crate::request::{AcceleratorKind, builtin_accelerator_kinds};

/// What the index needs to be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Identifies the cluster in every fact: the UID of its `kube-system` namespace.
    pub cluster: String,
    /// Extended resources that count as accelerators.
    pub accelerators: Vec<AcceleratorKind>,
    /// Annotations that are kept, because a rule reads them. All others may carry secrets and are dropped.
    pub annotations: Vec<String>,
}

impl Settings {
    /// Settings with the built-in accelerators and no annotations.
    #[must_use]
    pub fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            accelerators: builtin_accelerator_kinds(),
            annotations: Vec::new(),
        }
    }
}

/// Everything that is known of one cluster.
#[derive(Debug)]
pub struct Index {
    settings: Settings,
    /// Number of the list that is being read, by kind: what it does not show has vanished.
    lists: HashMap<String, u64>,
    pods: pod::Pods,
    machines: machine::Machines,
    owners: owner::Owners,
    plain: plain::Plain,
    events: event::Events,
    touched: entry::Touched,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            lists: HashMap::new(),
            pods: pod::Pods::default(),
            machines: machine::Machines::default(),
            owners: owner::Owners::default(),
            plain: plain::Plain::default(),
            events: event::Events::default(),
            touched: entry::Touched::default(),
        }
    }

    /// Takes in an object as it is now; returns what is new.
    ///
    /// # Errors
    /// [`Error::Object`] naming the field that cannot be read; the index is then as it was.
    pub fn apply(&mut self, object: &Object, seen: Sight) -> Result<Vec<Fact>> {
        let mut facts = Vec::new();
        match object {
            Object::Pod(pod) => self.apply_pod(pod, seen, &mut facts)?,
            Object::Node(node) => self.apply_node(node, seen, &mut facts)?,
            Object::NodeClaim(claim) => self.apply_node_claim(claim, seen, &mut facts)?,
            Object::Event(event) => self.apply_event(event, &mut facts)?,
            Object::Owner(owner) => self.apply_owner(owner, seen, &mut facts)?,
            _ => self.apply_plain(object, seen, &mut facts)?,
        }
        self.touched.add_object(object);
        self.touch(&facts);
        self.pods.by_uid.pack();
        Ok(facts)
    }

    /// Takes in the last state of an object that was deleted; returns what is new.
    ///
    /// # Errors
    /// As [`Index::apply`].
    pub fn delete(&mut self, object: &Object, seen: Sight) -> Result<Vec<Fact>> {
        let mut facts = self.apply(object, seen)?;
        let uid = uid(object.metadata())?;
        match object {
            Object::Pod(pod) => self.pod_gone(&pod::key(pod)?, pod::Gone::Deleted, seen, &mut facts),
            Object::Node(node) => self.node_gone(&name(&node.metadata)?, seen, &mut facts),
            Object::NodeClaim(_) => self.node_claim_gone(&uid, seen, &mut facts),
            Object::Event(_) => {}
            Object::Owner(_) => self.owner_gone(&uid, seen, &mut facts),
            _ => self.plain_gone(object.kind(), &uid, seen, &mut facts),
        }
        self.touch(&facts);
        Ok(facts)
    }

    /// A list of the objects of a Kubernetes kind (`Pod`, `Job`, ...) begins: what is known of that kind and not applied
    /// until [`Index::relisted`] is gone.
    pub fn relisting(&mut self, kind: &str) {
        *self.lists.entry(kind.to_owned()).or_default() += 1;
        if kind == "Pod" {
            self.pods.vanished.clear();
        }
    }

    /// The list of a kind is complete; returns what follows for those that it did not show. They were there until `since`,
    /// if that is known: until then a watch would have told of their deletion.
    pub fn relisted(&mut self, kind: &str, seen: Sight, since: Option<Timestamp>) -> Vec<Fact> {
        let list = self.list(kind);
        let mut facts = Vec::new();
        match Kind::of(kind) {
            Kind::Pod => {
                for uid in self.pods.by_uid.older_than(list) {
                    self.pod_gone(&uid, pod::Gone::Vanished { since }, seen, &mut facts);
                    self.touched.add(entry::Key::Pod(uid));
                }
            }
            Kind::Node => {
                for name in self.machines.nodes_older_than(list) {
                    self.node_gone(&name, seen, &mut facts);
                    self.touched.add(entry::Key::Node(name));
                }
            }
            Kind::NodeClaim => {
                for uid in self.machines.claims_older_than(list) {
                    self.node_claim_gone(&uid, seen, &mut facts);
                    self.touched.add(entry::Key::NodeClaim(uid));
                }
            }
            Kind::Owner => {
                for uid in self.owners.older_than(kind, list) {
                    self.owner_gone(&uid, seen, &mut facts);
                }
            }
            Kind::Event => {}
            plain => {
                for uid in self.plain.older_than(plain, list) {
                    self.plain_gone(plain, &uid, seen, &mut facts);
                    self.touched.add(entry::Key::Plain(plain, uid));
                }
            }
        }
        self.touch(&facts);
        facts
    }

    /// Takes in that a pod (by UID) or node (by name) is not there any more, although nobody told that it was deleted; until
    /// `since`, if that is known, it was.
    pub fn missed(&mut self, kind: Kind, key: &str, seen: Sight, since: Option<Timestamp>) -> Vec<Fact> {
        let mut facts = Vec::new();
        match kind {
            Kind::Pod => self.pod_gone(key, pod::Gone::Vanished { since }, seen, &mut facts),
            Kind::Node => self.node_gone(key, seen, &mut facts),
            _ => {}
        }
        self.touch(&facts);
        facts
    }

    /// A list shows an object that cannot be read. If it is known, it is not gone.
    pub fn unread(&mut self, kind: &str, uid: &str, name: &str) {
        let list = self.list(kind);
        match Kind::of(kind) {
            Kind::Pod => self.pods.by_uid.keep(uid, list),
            Kind::Node => self.machines.keep_node(name, list),
            Kind::NodeClaim => self.machines.keep_claim(uid, list),
            Kind::Owner => self.owners.keep(uid, list),
            Kind::Event => {}
            plain => self.plain.keep(plain, uid, list),
        }
    }

    /// How many pods are there.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.pods.by_uid.len()
    }

    /// Nodes that are there, with where their kubelets answer.
    pub fn kubelets(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let nodes = self.machines.nodes.iter();
        nodes.map(|(name, node)| (name.as_str(), node.kubelet.as_deref()))
    }

    /// The UIDs of pods by namespace and name: of those that have the same, of the youngest.
    #[must_use]
    pub fn pods_by_name(&self) -> HashMap<(String, String), String> {
        let mut youngest: HashMap<(String, String), (Timestamp, String)> = HashMap::new();
        for known in self.pods.by_uid.all() {
            let Some(state) = known.state() else { continue };
            let (Some(namespace), Some(pod_name)) = (&state.namespace, &state.pod_name) else {
                continue;
            };
            let name = (namespace.clone(), pod_name.clone());
            let found = (state.created_at, state.pod_uid.clone());
            let place = youngest.entry(name).or_insert_with(|| found.clone());
            if found > *place {
                *place = found;
            }
        }
        youngest.into_iter().map(|(name, (_, uid))| (name, uid)).collect()
    }

    /// The UID of the pod of that name on a node, if it was made before an instant: names are used again, also on the same node.
    #[must_use]
    pub fn pod_on(&self, node: &str, namespace: &str, pod_name: &str, at: Timestamp) -> Option<String> {
        let uid = self.pods.named(namespace, pod_name)?;
        let known = self.pods.by_uid.get(uid)?;
        let state = known.state()?;
        (state.node_name.as_deref() == Some(node) && state.created_at <= at).then(|| uid.clone())
    }

    /// Every machine that is remembered, as it was told last.
    pub fn machines(&self) -> impl Iterator<Item = Machine> {
        self.machines.machines.values().cloned()
    }

    /// Whether nothing is known of how an owner's work ended: `object` may tell more.
    #[must_use]
    pub fn knows_less_of(&self, object: &Object) -> bool {
        let uid = object.metadata().uid.as_deref().unwrap_or_default();
        let known = self.owners.by_uid.get(uid);
        known.is_none_or(|known| known.fact.outcome.is_none())
    }

    /// Number of the list of a kind that is being read, or was read last.
    fn list(&self, kind: &str) -> u64 {
        self.lists.get(kind).copied().unwrap_or_default()
    }

    /// More is kept of what facts are about.
    fn touch(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.touched.add_fact(fact);
        }
    }

    /// Only the annotations that a rule reads.
    fn annotations(&self, metadata: &ObjectMeta) -> Texts {
        let Some(annotations) = &metadata.annotations else {
            return Texts::new();
        };
        self.settings
            .annotations
            .iter()
            .filter_map(|key| annotations.get_key_value(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// The next instant for a fact of the same key: facts of one object never share theirs.
fn after(last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match last {
        Some(last) if last >= now => last
            .checked_add(jiff::SignedDuration::from_micros(1))
            .unwrap_or(last),
        _ => now,
    }
}

/// Facts are kept in microseconds.
fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn uid(metadata: &ObjectMeta) -> Result<String> {
    required(metadata.uid.as_ref(), "metadata.uid")
}

fn name(metadata: &ObjectMeta) -> Result<String> {
    required(metadata.name.as_ref(), "metadata.name")
}

fn required(value: Option<&String>, field: &str) -> Result<String> {
    match value {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => Err(Error::Object {
            field: field.to_owned(),
            reason: "is missing".to_owned(),
        }),
    }
}

fn labels(metadata: &ObjectMeta) -> Texts {
    metadata.labels.clone().unwrap_or_default()
}

fn label<'a>(labels: &'a BTreeMap<String, String>, keys: &[&str]) -> Option<&'a str> {
    keys.iter()
        .find_map(|key| labels.get(*key))
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    time(metadata.creation_timestamp.as_ref())
}

/// A time that is told: not null and not 1970.
fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0).filter(|at| *at > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
