//! Objects that cost or name things without running: namespaces, volumes, claims, load balancers.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use podledger_sql::units::Bytes;

use super::entry::Key;
use super::{Index, after, created, labels, micros, name, uid};
use crate::error::{Error, Result};
use crate::facts::{Fact, NamespaceState, ServiceState, VolumeClaim, VolumeState};
use crate::object::{Kind, Object};
use crate::occupancy::Sight;

#[derive(Debug, Default)]
pub(super) struct Plain {
    known: HashMap<(Kind, String), Known>,
    /// UIDs of Services that were seen to be no load balancers: one of them becomes one when it is seen as such, not when it was made.
    without_balancer: HashSet<String>,
}

#[derive(Debug)]
struct Known {
    list: u64,
    fact: Fact,
}

impl Plain {
    pub(super) fn fact(&self, kind: Kind, uid: &str) -> Option<&Fact> {
        self.known.get(&(kind, uid.to_owned())).map(|known| &known.fact)
    }

    /// Takes an object back as it was kept.
    pub(super) fn restore(&mut self, kind: Kind, uid: String, fact: Fact) {
        self.known.insert((kind, uid), Known { list: 0, fact });
    }

    pub(super) fn is_other_service(&self, uid: &str) -> bool {
        self.without_balancer.contains(uid)
    }

    /// Takes back that a Service is no load balancer.
    pub(super) fn restore_other_service(&mut self, uid: String) {
        self.without_balancer.insert(uid);
    }

    /// A list shows an object, whatever it is like.
    pub(super) fn keep(&mut self, kind: Kind, uid: &str, list: u64) {
        if let Some(known) = self.known.get_mut(&(kind, uid.to_owned())) {
            known.list = list;
        }
    }

    pub(super) fn older_than(&self, kind: Kind, list: u64) -> Vec<String> {
        let mut older: Vec<String> = self
            .known
            .iter()
            .filter(|((of, _), known)| *of == kind && known.list < list)
            .map(|((_, uid), _)| uid.clone())
            .collect();
        older.sort_unstable();
        older
    }
}

impl Index {
    pub(super) fn apply_plain(&mut self, object: &Object, seen: Sight, facts: &mut Vec<Fact>) -> Result<()> {
        let metadata = object.metadata();
        let object_uid = uid(metadata)?;
        let object_name = name(metadata)?;
        let cluster = self.settings.cluster.clone();
        let key = (object.kind(), object_uid.clone());
        let last = self.plain.known.get(&key).map(|known| known.fact.clone());
        let seen_at = micros(seen.at);
        let created_at = created(metadata);
        let namespace = metadata.namespace.clone();
        let fact: Fact = match object {
            Object::Namespace(_) => NamespaceState {
                cluster,
                namespace: object_name,
                // The first version holds since the namespace was made.
                valid_from_at: if last.is_none() {
                    created_at.map_or(seen_at, micros)
                } else {
                    seen_at
                },
                labels: labels(metadata),
                annotations: self.annotations(metadata),
                deleted_at: None,
            }
            .into(),
            Object::PersistentVolume(volume) => {
                volume_state(cluster, object_uid, object_name, volume, seen_at)?.into()
            }
            Object::PersistentVolumeClaim(claim) => {
                let spec = claim.spec.as_ref();
                let requests = spec
                    .and_then(|spec| spec.resources.as_ref())
                    .and_then(|resources| resources.requests.as_ref());
                VolumeClaim {
                    cluster,
                    claim_uid: object_uid,
                    observed_at: seen_at,
                    claim_name: object_name,
                    namespace,
                    phase: claim.status.as_ref().and_then(|status| status.phase.clone()),
                    storage_class: spec.and_then(|spec| spec.storage_class_name.clone()),
                    volume: spec.and_then(|spec| spec.volume_name.clone()),
                    requested_bytes: bytes(requests.and_then(|requests| requests.get("storage")))?,
                    labels: labels(metadata),
                    created_at,
                    deleted_at: None,
                }
                .into()
            }
            Object::Service(service) => {
                if !is_load_balancer(service) && last.is_none() {
                    if self.plain.without_balancer.insert(object_uid.clone()) {
                        self.touched.add(Key::OtherService(object_uid));
                    }
                    return Ok(());
                }
                let became = self.no_other_service(&object_uid);
                let (created_at, ended_at) = match &last {
                    Some(Fact::ServiceState(last)) => (last.created_at, last.deleted_at),
                    _ => (created_at.filter(|_| !became), None),
                };
                ServiceState {
                    cluster,
                    service_uid: object_uid,
                    observed_at: seen_at,
                    service_name: object_name,
                    namespace,
                    load_balancer: ingress(service),
                    labels: labels(metadata),
                    created_at,
                    // A service that is no load balancer any more costs as much as one that is gone.
                    deleted_at: (!is_load_balancer(service)).then(|| ended_at.unwrap_or(seen_at)),
                }
                .into()
            }
            _ => return Ok(()),
        };
        let fact = match &last {
            Some(last) => at(fact, after(Some(instant(last)), seen_at)),
            None => fact,
        };
        let same = last
            .as_ref()
            .is_some_and(|last| at(last.clone(), instant(&fact)) == fact);
        let list = self.list(kind_name(object.kind()));
        if same {
            if let Some(known) = self.plain.known.get_mut(&key) {
                known.list = list;
            }
            return Ok(());
        }
        facts.push(fact.clone());
        self.plain.known.insert(key, Known { list, fact });
        Ok(())
    }

