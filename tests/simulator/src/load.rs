//! A cluster that is as large and as busy as is wanted, and does nothing else: pods of the size that kubelets and admission
//! leave them in, replaced one after another.
//!
//! It has no truth: nothing is paid, nothing is late. It is there to see what so many changes take.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::objects::{self, time};
use crate::world::{Change, ChangeKind, Object};

/// What goes on. All pods are there from the first instant on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// First instant, in milliseconds since 1970.
    pub start_ms: i64,
    /// How many pods are there at any time.
    pub pods: u64,
    /// On how many nodes.
    pub nodes: u64,
    /// How many changes a second there are; each five replace a pod.
    pub changes_per_second: u64,
}

/// The states that replace a pod: the oldest is done and goes, another comes, is bound and runs.
const STEPS: u64 = 5;

/// What happens of a [`Load`], without end.
#[derive(Debug)]
pub struct Changes {
    load: Load,
    first: VecDeque<Change>,
    /// How many pods are to be there still at the first instant.
    made: u64,
    told: u64,
}

impl Load {
    /// What happens.
    #[must_use]
    pub fn changes(self) -> Changes {
        let start_ms = self.start_ms;
        let mut first: VecDeque<Change> = ["kube-system", "batch"]
            .into_iter()
            .map(|name| {
                change(
                    start_ms,
                    ChangeKind::Added,
                    objects::namespace(name, None, start_ms),
                )
            })
            .collect();
        for number in 0..self.nodes {
            first.push_back(change(start_ms, ChangeKind::Added, node(number, start_ms)));
        }
        Changes {
            load: self,
            first,
            made: 0,
            told: 0,
        }
    }
}

impl Iterator for Changes {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if let Some(change) = self.first.pop_front() {
            return Some(change);
        }
        let load = &self.load;
        if self.made < load.pods {
            self.made += 1;
            let pod = pod(load, self.made - 1, State::Running, load.start_ms);
            return Some(change(load.start_ms, ChangeKind::Added, pod));
        }
        let passed = self.told * 1000 / load.changes_per_second.max(1);
        let at_ms = load.start_ms + 1 + i64::try_from(passed).unwrap_or(i64::MAX / 2);
        let (turn, step) = (self.told / STEPS, self.told % STEPS);
        let (old, new) = (turn, turn + load.pods);
        self.told += 1;
        let (kind, number, state) = match step {
            0 => (ChangeKind::Modified, old, State::Done),
            1 => (ChangeKind::Deleted, old, State::Done),
            2 => (ChangeKind::Added, new, State::Pending),
            3 => (ChangeKind::Modified, new, State::Bound),
            _ => (ChangeKind::Modified, new, State::Running),
        };
        Some(change(at_ms, kind, pod(load, number, state, at_ms)))
    }
}

fn change(at_ms: i64, kind: ChangeKind, object: Object) -> Change {
    Change { at_ms, kind, object }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Pending,
    Bound,
    Running,
    Done,
}

fn node(number: u64, at_ms: i64) -> Object {
    let value = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": format!("node-{number}"),
            "uid": format!("node-uid-{number}"),
            "creationTimestamp": time(at_ms),
            "labels": {
                "node.kubernetes.io/instance-type": "m6i.16xlarge",
                "topology.kubernetes.io/region": objects::REGION,
                "eks.amazonaws.com/nodegroup": "batch",
            },
        },
        "spec": {"providerID": format!("aws:///{}a/i-{number:012x}", objects::REGION)},
        "status": {
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "737"},
            "allocatable": {"cpu": "63500m", "memory": "248Gi", "pods": "737"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": time(at_ms), "lastTransitionTime": time(at_ms)}],
            "nodeInfo": {
                "bootID": format!("boot-{number}"), "kubeletVersion": "v1.37.0", "architecture": "amd64",
                "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "",
                "operatingSystem": "linux", "osImage": "", "systemUUID": "",
            },
        },
    });
    Object::Other(Box::new(value))
}

/// A pod of about five kilobytes, most of which nobody needs who counts costs.
fn pod(load: &Load, number: u64, state: State, at_ms: i64) -> Object {
    let name = format!("load-{}-{number:08x}", number / 50);
    let node = format!("node-{}", number % load.nodes.max(1));
    let env: Vec<Value> = (0..20)
        .map(|place| json!({"name": format!("SETTING_{place}"), "value": format!("s3://lake/inputs/{number}/{place}")}))
        .collect();
    let managed = |manager: &str, sub: &str| {
        json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": time(at_ms), "fieldsType": "FieldsV1",
            "subresource": sub, "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}, "f:team": {}}}, "f:spec": {"f:containers": {}}}})
    };
    let done = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": time(at_ms), "finishedAt": time(at_ms)}});
    let container_state = match state {
        State::Done => done,
        State::Running => json!({"running": {"startedAt": time(at_ms)}}),
        _ => json!({"waiting": {"reason": "ContainerCreating"}}),
    };
    let is_bound = state >= State::Bound;
    let condition = |kind: &str, is_true: bool| json!({"type": kind, "status": if is_true { "True" } else { "False" }, "lastTransitionTime": time(at_ms)});
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "batch",
            "uid": format!("00000000-0000-4000-8000-{number:012x}"),
            "creationTimestamp": time(at_ms),
            "labels": {
                "app": "load", "team": format!("team-{}", number % 12), "batch.kubernetes.io/job-name": format!("load-{}", number / 50),
                "batch.kubernetes.io/controller-uid": format!("job-uid-{}", number / 50),
                "batch.kubernetes.io/job-completion-index": (number % 50).to_string(),
            },
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(900)},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": format!("load-{}", number / 50),
                "uid": format!("job-uid-{}", number / 50), "controller": true}],
            "managedFields": [managed("kube-controller-manager", ""), managed("kubelet", "status")],
        },
        "spec": {
            "restartPolicy": "Never", "serviceAccountName": "batch", "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "containers": [{"name": "main", "image": objects::IMAGE, "args": ["--part", number.to_string()], "env": env,
                "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}}}],
        },
        "status": {
            "phase": match state { State::Done => "Succeeded", State::Running => "Running", _ => "Pending" },
            "conditions": [condition("PodScheduled", is_bound), condition("Initialized", state >= State::Running),
                condition("Ready", state == State::Running)],
        },
    });
    if is_bound {
        value["spec"]["nodeName"] = node.into();
        value["status"]["startTime"] = json!(time(at_ms));
        value["status"]["containerStatuses"] = json!([{"name": "main", "image": objects::IMAGE, "imageID": "", "ready": false,
            "restartCount": 0, "state": container_state}]);
    }
    Object::Other(Box::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_pods_and_changes_as_are_asked_for() {
        let load = Load {
            start_ms: 1_790_000_000_000,
            pods: 40,
            nodes: 3,
            changes_per_second: 100,
        };
        let (mut there, mut changes) = (0_i64, 0);
        for change in load.changes().take(45 + 1000) {
            let Object::Other(object) = &change.object else {
                continue;
            };
            if object["kind"] != "Pod" {
                continue;
            }
            match change.kind {
                ChangeKind::Added => there += 1,
                ChangeKind::Deleted => there -= 1,
                _ => {}
            }
            changes += i32::from(change.at_ms > 1_790_000_000_000);
            assert!((0..=40).contains(&there));
            assert!(change.at_ms <= 1_790_000_010_000);
        }
        assert_eq!((there, changes), (40, 1000));
    }
}
