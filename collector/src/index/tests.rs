//! The index, fed with objects as Kubernetes writes them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Index, Settings};
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
fn a_node_made_anew_for_the_same_boot_is_the_same_machine() {
    let mut index = index();
    let first = machines(
        &index
            .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("09:02:00"))
            .unwrap(),
    );
    let ended = machines(
        &index
            .delete(&object(&node("n", "aws:///a/i-1", "b1")), watched("10:00:00"))
            .unwrap(),
    );
    assert_eq!(ended[0].ended_at, Some(at("10:00:00")));
    let mut anew = node("n", "aws:///a/i-1", "b1");
    anew["metadata"]["creationTimestamp"] = json!("2026-11-16T10:00:30Z");
    anew["metadata"]["uid"] = json!("another");
    let again = machines(&index.apply(&object(&anew), watched("10:00:31")).unwrap());
    assert_eq!(again[0].machine, first[0].machine);
    assert_eq!((again[0].launched_at, again[0].ended_at), (at("09:00:00"), None));
}

#[test]
fn a_new_boot_is_a_new_machine_and_a_stopped_instance_costs_nothing_while_it_is_stopped() {
    for (down_since, back_at, ended_at, reason) in [
        ("10:00:00", "12:00:00", "10:00:00", "Stopped"),
        ("10:00:00", "10:02:00", "10:02:00", "Rebooted"),
    ] {
        let mut index = index();
        index
            .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("09:02:00"))
            .unwrap();
        let mut down = node("n", "aws:///a/i-1", "b1");
        down["status"]["conditions"][0]["status"] = json!("Unknown");
        down["status"]["conditions"][0]["lastTransitionTime"] = json!(at(down_since).to_string());
        index.apply(&object(&down), watched("10:00:01")).unwrap();
        let mut back = node("n", "aws:///a/i-1", "b2");
        back["status"]["conditions"][0]["lastTransitionTime"] = json!(at(back_at).to_string());
        let facts = machines(&index.apply(&object(&back), watched("12:00:05")).unwrap());
        let [old, new] = &facts[..] else {
            panic!("{facts:?}")
        };
        assert_eq!(
            (old.ended_at, old.end_reason.as_deref()),
            (Some(at(ended_at)), Some(reason))
        );
        assert_ne!(old.machine, new.machine);
        assert_eq!(new.launched_at, at(back_at));
    }
}

/// A node `n` of 09:00, and one of 10:00 that has its name.
fn nodes_of_one_name() -> [Object; 2] {
    let mut other = node("n", "aws:///a/i-2", "b2");
    other["metadata"]["creationTimestamp"] = json!("2026-11-16T10:00:00Z");
    [object(&node("n", "aws:///a/i-1", "b1")), object(&other)]
}

#[test]
fn a_node_name_used_again_by_another_instance_is_another_machine() {
    let [first, other] = nodes_of_one_name();
    let mut index = index();
    index.apply(&first, watched("09:02:00")).unwrap();
    let facts = machines(&index.apply(&other, watched("10:01:00")).unwrap());
    assert_eq!(
        facts[0].ended_at,
        Some(at("10:00:00")),
        "it was gone when the next was made"
    );
    assert_eq!(facts[1].launched_at, at("10:00:00"));
}

