//! Capacity of a time in which nobody watched: never idle, and no more than no known pod explains.
//!
//! All machines here cost $3.60 an hour, one half CPU and one half memory, and pods ask for the same part of both: a minute of a
//! machine is $0.06, a minute of a quarter of it $0.015.

use podledger_analyzer::build::check;

use crate::harness::{World, contents};

fn world() -> World {
    let mut world = World::new();
    world.config.weights_method = "halves".to_owned();
    world.given(
        "allocation_weights",
        "select 'halves' as method, timestamp '2026-01-01 00:00:00' as valid_from_at, 1000000000 as cpu_core_hour_nano, \
         250000000 as memory_gib_hour_nano, 0 as gpu_hour_nano, 'test' as source",
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 3.6::decimal(18,9) as hourly_usd, 'test' as source",
    );
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-16 13:00:00' as observed_through_at",
    );
    world
}

fn at(time: &str) -> String {
    format!("timestamp '2026-11-16 {time}:00'")
}

/// A machine of 4 cores and 16 GiB, of which the node keeps so many quarters.
fn given_machine(world: &World, machine: &str, launched: &str, registered: &str, reserved_quarters: i64) {
    given_end(world, machine, launched, None);
    world.given(
        "node_states",
        &format!(
            "select 'c' as cluster, '{machine}' as machine, {} as observed_at, 4000 as cpu_capacity_millicores, \
             4000 - 1000 * {reserved_quarters} as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, \
             17179869184 - 4294967296 * {reserved_quarters} as memory_allocatable_bytes",
            at(registered)
        ),
    );
}

/// What is known of a machine's life: its launch, or its end.
fn given_end(world: &World, machine: &str, launched: &str, ended: Option<&str>) {
    world.given(
        "machines",
        &format!(
            "select 'c' as cluster, '{machine}' as machine, {} as observed_at, 'aws' as provider, 'us-east-1' as region, \
             't' as instance_type, 'on-demand' as capacity_type, 'pool' as pool, 'instance' as billing_model, \
             {} as launched_at, 'declared' as launch_source, {}::timestamp as ended_at",
            at(ended.unwrap_or(launched)),
            at(launched),
            ended.map_or("null".to_owned(), at),
        ),
    );
}

/// A pod that runs from `bound` to `released` with so many eighths of a machine.
fn given_pod(
    world: &World,
    machine: &str,
    pod: &str,
    namespace: &str,
    (bound, released): (&str, &str),
    eighths: u32,
) {
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, '{pod}' as pod_uid, {released} as observed_at, '{pod}' as pod_name, \
             '{namespace}' as namespace, '{machine}' as machine, {bound} as created_at, {bound} as bound_at, \
             {bound} as running_at, {released} as finished_at, {released} as released_at, 'Succeeded' as phase, \
             500 * {eighths} as cpu_request_millicores, 2147483648 * {eighths} as memory_request_bytes",
            bound = at(bound),
            released = at(released),
        ),
    );
}

fn given_gap(world: &World, resource: &str, (start, end): (&str, &str), recovered: u32) {
    world.given(
        "collection_gaps",
        &format!(
            "select 'c' as cluster, '{resource}' as resource, {} as gap_start_at, {} as gap_end_at, 'outage' as reason, \
             {recovered} as recovered_pods",
            at(start),
            at(end)
        ),
    );
}

/// Cost by machine, hour and category.
fn costs(world: &World) -> Vec<String> {
    world.rows(
        "select machine, strftime(hour_start_at, '%H'), coalesce(pod_uid, '-'), cost_category, sum(total_cost) \
         from marts.allocations_hourly where total_cost <> 0 group by all order by all",
    )
}

/// `busy` registers at 10:06 and `empty` at once; `born` comes in the second gap.
fn given_example(world: &World) {
    given_machine(world, "busy", "10:00", "10:06", 0);
    given_machine(world, "empty", "10:00", "10:00", 0);
    given_end(world, "empty", "10:00", Some("12:30"));
    given_machine(world, "born", "12:01", "12:04", 0);
    for (pod, times, eighths) in [
        ("early", ("10:30", "10:40"), 2),
        // Seen going into the gap, and found gone after it; what is left of it says when.
        ("vanished", ("11:30", "12:00"), 2),
        ("across", ("11:40", "12:20"), 2),
        // Came and went unseen, and was recovered.
        ("inside", ("11:55", "12:05"), 4),
    ] {
        given_pod(world, "busy", pod, "work", times, eighths);
    }
}

