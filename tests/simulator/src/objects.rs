//! Kubernetes objects as the API server shows them: what kubelets, controllers and the systems themselves write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, DaemonEndpoint, Namespace, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, NodeSystemInfo, PersistentVolumeClaimVolumeSource, Pod, PodCondition, PodSpec,
    PodStatus, ResourceRequirements, Taint, Volume as Mount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use serde_json::json;

use crate::usage;
use crate::workload::{Pipeline, System};
use crate::world::{Instance, Object, Pool, Run, Server, Volume};

pub(crate) const REGION: &str = "sim-east-1";

/// UID of the namespace `kube-system`, which stands for the cluster.
pub(crate) const CLUSTER: &str = "namespace-kube-system";

pub(crate) const IMAGE: &str = "registry.example.com/data/job:1.4";

pub(crate) fn time(ms: i64) -> Time {
    // Kubernetes writes whole seconds.
    Time(Timestamp::from_second(ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// An instant as Airflow writes it, without its zone.
pub(crate) fn iso(ms: i64) -> String {
    time(ms).0.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}
pub(crate) fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The object that a run is, where its system has one; `outcome` once it is over.
pub(crate) fn run(
    run: &Run,
    pipeline: &Pipeline,
    namespace: &str,
    outcome: Option<bool>,
    at: i64,
) -> Option<Object> {
    let metadata = |kind: &str| {
        let mut metadata = json!({
            "name": run.id,
            "namespace": namespace,
            "uid": run.uid,
            "creationTimestamp": time(run.started_ms),
        });
        if kind == "Job" {
            metadata["ownerReferences"] = json!([{
                "apiVersion": "batch/v1", "kind": "CronJob", "name": pipeline.name,
                "uid": cron_job_uid(pipeline), "controller": true, "blockOwnerDeletion": true,
            }]);
        } else {
            metadata["labels"] = json!({"workflows.argoproj.io/workflow-template": pipeline.name});
        }
        metadata
    };
    let job = json!({"backoffLimit": 2, "ttlSecondsAfterFinished": 300, "template": {"spec": {"restartPolicy": "Never"}}});
    let object = match pipeline.system {
        System::Argo => json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata("Workflow"),
            "status": match outcome {
                None => json!({"phase": "Running", "startedAt": time(run.started_ms)}),
                Some(good) => json!({"phase": if good { "Succeeded" } else { "Failed" },
                    "startedAt": time(run.started_ms), "finishedAt": time(at)}),
            },
        }),
        System::CronJob => json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata("Job"), "spec": job,
            "status": match outcome {
                None => json!({"active": 1, "startTime": time(run.started_ms)}),
                Some(true) => json!({"succeeded": 1, "startTime": time(run.started_ms), "completionTime": time(at),
                    "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": time(at)}]}),
                Some(false) => json!({"failed": 1, "startTime": time(run.started_ms),
                    "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                        "lastTransitionTime": time(at)}]}),
            },
        }),
        _ => return None,
    };
    Some(Object::Other(Box::new(object)))
}

fn cron_job_uid(pipeline: &Pipeline) -> String {
    format!("cronjob-{}", pipeline.name)
}

pub(crate) fn cron_job(pipeline: &Pipeline, namespace: &str, at: i64) -> Object {
    Object::Other(Box::new(json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": pipeline.name, "namespace": namespace, "uid": cron_job_uid(pipeline), "creationTimestamp": time(at)},
        "spec": {"schedule": "0 * * * *"},
    })))
}

pub(crate) fn namespace(name: &str, team: Option<&str>, at: i64) -> Object {
    Object::Namespace(Box::new(Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(format!("namespace-{name}")),
            creation_timestamp: Some(time(at)),
            labels: team.map(|team| texts([("team", team)])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }))
}

pub(crate) fn bookmark() -> Object {
    Object::Other(Box::new(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "1"}}),
    ))
}

/// A claim and its volume.
pub(crate) fn volume(volume: &Volume, namespace: &str, phase: &str) -> [Object; 2] {
    let size = format!("{}Gi", volume.gib);
    let name = format!("pvc-{}", volume.claim_uid);
    let created = time(volume.created_ms);
    [
        Object::Other(Box::new(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": volume.claim, "namespace": namespace, "uid": volume.claim_uid, "creationTimestamp": created},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "volumeName": name,
                "resources": {"requests": {"storage": size}}},
            "status": {"phase": phase, "capacity": {"storage": size}},
        }))),
        Object::Other(Box::new(json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "uid": volume.uid, "creationTimestamp": created,
                "labels": {"topology.kubernetes.io/region": REGION, "topology.kubernetes.io/zone": format!("{REGION}a")}},
            "spec": {"capacity": {"storage": size}, "storageClassName": "gp3", "persistentVolumeReclaimPolicy": "Delete",
                "accessModes": ["ReadWriteOnce"],
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": volume.claim, "uid": volume.claim_uid},
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": format!("vol-{}", volume.uid)}},
            "status": {"phase": phase},
        }))),
    ]
}

