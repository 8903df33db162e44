//! Capacity that nobody needed, and capacity that was not there.

use podledger_analyzer::config::Config;

use super::{found, given_machine, given_pod, size, succeeded};
use crate::harness::World;

const SOONER: &str = "Karpenter: spec: {disruption: {consolidateAfter: 30s}}; cluster-autoscaler: --scale-down-unneeded-time=1m";

#[test]
fn a_machine_before_between_and_after_its_pods() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    // Launched at 00:30, there at 00:45, gone at 05:30.
    world.given(
        "node_states",
        "select 'c' as cluster, 'n' as machine, timestamp '2026-11-02 00:45:00' as observed_at, 4000 as cpu_capacity_millicores, \
         4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes",
    );
    world.given(
        "machines",
        "select 'c' as cluster, 'n' as machine, timestamp '2026-11-02 05:30:00' as observed_at, 'n' as node_name, 'aws' as provider, \
         'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, 'burst' as pool, 'instance' as billing_model, \
         timestamp '2026-11-02 00:30:00' as launched_at, 'declared' as launch_source, timestamp '2026-11-02 05:30:00' as ended_at, \
         'declared' as end_source",
    );
    for (uid, hours) in [("early", (1, 2)), ("late", (3, 5))] {
        given_pod(&world, uid, Some("n"), hours, &size(4, 16, 0), &succeeded(hours));
    }
    let burst = |finding: &str| {
        let mut rows = found(&world, finding);
        rows.retain(|row| row.starts_with("burst|"));
        rows
    };
    let told = |cost: &str, share: u32, hours: &str, mend: &str, command: &str| {
        [format!(
            "burst|unattributed|{cost}|{share}% of what the pool cost: 1 machine, {hours} h in 1 hour; the pool was busy for 60% of its \
             time|{mend}|{command}"
        )]
    };
    let images = "use images that start faster, and keep machines for more than one pod";
    assert_eq!(burst("slow_start"), told("0.500000000", 10, "0.5", images, "-"));
    let between = "let it scale down sooner, or run jobs at the same time";
    assert_eq!(
        burst("idle_between_work"),
        told("1.000000000", 20, "1.0", between, SOONER)
    );
    assert_eq!(
        burst("late_scale_down"),
        told("0.500000000", 10, "0.5", "let it scale down sooner", SOONER)
    );
}

#[test]
fn a_machine_that_was_busy_for_a_third_of_two_days_or_less() {
    for (to, is_told) in [(16, true), (17, false)] {
        let world = World::new();
        for machine in ["m", "n"] {
            given_machine(&world, machine, "batch", (4, 0), 2);
        }
        // The other one works all the time, so the pool does.
        for (uid, machine, hours) in [
            ("etl", "m", (0, to)),
            ("one", "n", (0, 24)),
            ("two", "n", (24, 48)),
        ] {
            given_pod(
                &world,
                uid,
                Some(machine),
                hours,
                &size(4, 16, 0),
                &succeeded(hours),
            );
        }
        let rows = found(&world, "seldom_busy_machines");
        let told = format!(
            "m|unattributed|32.000000000|33% of what the pool cost: 1 machine, 32.0 h in 32 hours; the pool was busy for 66% of its time|\
             let it go when it is empty|{SOONER}"
        );
        assert_eq!(rows, if is_told { vec![told] } else { Vec::new() }, "{to}");
    }
}

#[test]
fn a_pool_with_more_machines_than_it_ever_needs() {
    let world = World::new();
    for machine in ["m", "n"] {
        given_machine(&world, machine, "batch", (4, 0), 7);
    }
    for day in 0..7 {
        let hours = (day * 24, day * 24 + 24);
        given_pod(
            &world,
            &format!("stream-{day}"),
            Some("m"),
            hours,
            &size(4, 16, 0),
            &succeeded(hours),
        );
    }
    assert_eq!(
        found(&world, "pool_minimum_above_need"),
        [
            "batch|unattributed|168.000000000|50% of what the pool cost: 1 machine, 168.0 h in 168 hours; the pool was busy for 50% of its \
             time|lower the minimum of the pool|-"
        ]
    );
    assert_eq!(
        world.rows("select distinct finding from marts.findings where zone = 'UTC' and cost > 0"),
        ["pool_minimum_above_need"]
    );
}

