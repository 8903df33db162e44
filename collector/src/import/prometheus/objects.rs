//! Kubernetes objects as they must have been for kube-state-metrics to tell what it told: the index reads them like any others.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::moments::Wait;
use super::names::{Names, resource_name};
use super::server::Series;
use super::told::Told;
use crate::facts::Texts;

/// Stands where kube-state-metrics tells no exit code: it is not the one of any program, and no fact keeps it.
pub const UNKNOWN_EXIT: i64 = -1;

/// Whole seconds that a metric tells, in milliseconds.
#[must_use]
pub fn instant_ms(series: &Series) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
    series
        .last()
        .filter(|seconds| (1.0..1e11).contains(seconds))
        .map(|seconds| (seconds * 1000.0).round() as i64)
}

/// An instant as objects write it.
fn time(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|at| at.to_string())
}

/// What a window told of pods, by UID where that is told.
pub struct Pods<'a> {
    told: &'a Told,
    names: &'a Names,
    created: HashMap<&'a str, &'a Series>,
    started: HashMap<&'a str, &'a Series>,
    scheduled: HashMap<&'a str, &'a Series>,
    completed: HashMap<&'a str, &'a Series>,
    deletion: HashMap<&'a str, &'a Series>,
    labels: HashMap<&'a str, &'a Series>,
    annotations: HashMap<&'a str, &'a Series>,
    owners: HashMap<&'a str, Vec<&'a Series>>,
    containers: HashMap<&'a str, Vec<&'a Series>>,
    init_containers: HashMap<&'a str, Vec<&'a Series>>,
    requests: HashMap<&'a str, Vec<&'a Series>>,
    init_requests: HashMap<&'a str, Vec<&'a Series>>,
    limits: HashMap<&'a str, Vec<&'a Series>>,
    init_limits: HashMap<&'a str, Vec<&'a Series>>,
    overhead: [HashMap<&'a str, &'a Series>; 2],
    running: HashMap<&'a str, Vec<&'a Series>>,
    ends: HashMap<&'a str, Vec<&'a Series>>,
    reasons: HashMap<&'a str, &'a Series>,
}

/// What a pod is at a moment, beside what the window told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    pub at_ms: i64,
    pub node: String,
    pub phase: &'static str,
    /// Containers that wait, and why.
    pub waits: BTreeMap<String, String>,
    /// When it was first seen to be asked to go.
    pub asked_to_go_ms: Option<i64>,
}

/// What is told of a container: what it asks for and what it may take at most, and the rest.
#[derive(Default)]
struct Container {
    amounts: [Map<String, Value>; 2],
    more: Value,
}

impl<'a> Pods<'a> {
    #[must_use]
    pub fn new(told: &'a Told, names: &'a Names) -> Self {
        Self {
            told,
            names,
            created: told.by("kube_pod_created", "uid"),
            started: told.by("kube_pod_start_time", "uid"),
            scheduled: told.by("kube_pod_status_scheduled_time", "uid"),
            completed: told.by("kube_pod_completion_time", "uid"),
            deletion: told.by("kube_pod_deletion_timestamp", "uid"),
            labels: told.by("kube_pod_labels", "uid"),
            annotations: told.by("kube_pod_annotations", "uid"),
            owners: told.all_by("kube_pod_owner", "uid"),
            containers: told.all_by("kube_pod_container_info", "uid"),
            init_containers: told.all_by("kube_pod_init_container_info", "uid"),
            requests: told.all_by("kube_pod_container_resource_requests", "uid"),
            init_requests: told.all_by("kube_pod_init_container_resource_requests", "uid"),
            limits: told.all_by("kube_pod_container_resource_limits", "uid"),
            init_limits: told.all_by("kube_pod_init_container_resource_limits", "uid"),
            overhead: [
                told.by("kube_pod_overhead_cpu_cores", "uid"),
                told.by("kube_pod_overhead_memory_bytes", "uid"),
            ],
            running: told.all_by("kube_pod_container_state_started", "uid"),
            ends: told.all_by("kube_pod_container_status_terminated_reason", "uid"),
            reasons: told.by("kube_pod_status_reason", "uid"),
        }
    }

    /// When a pod was made, as far as that is told.
    #[must_use]
    pub fn created_ms(&self, uid: &str) -> Option<i64> {
        self.created.get(uid).and_then(|series| instant_ms(series))
    }

