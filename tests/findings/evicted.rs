//! Work that was taken away, by what took it.

use super::{found, given_machine, given_pod, size};
use crate::harness::World;

/// An Event about a pod or a node, at a minute of the second hour of that Monday.
fn given_event(
    world: &World,
    reason: &str,
    component: &str,
    (kind, name, uid): (&str, &str, &str),
    minute: u32,
) {
    world.given(
        "cluster_events",
        &format!(
            "select 'c' as cluster, '{reason}-{name}' as event_uid, '{reason}' as reason, '{kind}' as involved_kind, \
             '{name}' as involved_name, '{uid}' as involved_uid, '{component}' as component, \
             timestamp '2026-11-02 01:{minute:02}:00' as last_at, 1 as occurrences"
        ),
    );
}

#[test]
fn work_that_was_taken_away_is_told_by_what_took_it() {
    let world = World::new();
    let broken = |reason: &str| {
        format!(
            ", timestamp '2026-11-02 01:00:00' as running_at, timestamp '2026-11-02 02:00:00' as finished_at, 'Failed' as phase, \
             137 as exit_code, '{reason}' as end_reason"
        )
    };
    // Each had a machine of its own for an hour.
    for (job, reason) in [
        ("interrupted", "EvictionByEvictionAPI"),
        ("crowded", "TerminationByKubelet"),
        ("displaced", "PreemptionByScheduler"),
        ("consolidated", "EvictionByEvictionAPI"),
        ("drained", "EvictionByEvictionAPI"),
        ("vanished", "DeletionByPodGC"),
    ] {
        let machine = format!("of-{job}");
        given_machine(&world, &machine, "batch", (4, 0), 1);
        given_pod(
            &world,
            job,
            Some(&machine),
            (1, 2),
            &size(4, 16, 0),
            &broken(reason),
        );
    }
    world.given(
        "machines",
        "select 'c' as cluster, 'of-interrupted' as machine, timestamp '2026-11-02 02:00:30' as observed_at, \
         'of-interrupted' as node_name, 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'spot' as capacity_type, \
         'batch' as pool, 'instance' as billing_model, timestamp '2026-11-02 00:00:00' as launched_at, 'declared' as launch_source, \
         timestamp '2026-11-02 02:00:30' as ended_at, 'deleted' as end_source, 'SpotInterrupted' as end_reason",
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'spot' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 1::decimal(18,9) as hourly_usd, 'test' as source",
    );
    // Whatever it drains a node for, Karpenter uses the kubelet's word for a pod.
    given_event(&world, "Evicted", "kubelet", ("Pod", "crowded-x", "crowded"), 59);
    for job in ["interrupted", "consolidated", "drained"] {
        given_event(
            &world,
            "Evicted",
            "karpenter",
            ("Pod", &format!("{job}-x"), job),
            58,
        );
    }
    given_event(
        &world,
        "DisruptionTerminating",
        "karpenter",
        ("Node", "of-consolidated", "n"),
        57,
    );
    let told = |job: &str, cause: &str, what: &str, mend: &str, command: &str| {
        format!(
            "{job} ({cause})|unattributed|1.000000000|1 of 1 pod lost 1.0 h of work to {what}|{mend}|{command}"
        )
    };
    let budget = "set a PodDisruptionBudget, and keep checkpoints";
    assert_eq!(
        found(&world, "evicted_work"),
        [
            told(
                "consolidated",
                "consolidation",
                "Karpenter, which consolidated their machines",
                "keep Karpenter from disrupting its pods",
                "metadata: {annotations: {karpenter.sh/do-not-disrupt: \"true\"}}",
            ),
            told(
                "crowded",
                "node_pressure",
                "evictions by the kubelet: the node ran short of memory or disk",
                "let requests be what its pods use",
                "-",
            ),
            told(
                "displaced",
                "preemption",
                "pods of higher priority",
                "give it a priority, or a queue",
                "-"
            ),
            told("drained", "drain", "drains of their machines", budget, "-"),
            told(
                "interrupted",
                "spot_interruption",
                "spot interruptions",
                "keep checkpoints, or run it on demand",
                "spec: {nodeSelector: {karpenter.sh/capacity-type: on-demand}}",
            ),
            told("vanished", "node_lost", "machines that went away", budget, "-"),
        ]
    );
}
