//! Rules of attribution that no published example covers: billing, containers, retries, conflicting identities.

use podledger_analyzer::build::check;
use podledger_analyzer::config::Config;

use crate::harness::{World, contents, rows};

/// A machine of `capacity_type` that lived from 10:00 for so many minutes, and a rule of how it is billed.
fn given_billed_machine(world: &World, capacity_type: &str, minutes: u32, end_reason: &str) {
    world.given_machine(4, 16, 0, "0.6");
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'spot' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 0.6::decimal(18,9) as hourly_usd, 'test' as source",
    );
    world.given(
        "machines",
        &format!(
            "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:59:00' as observed_at, 'aws' as provider, \
             'us-east-1' as region, 't' as instance_type, '{capacity_type}' as capacity_type, \
             'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source, \
             timestamp '2026-11-16 10:00:00' + interval {minutes} minute as ended_at, 'declared' as end_source, \
             '{end_reason}' as end_reason"
        ),
    );
    world.given(
        "billing_rules",
        &format!(
            "select 'aws' as provider, '{capacity_type}' as capacity_type, timestamp '2026-01-01 00:00:00' as valid_from_at, \
             600000 as minimum_ms, 300000 as rounding_ms, 3600000 as interruption_refund_ms, 'test' as source"
        ),
    );
}

fn cost(world: &World) -> Vec<String> {
    world.rows("select sum(cost) from marts.costs_daily")
}

#[test]
fn a_machine_is_billed_its_minimum_and_then_in_full_steps() {
    for (minutes, cost_expected) in [(1, "0.100000000"), (10, "0.100000000"), (11, "0.150000000")] {
        let world = World::new();
        given_billed_machine(&world, "on-demand", minutes, "Terminated");
        world.build(true);
        assert_eq!(cost(&world), [cost_expected], "{minutes} minutes");
    }
}

#[test]
fn an_interruption_within_the_first_hour_is_refunded_and_no_other_end_is() {
    for (end_reason, cost_expected) in [("SpotInterrupted", "0.000000000"), ("Terminated", "0.300000000")] {
        let world = World::new();
        given_billed_machine(&world, "spot", 30, end_reason);
        world.build(true);
        assert_eq!(cost(&world), [cost_expected], "{end_reason}");
    }
}

#[test]
fn containers_share_their_pod_s_cost_by_request_and_the_surplus_is_the_pod_s() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // An init container made the pod ask for more than its two containers do.
    world.given_pod("p", 4000, 16 * 1024, 0);
    world.given(
        "container_requests",
        "select 'c' as cluster, 'p' as pod_uid, name as container_name, timestamp '2026-11-16 10:00:00' as observed_at, \
         kind as container_kind, millicores as cpu_request_millicores, gib * 1073741824::bigint as memory_request_bytes \
         from (values ('main', 'container', 2000, 8), ('proxy', 'sidecar', 1000, 4), ('load', 'init', 4000, 16)) \
         as v(name, kind, millicores, gib)",
    );
    world.build(true);
    assert_eq!(
        world.rows(
            "select container_name, cost from marts.containers_daily where charge_date = '2026-11-16' order by 1"
        ),
        ["(pod)|0.250000000", "main|0.500000000", "proxy|0.250000000"]
    );
}

#[test]
fn a_later_success_mends_a_job_and_an_unmended_failure_fails_the_run() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // Two jobs: `a` fails and is repeated, `b` succeeds and then fails.
    world.given(
        "pod_states",
        "select 'c' as cluster, uid as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, uid as pod_name, \
         'ns' as namespace, 'm' as machine, timestamp '2026-11-16 10:00:00' + interval (minute) minute as created_at, \
         created_at as bound_at, 'scheduled' as start_source, created_at + interval 5 minute as released_at, \
         'watch' as end_source, phase, 1000 as cpu_request_millicores, 1073741824 as memory_request_bytes \
         from (values ('a1', 0, 'Failed'), ('a2', 10, 'Succeeded'), ('b1', 0, 'Succeeded'), ('b2', 10, 'Failed')) \
         as v(uid, minute, phase)",
    );
    world.given(
        "pod_identities",
        "select 'c' as cluster, job || try as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
         map {'podledger.io/pipeline': job, 'podledger.io/run': 'r', 'podledger.io/job': job, \
              'podledger.io/attempt': try} as labels \
         from (values ('a', '1'), ('a', '2'), ('b', '1'), ('b', '2')) as v(job, try)",
    );
    world.build(true);
    assert_eq!(
        world.rows("select pipeline, status, pods, attempts, failed_attempts from marts.runs order by 1"),
        ["a|succeeded|2|2|1", "b|failed|2|2|1"]
    );
}