fn quantities(amounts: [i64; 3]) -> BTreeMap<String, Quantity> {
    let mut quantities = BTreeMap::from([
        ("cpu".to_owned(), Quantity(format!("{}m", amounts[0]))),
        ("memory".to_owned(), Quantity(format!("{}Ki", amounts[1] >> 10))),
    ]);
    if amounts[2] > 0 {
        quantities.insert(
            "nvidia.com/gpu".to_owned(),
            Quantity((amounts[2] / 1000).to_string()),
        );
    }
    quantities
}

/// Work may have the memory that it asks for, and no more; what runs all the time may have all that there is.
fn limits(instance: &Instance) -> Option<BTreeMap<String, Quantity>> {
    let mut limits = quantities(instance.request);
    limits.remove("cpu");
    Some(limits).filter(|_| !instance.role.is_steady())
}

pub(crate) fn node(server: &Server, kind: &Pool) -> Object {
    let registered = server.registered_ms.unwrap_or(server.launched_ms);
    let mut labels = texts([
        ("node.kubernetes.io/instance-type", kind.instance_type),
        ("topology.kubernetes.io/region", REGION),
        ("topology.kubernetes.io/zone", &format!("{REGION}a")),
        ("kubernetes.io/hostname", &server.node),
        ("kubernetes.io/os", "linux"),
    ]);
    if kind.has_claims {
        labels.extend(texts([
            ("karpenter.sh/nodepool", kind.name),
            ("karpenter.sh/capacity-type", kind.capacity_type),
        ]));
    } else {
        let bought = if kind.capacity_type == "spot" {
            "SPOT"
        } else {
            "ON_DEMAND"
        };
        labels.extend(texts([
            ("eks.amazonaws.com/nodegroup", kind.name),
            ("eks.amazonaws.com/capacityType", bought),
        ]));
    }
    let mut allocatable = kind.capacity;
    for (amount, reserved) in allocatable.iter_mut().zip(kind.reserved) {
        *amount -= reserved;
    }
    Object::Node(Box::new(Node {
        metadata: ObjectMeta {
            name: Some(server.node.clone()),
            uid: Some(server.uid.clone()),
            creation_timestamp: Some(time(registered)),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: server.is_cordoned.then(|| {
                vec![Taint {
                    effect: "NoSchedule".to_owned(),
                    key: "karpenter.sh/disrupted".to_owned(),
                    ..Taint::default()
                }]
            }),
            provider_id: Some(server.provider_id.clone()),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            capacity: Some(quantities(kind.capacity)),
            allocatable: Some(quantities(allocatable)),
            addresses: Some(vec![NodeAddress {
                type_: "InternalIP".to_owned(),
                address: address(&server.uid),
            }]),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: 10_250 }),
            }),
            conditions: Some(vec![NodeCondition {
                type_: "Ready".to_owned(),
                status: "True".to_owned(),
                reason: Some("KubeletReady".to_owned()),
                last_heartbeat_time: Some(time(registered)),
                last_transition_time: Some(time(registered)),
                ..NodeCondition::default()
            }]),
            node_info: Some(NodeSystemInfo {
                boot_id: server.boot_id.clone(),
                kubelet_version: "v1.37.0".to_owned(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }))
}

/// An address of a private network that no other node has.
fn address(uid: &str) -> String {
    let digits: Vec<u8> = uid.bytes().rev().filter(u8::is_ascii_hexdigit).take(6).collect();
    let text = String::from_utf8(digits).unwrap_or_default();
    let number = u32::from_str_radix(&text, 16).unwrap_or(0);
    let [_, one, two, three] = number.to_be_bytes();
    format!("10.{one}.{two}.{three}")
}

pub(crate) fn node_claim(server: &Server, kind: &Pool, at: i64) -> Object {
    let mut conditions = Vec::new();
    if at >= server.launched_ms {
        for (kind, since) in [
            ("Launched", Some(server.launched_ms)),
            ("Registered", server.registered_ms),
            ("Initialized", server.registered_ms),
        ] {
            if let Some(since) = since {
                conditions.push(json!({"type": kind, "status": "True", "reason": kind, "lastTransitionTime": time(since)}));
            }
        }
    }
    Object::Other(Box::new(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {
            "name": format!("{}-claim", server.node), "uid": server.claim_uid,
            "creationTimestamp": time(server.launched_ms - 2000),
            "labels": {
                "karpenter.sh/nodepool": kind.name, "karpenter.sh/capacity-type": kind.capacity_type,
                "node.kubernetes.io/instance-type": kind.instance_type, "topology.kubernetes.io/zone": format!("{REGION}a"),
            },
        },
        "status": {
            "providerID": if at >= server.launched_ms { server.provider_id.as_str() } else { "" },
            "nodeName": if server.registered_ms.is_some() { server.node.as_str() } else { "" },
            "conditions": conditions,
        },
    })))
}

