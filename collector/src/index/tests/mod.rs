//! The index, fed with objects as Kubernetes writes them.

mod claim;
mod machine;
mod plain;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Entry, Index, Settings};
use crate::facts::{EngineOutcome, Fact, Machine, PodState, Wide};
use crate::object::Object;
use crate::occupancy::Sight;

fn at(clock: &str) -> Timestamp {
    format!("2026-11-16T{clock}Z").parse().unwrap()
}

fn watched(clock: &str) -> Sight {
    Sight {
        at: at(clock),
        is_prompt: true,
    }
}

fn listed(clock: &str) -> Sight {
    Sight {
        at: at(clock),
        is_prompt: false,
    }
}

fn object(value: &Value) -> Object {
    Object::from_json(value["kind"].as_str().unwrap(), &value.to_string()).unwrap()
}

fn index() -> Index {
    let mut settings = Settings::new("c");
    settings.annotations = vec!["kept".to_owned()];
    Index::new(settings)
}

fn node(name: &str, provider_id: &str, boot: &str) -> Value {
    json!({
        "kind": "Node",
        "metadata": {"name": name, "uid": format!("{name}-{boot}"), "creationTimestamp": "2026-11-16T09:00:00Z",
            "labels": {"node.kubernetes.io/instance-type": "m5.large", "topology.kubernetes.io/region": "us-east-1",
                "karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "batch"}},
        "spec": {"providerID": provider_id},
        "status": {
            "capacity": {"cpu": "2", "memory": "8Gi", "hugepages-2Mi": "0"},
            "allocatable": {"cpu": "1930m", "memory": "7Gi", "hugepages-2Mi": "512Mi"},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-16T09:01:00Z"}],
            "nodeInfo": {"bootID": boot, "systemUUID": "s", "architecture": "amd64", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
                "operatingSystem": "", "osImage": ""},
        },
    })
}

fn pod(uid: &str, node: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns", "uid": uid, "creationTimestamp": "2026-11-16T10:00:00Z"},
        "spec": {"nodeName": node, "containers": [
            {"name": "main", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]},
        "status": {"phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-16T10:00:05Z"}],
            "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                "state": {"running": {"startedAt": "2026-11-16T10:00:10Z"}}}]},
    })
}

fn pods(facts: &[Fact]) -> Vec<PodState> {
    let states = facts.iter().filter_map(|fact| match fact {
        Fact::PodState(state) => Some((**state).clone()),
        _ => None,
    });
    states.collect()
}

fn machines(facts: &[Fact]) -> Vec<Machine> {
    let found = facts.iter().filter_map(|fact| match fact {
        Fact::Machine(machine) => Some((**machine).clone()),
        _ => None,
    });
    found.collect()
}

#[test]
fn an_update_that_changes_no_cost_makes_no_fact() {
    let mut index = index();
    let first = index.apply(&object(&pod("u", "n")), watched("10:00:11")).unwrap();
    assert!(!first.is_empty());
    let mut same = pod("u", "n");
    same["metadata"]["resourceVersion"] = json!("2");
    same["metadata"]["annotations"] = json!({"dropped": "secret"});
    same["status"]["podIP"] = json!("10.0.0.1");
    assert_eq!(index.apply(&object(&same), watched("10:00:12")).unwrap(), []);
    let told = index
        .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("10:00:13"))
        .unwrap();
    assert!(
        pods(&told)[0].machine.is_some(),
        "the machine of a pod that came first"
    );
    assert_eq!(
        index
            .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("10:05:13"))
            .unwrap(),
        []
    );
}

#[test]
fn no_annotation_is_kept_that_no_rule_reads() {
    let mut annotated = pod("u", "n");
    annotated["metadata"]["annotations"] =
        json!({"kept": "yes", "kubectl.kubernetes.io/last-applied-configuration": "s3cret"});
    let facts = index().apply(&object(&annotated), watched("10:00:11")).unwrap();
    let text = serde_json::to_string(&facts).unwrap();
    assert!(text.contains("kept") && !text.contains("s3cret"), "{text}");
}