#[test]
fn a_pod_is_on_the_machine_that_had_the_name_when_it_was_bound_whatever_is_told_first() {
    let [first, other] = nodes_of_one_name();
    let machine = |number: u32| Some(format!("aws:///a/i-{number}#b{number}"));
    let scheduled_at = |clock: &str| {
        let mut pod = pod("u", "n");
        pod["metadata"]["creationTimestamp"] = json!("2026-11-16T09:30:00Z");
        pod["status"]["conditions"][0]["lastTransitionTime"] = json!(at(clock).to_string());
        object(&pod)
    };
    let (before, after) = (scheduled_at("09:30:05"), scheduled_at("10:00:05"));

    // The pods are listed before the nodes.
    let mut late = index();
    late.apply(&first, watched("09:02:00")).unwrap();
    late.apply(&after, listed("10:02:00")).unwrap();
    let moved = pods(&late.apply(&other, listed("10:02:01")).unwrap());
    assert_eq!(moved[0].machine, machine(2));
    let ended = pods(&late.delete(&after, watched("10:30:00")).unwrap());
    assert_eq!(
        (ended[0].released_at, ended[0].end_source),
        (Some(at("10:30:00")), Some("watch"))
    );

    // One that was bound before stays where it is.
    let mut stays = index();
    stays.apply(&first, watched("09:02:00")).unwrap();
    stays.apply(&before, watched("09:30:06")).unwrap();
    assert_eq!(pods(&stays.apply(&other, listed("10:02:00")).unwrap()), []);

    // The nodes are listed before the pods.
    for (pod, number) in [(&before, 1), (&after, 2)] {
        let mut early = index();
        early.apply(&first, watched("09:02:00")).unwrap();
        early.apply(&other, listed("10:02:00")).unwrap();
        let told = pods(&early.apply(pod, listed("10:02:01")).unwrap());
        assert_eq!(told[0].machine, machine(number));
    }

    // The node is gone already.
    let mut gone = index();
    gone.apply(&first, watched("09:02:00")).unwrap();
    gone.delete(&first, watched("09:50:00")).unwrap();
    let told = pods(&gone.apply(&before, listed("09:51:00")).unwrap());
    assert_eq!(told[0].machine, machine(1));
    let mut unknown = index();
    unknown.apply(&first, watched("09:02:00")).unwrap();
    unknown.delete(&first, watched("09:50:00")).unwrap();
    let told = pods(&unknown.apply(&after, listed("10:01:00")).unwrap());
    assert_eq!(
        told[0].machine, None,
        "a machine that ended before the pod was bound"
    );
}

#[test]
fn memory_set_apart_for_huge_pages_is_not_reserved_for_the_node() {
    let facts = index()
        .apply(&object(&node("n", "aws:///a/i-1", "b1")), watched("09:02:00"))
        .unwrap();
    let state = facts.iter().find_map(|fact| match fact {
        Fact::NodeState(state) => Some(state),
        _ => None,
    });
    let state = state.unwrap();
    assert_eq!(
        state.memory_capacity_bytes - state.memory_allocatable_bytes,
        512 << 20
    );
    assert_eq!(
        (state.observed_at, state.readiness),
        (at("09:00:00"), Some("ready"))
    );
}

