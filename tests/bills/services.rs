//! Volumes and load balancers: what a bill says of them restates what they cost, and the invoice ties out.

use podledger_analyzer::build::check;
use podledger_analyzer::close::Request;
use podledger_collector::import::bills::Format;

use super::closing::{DECEMBER, NOVEMBER, of_ended_clusters, try_to_close};
use super::restated::{cur, lines};
use super::{deliver, file, import};
use crate::harness::{World, contents};
use crate::services::given_platform;

const BALANCER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:2:loadbalancer/net/k8s-web-ingress-ab12/0123456789abcdef";
const CLASSIC: &str = "arn:aws:elasticloadbalancing:us-east-1:2:loadbalancer/a0b1c2d3";
const DISK: &str = "arn:aws:ec2:us-east-1:2:volume/vol-1";

/// The platform's volume, since 09:00, its network load balancer, since 11:30, and a classic one, since 13:00. It is watched from
/// 10:00 to 14:00.
fn given_named_services(world: &World) {
    given_platform(world);
    world.given(
        "volume_states",
        "select 'c' as cluster, 'v' as volume_uid, timestamp '2026-11-16 09:30:00' as observed_at, 'pv' as volume, 'Bound' as phase, \
         'gp3' as storage_class, 'vol-1' as volume_handle, 10::bigint * 1073741824 as capacity_bytes, 'claim' as claim_uid, \
         'data' as claim_namespace, timestamp '2026-11-16 09:00:00' as created_at",
    );
    world.given(
        "service_states",
        "select 'c' as cluster, 'lb' as service_uid, timestamp '2026-11-16 11:31:00' as observed_at, 'ingress' as service_name, \
         'web' as namespace, timestamp '2026-11-16 11:30:00' as created_at, \
         'k8s-web-ingress-ab12-0123456789abcdef.elb.us-east-1.amazonaws.com' as load_balancer \
         union all select 'c', 'classic', timestamp '2026-11-16 13:00:00', 'classic', 'web', timestamp '2026-11-16 13:00:00', \
         'internal-a0b1c2d3-1234567890.us-east-1.elb.amazonaws.com'",
    );
}

/// A charge of account 1 for a time of the day, such as `10:00 11:00`.
fn charge(time: &str, usage: &str, resource: &str, cost: &str) -> String {
    let (from, to) = time.split_once(' ').unwrap();
    let to = if to == "24:00" {
        "2026-11-17T00:00".to_owned()
    } else {
        format!("2026-11-16T{to}")
    };
    let (product, unit) = match usage {
        "BoxUsage:t" => ("AmazonEC2", "Hrs"),
        "LoadBalancerUsage" | "LCUUsage" | "DataTransfer-Out-Bytes" => ("AWSELB", "Hrs"),
        _ => ("AmazonEC2", "GB-Mo"),
    };
    format!(
        "1,2,Usage,2026-11-16T{from}:00Z,{to}:00Z,{product},{usage},{resource},1,{unit},{cost},USD,us-east-1,,,,,,"
    )
}

/// Hour by hour: the machine, the volume with its operations, both load balancers, traffic of one, and a disk that nobody knows.
fn hourly() -> Vec<String> {
    let mut rows = vec![
        charge("09:00 10:00", "EBS:VolumeUsage.gp3", DISK, "0.0020958904"),
        charge("10:00 11:00", "EBS:VolumeUsage.gp3", "vol-2", "0.5"),
        charge("11:00 12:00", "DataTransfer-Out-Bytes", BALANCER, "0.07"),
        charge("13:00 14:00", "LoadBalancerUsage", CLASSIC, "0.025"),
    ];
    for hour in 10..14 {
        let time = format!("{hour}:00 {}:00", hour + 1);
        rows.push(charge(&time, "BoxUsage:t", "m", "1.25"));
        rows.push(charge(&time, "EBS:VolumeUsage.gp3", DISK, "0.0020958904"));
        rows.push(charge(&time, "EBS:VolumeP-IOPS.gp3", DISK, "0.0009041095"));
        if hour > 10 {
            rows.push(charge(&time, "LoadBalancerUsage", BALANCER, "0.0225"));
            rows.push(charge(&time, "LCUUsage", BALANCER, "0.0015"));
        }
    }
    rows
}

