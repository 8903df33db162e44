//! What is dropped from an object as soon as it is read: nothing that a fact is made of, but most of its size, and
//! whatever may be secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::object::{Object, Other};

/// Annotations that the index itself reads.
const READ: &[&str] = &["kubernetes.io/config.mirror", "workflows.argoproj.io/node-id"];

/// Drops what no fact is made of; of annotations, `annotations` and what the index reads stay.
pub(super) fn trim(object: &mut Object, annotations: &[String]) {
    match object {
        Object::Pod(pod) => {
            metadata(&mut pod.metadata, annotations);
            trim_pod(pod);
        }
        Object::Node(node) => {
            metadata(&mut node.metadata, annotations);
            if let Some(status) = &mut node.status {
                status.images = None;
                status.volumes_attached = None;
                status.volumes_in_use = None;
            }
        }
        Object::Event(event) => metadata(&mut event.metadata, annotations),
        Object::Namespace(namespace) => metadata(&mut namespace.metadata, annotations),
        Object::PersistentVolume(volume) => metadata(&mut volume.metadata, annotations),
        Object::PersistentVolumeClaim(claim) => metadata(&mut claim.metadata, annotations),
        Object::Service(service) => metadata(&mut service.metadata, annotations),
        Object::NodeClaim(other) | Object::Owner(other) => trim_other(other, annotations),
    }
}

fn metadata(metadata: &mut ObjectMeta, annotations: &[String]) {
    if let Some(held) = &mut metadata.annotations {
        held.retain(|key, _| READ.contains(&key.as_str()) || annotations.iter().any(|read| read == key));
        if held.is_empty() {
            metadata.annotations = None;
        }
    }
    metadata.finalizers = None;
    for entry in metadata.managed_fields.iter_mut().flatten() {
        // Who wrote, and when, dates the end of a pod; which fields they were is most of the text.
        entry.fields_v1 = None;
    }
}

fn trim_pod(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        spec.affinity = None;
        spec.dns_config = None;
        spec.ephemeral_containers = None;
        spec.host_aliases = None;
        spec.image_pull_secrets = None;
        spec.security_context = None;
        spec.tolerations = None;
        spec.topology_spread_constraints = None;
        spec.volumes = None;
        spec.init_containers.iter_mut().flatten().for_each(trim_container);
        spec.containers.iter_mut().for_each(trim_container);
    }
    if let Some(status) = &mut pod.status {
        status.host_ips = None;
        status.pod_ips = None;
        status.ephemeral_container_statuses = None;
        let inits = status.init_container_statuses.iter_mut().flatten();
        for container in inits.chain(status.container_statuses.iter_mut().flatten()) {
            container.volume_mounts = None;
            container.container_id = None;
        }
    }
}

/// A container without what it runs: arguments and environment carry secrets.
fn trim_container(container: &mut Container) {
    *container = Container {
        name: std::mem::take(&mut container.name),
        image: container.image.take(),
        resources: container.resources.take(),
        resize_policy: container.resize_policy.take(),
        restart_policy: container.restart_policy.take(),
        ..Container::default()
    };
}

fn trim_other(other: &mut Other, annotations: &[String]) {
    metadata(&mut other.metadata, annotations);
    // Of what is to be done, only what a pod of it asks for is read.
    let template = other.spec.get_mut("template").map(Value::take);
    other.spec = Value::Null;
    if let Some(mut template) = template
        && let Some(spec) = template.get_mut("spec").map(Value::take)
        && let Ok(spec) = serde_json::from_value(spec)
    {
        let mut pod = Pod {
            spec: Some(spec),
            ..Pod::default()
        };
        trim_pod(&mut pod);
        if let Ok(spec) = serde_json::to_value(pod.spec) {
            let template = BTreeMap::from([("spec", spec)]);
            other.spec = serde_json::json!({ "template": template });
        }
    }
}