fn given_gaps(world: &World) {
    given_gap(world, "pods", ("10:02", "10:12"), 0);
    given_gap(world, "pods", ("11:50", "12:10"), 1);
}

/// Each figure is minutes times the part of the machine times $0.06.
const EXAMPLE: &[&str] = &[
    "born|12|-|idle_boot|0.180000000", // 12:01 to 12:04: nothing runs before a node registers, seen or not
    "born|12|-|idle_startup|3.000000000", // 12:10 to 13:00
    "born|12|-|unobserved|0.360000000", // 12:04 to 12:10
    "busy|10|-|idle_boot|0.360000000", // 10:00 to 10:06, in spite of the gap
    "busy|10|-|idle_gap|1.200000000",  // 10:40 to 11:00
    "busy|10|-|idle_startup|1.080000000", // 10:12 to 10:30
    "busy|10|-|idle_unpacked|0.450000000", // three quarters beside `early`
    "busy|10|-|unobserved|0.360000000", // 10:06 to 10:12
    "busy|10|early|unmetered|0.150000000", // a quarter for 10 minutes
    "busy|11|-|idle_gap|1.800000000",  // 11:00 to 11:30
    "busy|11|-|idle_unpacked|0.750000000", // three quarters for 10 minutes and a half for 10
    "busy|11|-|unobserved|0.150000000", // a half from 11:50 to 11:55; then pods held all of it
    "busy|11|across|unmetered|0.300000000",
    "busy|11|inside|unmetered|0.150000000",
    "busy|11|vanished|unmetered|0.450000000",
    "busy|12|-|idle_gap|2.400000000",      // 12:20 to 13:00
    "busy|12|-|idle_unpacked|0.450000000", // three quarters from 12:10 to 12:20
    "busy|12|-|unobserved|0.300000000",    // a quarter to 12:05, three quarters to 12:10
    "busy|12|across|unmetered|0.300000000",
    "busy|12|inside|unmetered|0.150000000",
    "empty|10|-|idle_startup|3.000000000",
    "empty|10|-|unobserved|0.600000000",
    "empty|11|-|idle_startup|3.000000000",
    "empty|11|-|unobserved|0.600000000",
    "empty|12|-|idle_startup|1.200000000", // it ended at 12:30
    "empty|12|-|unobserved|0.600000000",
];

#[test]
fn what_nobody_watched_is_unobserved_and_what_pods_are_known_to_have_held_is_theirs() {
    let world = world();
    given_example(&world);
    given_gaps(&world);
    world.build(true);
    assert_eq!(costs(&world), EXAMPLE);
    assert!(check(&world.ledger(), &world.config).unwrap().is_empty());

    // A half of 4 cores and 16 GiB for 5 minutes, and none of it for another 5.
    assert_eq!(
        world.rows(
            "select held_ms, cpu_millicore_ms, memory_byte_ms = 8::decimal(38,0) * 1073741824 * 300000 \
             from intermediate.machine_pod_hours \
             where stage = 'unobserved' and machine = 'busy' and hour_start_ms = epoch_ms(timestamp '2026-11-16 11:00:00')"
        ),
        ["600000|600000000|true"]
    );
    assert_eq!(
        world.rows(
            "select machine, cost, allocated_cost, idle_cost, unobserved_cost, node_reserved_cost \
             from marts.machines_daily order by 1"
        ),
        [
            "born|3.540000000|0.000000000|3.180000000|0.360000000|0.000000000",
            "busy|10.800000000|1.500000000|8.490000000|0.810000000|0.000000000",
            "empty|9.000000000|0.000000000|7.200000000|1.800000000|0.000000000",
        ]
    );
    for mart in ["pools_hourly", "teams_weekly", "pipelines_weekly"] {
        let unobserved = world.rows(&format!("select sum(unobserved_cost) from marts.{mart}"));
        assert_eq!(unobserved, ["2.970000000"], "{mart}");
    }
    assert_eq!(
        world.rows("select team, cost from marts.costs_daily where cost_category = 'unobserved'"),
        ["unattributed|2.970000000"]
    );
    assert_eq!(
        world.rows(
            "select measure, unit, value from marts.data_quality \
             where measure in ('collection_gaps', 'blind_ms', 'recovered_pods', 'unobserved_nano') order by 1"
        ),
        [
            "blind_ms|ms|1800000",
            "collection_gaps|gaps|2",
            "recovered_pods|pods|1",
            "unobserved_nano|nano-usd|2970000000",
        ]
    );
}