fn report(rows: &[String]) -> String {
    cur(&rows.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a bill makes of the platform.
fn billed(rows: &[String]) -> World {
    let world = World::new();
    given_named_services(&world);
    let path = file(&world, "cur.csv", &report(rows));
    import(&world, &path, Format::Cur);
    world.build(true);
    world
}

fn services(world: &World) -> Vec<String> {
    world.rows("select service_id, sum(cost) from marts.services_hourly where cost is not null group by all order by all")
}

/// What the lines of the invoice add up to, in nano-dollars.
fn invoice(world: &World) -> i128 {
    let told = lines(world);
    let parts = told.iter().filter(|(line, _)| *line != "price_variance");
    parts.map(|(_, nano)| nano).sum()
}

#[test]
fn volumes_and_load_balancers_cost_what_they_are_charged_for() {
    let world = World::new();
    given_named_services(&world);
    world.build(true);
    // At list prices; load balancers have none here.
    assert_eq!(services(&world), ["v|0.004000000"]);

    deliver(
        &world,
        "cur.csv",
        &report(&hourly()),
        Format::Cur,
        "2026-12-02T00:00:00Z",
    );
    let build = world.build(false);
    assert!(!build.is_full);
    // 0.0029999999 an hour, cut off below a nano-dollar; the half hour from 11:30 was charged for as a whole one.
    assert_eq!(
        services(&world),
        ["classic|0.025000000", "lb|0.072000000", "v|0.011999996"]
    );
    assert_eq!(
        world.rows("select distinct service_kind, price_source from marts.service_prices order by all"),
        ["load_balancer|billed", "volume|billed"]
    );
    // Who mounts the volume pays for it, as at list prices: two at a time pay half each.
    assert_eq!(
        world.rows(
            "select team, sum(service_cost) from marts.allocations_hourly where pod_uid is not null and service_cost <> 0 group by all order by all"
        ),
        ["blue|0.002499998", "red|0.001999999"]
    );
    let found = lines(&world);
    for (line, nano) in [
        ("volumes", 11_999_996),
        ("load_balancers", 97_000_000),
        // The hour before anybody watched.
        ("quantity_variance", 2_095_890),
        ("network", 70_000_000),
        // The disk that nobody knows.
        ("other_services", 500_000_000),
    ] {
        assert_eq!(found.get(line).copied().unwrap_or(0), nano, "{line}: {found:?}");
    }
    assert_eq!(invoice(&world), 5_681_095_890, "{found:?}");
    // All that the cluster costs is as billed.
    let sum = |mart: &str| world.rows(&format!("select sum(cost) from marts.{mart}"));
    assert_eq!(sum("billed_costs_hourly"), sum("costs_hourly"));

    let kept = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), kept);
}

/// What a later bill says of them is booked in the month that is open, and goes to who paid for the hour.
#[test]
fn a_closed_month_keeps_what_volumes_and_load_balancers_cost() {
    let world = World::new();
    given_named_services(&world);
    let mut rows = hourly();
    let late =
        |rows: &[String], at: &str| deliver(&world, &format!("{at}.csv"), &report(rows), Format::Cur, at);
    late(&rows, "2026-12-02T00:00:00Z");
    world.build(true);
    let at_list_price = |month| Request {
        at_list_price: true,
        ..of_ended_clusters(&world, month)
    };
    let sum = |mart: &str| {
        world
            .rows(&format!("select sum(cost) from marts.{mart}"))
            .remove(0)
    };
    let booked = "from marts.costs_daily where charge_date < '2026-12-01' order by all";
    let before = world.rows(booked);
    try_to_close(&world, &of_ended_clusters(&world, NOVEMBER)).unwrap();
    world.build(false);
    assert_eq!(sum("costs_daily"), "5.108999996");
    assert_eq!(sum("billed_costs_hourly"), sum("costs_hourly"));

    rows.push(charge("10:00 11:00", "EBS:VolumeP-Throughput.gp3", DISK, "0.1"));
    late(&rows, "2026-12-20T00:00:00Z");
    world.build(false);
    assert_eq!(world.rows(booked), before);
    assert_eq!(sum("costs_daily"), "5.208999996");
    assert_eq!(sum("costs_daily"), sum("costs_daily_restated"));
    assert_eq!(sum("billed_costs_hourly"), sum("costs_hourly"));
    let shares = world.rows(
        "select coalesce(pods.team, 'unattributed') as team, round(sum(hours.service_cost) / sum(sum(hours.service_cost)) over (), 6) as share \
         from marts.allocations_hourly as hours left join marts.pods using (cluster, pod_uid) \
         where hours.hour_start_at = '2026-11-16 10:00:00' and hours.service_cost <> 0 group by all order by all",
    );
    let adjusted = "select team, round(sum(cost) / sum(sum(cost)) over (), 6) as share from marts.adjustments group by all order by all";
    assert_eq!(world.rows(adjusted), shares);
    let adjustments = "select adjusts_month, charge_date, sum(cost), sum(service_cost), bool_or(is_closed) from marts.adjustments group by all order by all";
    let first = "2026-11-01|2026-12-01|0.100000000|0.100000000";
    assert_eq!(world.rows(adjustments), [format!("{first}|false")]);

    // December closes with it; what bills change after that is January's.
    try_to_close(&world, &at_list_price(DECEMBER)).unwrap();
    world.build(false);
    rows.retain(|row| !row.contains("EBS:VolumeP-IOPS.gp3"));
    late(&rows, "2027-01-20T00:00:00Z");
    world.build(false);
    assert_eq!(world.rows(booked), before);
    assert_eq!(
        world.rows(adjustments),
        [
            format!("{first}|true"),
            "2026-11-01|2027-01-01|-0.003616436|-0.003616436|false".to_owned()
        ]
    );
    assert_eq!(sum("costs_daily"), sum("costs_daily_restated"));
    assert!(check(&world.ledger(), &world.config).unwrap().is_empty());
    let kept = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), kept);
}

