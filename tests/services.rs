//! What is no machine's: volumes, load balancers and control planes, and how what all share is distributed.

mod unpriced;

use podledger_analyzer::config::Config;

use crate::harness::World;

/// A machine of four cores at a dollar an hour from 10:00 to 14:00, and two pods on it that mount one volume of ten GiB: `a` of a run
/// from 10:00 to 11:00, `b` of a service from 10:30 to 11:30.
pub fn given_platform(world: &World) {
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n' as node_name, 'aws' as provider, \
         'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, 'instance' as billing_model, \
         timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    world.given(
        "node_states",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 4000 as cpu_capacity_millicores, \
         4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes",
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 1::decimal(18,9) as hourly_usd, 'test' as source",
    );
    // A GiB costs 0.0001 USD an hour, so ten cost 0.001.
    world.given(
        "service_prices",
        "select 'aws' as provider, 'us-east-1' as region, 'EBS' as service, 'gp3 storage' as item, 'GB-month' as unit, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 0.073::decimal(18,9) as price_usd, 'test' as source",
    );
    for (pod, team, from, to) in [("a", "red", "10:00", "11:00"), ("b", "blue", "10:30", "11:30")] {
        world.given(
            "pod_states",
            &format!(
                "select 'c' as cluster, '{pod}' as pod_uid, timestamp '2026-11-16 {to}:00' as observed_at, '{pod}' as pod_name, \
                 'data' as namespace, 'm' as machine, 'n' as node_name, timestamp '2026-11-16 {from}:00' as created_at, \
                 timestamp '2026-11-16 {from}:00' as bound_at, 'scheduled' as start_source, \
                 timestamp '2026-11-16 {from}:00' as running_at, timestamp '2026-11-16 {to}:00' as finished_at, \
                 timestamp '2026-11-16 {to}:00' as released_at, 'watch' as end_source, 'Succeeded' as phase, 0 as exit_code, \
                 1000 as cpu_request_millicores, 4294967296 as memory_request_bytes"
            ),
        );
        let (more, owner) = if pod == "a" {
            (
                ", 'batch.kubernetes.io/job-name': 'load'",
                "{'kind': 'Job', 'name': 'load', 'uid': 'load'}",
            )
        } else {
            ("", "{'kind': 'StatefulSet', 'name': 'store', 'uid': 'store'}")
        };
        world.given(
            "pod_identities",
            &format!(
                "select 'c' as cluster, '{pod}' as pod_uid, timestamp '2026-11-16 {from}:00' as valid_from_at, \
                 map {{'team': '{team}'{more}}} as labels, [{owner}] as owners"
            ),
        );
        world.given(
            "pod_claims",
            &format!(
                "select 'c' as cluster, '{pod}' as pod_uid, 'work' as claim_name, 'data' as namespace, \
                 timestamp '2026-11-16 {from}:00' as observed_at"
            ),
        );
    }
    world.given(
        "volume_claims",
        "select 'c' as cluster, 'claim' as claim_uid, timestamp '2026-11-16 10:00:00' as observed_at, 'work' as claim_name, \
         'data' as namespace, 'Bound' as phase, 'gp3' as storage_class, 'pv' as volume, 10::bigint * 1073741824 as requested_bytes, \
         timestamp '2026-11-16 09:00:00' as created_at",
    );
    world.given("volume_states", &volume("10:00", "Bound", 10));
    world.given(
        "service_states",
        "select 'c' as cluster, 'lb' as service_uid, timestamp '2026-11-16 11:30:00' as observed_at, 'ingress' as service_name, \
         'web' as namespace, timestamp '2026-11-16 11:30:00' as created_at",
    );
    watermark(world, "14:00");
}

/// The volume as it was seen at a time.
fn volume(observed: &str, phase: &str, gib: u32) -> String {
    format!(
        "select 'c' as cluster, 'v' as volume_uid, timestamp '2026-11-16 {observed}:00' as observed_at, 'pv' as volume, \
         '{phase}' as phase, 'gp3' as storage_class, {gib}::bigint * 1073741824 as capacity_bytes, 'claim' as claim_uid, \
         'data' as claim_namespace, timestamp '2026-11-16 09:00:00' as created_at"
    )
}

fn watermark(world: &World, time: &str) {
    world.given(
        "collection_watermarks",
        &format!(
            "select 'c' as cluster, timestamp '2026-11-16 {time}:00' as observed_through_at, \
             timestamp '2026-11-16 10:00:00' as observed_from_at"
        ),
    );
}