    /// A pod at a moment; `owner_uid` knows the UID of an owner by kind, namespace and name.
    #[must_use]
    pub fn object(
        &self,
        info: &Series,
        moment: &Moment,
        owner_uid: &dyn Fn(&str, &str, &str) -> String,
    ) -> Value {
        let uid = info.label("uid");
        let namespace = info.label("namespace");
        let at = |found: &HashMap<&str, &Series>| {
            let ms = found.get(uid).and_then(|series| instant_ms(series))?;
            (ms <= moment.at_ms).then_some(ms).and_then(time)
        };
        let texts = |found: &HashMap<&str, &Series>, prefix: &str| {
            found
                .get(uid)
                .map(|series| self.names.texts(series, prefix))
                .unwrap_or_default()
        };
        let owners: Vec<Value> = self
            .owners
            .get(uid)
            .into_iter()
            .flatten()
            .filter(|series| !series.label("owner_kind").is_empty() && series.label("owner_kind") != "<none>")
            .map(|series| owner(series, namespace, owner_uid))
            .collect();
        let is_terminal = matches!(moment.phase, "Succeeded" | "Failed");
        let mut conditions = Vec::new();
        if !moment.node.is_empty()
            && let Some(scheduled) = at(&self.scheduled)
        {
            conditions
                .push(json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled}));
        }
        let mut metadata = json!({
            "name": info.label("pod"),
            "namespace": namespace,
            "uid": uid,
            "creationTimestamp": self.created_ms(uid).and_then(time),
            "labels": texts(&self.labels, "label_"),
            "annotations": texts(&self.annotations, "annotation_"),
            "ownerReferences": owners,
        });
        if let Some(asked_ms) = moment.asked_to_go_ms
            && let Some(due_ms) = self.deletion.get(uid).and_then(|series| instant_ms(series))
        {
            let grace_ms = (due_ms - asked_ms).max(0);
            metadata["deletionTimestamp"] = json!(time(asked_ms + grace_ms));
            metadata["deletionGracePeriodSeconds"] = json!(grace_ms / 1000);
        }
        let overhead = |of: usize| self.overhead[of].get(uid).and_then(|series| series.last());
        let mut spec = json!({
            "nodeName": (!moment.node.is_empty()).then_some(&moment.node),
            "containers": self.specs(&self.containers, [&self.requests, &self.limits], uid),
            "initContainers": self.specs(&self.init_containers, [&self.init_requests, &self.init_limits], uid),
        });
        if let (Some(cores), Some(bytes)) = (overhead(0), overhead(1)) {
            spec["overhead"] = json!({"cpu": quantity("core", cores), "memory": quantity("byte", bytes)});
        }
        let completed = at(&self.completed);
        let reason = self.reasons.get(uid).filter(|_| is_terminal);
        json!({
            "metadata": metadata,
            "spec": spec,
            "status": {
                "phase": moment.phase,
                "reason": reason.map(|series| series.label("reason")),
                "startTime": at(&self.started).filter(|_| !moment.node.is_empty()),
                "conditions": conditions,
                "containerStatuses": self.statuses(uid, moment, is_terminal, completed.as_deref()),
            },
        })
    }

    /// Containers with what they ask for and what they may take at most.
    fn specs(
        &self,
        of: &HashMap<&str, Vec<&Series>>,
        amounts: [&HashMap<&str, Vec<&Series>>; 2],
        uid: &str,
    ) -> Value {
        let mut containers: BTreeMap<&str, Container> = BTreeMap::new();
        for series in of.get(uid).into_iter().flatten() {
            let container = containers.entry(series.label("container")).or_default();
            container.more =
                json!({"image": series.label("image_spec"), "restartPolicy": series.label("restart_policy")});
        }
        for (place, found) in amounts.into_iter().enumerate() {
            for series in found.get(uid).into_iter().flatten() {
                let container = containers.entry(series.label("container")).or_default();
                if let Some(amount) = series.last() {
                    let name = resource_name(self.names, series.label("resource"));
                    container.amounts[place].insert(name, quantity(series.label("unit"), amount).into());
                }
            }
        }
        let containers = containers.into_iter().map(|(name, container)| {
            let Container {
                amounts: [requests, limits],
                more,
            } = container;
            let text = |key: &str| more[key].as_str().filter(|text| !text.is_empty());
            let mut container = json!({"name": name, "resources": {"requests": requests, "limits": limits}});
            for key in ["image", "restartPolicy"] {
                if let Some(text) = text(key) {
                    container[key] = text.into();
                }
            }
            container
        });
        containers.collect()
    }

    fn statuses(&self, uid: &str, moment: &Moment, is_terminal: bool, completed: Option<&str>) -> Value {
        let by_container = |found: &HashMap<&str, Vec<&'a Series>>| -> HashMap<&'a str, &'a Series> {
            let series = found.get(uid).into_iter().flatten();
            series
                .map(|series| (series.label("container"), *series))
                .collect()
        };
        let (running, ends) = (by_container(&self.running), by_container(&self.ends));
        let containers = self.containers.get(uid).into_iter().flatten();
        let statuses = containers.map(|series| {
            let container = series.label("container");
            let started = running
                .get(container)
                .and_then(|series| instant_ms(series))
                .filter(|ms| *ms <= moment.at_ms)
                .and_then(time);
            let state = if is_terminal {
                let reason = ends.get(container).map(|series| series.label("reason"));
                json!({"terminated": {
                    "exitCode": exit_code(reason, moment.phase),
                    "reason": reason,
                    "startedAt": started,
                    "finishedAt": completed,
                }})
            } else if let Some(reason) = moment.waits.get(container) {
                json!({"waiting": {"reason": reason}})
            } else if let Some(started) = started {
                json!({"running": {"startedAt": started}})
            } else {
                json!({})
            };
            json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
        });
        statuses.collect()
    }

    /// Containers that waited, with why, and the samples that said so, of each pod.
    #[must_use]
    pub fn waits(&self) -> HashMap<&'a str, Vec<Wait<'a>>> {
        let mut waits: HashMap<&str, Vec<_>> = HashMap::new();
        for series in &self.told.waits {
            let wait = (
                series.label("container"),
                series.label("reason"),
                series.samples.as_slice(),
            );
            waits.entry(series.label("uid")).or_default().push(wait);
        }
        waits
    }
}

