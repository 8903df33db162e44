//! Nodes, and the machines that they are.

use super::*;

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

#[test]
fn why_a_machine_went_away_is_told_by_taints_events_and_claims_or_is_unknown() {
    let taint = |key: &str| json!([{"key": key, "effect": "NoSchedule"}]);
    let event = |reason: &str, kind: &str, name: &str| {
        object(
            &json!({"kind": "Event", "metadata": {"uid": "e", "creationTimestamp": "2026-11-16T09:59:00Z"},
            "involvedObject": {"kind": kind, "name": name}, "reason": reason}),
        )
    };
    let mut disrupted = claim::claim();
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
                object(&claim::claim()),
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

/// An Event of 09:59:00 about a node.
fn interrupted(node: &str) -> Object {
    object(
        &json!({"kind": "Event", "metadata": {"uid": "e", "creationTimestamp": "2026-11-16T09:59:00Z"},
        "involvedObject": {"kind": "Node", "name": node}, "reason": "SpotInterrupted"}),
    )
}

#[test]
fn an_event_that_comes_after_its_node_went_explains_that_end_and_no_other() {
    let [first, other] = nodes_of_one_name();
    for is_used_again in [false, true] {
        let mut index = index();
        index.apply(&first, watched("09:02:00")).unwrap();
        let ended = machines(&index.delete(&first, watched("10:00:00")).unwrap());
        assert_eq!(ended[0].end_reason.as_deref(), Some("disrupted_unknown"));
        if is_used_again {
            index.apply(&other, watched("10:00:01")).unwrap();
        }
        let told = machines(&index.apply(&interrupted("n"), watched("10:00:02")).unwrap());
        let [told] = &told[..] else { panic!("{told:?}") };
        assert_eq!(told.machine, ended[0].machine);
        assert_eq!(
            (told.end_reason.as_deref(), told.ended_at),
            (Some("SpotInterrupted"), Some(at("10:00:00")))
        );
        // It is told again in lists, for an hour.
        let again = index.apply(&interrupted("n"), watched("10:00:03")).unwrap();
        assert_eq!(machines(&again), []);
        index.apply(&other, watched("10:00:04")).unwrap();
        let ended = machines(&index.delete(&other, watched("10:30:00")).unwrap());
        assert_eq!(ended[0].end_reason.as_deref(), Some("disrupted_unknown"));
    }
}

#[test]
fn an_event_about_a_node_that_nobody_knows_is_not_kept_for_ever() {
    let mut index = index();
    index.apply(&interrupted("n"), watched("10:00:01")).unwrap();
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
