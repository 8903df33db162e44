//! A replay bills machines as their provider does.

use std::process::Command;

use podledger_analyzer::rightsizing::Filter;
use serde_json::Value;

use super::replay;
use crate::harness::World;

/// A machine that boots for a minute, has one pod and idles for ten minutes, from a time of that day to another.
fn given_work(world: &World, name: &str, launched: &str, released: &str) {
    let at = |time: &str| format!("timestamp '2026-11-16 {time}:00'");
    let registered = format!("{} + interval 1 minute", at(launched));
    let ended = format!("{} + interval 10 minute", at(released));
    world.given(
        "machines",
        &format!(
            "select 'c' as cluster, '{name}' as machine, {ended} as observed_at, '{name}' as node_name, 'aws' as provider, \
             'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, 'batch' as pool, 'instance' as billing_model, \
             {} as launched_at, 'declared' as launch_source, {ended} as ended_at, 'declared' as end_source",
            at(launched)
        ),
    );
    world.given(
        "node_states",
        &format!(
            "select 'c' as cluster, '{name}' as machine, {registered} as observed_at, 4000 as cpu_capacity_millicores, \
             4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes"
        ),
    );
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'of-{name}' as pod_uid, {} as observed_at, 'of-{name}' as pod_name, 'data' as namespace, \
             '{name}' as machine, '{name}' as node_name, {} as created_at, {registered} as bound_at, 'scheduled' as start_source, \
             {registered} as running_at, {} as finished_at, {} as released_at, 'watch' as end_source, 'Succeeded' as phase, \
             1000 as cpu_request_millicores, 1073741824 as memory_request_bytes",
            at(released),
            at(launched),
            at(released),
            at(released)
        ),
    );
}

#[test]
fn machines_are_billed_in_the_steps_of_their_provider() {
    let world = World::new();
    world.given(
        "billing_rules",
        "select 'aws' as provider, 'on-demand' as capacity_type, timestamp '2026-01-01 00:00:00' as valid_from_at, \
         0 as minimum_ms, 3600000 as rounding_ms, 0 as interruption_refund_ms, 'test' as source",
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 1::decimal(18,9) as hourly_usd, 'test' as source",
    );
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-16 13:30:00' as observed_through_at",
    );
    // Up for 41 minutes, and for 61: one hour and two are billed, the last of them until 14:05.
    given_work(&world, "short", "10:05", "10:36");
    given_work(&world, "long", "12:05", "12:56");
    world.build(true);
    assert_eq!(
        world.rows("select round(sum(cost), 6) from marts.machines_daily"),
        ["3.000000"]
    );
    let found = replay(&world, &Filter::default());
    let pool = found.pools().next().unwrap();
    assert_eq!(pool.withheld, None, "{pool:?}");
    assert_eq!(pool.deviation_ppm, Some(0), "{pool:?}");
    assert_eq!((pool.rules.minimum_ms, pool.rules.rounding_ms), (0, 3_600_000));
    // The window ends with what was observed, not with what was billed.
    let observed_ms = world.rows("select max(watermark_ms) from staging.stg_watermarks");
    assert_eq!(pool.to_ms.to_string(), observed_ms[0]);
}

#[test]
fn of_pools_that_are_not_replayed_no_figures_are_told() {
    let world = World::new();
    given_work(&world, "m", "10:05", "10:36");
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-16 13:30:00' as observed_through_at",
    );
    world.build(true);
    let told = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_podledger"))
            .arg("--data")
            .arg(world.folder.path())
            .args(["recommend", "--pools"])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = told(&[]);
    assert!(
        shown.contains("left out: some of its machines' time has no price")
            && shown.ends_with("without pool batch t ($0.00): some of its machines' time has no price\n")
            && !shown.contains('%'),
        "{shown}"
    );
    let json: Value = serde_json::from_str(&told(&["--format", "json"])).unwrap();
    let pool = &json["pools"][0];
    assert_eq!(
        (&pool["withheld"], &pool["replayed_cost"], &pool["deviation_ppm"]),
        (&Value::from("unpriced"), &Value::Null, &Value::Null)
    );
}