#[test]
fn a_gap_told_later_computes_the_hours_that_it_covers_and_no_others() {
    let world = world();
    given_example(&world);
    world.build(true);
    assert!(costs(&world).iter().all(|row| !row.contains("unobserved")));

    // Two parts of one gap that overlap, and one of them again.
    given_gap(&world, "pods", ("11:50", "12:05"), 1);
    given_gap(&world, "pods", ("12:01", "12:10"), 0);
    given_gap(&world, "pods", ("11:50", "12:05"), 1);
    let report = world.build(false);
    // `busy` and `empty` from 11:00 and 12:00, `born` from 12:00.
    assert_eq!((report.is_full, report.dirty_hours), (false, 5));
    assert_eq!(
        world.rows("select measure, value from marts.data_quality where measure in ('collection_gaps', 'blind_ms') order by 1"),
        ["blind_ms|1200000", "collection_gaps|2"]
    );
    given_gap(&world, "pods", ("10:02", "10:12"), 0);
    assert_eq!(world.build(false).dirty_hours, 2);
    assert_eq!(costs(&world), EXAMPLE);
    let incremental = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), incremental);

    // Pods were watched while others were not.
    given_gap(&world, "nodes", ("10:00", "13:00"), 0);
    assert_eq!(world.build(false).dirty_hours, 0);
    assert_eq!(costs(&world), EXAMPLE);
}

/// A quarter is the node's, a quarter a DaemonSet's, and a pod that asked for an eighth used a quarter: a quarter is left.
#[test]
fn reservations_system_pods_and_use_beyond_requests_are_known_in_a_gap() {
    let world = world();
    given_machine(&world, "m", "10:00", "10:00", 1);
    given_end(&world, "m", "10:00", Some("11:00"));
    given_pod(&world, "m", "agent", "kube-system", ("10:00", "11:00"), 2);
    given_pod(&world, "m", "greedy", "work", ("10:00", "11:00"), 1);
    world.given(
        "usage_hours",
        "select 'c' as cluster, 'greedy' as pod_uid, timestamp '2026-11-16 10:00:00' as hour_start_at, 'kubelet' as source, \
         3600000::bigint * 1000 as cpu_usage_millicore_ms, \
         (3600000::hugeint * 4 * 1073741824)::decimal(38,0) as memory_usage_byte_ms",
    );
    given_gap(&world, "pods", ("10:30", "10:40"), 0);
    world.build(true);
    assert_eq!(
        costs(&world),
        [
            "m|10|-|idle_unpacked|0.750000000",
            "m|10|-|node_reserved|0.900000000",
            "m|10|-|unobserved|0.150000000",
            "m|10|agent|system|0.900000000",
            "m|10|greedy|used|0.900000000",
        ]
    );
}

/// Pods that claim more than there is leave nothing unobserved, and one that claims much beside a gap takes nothing from it.
#[test]
fn claims_count_in_the_time_in_which_they_were_held() {
    let world = world();
    given_machine(&world, "m", "10:00", "10:00", 0);
    given_end(&world, "m", "10:00", Some("12:00"));
    given_pod(&world, "m", "before", "work", ("10:00", "10:30"), 8);
    given_gap(&world, "pods", ("10:30", "10:40"), 0);
    given_pod(&world, "m", "crowd", "work", ("11:10", "11:20"), 12);
    given_gap(&world, "pods", ("11:10", "11:20"), 0);
    world.build(true);
    assert_eq!(
        costs(&world),
        [
            "m|10|-|idle_gap|1.200000000",
            "m|10|-|unobserved|0.600000000",
            "m|10|before|unmetered|1.800000000",
            // Ten minutes free before it, of which it claims five beyond the capacity of its own.
            "m|11|-|idle_gap|0.300000000",
            "m|11|-|idle_tail|2.400000000",
            "m|11|crowd|unmetered|0.900000000",
        ]
    );
}