/// The exit code that a reason stands for; whoever failed for another has one that is not told.
fn exit_code(reason: Option<&str>, phase: &str) -> i64 {
    match reason {
        Some("Completed") => 0,
        Some("OOMKilled") => 137,
        None if phase == "Succeeded" => 0,
        _ => UNKNOWN_EXIT,
    }
}

fn owner(series: &Series, namespace: &str, owner_uid: &dyn Fn(&str, &str, &str) -> String) -> Value {
    let (kind, name) = (series.label("owner_kind"), series.label("owner_name"));
    json!({
        "apiVersion": "",
        "kind": kind,
        "name": name,
        "uid": owner_uid(kind, namespace, name),
        "controller": series.label("owner_is_controller") == "true",
    })
}

/// An amount as objects write it.
fn quantity(unit: &str, amount: f64) -> String {
    match unit {
        "core" => format!("{}m", (amount * 1000.0).round()),
        _ => format!("{}", amount.round()),
    }
}

/// The Jobs and ReplicaSets of a window: what they are named, and themselves.
#[must_use]
pub fn owners(
    told: &Told,
    names: &Names,
    owner_uid: &dyn Fn(&str, &str, &str) -> String,
) -> Vec<(&'static str, Value)> {
    let job_labels = told.texts("kube_job_labels", "label_", "job_name", names);
    let instants = |metric: &str| -> HashMap<(String, String), i64> {
        let series = told.of(metric);
        series
            .filter_map(|series| {
                let key = (
                    series.label("namespace").to_owned(),
                    series.label("job_name").to_owned(),
                );
                Some((key, instant_ms(series)?))
            })
            .collect()
    };
    let there = |metric: &str| -> Vec<(String, String)> {
        told.of(metric)
            .map(|series| {
                (
                    series.label("namespace").to_owned(),
                    series.label("job_name").to_owned(),
                )
            })
            .collect()
    };
    let (created, completed) = (
        instants("kube_job_created"),
        instants("kube_job_status_completion_time"),
    );
    let ends = [
        ("Complete", there("kube_job_complete")),
        ("Failed", there("kube_job_failed")),
    ];
    let mut objects = Vec::new();
    for (metric, kind, label) in [
        ("kube_job_owner", "Job", "job_name"),
        ("kube_replicaset_owner", "ReplicaSet", "replicaset"),
    ] {
        for series in told.of(metric) {
            let (namespace, name) = (series.label("namespace"), series.label(label));
            let key = (namespace.to_owned(), name.to_owned());
            let references = match series.label("owner_kind") {
                "" | "<none>" => Vec::new(),
                _ => vec![owner(series, namespace, owner_uid)],
            };
            let is_job = kind == "Job";
            let conditions: Vec<Value> = ends
                .iter()
                .filter(|(_, jobs)| is_job && jobs.contains(&key))
                .map(|(condition, _)| {
                    let at = completed.get(&key).copied().and_then(time);
                    json!({"type": condition, "status": "True", "lastTransitionTime": at})
                })
                .collect();
            let labels: Option<&Texts> = job_labels.get(&key).filter(|_| is_job);
            let created = created.get(&key).filter(|_| is_job).copied();
            let object = json!({
                "kind": kind,
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "uid": owner_uid(kind, namespace, name),
                    "creationTimestamp": created.and_then(time),
                    "labels": labels,
                    "ownerReferences": references,
                },
                "status": {"conditions": conditions, "completionTime": completed.get(&key).filter(|_| is_job).copied().and_then(time)},
            });
            objects.push((kind, object));
        }
    }
    objects
}

