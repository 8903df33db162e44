//! Examples that others published, with their figures.

use crate::harness::World;

/// AWS split cost allocation data: 4 vCPU and 16 GB for $1 an hour at 9 : 1 is $0.1731 per vCPU-hour and $0.0192 per
/// GB-hour (AWS Cost and Usage Report user guide, "Example of split cost allocation data").
#[test]
fn aws_split_cost_allocation_example() {
    let mut world = World::new();
    world.config.weights_method = "aws-split-cost".to_owned();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 1024, 0);
    world.build(true);
    let found = world.rows(
        "select sum(cpu_cost)::decimal(18,4), sum(memory_cost)::decimal(18,4) from marts.allocations_hourly \
         where pod_uid = 'p'",
    );
    assert_eq!(found, ["0.1731|0.0192"]);
}

/// OpenCost specification, appendix: a $35 node with 1 GPU, 1 CPU and 1 GB at base prices 30 / 30 / 10 costs
/// 15 / 15 / 5.
#[test]
fn opencost_specification_example() {
    let mut world = World::new();
    world.config.weights_method = "appendix".to_owned();
    world.given(
        "allocation_weights",
        "select 'appendix' as method, timestamp '2026-01-01 00:00:00' as valid_from_at, \
         30000000000 as cpu_core_hour_nano, 10000000000 as memory_gib_hour_nano, 30000000000 as gpu_hour_nano, \
         'OpenCost specification' as source",
    );
    world.given_machine(1, 1, 1, "35");
    world.given_pod("p", 1000, 1024, 1000);
    world.build(true);
    let found = world.rows(
        "select sum(gpu_cost), sum(cpu_cost), sum(memory_cost) from marts.allocations_hourly where pod_uid = 'p'",
    );
    assert_eq!(found, ["15.000000000|15.000000000|5.000000000"]);
}

#[test]
fn an_unused_request_is_told_from_what_was_used() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 4000, 16 * 1024, 0);
    world.given(
        "usage_hours",
        "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 10:00:00' as hour_start_at, 'kubelet' as source, \
         3600000::bigint * 1000 as cpu_usage_millicore_ms, \
         (3600000::hugeint * 4 * 1073741824)::decimal(38,0) as memory_usage_byte_ms",
    );
    world.build(true);
    let found = world.rows("select cost_category, cost from marts.costs_daily order by 1");
    assert_eq!(found, ["unused_request|0.750000000", "used|0.250000000"]);
}

#[test]
fn an_unpriced_machine_costs_nothing_known_and_is_counted() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:30:00' as observed_at, 'aws' as provider, \
         'us-east-1' as region, 'unheard-of' as instance_type, 'on-demand' as capacity_type, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    world.given_pod("p", 1000, 1024, 0);
    world.build(true);
    assert_eq!(
        world.rows("select count(*), count(total_cost) from marts.allocations_hourly"),
        ["2|0"]
    );
    assert_eq!(
        world.rows("select value from marts.data_quality where measure = 'unpriced_machine_hours'"),
        ["1"]
    );
}