#[test]
fn a_resize_in_place_begins_a_new_state() {
    let mut index = index();
    index.apply(&object(&pod("u", "n")), watched("10:00:11")).unwrap();
    let mut larger = pod("u", "n");
    larger["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2");
    let facts = pods(&index.apply(&object(&larger), watched("10:30:00")).unwrap());
    assert_eq!(facts.len(), 1);
    assert_eq!(
        (facts[0].cpu_request_millicores, facts[0].observed_at),
        (2000, at("10:30:00"))
    );
    assert_eq!(facts[0].bound_at, Some(at("10:00:05")));
}

#[test]
fn a_pod_that_vanishes_between_lists_ends_with_its_machine_if_that_ended_before() {
    let mut index = index();
    index
        .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("09:02:00"))
        .unwrap();
    index.apply(&object(&pod("u", "n")), watched("10:00:11")).unwrap();
    index
        .delete(&object(&node("n", "aws:///a/i-1", "b1")), watched("10:20:00"))
        .unwrap();
    index.relisting("Pod");
    let facts = pods(&index.relisted("Pod", listed("10:40:00"), None));
    assert_eq!(facts[0].released_at, Some(at("10:20:00")));
    assert_eq!(facts[0].end_source, Some("machine_end"));
    assert_eq!(facts[0].end_reason.as_deref(), Some("Deleted"));
    index.relisting("Pod");
    assert_eq!(
        index.relisted("Pod", listed("10:50:00"), None),
        [],
        "it is told once"
    );
}

#[test]
fn a_name_used_again_is_another_pod() {
    let mut index = index();
    index
        .apply(&object(&pod("u1", "n")), watched("10:00:11"))
        .unwrap();
    index
        .delete(&object(&pod("u1", "n")), watched("10:10:00"))
        .unwrap();
    let facts = pods(
        &index
            .apply(&object(&pod("u2", "n")), watched("10:10:01"))
            .unwrap(),
    );
    assert_eq!((facts[0].pod_uid.as_str(), facts[0].released_at), ("u2", None));
}

#[test]
fn a_static_pod_is_known_by_its_configuration() {
    let mut index = index();
    let mut mirror = pod("u1", "n");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "abc"});
    index.apply(&object(&mirror), watched("10:00:11")).unwrap();
    mirror["metadata"]["uid"] = json!("u2");
    let again = pods(&index.apply(&object(&mirror), watched("10:10:00")).unwrap());
    assert!(again.is_empty(), "made anew, it runs on: {again:?}");
}

#[test]
fn a_static_pod_runs_on_while_its_mirror_is_deleted_and_made_anew() {
    let mut index = index();
    let mut mirror = pod("u1", "n");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "abc"});
    let first = pods(&index.apply(&object(&mirror), watched("10:00:11")).unwrap());
    let gone = pods(&index.delete(&object(&mirror), watched("10:10:00")).unwrap());
    assert!(
        gone[0].released_at.is_some(),
        "nobody knows yet that it comes again"
    );
    mirror["metadata"]["uid"] = json!("u2");
    mirror["metadata"]["creationTimestamp"] = json!("2026-11-16T10:10:01Z");
    let again = pods(&index.apply(&object(&mirror), watched("10:10:01")).unwrap());
    assert_eq!(again[0].pod_uid, "abc");
    assert_eq!(
        (again[0].bound_at, again[0].released_at, &again[0].end_reason),
        (first[0].bound_at, None, &None)
    );
}

