//! What the index holds, piece by piece, as text that can be kept and taken back.
//!
//! Whoever owns the index keeps [`Index::changed`] beside the facts that were made with it, and after a restart hands all
//! that it kept to [`Index::restore`]: the index then answers as if it had never stopped. Events that were told are not
//! kept: one that is told again has the same key and repeats nothing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Index;
use crate::error::{Error, Result};
use crate::facts::{Fact, Machine};
use crate::object::{Kind, Object};
use crate::words::word_of;

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Pod(String),
    StaticPod(String),
    GonePod(String),
    Node(String),
    Machine(String),
    NodeClaim(String),
    Cause(String),
    Owner(String),
    Record(String, String),
    Plain(Kind, String),
    /// A Service that is no load balancer.
    OtherService(String),
}

/// A piece of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What kind of piece it is.
    pub kind: String,
    /// Which one.
    pub key: String,
    /// What is known; `None` where nothing is known any more.
    pub state: Option<String>,
}

/// Pieces that changed since they were last asked for.
#[derive(Debug, Default)]
pub(super) struct Touched(BTreeSet<Key>);

impl Touched {
    pub(super) fn add(&mut self, key: Key) {
        self.0.insert(key);
    }

    /// Notes what a fact is about.
    pub(super) fn add_fact(&mut self, fact: &Fact) {
        let key = match fact {
            Fact::PodState(fact) => &fact.pod_uid,
            Fact::PodIdentity(fact) => &fact.pod_uid,
            Fact::ContainerRequest(fact) => &fact.pod_uid,
            Fact::ContainerEnd(fact) => &fact.pod_uid,
            Fact::EngineOutcome(fact) => &fact.pod_uid,
            Fact::Machine(fact) => return self.add(Key::Machine(fact.machine.clone())),
            Fact::OwnerObject(fact) => return self.add(Key::Owner(fact.owner_uid.clone())),
            _ => return,
        };
        self.add(Key::Pod(key.clone()));
        self.add(Key::StaticPod(key.clone()));
    }

    /// Notes the object itself: more of it is remembered than facts tell.
    pub(super) fn add_object(&mut self, object: &Object) {
        let metadata = object.metadata();
        let uid = || metadata.uid.clone().unwrap_or_default();
        self.add(match object {
            Object::Pod(pod) => match super::pod::key(pod) {
                Ok(key) => Key::Pod(key),
                Err(_) => return,
            },
            Object::Node(_) => Key::Node(metadata.name.clone().unwrap_or_default()),
            Object::NodeClaim(_) => Key::NodeClaim(uid()),
            Object::Owner(_) => Key::Owner(uid()),
            Object::Event(_) => return,
            _ => Key::Plain(object.kind(), uid()),
        });
    }
}

/// How long a machine is remembered after its end, for reports that come late.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

impl Index {
    /// The pieces that changed since this was last asked.
    ///
    /// # Errors
    /// [`Error::Entry`] where one cannot be written as text, which is a mistake in this crate.
    pub fn changed(&mut self) -> Result<Vec<Entry>> {
        let touched = std::mem::take(&mut self.touched.0);
        touched.iter().map(|key| self.entry(key)).collect()
    }

    /// Forgets machines that ended long before `now` and of which nothing is left, why nodes and claims went that are
    /// not there (any more), and pods of which no engine has spoken for long.
    pub fn forget_ended(&mut self, now: Timestamp) {
        self.forget_gone(now);
        for name in self.machines.forget_causes() {
            self.touched.add(Key::Cause(name));
        }
        let Ok(before) = now.checked_sub(REMEMBERED) else {
            return;
        };
        let ended: Vec<&Machine> = self
            .machines
            .machines
            .values()
            .filter(|machine| machine.ended_at.is_some_and(|ended_at| ended_at < before))
            .collect();
        if ended.is_empty() {
            return;
        }
        let nodes = self.machines.nodes.values().map(|node| node.machine.clone());
        let pods = self.pods.by_uid.all();
        let used: BTreeSet<String> = pods
            .filter_map(|known| known.machine().map(str::to_owned))
            .chain(nodes)
            .collect();
        let claimed: BTreeSet<&str> = self
            .machines
            .claims
            .values()
            .filter_map(|known| known.claim.provider_id.as_deref())
            .collect();
        let over: Vec<String> = ended
            .into_iter()
            .filter(|machine| !used.contains(machine.machine.as_str()))
            .filter(|machine| {
                let provider_id = machine.provider_id.as_deref();
                provider_id.is_none_or(|provider_id| !claimed.contains(provider_id))
            })
            .map(|machine| machine.machine.clone())
            .collect();
        for machine in over {
            self.machines.machines.remove(&machine);
            self.touched.add(Key::Machine(machine));
        }
    }