fn claim() -> Value {
    json!({
        "kind": "NodeClaim",
        "metadata": {"name": "batch-x", "uid": "claim", "creationTimestamp": "2026-11-16T08:58:00Z",
            "labels": {"karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "batch"}},
        "status": {"nodeName": "n", "providerID": "aws:///a/i-1", "conditions": [
            {"type": "Launched", "status": "True", "lastTransitionTime": "2026-11-16T08:58:30Z"}]},
    })
}

#[test]
fn a_claim_dates_the_launch_and_the_end_of_its_machine_in_any_order() {
    for claim_first in [true, false] {
        let mut index = index();
        let node = object(&node("n", "aws:///a/i-1", "b1"));
        let claim = object(&claim());
        let order = if claim_first {
            [&claim, &node]
        } else {
            [&node, &claim]
        };
        let mut facts = Vec::new();
        for each in order {
            facts.extend(index.apply(each, watched("09:02:00")).unwrap());
        }
        let machine = machines(&facts).pop().unwrap();
        assert_eq!(
            (machine.launched_at, machine.launch_source),
            (at("08:58:30"), "node_claim")
        );
        index.delete(&node, watched("10:00:00")).unwrap();
        let ended = machines(&index.delete(&claim, watched("10:00:40")).unwrap())
            .pop()
            .unwrap();
        assert_eq!(
            (ended.ended_at, ended.end_source),
            (Some(at("10:00:40")), Some("node_claim"))
        );
    }
}

#[test]
fn why_a_machine_went_away_is_told_by_taints_events_and_claims_or_is_unknown() {
    let taint = |key: &str| json!([{"key": key, "effect": "NoSchedule"}]);
    let event = |reason: &str, kind: &str, name: &str| {
        object(
            &json!({"kind": "Event", "metadata": {"uid": "e", "creationTimestamp": "2026-11-16T09:59:00Z"},
            "involvedObject": {"kind": kind, "name": name}, "reason": reason}),
        )
    };
    let mut disrupted = claim();
    let condition = json!({"type": "DisruptionReason", "status": "True", "reason": "Underutilized"});
    disrupted["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(condition);
    let cases: Vec<(Option<Value>, Vec<Object>, &str)> = vec![
        (
            Some(taint("aws-node-termination-handler/spot-itn")),
            vec![],
            "SpotInterrupted",
        ),
        (
            Some(taint("ToBeDeletedByClusterAutoscaler")),
            vec![],
            "ScaledDown",
        ),
        (Some(taint("karpenter.sh/disrupted")), vec![], "disrupted_unknown"),
        (
            Some(taint("karpenter.sh/disrupted")),
            vec![event("SpotInterrupted", "Node", "n")],
            "SpotInterrupted",
        ),
        (
            Some(taint("karpenter.sh/disrupted")),
            vec![
                object(&claim()),
                event("TerminatingOnInterruption", "NodeClaim", "batch-x"),
            ],
            "SpotInterrupted",
        ),
        (
            Some(taint("karpenter.sh/disrupted")),
            vec![object(&disrupted)],
            "Underutilized",
        ),
        (None, vec![], "disrupted_unknown"),
    ];
    for (taints, before, expected) in cases {
        let mut index = index();
        let mut node = node("n", "aws:///a/i-1", "b1");
        if let Some(taints) = taints {
            node["spec"]["taints"] = taints;
        }
        let node = object(&node);
        index.apply(&node, watched("09:02:00")).unwrap();
        for each in before {
            index.apply(&each, watched("09:59:30")).unwrap();
        }
        index.forget_ended(at("09:59:45"));
        let ended = machines(&index.delete(&node, watched("10:00:00")).unwrap())
            .pop()
            .unwrap();
        assert_eq!(ended.end_reason.as_deref(), Some(expected));
    }
}

#[test]
fn an_event_that_comes_after_its_node_went_is_not_kept_for_ever() {
    let mut index = index();
    let node = object(&node("n", "aws:///a/i-1", "b1"));
    index.apply(&node, watched("09:02:00")).unwrap();
    index.delete(&node, watched("10:00:00")).unwrap();
    let event = json!({"kind": "Event", "metadata": {"uid": "e", "creationTimestamp": "2026-11-16T09:59:00Z"},
        "involvedObject": {"kind": "Node", "name": "n"}, "reason": "SpotInterrupted"});
    index.apply(&object(&event), watched("10:00:01")).unwrap();
    let mut causes = |now: &str| {
        index.forget_ended(at(now));
        let changed = index.changed().unwrap();
        let causes = changed.into_iter().filter(|entry| entry.kind == "cause");
        causes.map(|entry| (entry.key, entry.state)).collect::<Vec<_>>()
    };
    // It may come before its node, where both are listed for the first time.
    assert_eq!(
        causes("10:00:02"),
        [("n".to_owned(), Some("SpotInterrupted".to_owned()))]
    );
    assert_eq!(causes("10:00:03"), [("n".to_owned(), None)]);
    assert_eq!(causes("10:00:04"), []);
}

#[test]
fn capacity_type_pool_and_billing_are_read_on_every_cloud() {
    let cases = [
        (
            "aws:///a/i",
            json!({"eks.amazonaws.com/capacityType": "SPOT", "eks.amazonaws.com/nodegroup": "g"}),
            "spot",
            "g",
        ),
        (
            "aws:///a/i",
            json!({"eks.amazonaws.com/capacityType": "ON_DEMAND"}),
            "on-demand",
            "",
        ),
        (
            "aws:///a/i",
            json!({"karpenter.sh/capacity-type": "reserved", "karpenter.sh/nodepool": "g"}),
            "reserved",
            "g",
        ),
        (
            "gce://p/z/n",
            json!({"cloud.google.com/gke-spot": "true", "cloud.google.com/gke-nodepool": "g"}),
            "spot",
            "g",
        ),
        (
            "gce://p/z/n",
            json!({"cloud.google.com/gke-preemptible": "true"}),
            "spot",
            "",
        ),
        (
            "azure:///s/v/1",
            json!({"kubernetes.azure.com/scalesetpriority": "spot", "agentpool": "g"}),
            "spot",
            "g",
        ),
        ("aws:///a/i", json!({"lifecycle": "Ec2Spot"}), "spot", ""),
        ("aws:///a/i", json!({}), "on-demand", ""),
    ];
    for (provider_id, labels, capacity_type, pool) in cases {
        let mut node = node("n", provider_id, "b1");
        node["metadata"]["labels"] = labels.clone();
        node["metadata"]["labels"]["node.kubernetes.io/instance-type"] = json!("t");
        let machine = machines(&index().apply(&object(&node), watched("09:02:00")).unwrap())
            .pop()
            .unwrap();
        assert_eq!(machine.capacity_type, Some(capacity_type), "{labels}");
        assert_eq!(machine.pool.unwrap_or_default(), pool, "{labels}");
        assert_eq!(machine.billing_model, "instance");
    }
    let mut fargate = node("fargate-1", "aws:///a/fargate-1", "b1");
    fargate["metadata"]["labels"] = json!({"eks.amazonaws.com/compute-type": "fargate"});
    let machine = machines(&index().apply(&object(&fargate), watched("09:02:00")).unwrap())
        .pop()
        .unwrap();
    assert_eq!(machine.billing_model, "pod_request");
    let own = machines(
        &index()
            .apply(&object(&node("n", "", "b1")), watched("09:02:00"))
            .unwrap(),
    )
    .pop()
    .unwrap();
    assert_eq!((own.billing_model, own.capacity_type), ("declared", Some("spot")));
}

#[test]
fn a_chain_of_owners_is_known_better_when_more_of_it_is_seen() {
    let owner = |kind: &str, name: &str, uid: &str| json!([{"kind": kind, "name": name, "uid": uid, "controller": true, "apiVersion": "batch/v1"}]);
    let mut index = index();
    let mut made = pod("u", "n");
    made["metadata"]["ownerReferences"] = owner("Job", "etl-29387520", "job");
    index.apply(&object(&made), watched("10:00:11")).unwrap();
    let job = json!({"kind": "Job", "metadata": {"name": "etl-29387520", "namespace": "ns", "uid": "job",
        "creationTimestamp": "2026-11-16T10:00:00Z", "ownerReferences": owner("CronJob", "etl", "cron")}});
    let facts = index.apply(&object(&job), watched("10:00:12")).unwrap();
    let identity = facts.iter().find_map(|fact| match fact {
        Fact::PodIdentity(identity) => Some(identity),
        _ => None,
    });
    let owners: Vec<&str> = identity
        .unwrap()
        .owners
        .iter()
        .map(|owner| owner.kind.as_str())
        .collect();
    assert_eq!(owners, ["Job", "CronJob"]);
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

#[test]
fn an_engine_s_record_reaches_its_pod_whichever_comes_first() {
    let workflow = |phase: &str| {
        object(
            &json!({"kind": "Workflow", "metadata": {"name": "w", "namespace": "ns", "uid": "w",
            "creationTimestamp": "2026-11-16T09:59:00Z"},
            "status": {"phase": "Running", "nodes": {
                "w-1": {"type": "Pod", "phase": phase, "message": "Error (exit code 1)",
                    "startedAt": "2026-11-16T10:00:10Z", "finishedAt": "2026-11-16T10:01:10Z",
                    "resourcesDuration": {"cpu": 90, "memory": 614}},
                "w": {"type": "DAG", "phase": "Running"}}}}),
        )
    };
    let mut made = pod("u", "n");
    made["metadata"]["annotations"] = json!({"workflows.argoproj.io/node-id": "w-1"});
    made["metadata"]["ownerReferences"] =
        json!([{"kind": "Workflow", "name": "w", "uid": "w", "controller": true, "apiVersion": ""}]);
    let made = object(&made);
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
        let told: Vec<_> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::EngineOutcome(told) => Some(told.as_ref().clone()),
                _ => None,
            })
            .collect();
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

#[test]
fn only_load_balancers_volumes_and_namespaces_are_plain_costs_and_each_is_told_once() {
    let mut index = index();
    let mut service = json!({"kind": "Service", "metadata": {"name": "s", "namespace": "ns", "uid": "s",
        "creationTimestamp": "2026-11-16T09:00:00Z"}, "spec": {"type": "ClusterIP"}});
    assert_eq!(index.apply(&object(&service), watched("10:00:00")).unwrap(), []);
    service["spec"]["type"] = json!("LoadBalancer");
    assert_eq!(
        index.apply(&object(&service), watched("10:01:00")).unwrap().len(),
        1
    );
    assert_eq!(index.apply(&object(&service), watched("10:02:00")).unwrap(), []);
    let gone = index.delete(&object(&service), watched("10:03:00")).unwrap();
    let [Fact::ServiceState(gone)] = &gone[..] else {
        panic!("{gone:?}")
    };
    assert_eq!(gone.deleted_at, Some(at("10:03:00")));
    let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "v", "uid": "v"},
        "spec": {"capacity": {"storage": "10Gi"}, "storageClassName": "gp3", "claimRef": {"namespace": "ns", "name": "c"},
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}}, "status": {"phase": "Bound"}});
    let facts = index.apply(&object(&volume), watched("10:00:00")).unwrap();
    let [Fact::VolumeState(state)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (state.capacity_bytes, state.volume_handle.as_deref()),
        (10 << 30, Some("vol-1"))
    );
}
