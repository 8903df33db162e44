//! A simulated platform of which more is told than the simulator tells: how engines saw their pods end, and a load balancer.

use std::collections::{BTreeMap, VecDeque};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use podledger_simulator::{Change, ChangeKind, Object, Scenario};
use serde_json::{Value, json};

use super::{changes, start};

/// The changes of a scenario, with more.
pub fn told_more(scenario: Scenario) -> impl Iterator<Item = Change> + use<> {
    let mut balancer = VecDeque::from(balancer());
    let mut workflows = Workflows::default();
    changes(scenario).flat_map(move |change| {
        let mut told = Vec::new();
        while let Some(due) = balancer.pop_front_if(|due| due.at_ms <= change.at_ms) {
            told.push(due);
        }
        workflows.tell(change, &mut told);
        told
    })
}

/// A Service that is no load balancer for hours, and then is one for an hour and a half.
fn balancer() -> [Change; 4] {
    let at = |minutes: i64| start() + SignedDuration::from_mins(minutes);
    let service = |kind: &str, ingress: Value| {
        Object::Other(Box::new(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "front", "namespace": "data-0", "uid": "service-front", "creationTimestamp": at(5).to_string(),
                "labels": {"app": "front"}},
            "spec": {"type": kind}, "status": {"loadBalancer": {"ingress": ingress}},
        })))
    };
    let named = || json!([{"hostname": "front.elb.amazonaws.com"}]);
    [
        (5, ChangeKind::Added, service("ClusterIP", json!([]))),
        (6 * 60, ChangeKind::Modified, service("LoadBalancer", json!([]))),
        (6 * 60 + 2, ChangeKind::Modified, service("LoadBalancer", named())),
        (7 * 60 + 30, ChangeKind::Deleted, service("LoadBalancer", named())),
    ]
    .map(|(minutes, kind, object)| Change {
        at_ms: at(minutes).as_millisecond(),
        kind,
        object,
    })
}

/// Argo writes into a Workflow how each of its pods ended, as soon as it did.
#[derive(Default)]
struct Workflows {
    /// By UID: the object as it was told last, and what it says of its pods.
    told: BTreeMap<String, (Value, Value)>,
}

impl Workflows {
    fn tell(&mut self, mut change: Change, told: &mut Vec<Change>) {
        let (at_ms, kind) = (change.at_ms, change.kind);
        let more = match &mut change.object {
            Object::Pod(pod) => self.ended(pod),
            Object::Other(object) if object["kind"] == "Workflow" => {
                let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
                let (last, nodes) = self.told.entry(uid).or_insert((Value::Null, json!({})));
                object["status"]["nodes"] = nodes.clone();
                last.clone_from(object);
                None
            }
            _ => None,
        };
        told.push(change);
        // The last state of a pod that was deleted by force tells of no end.
        if kind == ChangeKind::Modified
            && let Some(workflow) = more
        {
            told.push(Change {
                at_ms,
                kind,
                object: Object::Other(Box::new(workflow)),
            });
        }
    }

    /// The Workflow of a pod that has ended, if that is news.
    fn ended(&mut self, pod: &Pod) -> Option<Value> {
        let phase = pod.status.as_ref()?.phase.clone()?;
        let owner = pod.metadata.owner_references.as_ref()?.first()?;
        let (workflow, nodes) = self.told.get_mut(&owner.uid)?;
        let name = pod.metadata.name.as_deref()?;
        if !matches!(phase.as_str(), "Succeeded" | "Failed") || !nodes[name].is_null() {
            return None;
        }
        nodes[name] = json!({
            "type": "Pod", "phase": phase, "message": "as Argo saw it",
            "startedAt": pod.status.as_ref()?.start_time.as_ref()?.0.to_string(),
            "resourcesDuration": {"cpu": 7, "memory": 9},
        });
        workflow["status"]["nodes"] = nodes.clone();
        Some(workflow.clone())
    }
}