    /// Takes back a piece as it was kept.
    ///
    /// # Errors
    /// [`Error::Entry`] where the text is not what [`Index::changed`] gave.
    pub fn restore(&mut self, entry: &Entry) -> Result<()> {
        let Some(state) = &entry.state else { return Ok(()) };
        let wrong = || Error::Entry {
            kind: entry.kind.clone(),
            key: entry.key.clone(),
            source: None,
        };
        match key(&entry.kind, &entry.key).ok_or_else(wrong)? {
            Key::Pod(uid) => {
                self.pods.restore(&uid, read(entry, state)?);
                self.pods.by_uid.pack();
            }
            Key::StaticPod(uid) => {
                self.pods.unmirrored.insert(uid, read(entry, state)?);
            }
            Key::GonePod(uid) => self.pods.gone.insert(uid, read(entry, state)?),
            Key::OtherService(uid) => self.plain.restore_other_service(uid),
            Key::Node(name) => {
                self.machines.nodes.insert(name, read(entry, state)?);
            }
            Key::Machine(machine) => {
                self.machines.machines.insert(machine, read(entry, state)?);
            }
            Key::NodeClaim(uid) => {
                self.machines.claims.insert(uid, read(entry, state)?);
            }
            Key::Cause(name) => {
                self.machines.causes.insert(name, word_of(state));
            }
            Key::Owner(uid) => {
                self.owners.by_uid.insert(uid, read(entry, state)?);
            }
            Key::Record(namespace, name) => {
                self.owners.records.insert((namespace, name), read(entry, state)?);
            }
            Key::Plain(kind, uid) => {
                let fact = match kind {
                    Kind::Namespace => Fact::NamespaceState(read(entry, state)?),
                    Kind::PersistentVolume => Fact::VolumeState(read(entry, state)?),
                    Kind::PersistentVolumeClaim => Fact::VolumeClaim(read(entry, state)?),
                    _ => Fact::ServiceState(read(entry, state)?),
                };
                self.plain.restore(kind, uid, fact);
            }
        }
        Ok(())
    }

    fn entry(&self, key: &Key) -> Result<Entry> {
        let (kind, name, state) = match key {
            Key::Pod(uid) => ("pod", uid.clone(), text(self.pods.by_uid.get(uid).as_deref())),
            Key::StaticPod(uid) => ("static_pod", uid.clone(), text(self.pods.unmirrored.get(uid))),
            Key::GonePod(uid) => ("gone_pod", uid.clone(), text(self.pods.gone.get(uid))),
            Key::OtherService(uid) => {
                let is_other = self.plain.is_other_service(uid);
                ("other_service", uid.clone(), Ok(is_other.then(String::new)))
            }
            Key::Node(name) => ("node", name.clone(), text(self.machines.nodes.get(name))),
            Key::Machine(machine) => (
                "machine",
                machine.clone(),
                text(self.machines.machines.get(machine)),
            ),
            Key::NodeClaim(uid) => ("node_claim", uid.clone(), text(self.machines.claims.get(uid))),
            Key::Cause(name) => {
                let cause = self.machines.causes.get(name);
                ("cause", name.clone(), Ok(cause.map(|cause| (*cause).to_owned())))
            }
            Key::Owner(uid) => ("owner", uid.clone(), text(self.owners.by_uid.get(uid))),
            Key::Record(namespace, name) => {
                let place = (namespace.clone(), name.clone());
                let record = text(self.owners.records.get(&place));
                ("record", format!("{namespace}/{name}"), record)
            }
            Key::Plain(kind, uid) => (plain_kind(*kind), uid.clone(), text(self.plain.fact(*kind, uid))),
        };
        match state {
            Ok(state) => Ok(Entry {
                kind: kind.to_owned(),
                key: name,
                state,
            }),
            Err(source) => Err(Error::Entry {
                kind: kind.to_owned(),
                key: name,
                source: Some(source),
            }),
        }
    }
}

fn plain_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "namespace",
        Kind::PersistentVolume => "volume",
        Kind::PersistentVolumeClaim => "volume_claim",
        _ => "service",
    }
}

fn key(kind: &str, name: &str) -> Option<Key> {
    let name = name.to_owned();
    Some(match kind {
        "pod" => Key::Pod(name),
        "static_pod" => Key::StaticPod(name),
        "gone_pod" => Key::GonePod(name),
        "other_service" => Key::OtherService(name),
        "node" => Key::Node(name),
        "machine" => Key::Machine(name),
        "node_claim" => Key::NodeClaim(name),
        "cause" => Key::Cause(name),
        "owner" => Key::Owner(name),
        "record" => {
            let (namespace, name) = name.split_once('/')?;
            Key::Record(namespace.to_owned(), name.to_owned())
        }
        "namespace" => Key::Plain(Kind::Namespace, name),
        "volume" => Key::Plain(Kind::PersistentVolume, name),
        "volume_claim" => Key::Plain(Kind::PersistentVolumeClaim, name),
        "service" => Key::Plain(Kind::Service, name),
        _ => return None,
    })
}

fn text<T: Serialize>(known: Option<&T>) -> Result<Option<String>, serde_json::Error> {
    known.map(serde_json::to_string).transpose()
}

fn read<T: DeserializeOwned>(entry: &Entry, state: &str) -> Result<T> {
    serde_json::from_str(state).map_err(|source| Error::Entry {
        kind: entry.kind.clone(),
        key: entry.key.clone(),
        source: Some(source),
    })
}
