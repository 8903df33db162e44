//! What has no price is named, and the row of the configuration that is proposed prices it.

use std::process::Command;

use podledger_analyzer::config::Config;

use super::watermark;
use crate::harness::World;

/// A machine of nobody's list; `more` are further columns.
fn given_machine(world: &World, name: &str, launched: &str, more: &str) {
    world.given(
        "machines",
        &format!(
            "select 'c' as cluster, '{name}' as machine, timestamp '2026-11-16 {launched}:00' as observed_at, 'own' as provider, \
             'hall' as region, 'on-demand' as capacity_type, timestamp '2026-11-16 {launched}:00' as launched_at, \
             'declared' as launch_source, {more}"
        ),
    );
    world.given(
        "node_states",
        &format!(
            "select 'c' as cluster, '{name}' as machine, timestamp '2026-11-16 {launched}:00' as observed_at, \
             4000 as cpu_capacity_millicores, 4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, \
             17179869184 as memory_allocatable_bytes"
        ),
    );
}

#[test]
fn what_is_said_of_things_without_a_price_prices_them() {
    let mut world = World::new();
    watermark(&world, "12:00");
    let own = "'instance' as billing_model";
    given_machine(
        &world,
        "4c4c#boot-1",
        "10:20",
        &format!("{own}, 'rack-1' as node_name"),
    );
    given_machine(
        &world,
        "5d5d#boot-1",
        "11:00",
        &format!("{own}, 'own://rack-2' as provider_id"),
    );
    given_machine(&world, "6e6e#boot-1", "10:00", own);
    given_machine(
        &world,
        "7f7f#boot-1",
        "10:00",
        &format!("{own}, 'rack-4' as node_name, 'big' as instance_type"),
    );
    given_machine(
        &world,
        "8a8a#boot-1",
        "10:00",
        &format!("{own}, 'rack-5' as node_name, 'big' as instance_type"),
    );
    given_machine(
        &world,
        "virtual",
        "10:00",
        "'pod_request' as billing_model, 'fargate-1' as node_name",
    );
    world.given(
        "pod_states",
        "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, 'p' as pod_name, 'data' as namespace, \
         'virtual' as machine, 'fargate-1' as node_name, timestamp '2026-11-16 10:00:00' as created_at, \
         timestamp '2026-11-16 10:00:00' as bound_at, 'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, \
         timestamp '2026-11-16 11:00:00' as finished_at, timestamp '2026-11-16 11:00:00' as released_at, 'watch' as end_source, \
         'Succeeded' as phase, 250 as cpu_request_millicores, 536870912 as memory_request_bytes, 250 as billed_cpu_millicores, \
         536870912 as billed_memory_bytes",
    );
    for volume in ["pv-1", "pv-2"] {
        world.given(
            "volume_states",
            &format!(
                "select 'c' as cluster, '{volume}' as volume_uid, timestamp '2026-11-16 10:00:00' as observed_at, '{volume}' as volume, \
                 'Bound' as phase, 1073741824 as capacity_bytes, 'of-{volume}' as claim_uid, 'data' as claim_namespace, \
                 timestamp '2026-11-16 10:00:00' as created_at"
            ),
        );
    }
    world.build(true);
    let told = |world: &World| {
        world.rows(
            "select resource_kind, resources, strftime(since_at, '%H:%M'), unpriced_ms // 60000, coalesce(configuration, '-') \
             from marts.unpriced_resources order by all",
        )
    };
    let row = |selection: &str| format!("price_overrides = [{{{selection}, hourly_usd = \"...\"}}]");
    let of_pods = "machine|1|10:00|60|-".to_owned();
    assert_eq!(
        told(&world),
        [
            of_pods.clone(),
            format!("machine|1|10:00|120|{}", row("machine = \"6e6e#boot-1\"")),
            format!("machine|1|10:20|100|{}", row("node = \"rack-1\"")),
            format!("machine|1|11:00|60|{}", row("machine = \"own://rack-2\"")),
            format!("machine|2|10:00|240|{}", row("instance_type = \"big\"")),
            format!("volume|1|10:00|120|{}", row("volume = \"pv-1\"")),
            format!("volume|1|10:00|120|{}", row("volume = \"pv-2\"")),
        ]
    );
    assert_eq!(
        world.rows("select mend like '%`vCPU-hour` and `GB-hour`%' from marts.unpriced_resources where configuration is null"),
        ["true"]
    );
    let summary = Command::new(env!("CARGO_BIN_EXE_podledger"))
        .current_dir(world.folder.path())
        .arg("--data")
        .arg(world.folder.path())
        .arg("summary")
        .output()
        .unwrap();
    let summary = String::from_utf8(summary.stdout).unwrap();
    assert!(
        summary.contains("2 of machine big in hall: import its list price")
            && summary.contains(&row("volume = \"pv-2\"")),
        "{summary}"
    );

    // As it is said, with an amount.
    let rows = world.rows(
        "select regexp_extract(configuration, '^price_overrides = [[](.*)[]]$', 1) from marts.unpriced_resources where configuration is not null",
    );
    let path = world.folder.path().join("podledger.toml");
    let text = format!("price_overrides = [{}]", rows.join(", ")).replace("...", "0.5");
    std::fs::write(&path, text).unwrap();
    world.config = Config::read(&path).unwrap();
    world.build(true);
    assert_eq!(told(&world), [of_pods]);
}