#[test]
fn a_day_s_charge_for_a_volume_is_for_the_time_in_which_it_was_there() {
    // There for 15 hours of the day, watched for 4.
    let world = billed(&[charge("00:00 24:00", "EBS:VolumeUsage.gp3", DISK, "0.15")]);
    assert_eq!(services(&world), ["v|0.040000000"]);
    let found = lines(&world);
    assert_eq!(found.get("volumes"), Some(&40_000_000), "{found:?}");
    assert_eq!(found.get("quantity_variance"), Some(&110_000_000), "{found:?}");
    assert_eq!(invoice(&world), 150_000_000, "{found:?}");
}

#[test]
fn charges_for_times_that_overlap_restate_nothing() {
    let hour = charge("10:00 11:00", "EBS:VolumeUsage.gp3", DISK, "0.5");
    let day = charge("00:00 24:00", "EBS:VolumeUsage.gp3", DISK, "0.15");
    let elsewhere = hour.replacen("1,2,", "9,2,", 1);
    for other in [day, elsewhere] {
        let world = billed(&[hour.clone(), other]);
        assert_eq!(services(&world), ["v|0.004000000"]);
        let found = lines(&world);
        assert_eq!(found.get("volumes"), None, "{found:?}");
        assert_eq!(found["other_services"], invoice(&world));
    }
}

/// Disks of Google and Azure, one of them of a volume whose handle nobody tells, and one that its volume has left behind.
#[test]
fn disks_are_found_by_the_handle_of_their_volume_or_its_name() {
    for (provider, handle, resource) in [
        ("gcp", "'projects/p/zones/us-central1-a/disks/pvc-1'", "pvc-1"),
        (
            "gcp",
            "null",
            "//compute.googleapis.com/projects/p/zones/us-central1-a/disks/PV",
        ),
        (
            "azure",
            "'/subscriptions/s/resourceGroups/MC_g/providers/Microsoft.Compute/disks/pvc-1'",
            "/subscriptions/s/resourcegroups/mc_g/providers/microsoft.compute/disks/PVC-1",
        ),
    ] {
        let world = World::new();
        world.given(
            "machines",
            &format!(
                "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n' as node_name, \
                 '{provider}' as provider, 'r' as region, 't' as instance_type, 'on-demand' as capacity_type, \
                 'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source"
            ),
        );
        world.given(
            "volume_states",
            &format!(
                "select 'c' as cluster, 'v' as volume_uid, timestamp '2026-11-16 10:00:00' as observed_at, 'pv' as volume, \
                 'Bound' as phase, 'fast' as storage_class, {handle} as volume_handle, 1::bigint << 30 as capacity_bytes, \
                 timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 11:00:00' as deleted_at"
            ),
        );
        world.given(
            "collection_watermarks",
            "select 'c' as cluster, timestamp '2026-11-16 13:00:00' as observed_through_at, \
             timestamp '2026-11-16 10:00:00' as observed_from_at",
        );
        world.given(
            "billed_charges",
            &format!(
                "select 'exports' as bill_source, 'focus' as bill_format, 'd' as delivery, timestamp '2026-12-02 00:00:00' as delivered_at, \
                 'x' as source_file, hour as source_row, 0 as source_part, '{provider}' as provider, '1' as billing_account_id, \
                 timestamp '2026-11-01 00:00:00' as billing_period_start_at, timestamp '2026-12-01 00:00:00' as billing_period_end_at, \
                 timestamp '2026-11-16 00:00:00' + hour * interval 1 hour as charge_period_start_at, \
                 timestamp '2026-11-16 01:00:00' + hour * interval 1 hour as charge_period_end_at, 'Usage' as charge_category, \
                 'Disks' as service_name, '{resource}' as resource_id, 0.25::decimal(38,18) as billed_cost, \
                 0.2::decimal(38,18) as effective_cost, 'USD' as currency from range(10, 12) as hours(hour)"
            ),
        );
        world.build(true);
        assert_eq!(services(&world), ["v|0.200000000"], "{provider} {resource}");
        let found = lines(&world);
        let expected = [
            ("amortization", 100_000_000),
            ("other_services", 200_000_000),
            ("volumes", 200_000_000),
        ];
        assert_eq!(found, expected.map(|(line, nano)| (line.to_owned(), nano)).into());
    }
}