#[test]
fn a_chain_of_owners_is_known_better_when_more_of_it_is_seen() {
    let owner = |kind: &str, name: &str, uid: &str| json!([{"kind": kind, "name": name, "uid": uid, "controller": true, "apiVersion": "batch/v1"}]);
    let mut index = index();
    let mut made = pod("u", "n");
    made["metadata"]["ownerReferences"] = owner("Job", "etl-29387520", "job");
    let first = index.apply(&object(&made), watched("10:00:11")).unwrap();
    let job = json!({"kind": "Job", "metadata": {"name": "etl-29387520", "namespace": "ns", "uid": "job",
        "creationTimestamp": "2026-11-16T10:00:00Z", "ownerReferences": owner("CronJob", "etl", "cron")}});
    let facts = index.apply(&object(&job), watched("10:00:12")).unwrap();
    let identity_of = |facts: &[Fact]| {
        facts.iter().find_map(|fact| match fact {
            Fact::PodIdentity(identity) => Some(identity.clone()),
            _ => None,
        })
    };
    let identity = identity_of(&facts).unwrap();
    let owners: Vec<&str> = identity.owners.iter().map(|owner| owner.kind.as_str()).collect();
    assert_eq!(owners, ["Job", "CronJob"]);
    // Who takes that back and sees the pod before its Job knows no less.
    let mut next = super::Index::new(Settings::new("c"));
    let state = pods(&first).remove(0);
    next.remember_pods(vec![state], vec![*identity], Vec::new(), Vec::new());
    for seen in [&made, &job] {
        let facts = next.apply(&object(seen), listed("10:01:00")).unwrap();
        assert_eq!(identity_of(&facts), None);
    }
    // A pod that nobody owns any more is told to be so.
    let mut released = made.clone();
    released["metadata"]["ownerReferences"] = json!([]);
    let facts = next.apply(&object(&released), watched("10:02:00")).unwrap();
    assert_eq!(identity_of(&facts).unwrap().owners, []);
    let mut done = job;
    done["status"] = json!({"conditions": [
        {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-16T10:05:00Z"}]});
    let facts = index.apply(&object(&done), watched("10:05:01")).unwrap();
    let [Fact::OwnerObject(job)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (job.outcome, job.finished_at),
        (Some("succeeded"), Some(at("10:05:00")))
    );
}

#[test]
fn limits_are_told_again_where_an_older_build_had_not_told_them() {
    let limits = |facts: &[Fact]| -> Vec<(Option<i64>, Option<i64>)> {
        let found = facts.iter().filter_map(|fact| match fact {
            Fact::ContainerRequest(told) => Some((told.cpu_limit_millicores, told.memory_limit_bytes)),
            _ => None,
        });
        found.collect()
    };
    let mut pod = pod("u", "n");
    pod["spec"]["containers"][0]["resources"]["limits"] = json!({"cpu": "2", "memory": "1Gi"});
    let mut before = index();
    let told = before.apply(&object(&pod), watched("10:00:10")).unwrap();
    let expected = [(Some(2000), Some(1 << 30))];
    assert_eq!(limits(&told), expected);
    let mut entries = before.changed().unwrap();
    let (mut same, mut after) = (index(), index());
    for entry in &mut entries {
        same.restore(entry).unwrap();
        entry.state = entry.state.take().map(|state| {
            state
                .replace(",\"cpu_limit_millicores\":2000", "")
                .replace(",\"memory_limit_bytes\":1073741824", "")
        });
        after.restore(entry).unwrap();
    }
    let again = same.apply(&object(&pod), watched("10:05:00")).unwrap();
    assert_eq!(limits(&again), []);
    let again = after.apply(&object(&pod), watched("10:05:00")).unwrap();
    assert_eq!(limits(&again), expected);
}

#[test]
fn a_deadline_is_told_of_jobs_and_workflows_as_far_as_they_show_it() {
    let deadline = |kind: &str, spec: Value, status: Value| {
        let owner = json!({"kind": kind, "metadata": {"name": "w", "namespace": "ns", "uid": "w",
            "creationTimestamp": "2026-11-16T09:59:00Z"}, "spec": spec, "status": status});
        let facts = index().apply(&object(&owner), watched("10:00:00")).unwrap();
        facts.iter().find_map(|fact| match fact {
            Fact::OwnerObject(owner) => Some(owner.active_deadline_ms),
            _ => None,
        })
    };
    let none = || json!({});
    assert_eq!(
        deadline("Job", json!({"activeDeadlineSeconds": 60}), none()),
        Some(Some(60_000))
    );
    let in_template = json!({"template": {"spec": {"activeDeadlineSeconds": 90}}});
    assert_eq!(deadline("Job", in_template, none()), Some(Some(90_000)));
    assert_eq!(deadline("Job", json!({"backoffLimit": 3}), none()), Some(Some(0)));
    // What shows its metadata alone, what other objects may decide, and what is no question.
    assert_eq!(deadline("Job", Value::Null, none()), Some(None));
    assert_eq!(
        deadline("Workflow", json!({"activeDeadlineSeconds": 300}), none()),
        Some(Some(300_000))
    );
    let templates =
        json!({"templates": [{"name": "a", "activeDeadlineSeconds": "{{inputs.parameters.limit}}"}]});
    assert_eq!(deadline("Workflow", templates, none()), Some(None));
    assert_eq!(deadline("ReplicaSet", json!({"replicas": 1}), none()), Some(None));
}

/// A Workflow whose one pod is in a phase.
fn workflow(phase: &str) -> Object {
    object(
        &json!({"kind": "Workflow", "metadata": {"name": "w", "namespace": "ns", "uid": "w",
        "creationTimestamp": "2026-11-16T09:59:00Z"},
        "status": {"phase": "Running", "nodes": {
            "w-1": {"type": "Pod", "phase": phase, "message": "Error (exit code 1)",
                "startedAt": "2026-11-16T10:00:10Z", "finishedAt": "2026-11-16T10:01:10Z",
                "resourcesDuration": {"cpu": 90, "memory": 614}},
            "w": {"type": "DAG", "phase": "Running"}}}}),
    )
}

/// The pod that it means.
fn pod_of_workflow() -> Object {
    let mut made = pod("u", "n");
    made["metadata"]["annotations"] = json!({"workflows.argoproj.io/node-id": "w-1"});
    made["metadata"]["ownerReferences"] =
        json!([{"kind": "Workflow", "name": "w", "uid": "w", "controller": true, "apiVersion": ""}]);
    object(&made)
}

fn outcomes(facts: &[Fact]) -> Vec<EngineOutcome> {
    let told = facts.iter().filter_map(|fact| match fact {
        Fact::EngineOutcome(told) => Some(told.as_ref().clone()),
        _ => None,
    });
    told.collect()
}

/// An index that knows what another one kept.
fn restored(index: &mut Index, kept: &mut Vec<Entry>) -> Index {
    for entry in index.changed().unwrap() {
        kept.retain(|of| (&of.kind, &of.key) != (&entry.kind, &entry.key));
        kept.push(entry);
    }
    let mut restored = Index::new(index.settings.clone());
    for entry in kept {
        restored.restore(entry).unwrap();
    }
    restored
}

#[test]
fn an_engine_s_record_reaches_its_pod_whichever_comes_first() {
    let made = pod_of_workflow();
    for pod_first in [true, false] {
        let mut index = index();
        let mut facts = Vec::new();
        if pod_first {
            facts.extend(index.apply(&made, watched("10:00:11")).unwrap());
            facts.extend(index.apply(&workflow("Running"), watched("10:00:12")).unwrap());
        }
        facts.extend(index.apply(&workflow("Failed"), watched("10:01:12")).unwrap());
        facts.extend(index.apply(&made, watched("10:01:13")).unwrap());
        facts.extend(index.apply(&workflow("Failed"), watched("10:01:14")).unwrap());
        let told = outcomes(&facts);
        let expected = EngineOutcome {
            cluster: "c".to_owned(),
            pod_uid: "u".to_owned(),
            observed_at: told[0].observed_at,
            source: "argo",
            outcome: "failed",
            reason: Some("Error (exit code 1)".to_owned()),
            started_at: Some(at("10:00:10")),
            finished_at: Some(at("10:01:10")),
            // In seconds of a core, and of 100 MiB.
            cpu_request_millicore_ms: Some(90_000_000),
            memory_request_byte_ms: Some(Wide(614_000 * 104_857_600)),
        };
        assert_eq!(told, [expected]);
    }
}

#[test]
fn an_engine_s_record_reaches_a_pod_that_is_gone_also_after_a_restart_but_not_for_ever() {
    for (is_restarted, forgotten_at, is_told) in [
        (false, "10:10:59", true),
        (true, "10:10:59", true),
        (true, "10:11:01", false),
    ] {
        let (mut index, mut kept) = (index(), Vec::new());
        index.apply(&workflow("Running"), watched("10:00:00")).unwrap();
        index.apply(&pod_of_workflow(), watched("10:00:11")).unwrap();
        index.delete(&pod_of_workflow(), watched("10:01:00")).unwrap();
        if is_restarted {
            index = restored(&mut index, &mut kept);
        }
        index.forget_ended(at(forgotten_at));
        if is_restarted {
            index = restored(&mut index, &mut kept);
        }
        let told = outcomes(&index.apply(&workflow("Failed"), listed("10:12:00")).unwrap());
        assert_eq!(told.len(), usize::from(is_told), "{told:?}");
        assert!(told.iter().all(|told| told.pod_uid == "u"));
        // Once.
        let again = index.apply(&workflow("Failed"), watched("10:12:01")).unwrap();
        assert_eq!(outcomes(&again), []);
    }
}

#[test]
fn an_object_that_cannot_be_read_leaves_the_index_as_it_was() {
    let mut index = index();
    let mut broken = pod("u", "n");
    broken["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("a lot");
    let error = index
        .apply(&object(&broken), watched("10:00:11"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("resources.cpu"), "{error}");
    index.relisting("Pod");
    assert_eq!(index.relisted("Pod", listed("10:40:00"), None), []);
}

#[test]
fn an_object_that_a_list_shows_and_nobody_can_read_is_not_gone() {
    let mut index = index();
    for uid in ["u", "v"] {
        index.apply(&object(&pod(uid, "n")), watched("10:00:11")).unwrap();
    }
    index
        .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("10:00:11"))
        .unwrap();
    index.relisting("Node");
    index.unread("Node", "", "n");
    assert_eq!(index.relisted("Node", listed("10:39:00"), None), []);
    index.relisting("Pod");
    index.unread("Pod", "u", "");
    let gone = pods(&index.relisted("Pod", listed("10:40:00"), None));
    let gone: Vec<&str> = gone.iter().map(|state| state.pod_uid.as_str()).collect();
    assert_eq!(gone, ["v"]);
}

#[test]
fn pods_at_rest_are_packed_and_are_the_same_when_something_happens_to_them() {
    let (mut many, mut alone) = (index(), index());
    alone.apply(&object(&pod("u", "n")), watched("10:00:11")).unwrap();
    many.apply(&object(&pod("u", "n")), watched("10:00:11")).unwrap();
    // Enough for the first to be packed.
    for number in 0..5000 {
        let other = pod(&format!("other-{number}"), "n");
        many.apply(&object(&other), watched("10:00:12")).unwrap();
    }
    assert_eq!(many.pod_count(), 5001);
    let repeated = many.apply(&object(&pod("u", "n")), watched("10:20:00")).unwrap();
    assert_eq!(repeated, [], "it is known as it was");
    for number in 0..5000 {
        let other = pod(&format!("other-{number}"), "n");
        many.apply(&object(&other), watched("10:21:00")).unwrap();
    }
    let gone = |index: &mut Index| {
        index
            .delete(&object(&pod("u", "n")), watched("10:30:00"))
            .unwrap()
    };
    assert_eq!(gone(&mut many), gone(&mut alone));
    assert_eq!(many.pod_count(), 5000);
    // All that were there before a list and are not shown by it are gone, packed or not.
    many.relisting("Pod");
    many.unread("Pod", "other-7", "");
    assert_eq!(pods(&many.relisted("Pod", listed("10:40:00"), None)).len(), 4999);
}