/// Configuration with prices of what has none on the list.
pub fn declared(more: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("podledger.toml");
    let text = format!(
        "[[price_overrides]]\nload_balancer = '*'\nhourly_usd = '0.02'\n\
         [[price_overrides]]\ncontrol_plane = '*'\nhourly_usd = '0.1'\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}

fn services(world: &World) -> Vec<String> {
    world.rows(
        "select strftime(hour_start_at, '%H'), consumer_kind, coalesce(pod_uid, '-'), namespace, team, cost_category, service_cost \
         from marts.allocations_hourly where machine is null and consumer_kind <> 'control_plane' order by all",
    )
}

#[test]
fn a_volume_is_paid_for_by_the_pods_that_mount_it_and_then_by_nobody() {
    let mut world = World::new();
    world.config = declared("");
    given_platform(&world);
    world.build(true);
    assert_eq!(
        services(&world),
        [
            // Both mount it for 90 minutes of 60; what division cuts off is the volume's.
            "10|pod|a|data|red|storage|0.000666666",
            "10|pod|b|data|blue|storage|0.000333333",
            "10|volume|-|data|blue|storage|0.000000001",
            "11|load_balancer|-|web|unattributed|load_balancer|0.010000000",
            "11|pod|b|data|blue|storage|0.000500000",
            "11|volume|-|data|blue|storage|0.000500000",
            "12|load_balancer|-|web|unattributed|load_balancer|0.020000000",
            "12|volume|-|data|blue|storage|0.001000000",
            "13|load_balancer|-|web|unattributed|load_balancer|0.020000000",
            "13|volume|-|data|blue|storage|0.001000000",
        ]
    );
    assert_eq!(
        world.rows("select cost_category, sum(cost) from marts.costs_daily where service_cost <> 0 group by all order by all"),
        [
            "control_plane|0.400000000",
            "load_balancer|0.050000000",
            "storage|0.004000000"
        ]
    );
    // What a pod pays for a volume is part of what its run cost.
    assert_eq!(
        world.rows("select cost from marts.runs where pipeline = 'load'"),
        world.rows("select sum(total_cost) from marts.allocations_hourly where pod_uid = 'a'")
    );
    assert_eq!(
        world.rows("select value from marts.data_quality where measure = 'unpriced_service_hours'"),
        ["0"]
    );
}

#[test]
fn a_volume_that_grows_is_let_go_and_is_repriced_hour_by_hour() {
    let mut world = World::new();
    world.config = declared("");
    given_platform(&world);
    world.build(true);
    // Twenty GiB from 12:30, no claim from 13:15; only then is it learned.
    world.given("volume_states", &volume("12:30", "Bound", 20));
    world.given("volume_states", &volume("13:15", "Released", 20));
    let report = world.build(false);
    assert!(!report.is_full);
    let of_volume = |world: &World| {
        world.rows(
            "select strftime(hour_start_at, '%H'), cost_category, service_cost from marts.allocations_hourly \
             where consumer_kind = 'volume' and hour_start_at >= timestamp '2026-11-16 12:00:00' order by all",
        )
    };
    assert_eq!(
        of_volume(&world),
        [
            "12|storage|0.001500000",
            "13|orphaned_storage|0.001500000",
            "13|storage|0.000500000",
        ]
    );
    assert_eq!(
        world.rows(
            "select finding, subject, team, cost, counted_in is null, command from marts.findings \
             where finding in ('orphaned_claims', 'orphaned_volumes')"
        ),
        ["orphaned_volumes|unattributed|blue|0.001500000|true|kubectl get pv pv"]
    );
    // A declared price of its class speaks before the list, from when it holds.
    world.config = declared(
        "[[price_overrides]]\nstorage_class = 'gp3'\nhourly_usd = '0.0002'\nvalid_from = '2026-11-17'\n\
         [[price_overrides]]\nvolume = 'pv'\nhourly_usd = '0.001'\n",
    );
    world.build(false);
    assert_eq!(
        of_volume(&world),
        [
            "12|storage|0.015000000",
            "13|orphaned_storage|0.015000000",
            "13|storage|0.005000000",
        ]
    );
    let incremental = crate::harness::contents(&world);
    world.build_anew();
    assert_eq!(crate::harness::contents(&world), incremental);
}

#[test]
fn a_service_pays_for_its_load_balancer_while_it_has_one() {
    let mut world = World::new();
    world.config = declared("");
    given_platform(&world);
    // Seen as one at 11:30, none from 12:15, and one again from 13:30.
    for (at, deleted) in [
        ("12:15", "timestamp '2026-11-16 12:15:00'"),
        ("13:30", "null::timestamp"),
    ] {
        world.given(
            "service_states",
            &format!(
                "select 'c' as cluster, 'lb' as service_uid, timestamp '2026-11-16 {at}:00' as observed_at, 'ingress' as service_name, \
                 'web' as namespace, timestamp '2026-11-16 11:30:00' as created_at, {deleted} as deleted_at"
            ),
        );
    }
    world.build(true);
    assert_eq!(
        world.rows(
            "select strftime(hour_start_at, '%H'), service_cost from marts.allocations_hourly where cost_category = 'load_balancer' order by all"
        ),
        ["11|0.010000000", "12|0.005000000", "13|0.010000000"]
    );
}

#[test]
fn a_claim_that_waits_for_its_volume_costs_nothing() {
    let mut world = World::new();
    world.config = declared("");
    given_platform(&world);
    for (at, phase) in [("10:30", "Pending"), ("12:00", "Bound")] {
        world.given(
            "volume_claims",
            &format!(
                "select 'c' as cluster, 'late' as claim_uid, timestamp '2026-11-16 {at}:00' as observed_at, 'late' as claim_name, \
                 'data' as namespace, '{phase}' as phase, 'gp3' as storage_class, 10::bigint * 1073741824 as requested_bytes, \
                 timestamp '2026-11-16 10:30:00' as created_at"
            ),
        );
    }
    world.build(true);
    assert_eq!(
        world.rows(
            "select min(start_ms) = epoch_ms(timestamp '2026-11-16 12:00:00'), count(*) from staging.stg_volumes where volume_uid = 'late'"
        ),
        ["true|1"]
    );
}

/// A volume of a class and size in GiB that nobody mounts, from 10:00 on.
fn given_volume(world: &World, name: &str, class: &str, gib: u32) {
    world.given(
        "volume_states",
        &format!(
            "select 'c' as cluster, '{name}' as volume_uid, timestamp '2026-11-16 10:00:00' as observed_at, '{name}' as volume, \
             'Bound' as phase, '{class}' as storage_class, {gib}::bigint * 1073741824 as capacity_bytes, 'of-{name}' as claim_uid, \
             'data' as claim_namespace, timestamp '2026-11-16 09:00:00' as created_at"
        ),
    );
}

#[test]
fn disks_of_azure_cost_what_the_next_larger_size_costs() {
    let mut world = World::new();
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n' as node_name, 'azure' as provider, \
         'eastus' as region, 't' as instance_type, 'on-demand' as capacity_type, 'unbilled' as billing_model, \
         timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    watermark(&world, "12:00");
    // A disk of 128 GiB costs a cent an hour.
    for (item, price) in [
        ("P10 LRS (128 GiB premium SSD)", "7.3"),
        ("P15 LRS Disk", "14.6"),
        // What else is sold of a disk is not its price, and of two prices the higher would stand.
        ("P10 LRS Disk Mount", "73"),
        ("P15 LRS Disk Operations", "73"),
        ("P10 ZRS", "10.95"),
        ("S4 LRS", "1.46"),
    ] {
        world.given(
            "service_prices",
            &format!(
                "select 'azure' as provider, 'eastus' as region, 'ManagedDisk' as service, '{item}' as item, 'disk-month' as unit, \
                 timestamp '2026-01-01 00:00:00' as valid_from_at, {price}::decimal(18,9) as price_usd, 'test' as source"
            ),
        );
    }
    for (name, class, gib) in [
        ("a", "Premium_LRS", 65),
        ("b", "Premium_LRS", 128),
        ("c", "Premium_LRS", 129),
        ("d", "Premium_ZRS", 100),
        ("e", "Standard_LRS", 1),
        // The list has no disk of this size, and none of this class.
        ("f", "Premium_LRS", 64),
        ("g", "quick", 100),
    ] {
        given_volume(&world, name, class, gib);
    }
    world.build(true);
    let costs = |world: &World| {
        world.rows(
            "select service_id, sum(cost_nano) from intermediate.int_service_hours where service_kind = 'volume' and cost_nano is not null \
             group by all order by all",
        )
    };
    let priced = [
        "a|20000000",
        "b|20000000",
        "c|40000000",
        "d|30000000",
        "e|4000000",
    ];
    assert_eq!(costs(&world), priced);
    let unpriced = |world: &World| {
        world.rows(
            "select resource_kind, provider, region, resource_type, resources, unpriced_ms // 3600000, configuration \
             from marts.unpriced_resources order by all",
        )
    };
    assert_eq!(
        unpriced(&world),
        [
            "volume|azure|eastus|Premium_LRS|1|2|price_overrides = [{storage_class = \"Premium_LRS\", hourly_usd = \"...\"}]",
            "volume|azure|eastus|quick|1|2|price_overrides = [{storage_class = \"quick\", hourly_usd = \"...\"}]",
        ]
    );
    assert_eq!(
        world.rows("select value from marts.data_quality where measure = 'unpriced_service_hours'"),
        ["4"]
    );
    // It is said what the class is; a disk that grows is of the next size from then on.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("podledger.toml");
    std::fs::write(&path, "[storage_classes]\nquick = 'Premium_LRS'\n").unwrap();
    world.config = Config::read(&path).unwrap();
    world.given(
        "volume_states",
        "select 'c' as cluster, 'f' as volume_uid, timestamp '2026-11-16 11:30:00' as observed_at, 'f' as volume, 'Bound' as phase, \
         'Premium_LRS' as storage_class, 70::bigint * 1073741824 as capacity_bytes, 'of-f' as claim_uid, 'data' as claim_namespace, \
         timestamp '2026-11-16 09:00:00' as created_at",
    );
    world.build(false);
    assert_eq!(
        costs(&world),
        [&priced[..], &["f|5000000", "g|20000000"]].concat()
    );
    assert_eq!(
        world.rows("select resource_type, unpriced_ms // 60000 from marts.unpriced_resources"),
        ["Premium_LRS|90"]
    );
    let incremental = crate::harness::contents(&world);
    world.build_anew();
    assert_eq!(crate::harness::contents(&world), incremental);
}

#[test]
fn what_all_share_is_distributed_to_the_last_nano_dollar_by_every_method() {
    let mut world = World::new();
    world.config = declared("[sharing.weights]\nred = 2\ngreen = 1\n");
    given_platform(&world);
    world.build(true);
    let whole = world.rows("select sum(cost) from marts.teams_weekly")[0].clone();
    assert_eq!(
        world.rows("select method, sum(fully_loaded_cost), sum(direct_cost + shared_cost) from marts.shared_costs_weekly group by all order by all"),
        ["even", "none", "proportional", "weights"].map(|method| format!("{method}|{whole}|{whole}"))
    );
    let shared: Vec<String> = world.rows(
        "select method, team, shared_cost > 0 from marts.shared_costs_weekly where shared_cost <> 0 order by all",
    );
    assert_eq!(
        shared,
        [
            "even|blue|true",
            "even|red|true",
            "none|shared|true",
            "proportional|blue|true",
            "proportional|red|true",
            "weights|green|true",
            "weights|red|true",
        ]
    );
    // Two thirds and one third, but for what division cuts off.
    let rows = world.rows(
        "select abs(max(case team when 'red' then shared_cost end) - 2 * max(case team when 'green' then shared_cost end)) < 0.000000003 \
         from marts.shared_costs_weekly where method = 'weights'",
    );
    assert_eq!(rows, ["true"]);

    // Idle time of hours in which nobody held the machine is blamed on the last that did.
    assert_eq!(
        world.rows("select sum(cost) from marts.idle_blame_daily"),
        world.rows("select sum(cost) from marts.costs_daily where cost_category like 'idle%'")
    );
    assert_eq!(
        world.rows("select distinct team from marts.idle_blame_daily order by all"),
        ["blue", "red"]
    );
}

#[test]
fn runs_are_on_target_that_succeed_in_time() {
    let mut world = World::new();
    world.config = declared(
        "[[targets]]\npipeline = 'load'\nwithin = '59m'\n[[targets]]\npipeline = '*'\nwithin = '2h'\n",
    );
    given_platform(&world);
    world.build(true);
    let asked = "select pipeline, runs, target_duration_ms, runs_on_target from marts.pipeline_runs_weekly where pipeline = 'load'";
    assert_eq!(world.rows(asked), ["load|1|3540000|0"]);
    world.config = declared("[[targets]]\npipeline = '*'\nwithin = '1h'\n");
    world.build(false);
    assert_eq!(world.rows(asked), ["load|1|3600000|1"]);
    world.config = declared("");
    world.build(false);
    // NULLs are left out.
    assert_eq!(world.rows(asked), ["load|1"]);
}