/// An hour is billed although the machine ended within it: after its end nobody can have held it.
#[test]
fn time_after_the_end_of_a_machine_is_known_to_be_nobody_s() {
    let world = world();
    world.given(
        "billing_rules",
        "select 'aws' as provider, 'on-demand' as capacity_type, timestamp '2026-01-01 00:00:00' as valid_from_at, \
         0 as minimum_ms, 3600000 as rounding_ms, 0 as interruption_refund_ms, 'test' as source",
    );
    given_machine(&world, "m", "10:00", "10:00", 0);
    given_end(&world, "m", "10:00", Some("10:20"));
    given_gap(&world, "pods", ("10:10", "10:50"), 0);
    world.build(true);
    let of_minutes = |unobserved: u32| {
        [
            format!(
                "m|10|-|idle_startup|{}.{:02}0000000",
                (60 - unobserved) * 6 / 100,
                (60 - unobserved) * 6 % 100
            ),
            format!(
                "m|10|-|unobserved|{}.{:02}0000000",
                unobserved * 6 / 100,
                unobserved * 6 % 100
            ),
        ]
    };
    assert_eq!(costs(&world), of_minutes(10));

    // The end is corrected; what is billed stays the same hour.
    given_end(&world, "m", "10:00", Some("10:30"));
    assert_eq!(world.build(false).dirty_hours, 1);
    assert_eq!(costs(&world), of_minutes(20));
    let incremental = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), incremental);
}

/// Where a whole hour was blind nothing is idle, not even what truncation leaves: 59 minutes at $3.333333333 an hour are
/// 3,277,777,777 nano-dollars, of which each of seven pods pays an eighth for 13 minutes, truncated per pool.
#[test]
fn a_machine_that_was_never_watched_is_unobserved_to_the_nano_dollar() {
    let world = world();
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-11-16 00:00:00' as valid_from_at, 3.333333333::decimal(18,9) as hourly_usd, 'test' as source",
    );
    given_machine(&world, "m", "10:00", "10:00", 0);
    given_end(&world, "m", "10:00", Some("10:59"));
    for pod in 0..7 {
        given_pod(&world, "m", &format!("p{pod}"), "work", ("10:07", "10:20"), 1);
    }
    given_gap(&world, "pods", ("09:00", "11:00"), 7);
    world.build(true);
    assert_eq!(
        world.rows(
            "select cost_category, sum(total_cost) from marts.allocations_hourly group by all order by 1"
        ),
        ["unmetered|0.631944432", "unobserved|2.645833345"]
    );
}

/// A machine was there for two hours when somebody looked for the first time, and a quarter of it was held by who was there then.
#[test]
fn before_the_first_look_at_a_cluster_its_machines_are_unobserved() {
    let world = world();
    given_machine(&world, "m", "10:00", "10:00", 0);
    given_pod(&world, "m", "p", "work", ("11:30", "12:30"), 2);
    world.build(true);
    let unobserved = "select strftime(hour_start_at, '%H'), sum(total_cost) from marts.allocations_hourly \
         where cost_category = 'unobserved' group by all order by all";
    assert_eq!(world.rows(unobserved), Vec::<String>::new());
    let first_look = |time: &str| {
        world.given(
            "collection_watermarks",
            &format!(
                "select 'c' as cluster, {at} as observed_through_at, {at} as observed_from_at",
                at = at(time)
            ),
        );
    };
    first_look("12:00");
    world.build(false);
    // The whole of the first hour, and of the second what the pod did not hold for its half.
    assert_eq!(world.rows(unobserved), ["10|3.600000000", "11|3.150000000"]);
    assert_eq!(
        world.rows("select measure, value from marts.data_quality where measure in ('collection_gaps', 'blind_ms') order by 1"),
        ["blind_ms|7200000", "collection_gaps|0"]
    );
    let incremental = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), incremental);
    // An import tells what was before.
    first_look("10:30");
    world.build(false);
    assert_eq!(world.rows(unobserved), ["10|1.800000000"]);
}
