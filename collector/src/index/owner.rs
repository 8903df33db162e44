//! Owners of pods: their chain to the top, and what they say of how their work ended.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entry::Key;
use super::{Index, after, created, labels, micros, name, uid};
use crate::error::Result;
use crate::facts::{EngineOutcome, Fact, Owner, OwnerObject, Wide};
use crate::object::Other;
use crate::occupancy::Sight;
use crate::request::{Resources, effective_request};
use crate::words::{Word, word};

/// Longest chain of owners that is followed: pod, Job, JobSet, Workflow, CronWorkflow leave room for three more.
const LONGEST_CHAIN: usize = 8;

/// Argo's name for the node of a Workflow that a pod carries out.
const ARGO_NODE: &str = "workflows.argoproj.io/node-id";

#[derive(Debug, Default)]
pub(super) struct Owners {
    pub(super) by_uid: HashMap<String, Known>,
    /// What engines have said of pods, by namespace and the name that they give the pod.
    pub(super) records: HashMap<(String, String), Record>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    #[serde(skip)]
    list: u64,
    pub(super) fact: OwnerObject,
    parent: Option<Owner>,
    /// What a pod of its template asks for.
    pub(super) template: Option<Resources>,
    records: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(deserialize_with = "word::deserialize")]
    source: Word,
    #[serde(deserialize_with = "word::deserialize")]
    outcome: Word,
    reason: Option<String>,
    #[serde(default)]
    work: Work,
    /// The pod that it was told of.
    told: Option<String>,
}

/// What an engine counted of a pod's work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Work {
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// What was asked for while it ran.
    cpu_request_millicore_ms: Option<i64>,
    memory_request_byte_ms: Option<Wide>,
}

impl Record {
    pub(super) fn is_told_of(&self, pod: &str) -> bool {
        self.told.as_deref() == Some(pod)
    }
}

impl Known {
    /// An owner as a fact tells of it.
    pub(super) fn of(fact: OwnerObject) -> Self {
        Self {
            list: 0,
            fact,
            parent: None,
            template: None,
            records: Vec::new(),
        }
    }
}

impl Owners {
    /// A list shows an object, whatever it is like.
    pub(super) fn keep(&mut self, uid: &str, list: u64) {
        if let Some(known) = self.by_uid.get_mut(uid) {
            known.list = list;
        }
    }

    pub(super) fn older_than(&self, kind: &str, list: u64) -> Vec<String> {
        let mut older: Vec<String> = self
            .by_uid
            .iter()
            .filter(|(_, known)| known.fact.kind == kind && known.list < list)
            .map(|(uid, _)| uid.clone())
            .collect();
        older.sort_unstable();
        older
    }
}

impl Index {
    /// The chain that begins with `nearest`, as far as it is known.
    pub(super) fn chain(&self, nearest: Owner) -> Vec<Owner> {
        let mut chain = vec![nearest];
        while let Some(last) = chain.last().filter(|_| chain.len() < LONGEST_CHAIN) {
            let parent = match self.owners.by_uid.get(&last.uid) {
                Some(known) => known.parent.clone(),
                // A pod may own pods: a Spark driver its executors.
                None => self.pods.owner_of(&last.uid),
            };
            match parent {
                Some(parent) if !chain.iter().any(|owner| owner.uid == parent.uid) => chain.push(parent),
                _ => break,
            }
        }
        chain
    }

    pub(super) fn apply_owner(&mut self, object: &Other, seen: Sight, facts: &mut Vec<Fact>) -> Result<()> {
        let owner_uid = uid(&object.metadata)?;
        let owner_name = name(&object.metadata)?;
        let references = object.metadata.owner_references.as_deref().unwrap_or_default();
        let parent = references
            .iter()
            .find(|owner| owner.controller == Some(true))
            .or_else(|| references.first())
            .map(|owner| Owner {
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            });
        let end = end(&object.status);
        let created_at = created(&object.metadata);
        let last = self.owners.by_uid.get(&owner_uid);
        let fact = OwnerObject {
            cluster: self.settings.cluster.clone(),
            owner_uid: owner_uid.clone(),
            valid_from_at: after(
                last.map(|last| last.fact.valid_from_at),
                match last {
                    None => created_at.map_or(micros(seen.at), micros),
                    Some(_) => micros(seen.at),
                },
            ),
            kind: object.kind.clone(),
            name: owner_name,
            namespace: object.metadata.namespace.clone(),
            labels: labels(&object.metadata),
            annotations: self.annotations(&object.metadata),
            outcome: end.as_ref().map(|end| end.outcome),
            reason: end.as_ref().and_then(|end| end.reason.clone()),
            created_at,
            finished_at: end.and_then(|end| end.at).map(micros),
            deleted_at: None,
            active_deadline_ms: deadline(object),
        };
        let records = records(object);
        let template = match last {
            Some(last) => last.template,
            None => self.template_request(object),
        };
        let list = self.list(&object.kind);
        let extends = parent.is_some() && last.is_none_or(|last| last.parent != parent);
        let same = last.is_some_and(|last| {
            OwnerObject {
                valid_from_at: fact.valid_from_at,
                ..last.fact.clone()
            } == fact
        });
        if !same {
            facts.push(fact.clone().into());
        }
        let fact = if same {
            last.map_or(fact, |last| last.fact.clone())
        } else {
            fact
        };
        let namespace = fact.namespace.clone().unwrap_or_default();
        let keys = records
            .iter()
            .map(|(key, _)| (namespace.clone(), key.clone()))
            .collect();
        self.owners.by_uid.insert(
            owner_uid.clone(),
            Known {
                list,
                fact,
                parent,
                template,
                records: keys,
            },
        );
        if extends {
            self.extend_owners(&owner_uid, facts);
        }
        let pods = self.pods_below(&owner_uid);
        for (key, record) in records {
            let place = (namespace.clone(), key);
            let told = self.owners.records.get(&place).and_then(|old| {
                let same =
                    (old.outcome, &old.reason, &old.work) == (record.outcome, &record.reason, &record.work);
                old.told.clone().filter(|_| same)
            });
            if told.is_none() {
                let pod = self
                    .pod_of_engine_node(&place.1, &pods)
                    .or_else(|| self.pod_of_engine(&namespace, &place.1))
                    .or_else(|| self.pods.gone.named(&place));
                if let Some(pod) = &pod {
                    facts.push(self.engine_outcome(pod, &record, seen).into());
                }
                self.touched.add(Key::Record(place.0.clone(), place.1.clone()));
                self.owners.records.insert(place, Record { told: pod, ..record });
            }
        }
        Ok(())
    }