pub(crate) fn pod(instance: &Instance) -> Object {
    let owners = instance.owner.as_ref().map(|(kind, name, uid)| {
        let api_version = match kind.as_str() {
            "Workflow" => "argoproj.io/v1alpha1",
            "Job" => "batch/v1",
            "Pod" | "Node" => "v1",
            _ => "apps/v1",
        };
        vec![OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.clone(),
            name: name.clone(),
            uid: uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]
    });
    let mirror = instance.mirror.as_ref();
    let [cpu, memory] = instance.usage_percent;
    let mut annotations = instance.annotations.clone();
    annotations.insert(usage::ANNOTATION.to_owned(), format!("{cpu},{memory}"));
    let grace = instance.deletion_ms.map(|_| 30);
    let status_ms = instance
        .released_ms
        .or(instance.running_ms)
        .or(instance.bound_ms)
        .unwrap_or(instance.created_ms);
    Object::Pod(Box::new(Pod {
        metadata: ObjectMeta {
            name: Some(instance.name.clone()),
            namespace: Some(instance.namespace.clone()),
            uid: Some(mirror.map_or(&instance.uid, |(uid, _)| uid).clone()),
            creation_timestamp: Some(time(mirror.map_or(instance.created_ms, |(_, at)| *at))),
            labels: Some(instance.labels.clone()),
            annotations: Some(annotations),
            owner_references: owners,
            // The time at which the grace period ends, not that of the request.
            deletion_timestamp: instance.deletion_ms.map(|at| time(at + 30_000)),
            deletion_grace_period_seconds: grace,
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some(
                    if instance.running_ms.is_some() {
                        "kubelet"
                    } else {
                        "kube-scheduler"
                    }
                    .to_owned(),
                ),
                operation: Some("Update".to_owned()),
                subresource: Some("status".to_owned()),
                time: Some(time(status_ms)),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: instance.node.clone(),
            restart_policy: Some(match instance.role {
                role if role.is_steady() => "Always".to_owned(),
                _ => "Never".to_owned(),
            }),
            volumes: instance.claim.as_ref().map(|claim| {
                vec![Mount {
                    name: "work".to_owned(),
                    persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                        claim_name: claim.clone(),
                        ..PersistentVolumeClaimVolumeSource::default()
                    }),
                    ..Mount::default()
                }]
            }),
            containers: vec![Container {
                name: instance.container.to_owned(),
                image: Some(IMAGE.to_owned()),
                resources: Some(ResourceRequirements {
                    requests: Some(quantities(instance.request)),
                    limits: limits(instance),
                    ..ResourceRequirements::default()
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: Some(status(instance)),
    }))
}

fn status(instance: &Instance) -> PodStatus {
    let is_over = instance.is_over();
    let phase = match (is_over, instance.exit_code, instance.running_ms) {
        (true, 0, _) => "Succeeded",
        (true, _, _) => "Failed",
        (false, _, Some(_)) => "Running",
        _ => "Pending",
    };
    let mut conditions = Vec::new();
    let mut condition = |kind: &str, status: &str, reason: Option<&str>, at: i64| {
        conditions.push(PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            last_transition_time: Some(time(at)),
            ..PodCondition::default()
        });
    };
    match instance.bound_ms {
        Some(at) => condition("PodScheduled", "True", None, at),
        None => condition(
            "PodScheduled",
            "False",
            Some("Unschedulable"),
            instance.created_ms,
        ),
    }
    if let Some(at) = instance.running_ms {
        condition("Initialized", "True", None, at);
        condition("Ready", if is_over { "False" } else { "True" }, None, at);
    }
    if let Some(reason) = instance.disruption {
        condition(
            "DisruptionTarget",
            "True",
            Some(reason),
            instance.finished_ms.unwrap_or(instance.created_ms),
        );
    }
    let state = match (instance.running_ms, instance.finished_ms) {
        (Some(started), Some(finished)) => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: instance.exit_code,
                reason: Some(
                    match (instance.is_out_of_memory, instance.exit_code) {
                        (true, _) => "OOMKilled",
                        (_, 0) => "Completed",
                        _ => "Error",
                    }
                    .to_owned(),
                ),
                started_at: Some(time(started + instance.skew_ms)),
                finished_at: Some(time(finished + instance.skew_ms)).filter(|_| !instance.is_end_missing),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        },
        // What the kubelet says of a container that it finds no trace of.
        (None, _) if is_over => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".to_owned()),
                // Some kubelets write 1970 for a time that never was.
                started_at: (instance.skew_ms > 0).then(|| time(0)),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        },
        (Some(started), None) => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(time(started + instance.skew_ms)),
            }),
            ..ContainerState::default()
        },
        _ => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(instance.waiting.unwrap_or("ContainerCreating").to_owned()),
                ..ContainerStateWaiting::default()
            }),
            ..ContainerState::default()
        },
    };
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: (instance.disruption == Some("TerminationByKubelet") && is_over)
            .then(|| "Evicted".to_owned()),
        conditions: Some(conditions),
        start_time: instance.bound_ms.map(time),
        container_statuses: instance.bound_ms.map(|_| {
            vec![ContainerStatus {
                name: instance.container.to_owned(),
                image: IMAGE.to_owned(),
                ready: instance.running_ms.is_some() && !is_over,
                state: Some(state),
                ..ContainerStatus::default()
            }]
        }),
        ..PodStatus::default()
    }
}