    /// A Service is a load balancer, or gone; whether it was seen to be no load balancer before.
    fn no_other_service(&mut self, object_uid: &str) -> bool {
        let was = self.plain.without_balancer.remove(object_uid);
        if was {
            self.touched.add(Key::OtherService(object_uid.to_owned()));
        }
        was
    }

    pub(super) fn plain_gone(&mut self, kind: Kind, object_uid: &str, seen: Sight, facts: &mut Vec<Fact>) {
        if kind == Kind::Service {
            self.no_other_service(object_uid);
        }
        let Some(known) = self.plain.known.remove(&(kind, object_uid.to_owned())) else {
            return;
        };
        let seen_at = micros(seen.at);
        let mut fact = at(known.fact.clone(), after(Some(instant(&known.fact)), seen_at));
        let deleted_at = match &mut fact {
            Fact::NamespaceState(fact) => &mut fact.deleted_at,
            Fact::VolumeState(fact) => &mut fact.deleted_at,
            Fact::VolumeClaim(fact) => &mut fact.deleted_at,
            Fact::ServiceState(fact) => &mut fact.deleted_at,
            _ => return,
        };
        if deleted_at.is_none() {
            *deleted_at = Some(seen_at);
            facts.push(fact);
        }
    }
}

/// The Kubernetes kind under which lists of these objects are counted.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "Namespace",
        Kind::PersistentVolume => "PersistentVolume",
        Kind::PersistentVolumeClaim => "PersistentVolumeClaim",
        _ => "Service",
    }
}

fn instant(fact: &Fact) -> Timestamp {
    match fact {
        Fact::NamespaceState(fact) => fact.valid_from_at,
        Fact::VolumeState(fact) => fact.observed_at,
        Fact::VolumeClaim(fact) => fact.observed_at,
        Fact::ServiceState(fact) => fact.observed_at,
        _ => Timestamp::UNIX_EPOCH,
    }
}

fn at(mut fact: Fact, instant: Timestamp) -> Fact {
    match &mut fact {
        Fact::NamespaceState(fact) => fact.valid_from_at = instant,
        Fact::VolumeState(fact) => fact.observed_at = instant,
        Fact::VolumeClaim(fact) => fact.observed_at = instant,
        Fact::ServiceState(fact) => fact.observed_at = instant,
        _ => {}
    }
    fact
}

fn volume_state(
    cluster: String,
    volume_uid: String,
    volume_name: String,
    volume: &PersistentVolume,
    seen_at: Timestamp,
) -> Result<VolumeState> {
    let spec = volume.spec.as_ref();
    let csi = spec.and_then(|spec| spec.csi.as_ref());
    let claim = spec.and_then(|spec| spec.claim_ref.as_ref());
    let zone = spec
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref())
        .into_iter()
        .flat_map(|required| &required.node_selector_terms)
        .flat_map(|term| term.match_expressions.iter().flatten())
        .find(|expression| expression.key.ends_with("/zone"))
        .and_then(|expression| expression.values.as_ref()?.first().cloned());
    let in_tree = spec.and_then(|spec| {
        if let Some(disk) = &spec.aws_elastic_block_store {
            Some(("kubernetes.io/aws-ebs", disk.volume_id.clone()))
        } else if let Some(disk) = &spec.gce_persistent_disk {
            Some(("kubernetes.io/gce-pd", disk.pd_name.clone()))
        } else {
            let disk = spec.azure_disk.as_ref()?;
            Some(("kubernetes.io/azure-disk", disk.disk_uri.clone()))
        }
    });
    let (driver, volume_handle) = match (csi, in_tree) {
        (Some(csi), _) => (Some(csi.driver.clone()), Some(csi.volume_handle.clone())),
        (None, Some((driver, handle))) => (Some(driver.to_owned()), Some(handle)),
        (None, None) => (None, None),
    };
    Ok(VolumeState {
        cluster,
        volume_uid,
        observed_at: seen_at,
        volume: volume_name,
        phase: volume.status.as_ref().and_then(|status| status.phase.clone()),
        storage_class: spec.and_then(|spec| spec.storage_class_name.clone()),
        driver,
        volume_handle,
        zone,
        reclaim_policy: spec.and_then(|spec| spec.persistent_volume_reclaim_policy.clone()),
        capacity_bytes: bytes(spec.and_then(|spec| spec.capacity.as_ref()?.get("storage")))?,
        claim_namespace: claim.and_then(|claim| claim.namespace.clone()),
        claim_name: claim.and_then(|claim| claim.name.clone()),
        claim_uid: claim.and_then(|claim| claim.uid.clone()),
        created_at: created(&volume.metadata),
        deleted_at: None,
    })
}

fn bytes(text: Option<&Text>) -> Result<i64> {
    let Some(text) = text else { return Ok(0) };
    let bytes = Bytes::from_quantity(&text.0).map_err(|source| Error::Object {
        field: "storage".to_owned(),
        reason: source.to_string(),
    })?;
    Ok(bytes.get())
}

fn is_load_balancer(service: &Service) -> bool {
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    kind == Some("LoadBalancer")
}

fn ingress(service: &Service) -> Option<String> {
    let status = service.status.as_ref()?.load_balancer.as_ref()?;
    let first = status.ingress.as_ref()?.first()?;
    first.hostname.clone().or_else(|| first.ip.clone())
}