    pub(super) fn owner_gone(&mut self, owner_uid: &str, seen: Sight, facts: &mut Vec<Fact>) {
        let Some(known) = self.owners.by_uid.remove(owner_uid) else {
            return;
        };
        for place in known.records {
            self.owners.records.remove(&place);
            self.touched.add(Key::Record(place.0, place.1));
        }
        let fact = OwnerObject {
            valid_from_at: after(Some(known.fact.valid_from_at), micros(seen.at)),
            deleted_at: Some(micros(seen.at)),
            ..known.fact
        };
        facts.push(fact.into());
    }

    /// An engine may have spoken of a pod before the pod was seen.
    pub(super) fn tell_engine_outcome(
        &mut self,
        key: &str,
        namespace: &str,
        pod_name: &str,
        pod: &Pod,
        seen: Sight,
        facts: &mut Vec<Fact>,
    ) {
        let annotations = pod.metadata.annotations.as_ref();
        let node = annotations
            .and_then(|annotations| annotations.get(ARGO_NODE))
            .cloned();
        let names = [node.as_deref(), Some(pod_name)];
        let place = names
            .into_iter()
            .flatten()
            .map(|name| (namespace.to_owned(), name.to_owned()))
            .find(|place| {
                self.owners
                    .records
                    .get(place)
                    .is_some_and(|record| record.told.is_none())
            });
        self.set_engine_node(key, node.clone());
        if let Some(place) = &place {
            self.touched.add(Key::Record(place.0.clone(), place.1.clone()));
        }
        if let Some(record) = place.and_then(|place| self.owners.records.get_mut(&place)) {
            record.told = Some(key.to_owned());
            let record = record.clone();
            facts.push(self.engine_outcome(key, &record, seen).into());
        }
    }

    fn engine_outcome(&self, pod: &str, record: &Record, seen: Sight) -> EngineOutcome {
        EngineOutcome {
            cluster: self.settings.cluster.clone(),
            pod_uid: pod.to_owned(),
            observed_at: micros(seen.at),
            source: record.source,
            outcome: record.outcome,
            reason: record.reason.clone(),
            started_at: record.work.started_at,
            finished_at: record.work.finished_at,
            cpu_request_millicore_ms: record.work.cpu_request_millicore_ms,
            memory_request_byte_ms: record.work.memory_request_byte_ms,
        }
    }
}

impl Index {
    /// What a pod that this object makes asks for, where it holds the template of its pods.
    fn template_request(&self, object: &Other) -> Option<Resources> {
        let spec = object.spec.get("template")?.get("spec")?;
        let pod = Pod {
            spec: serde_json::from_value(spec.clone()).ok()?,
            ..Pod::default()
        };
        effective_request(&pod, &self.settings.accelerators).ok()
    }
}

struct End {
    outcome: &'static str,
    reason: Option<String>,
    at: Option<Timestamp>,
}

