//! What is dropped from an object as soon as it is read: nothing that a fact is made of, but most of its size, and
//! whatever may be secret.

use k8s_openapi::api::core::v1::{Container, EphemeralVolumeSource, Pod, Volume};
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
        if let Some(volumes) = &mut spec.volumes {
            // Which claims are mounted is read; what else is, may be secret.
            volumes.retain(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
            for volume in volumes {
                *volume = Volume {
                    name: std::mem::take(&mut volume.name),
                    persistent_volume_claim: volume.persistent_volume_claim.take(),
                    ephemeral: volume.ephemeral.take().map(|_| EphemeralVolumeSource::default()),
                    ..Volume::default()
                };
            }
        }
        spec.volumes = spec.volumes.take().filter(|volumes| !volumes.is_empty());
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
    if let Some(status) = other.status.as_object_mut() {
        // A copy of what is to be done.
        status.remove("storedWorkflowTemplateSpec");
        status.remove("storedTemplates");
    }
    // Of what is to be done, only what a pod of it asks for and how long it may take is read.
    let template = other.spec.get_mut("template").map(Value::take);
    if other.spec.is_null() {
        return;
    }
    let deadline = other.spec.get_mut("activeDeadlineSeconds").map(Value::take);
    other.spec = Value::Object(
        deadline
            .map(|told| ("activeDeadlineSeconds".to_owned(), told))
            .into_iter()
            .collect(),
    );
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
            other.spec["template"] = serde_json::json!({ "spec": spec });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::Fact;
    use crate::index::{Index, Settings};
    use crate::occupancy::Sight;

    fn facts(object: &Object) -> Vec<Fact> {
        let at = "2026-11-16T10:00:00Z".parse().unwrap();
        let sight = Sight { at, is_prompt: true };
        Index::new(Settings::new("c")).apply(object, sight).unwrap()
    }

    #[test]
    fn what_is_trimmed_tells_the_same_of_deadlines_and_claims() {
        let metadata =
            json!({"name": "w", "namespace": "ns", "uid": "w", "creationTimestamp": "2026-11-16T09:59:00Z"});
        let steps = json!([{"name": "a", "activeDeadlineSeconds": 300, "container": {"env": [{"value": "hush"}]}}, {"name": "b"}]);
        for object in [
            json!({"kind": "Job", "metadata": metadata, "spec": {"activeDeadlineSeconds": 60,
                "template": {"spec": {"containers": [{"name": "a", "env": [{"name": "x", "value": "hush"}]}]}}}}),
            json!({"kind": "Job", "metadata": metadata, "spec": {"template": {"spec": {"activeDeadlineSeconds": 90, "containers": []}}}}),
            json!({"kind": "Job", "metadata": metadata, "spec": {"backoffLimit": 1, "template": {"spec": {"containers": []}}}}),
            json!({"kind": "Workflow", "metadata": metadata, "spec": {"activeDeadlineSeconds": 60, "templates": steps}}),
            json!({"kind": "Workflow", "metadata": metadata, "spec": {"arguments": {"parameters": ["hush"]}}}),
            json!({"kind": "Workflow", "metadata": metadata, "spec": {"workflowTemplateRef": {"name": "t"}}}),
            json!({"kind": "Workflow", "metadata": metadata, "spec": {"workflowTemplateRef": {"name": "t"}},
                "status": {"storedWorkflowTemplateSpec": {"templates": steps}}}),
            json!({"kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "a"}], "volumes": [
                {"name": "work", "persistentVolumeClaim": {"claimName": "w-work"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"x": "hush"}}, "spec": {}}}},
                {"name": "key", "secret": {"secretName": "hush"}}]}}),
        ] {
            let whole = Object::from_json(object["kind"].as_str().unwrap(), &object.to_string()).unwrap();
            let mut trimmed = whole.clone();
            trim(&mut trimmed, &[]);
            assert_eq!(facts(&trimmed), facts(&whole), "{object}");
            let text = format!("{trimmed:?}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