#[test]
fn pods_that_every_machine_has() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    given_pod(
        &world,
        "etl",
        Some("m"),
        (0, 24),
        &size(3, 12, 0),
        &succeeded((0, 24)),
    );
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'agent' as pod_uid, timestamp '2026-11-02 00:00:00' as observed_at, 'agent-x' as pod_name, \
             'watchers' as namespace, 'm' as machine, 'm' as node_name, timestamp '2026-11-02 00:00:00' as created_at, \
             timestamp '2026-11-02 00:00:00' as bound_at, 'scheduled' as start_source, \
             timestamp '2026-11-02 00:00:00' as running_at, 'Running' as phase, {}",
            size(1, 4, 0)
        ),
    );
    world.given(
        "pod_identities",
        "select 'c' as cluster, 'agent' as pod_uid, timestamp '2026-11-02 00:00:00' as valid_from_at, \
         [{'kind': 'DaemonSet', 'name': 'agent', 'uid': 'set'}] as owners",
    );
    assert_eq!(
        found(&world, "daemon_overhead"),
        [
            "batch|unattributed|6.000000000|pods of DaemonSets take 25% of the cost of 1 machine (t), with what nodes keep for themselves 25%|\
             use fewer, larger machines: of double the size the same pods cost half|-"
        ]
    );
}

#[test]
fn a_control_plane_that_is_paid_for_while_nothing_runs() {
    let mut world = World::new();
    let path = world.folder.path().join("podledger.toml");
    std::fs::write(
        &path,
        "price_overrides = [{control_plane = '*', hourly_usd = '0.1'}]",
    )
    .unwrap();
    world.config = Config::read(&path).unwrap();
    given_machine(&world, "m", "batch", (4, 0), 1);
    given_pod(
        &world,
        "etl",
        Some("m"),
        (1, 5),
        &size(4, 16, 0),
        &succeeded((1, 5)),
    );
    assert_eq!(
        found(&world, "control_plane_without_work"),
        [
            "c|unattributed|2.000000000|no workload ran in 20 of 24 hours|let several small clusters be one, or delete a cluster that only \
             runs now and then and make it anew|-"
        ]
    );
}

#[test]
fn pods_that_waited_for_a_machine_that_there_might_have_been() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    // One waits for forty minutes, one since 20:00; both would fit on the machine.
    for (uid, hour) in [("load", 2), ("sync", 20)] {
        given_pod(
            &world,
            uid,
            None,
            (hour, 0),
            &size(4, 16, 0),
            ", 'Pending' as phase",
        );
        world.given(
            "cluster_events",
            &format!(
                "select 'c' as cluster, '{uid}' as event_uid, 'FailedScheduling' as reason, 'Pod' as involved_kind, \
                 '{uid}-x' as involved_name, '{uid}' as involved_uid, \
                 '0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible.' as message, \
                 timestamp '2026-11-02 {hour:02}:00:00' as last_at, 12 as occurrences"
            ),
        );
    }
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'load' as pod_uid, timestamp '2026-11-02 02:40:00' as observed_at, 'load-x' as pod_name, \
             'data' as namespace, timestamp '2026-11-02 02:00:00' as created_at, {}, 'm' as machine, 'm' as node_name, \
             timestamp '2026-11-02 02:40:00' as bound_at, 'scheduled' as start_source, 'Pending' as phase",
            size(4, 16, 0)
        ),
    );
    let told = |job: &str, waited: &str| {
        format!(
            "{job}|unattributed|0.000000000|1 pod waited {waited}: Insufficient cpu|raise the limit of its pool, or run it at another \
             time|kubectl -n data describe pod {job}-x"
        )
    };
    assert_eq!(
        found(&world, "unschedulable_pods"),
        [
            told("load", "0.6 h (0 still do)"),
            told("sync", "4.0 h (1 still do)")
        ]
    );
    assert_eq!(found(&world, "impossible_request"), Vec::<String>::new());
}