/// How an owner's work ended: by its conditions, else by its phase or state. `None` while it goes on.
fn end(status: &Value) -> Option<End> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let by_condition = conditions
        .filter_map(|condition| {
            let outcome = match (condition["type"].as_str()?, condition["status"].as_str()?) {
                ("Complete" | "Completed" | "Succeeded", "True") => "succeeded",
                ("Failed", "True") | ("Succeeded", "False") => "failed",
                _ => return None,
            };
            Some(End {
                outcome,
                reason: condition["reason"].as_str().map(str::to_owned),
                at: condition["lastTransitionTime"]
                    .as_str()
                    .and_then(|at| at.parse().ok()),
            })
        })
        // Argo's `Completed` says only that it is over: a failure beside it counts.
        .reduce(|one, other| if one.outcome == "failed" { one } else { other });
    let phase = [
        &status["phase"],
        &status["applicationState"]["state"],
        &status["jobStatus"],
        &status["state"]["phase"],
    ];
    let by_phase = || {
        let phase = phase.into_iter().find_map(Value::as_str)?;
        let outcome = outcome_of(phase)?;
        let told = |value: &Value| value.as_str().map(str::to_owned);
        Some(End {
            outcome,
            reason: (outcome != "succeeded").then(|| phase.to_owned()),
            at: told(&status["finishedAt"])
                .or_else(|| told(&status["terminationTime"]))
                .or_else(|| told(&status["endTime"]))
                .and_then(|at| at.parse().ok()),
        })
    };
    // A Workflow's phase says more than its conditions do.
    by_phase().or(by_condition)
}

fn outcome_of(phase: &str) -> Option<&'static str> {
    match phase.to_ascii_lowercase().as_str() {
        "succeeded" | "completed" | "complete" => Some("succeeded"),
        "failed" | "error" | "failing" | "submission_failed" => Some("failed"),
        "stopped" | "aborted" | "cancelled" | "terminated" => Some("cancelled"),
        _ => None,
    }
}

/// What an engine's object says of the pods that it ran, by the name it gives them.
fn records(object: &Other) -> Vec<(String, Record)> {
    let record = |source, outcome, reason: Option<&str>, work: Work| Record {
        source,
        outcome,
        reason: reason.map(str::to_owned),
        work,
        told: None,
    };
    match object.kind.as_str() {
        "Workflow" => object.status["nodes"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, node)| node["type"] == "Pod")
            .filter_map(|(id, node)| {
                let outcome = outcome_of(node["phase"].as_str()?)?;
                let reason = node["message"].as_str().filter(|_| outcome != "succeeded");
                Some((id.clone(), record("argo", outcome, reason, argo_work(node))))
            })
            .collect(),
        "TaskRun" => {
            let told = end(&object.status);
            let pod = object.status["podName"].as_str().map(str::to_owned);
            let pair = pod.zip(told).map(|(pod, end)| {
                let reason = end.reason.as_deref().filter(|_| end.outcome != "succeeded");
                let work = Work::between(&object.status["startTime"], &object.status["completionTime"]);
                (pod, record("tekton", end.outcome, reason, work))
            });
            pair.into_iter().collect()
        }
        "SparkApplication" | "ScheduledSparkApplication" => {
            let told = end(&object.status);
            let pod = object.status["driverInfo"]["podName"].as_str().map(str::to_owned);
            let pair = pod.zip(told).map(|(pod, end)| {
                let work = Work::between(
                    &object.status["lastSubmissionAttemptTime"],
                    &object.status["terminationTime"],
                );
                (
                    pod,
                    record("spark-operator", end.outcome, end.reason.as_deref(), work),
                )
            });
            pair.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

impl Work {
    /// Work that an engine saw begin and end; an end before the beginning is none.
    fn between(started: &Value, finished: &Value) -> Self {
        let read = |at: &Value| at.as_str().and_then(|at| at.parse().ok()).map(micros);
        let started_at: Option<Timestamp> = read(started);
        Self {
            started_at,
            finished_at: read(finished).filter(|at| started_at.is_none_or(|started_at| *at >= started_at)),
            ..Self::default()
        }
    }
}

/// What Argo counts of a node: `resourcesDuration` is what was asked for times how long it ran, in seconds of one core and of
/// 100 MiB.
fn argo_work(node: &Value) -> Work {
    const UNIT_BYTES: i128 = 100 << 20;
    let seconds = |resource: &str| {
        node["resourcesDuration"][resource]
            .as_i64()
            .filter(|seconds| *seconds >= 0)
    };
    Work {
        cpu_request_millicore_ms: seconds("cpu").and_then(|seconds| seconds.checked_mul(1_000_000)),
        memory_request_byte_ms: seconds("memory")
            .map(|seconds| Wide(i128::from(seconds) * 1000 * UNIT_BYTES)),
        ..Work::between(&node["startedAt"], &node["finishedAt"])
    }
}

/// After how long a Job or Workflow ends its pods, in milliseconds. 0 where a Job has no deadline, neither itself nor in its pods; `None` where the
/// object does not show it: a Workflow without one may take it from templates of others.
fn deadline(object: &Other) -> Option<i64> {
    let spec = &object.spec;
    let told = |of: &Value| of["activeDeadlineSeconds"].as_i64();
    let seconds = match object.kind.as_str() {
        _ if spec.is_null() => return None,
        "Job" => told(spec)
            .or_else(|| told(&spec["template"]["spec"]))
            .unwrap_or(0),
        "Workflow" => told(spec)?,
        _ => return None,
    };
    Some(seconds.max(0).saturating_mul(1000))
}