/// The namespaces of a window.
#[must_use]
pub fn namespaces(told: &Told, names: &Names) -> Vec<Value> {
    let texts = |metric: &str, prefix: &str| told.texts(metric, prefix, "namespace", names);
    let (labels, annotations) = (
        texts("kube_namespace_labels", "label_"),
        texts("kube_namespace_annotations", "annotation_"),
    );
    let created = told.of("kube_namespace_created").map(|series| {
        let name = series.label("namespace").to_owned();
        let key = (name.clone(), name.clone());
        json!({
            "metadata": {
                "name": name,
                "uid": format!("Namespace/{name}"),
                "creationTimestamp": instant_ms(series).and_then(time),
                "labels": labels.get(&key),
                "annotations": annotations.get(&key),
            },
        })
    });
    created.collect()
}

/// A node, from what a window told of it; `machine` knows its machine by when the node was made, where that is
/// known from elsewhere.
#[must_use]
pub fn node<'a>(
    told: &Told,
    info: &Series,
    names: &Names,
    machine: impl FnOnce(i64) -> Option<&'a str>,
) -> Value {
    let name = info.label("node");
    let at_ms = info.samples.first().map_or(told.from_ms, |(ms, _)| *ms);
    let of = |metric: &str| told.of_node(metric, name, at_ms);
    let created_ms = of("kube_node_created").first().and_then(instant_ms);
    let labels = of("kube_node_labels")
        .first()
        .map(|series| names.texts(series, "label_"));
    let resources = |metric: &str| -> Map<String, Value> {
        let series = of(metric);
        let amounts = series.iter().filter_map(|series| {
            let amount = quantity(series.label("unit"), series.last()?);
            Some((resource_name(names, series.label("resource")), amount.into()))
        });
        amounts.collect()
    };
    let taints = of("kube_node_spec_taint");
    let taints = taints.iter().map(|series| {
        json!({"key": series.label("key"), "value": series.label("value"), "effect": series.label("effect")})
    });
    let taints: Vec<Value> = taints.collect();
    let ready = of("kube_node_status_condition");
    let ready = ready.first().map(|series| match series.label("status") {
        "true" => "True",
        "false" => "False",
        _ => "Unknown",
    });
    let conditions: Vec<Value> = ready
        .map(|status| json!({"type": "Ready", "status": status}))
        .into_iter()
        .collect();
    let provider_id = Some(info.label("provider_id")).filter(|id| !id.is_empty());
    // Not told; with it a machine whose boot is not told either is told from the next of its name.
    let node_uid = created_ms.and_then(time).unwrap_or_else(|| name.to_owned());
    // The index names a machine by instance and boot.
    let boot_id = created_ms
        .and_then(machine)
        .and_then(|machine| Some(machine.rsplit_once('#')?.1))
        .filter(|boot| *boot != node_uid);
    json!({
        "metadata": {
            "name": name,
            "uid": node_uid,
            "creationTimestamp": created_ms.and_then(time),
            "labels": labels,
        },
        "spec": {"providerID": provider_id, "taints": taints},
        "status": {
            "capacity": resources("kube_node_status_capacity"),
            "allocatable": resources("kube_node_status_allocatable"),
            "conditions": conditions,
            "nodeInfo": {
                "bootID": boot_id.unwrap_or_default(),
                "systemUUID": info.label("system_uuid"),
                "architecture": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                "kubeletVersion": info.label("kubelet_version"), "machineID": "", "operatingSystem": "", "osImage": "",
            },
        },
    })
}