#[test]
fn conflicting_identities_of_one_instant_read_the_same_in_any_order() {
    let team = |order: [&str; 2]| {
        let world = World::new();
        world.given_machine(4, 16, 0, "1");
        world.given_pod("p", 1000, 1024, 0);
        for label in order {
            world.given(
                "pod_identities",
                &format!(
                    "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
                     map {{'team': '{label}'}} as labels"
                ),
            );
        }
        world.build(true);
        world.rows("select team from marts.pods")
    };
    assert_eq!(team(["red", "blue"]), team(["blue", "red"]));
}

#[test]
fn no_relation_has_a_floating_column_or_one_that_parquet_cannot_hold() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 1024, 0);
    world.build(true);
    let found = world.rows(
        "select table_name, column_name, data_type from information_schema.columns \
         where table_schema in ('raw', 'staging', 'intermediate', 'marts') \
         and (data_type in ('DOUBLE', 'FLOAT', 'HUGEINT', 'UBIGINT', 'INTEGER') or data_type like '%WITH TIME ZONE')",
    );
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_shared_namespace_is_paid_by_its_teams_by_weight_to_the_nano_dollar() {
    let mut world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 4000, 16 * 1024, 0);
    let path = world.folder.path().join("podledger.toml");
    std::fs::write(
        &path,
        "[[teams]]\nshares = {ml = 1, growth = 1, risk = 1}\nnamespace = 'ns'\n",
    )
    .unwrap();
    world.config = podledger_analyzer::config::Config::read(&path).unwrap();
    world.build(true);
    let costs = world.rows("select team, sum(cost) from marts.costs_daily group by all order by 1");
    assert_eq!(costs.len(), 3, "{costs:?}");
    assert!(costs.iter().all(|row| row.contains("|0.33333333")), "{costs:?}");
    assert_eq!(
        world.rows("select sum(cost), count(distinct team) from marts.teams_weekly"),
        ["1.000000000|3"]
    );
    assert_eq!(
        world.rows("select team from marts.pods"),
        ["growth 1 + ml 1 + risk 1"]
    );
}

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("podledger.toml");
    std::fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}

#[test]
fn a_changed_share_and_new_facts_in_one_build_equal_a_build_anew() {
    let mut world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("a", 1000, 4 * 1024, 0);
    world.build(true);
    world.config = config("[[teams]]\nshares = {ml = 3, growth = 1}\nnamespace = 'ns'\n");
    world.build(false);
    // Other weights, and at the same time a pod of the next day.
    world.config = config("[[teams]]\nshares = {ml = 1, growth = 1}\nnamespace = 'ns'\n");
    world.given(
        "pod_states",
        "select 'c' as cluster, 'b' as pod_uid, timestamp '2026-11-17 11:00:00' as observed_at, 'b' as pod_name, 'ns' as namespace, \
         'm' as machine, timestamp '2026-11-17 10:00:00' as created_at, timestamp '2026-11-17 10:00:00' as bound_at, \
         timestamp '2026-11-17 11:00:00' as released_at, 'Succeeded' as phase, 1000 as cpu_request_millicores, \
         1048576 as memory_request_bytes",
    );
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-17 12:00:00' as observed_through_at",
    );
    assert!(!world.build(false).is_full);
    let incremental = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), incremental);
}

/// What a build kept of a machine-hour is no proof: a check holds what was paid against prices.
#[test]
fn a_check_finds_money_that_consumers_and_kept_hours_agree_upon_but_no_price_explains() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("a", 1000, 4 * 1024, 0);
    world.build(true);
    let ledger = world.ledger();
    assert!(check(&ledger, &world.config).unwrap().is_empty());
    ledger
        .connection()
        .execute_batch(
            "update intermediate.machine_pod_hours set cpu_nano = cpu_nano + 1 where consumer_kind = 'idle';
             update intermediate.int_machine_hours set cpu_nano = cpu_nano + 1, cost_nano = cost_nano + 1;",
        )
        .unwrap();
    let failures = check(&ledger, &world.config).unwrap();
    let names: Vec<&str> = failures.iter().map(|failure| failure.name.as_str()).collect();
    assert!(names.contains(&"conservation_of_cost"), "{names:?}");
    // It changed nothing.
    assert_eq!(
        rows(
            ledger.connection(),
            "select sum(cost_nano) from intermediate.int_machine_hours"
        ),
        ["1000000001"]
    );
}
