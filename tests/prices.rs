//! What a machine's hour costs: list prices, overrides, discounts, own hardware, prices of pods, prices that change.

use std::collections::BTreeMap;
use std::fs;

use duckdb::Connection;
use jiff::civil::date;
use podledger_analyzer::config::Config;
use podledger_collector::import::catalogue;
use podledger_collector::import::opencost_prices;

use crate::harness::{World, rows, shared_data};

/// One machine with everything that a price can be about, up from 10:00 to 11:00 on 2026-11-16, listed at 1 USD.
fn given_named_machine(world: &World) {
    world.given_machine(4, 16, 2, "1");
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n' as node_name, \
         'aws' as provider, 'us-east-1' as region, 'us-east-1a' as zone, 't' as instance_type, 'on-demand' as capacity_type, \
         'p' as pool, 'aws:///us-east-1a/i-7' as provider_id, 'instance' as billing_model, \
         timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source, \
         map {'rack': '7', 'nvidia.com/gpu_type': 'Tesla-T4'} as labels, 'T4' as gpu_model",
    );
}

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("podledger.toml");
    fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}

fn cost(world: &World) -> String {
    world
        .rows("select coalesce(cast(sum(cost) as varchar), 'unknown') from marts.machines_daily")
        .remove(0)
}

fn priced(toml: &str) -> String {
    let mut world = World::new();
    given_named_machine(&world);
    world.config = config(toml);
    world.build(true);
    cost(&world)
}

#[test]
fn the_most_particular_price_holds() {
    let entry =
        |selector: &str, price: u32| format!("[[price_overrides]]\n{selector}\nhourly_usd = '{price}'\n");
    let layers = [
        "instance_type = 't'",
        "pool = 'p'",
        "label = 'rack=7'",
        "node = 'n'",
        "machine = 'i-7'",
    ];
    let mut text = String::new();
    for (price, selector) in (2..).zip(layers) {
        // Others of the same kind are not meant.
        text += &entry(
            &selector
                .replace('7', "8")
                .replace("'t'", "'u'")
                .replace("'p'", "'q'")
                .replace("'n'", "'o'"),
            99,
        );
        text += &entry(selector, price);
        assert_eq!(priced(&text), format!("{price}.000000000"), "{selector}");
    }
    text += &entry("machine = 'aws:///us-east-1a/i-7'\nregion = 'eu-west-1'", 50);
    assert_eq!(priced(&text), "6.000000000", "another region");
}

#[test]
fn an_override_holds_from_its_date_on_and_splits_the_hour_it_begins_in() {
    let world = World::new();
    given_named_machine(&world);
    world.given(
        "price_overrides",
        "select 'pool' as selector, 'p' as selector_value, since as valid_from_at, price as hourly_usd, 'test' as source \
         from (values (timestamp '2026-11-16 10:15:00', 3::decimal(18,9)), (timestamp '2026-11-16 10:45:00', null)) as v(since, price)",
    );
    world.build(true);
    // A quarter at the list price, half an hour at three times it, then the list price again.
    assert_eq!(cost(&world), "2.000000000");
    assert_eq!(
        world.rows("select start_at, hourly_price, price_source from marts.machine_prices order by 1"),
        [
            "2026-11-16 10:00:00|1.000000000|test",
            "2026-11-16 10:15:00|3.000000000|pool p: test",
            "2026-11-16 10:45:00|1.000000000|test"
        ]
    );
}

#[test]
fn the_price_of_a_zone_comes_before_that_of_its_region() {
    let world = World::new();
    given_named_machine(&world);
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, zone, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-11-16 10:30:00' as valid_from_at, price::decimal(18,9) as hourly_usd, 'test' as source \
         from (values ('us-east-1a', 5), ('us-east-1b', 50)) as v(zone, price)",
    );
    world.build(true);
    assert_eq!(cost(&world), "3.000000000");
}

#[test]
fn discounts_are_taken_off_list_prices_only_and_the_first_that_matches_holds() {
    let off = |percent: &str, rest: &str| format!("[[discounts]]\npercent = '{percent}'\n{rest}\n");
    assert_eq!(priced(&off("12.5", "")), "0.875000000");
    assert_eq!(priced(&off("100", "provider = 'gcp'")), "1.000000000");
    assert_eq!(
        priced(&(off("10", "instance_type = 't*'") + &off("50", ""))),
        "0.900000000"
    );
    assert_eq!(priced(&off("10", "valid_from = '2026-11-17'")), "1.000000000");
    assert_eq!(
        priced(&off("10", "valid_from = '2026-11-16'\npool = 'p'")),
        "0.900000000"
    );
    let declared = "[[price_overrides]]\nnode = 'n'\nhourly_usd = '2'\n";
    assert_eq!(priced(&(off("10", "") + declared)), "2.000000000");
}

#[test]
fn own_hardware_is_priced_by_what_it_cost_and_draws() {
    let cost = priced(
        "[[price_overrides]]\nlabel = 'rack=7'\n[price_overrides.on_premises]\npurchase_usd = '35064'\nyears = 4\n\
         power_watts = 500\nusd_per_kwh = '0.20'\npower_usage_effectiveness_percent = 150\nyearly_usd = '876.6'\n",
    );
    assert_eq!(cost, "1.250000000");
}

#[test]
fn a_changed_override_dirties_the_hours_it_touches_and_equals_a_build_anew() {
    let mut world = World::new();
    given_named_machine(&world);
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-19 10:00:00' as observed_through_at",
    );
    world.build(true);
    let before = cost(&world);
    world.config = config("[[price_overrides]]\npool = 'p'\nhourly_usd = '3'\nvalid_from = '2026-11-19'\n");
    let report = world.build(false);
    assert_eq!((report.is_full, report.dirty_hours), (false, 10));
    assert_eq!(
        (before.as_str(), cost(&world).as_str()),
        ("72.000000000", "92.000000000")
    );
    let incremental = crate::harness::contents(&world);
    world.build_anew();
    assert_eq!(crate::harness::contents(&world), incremental);
}

#[test]
fn prices_of_opencost_name_nodes_labels_types_and_gpus() {
    for (lines, expected) in [
        (",n,,node,metadata.name,,4,\n", "4.000000000"),
        (",i-7,us-east-1,node,spec.providerID,,4,\n", "4.000000000"),
        (",i-7,us-east-2,node,spec.providerID,,4,\n", "1.000000000"),
        (",7,,node,metadata.labels.rack,,4,\n", "4.000000000"),
        // Not named: the mean of the nodes of its type.
        (
            ",a,,node,metadata.name,t,4,\n,b,,node,metadata.name,t,5,\n",
            "4.500000000",
        ),
        // Two GPUs on top of a price that was declared, none on top of a list price.
        (
            ",n,,node,metadata.name,,4,\n,tesla-t4,,gpu,nvidia.com/gpu_type,,0.35,\n",
            "4.700000000",
        ),
        (",tesla-t4,,gpu,nvidia.com/gpu_type,,0.35,\n", "1.000000000"),
        (
            "2026-11-16 10:30:00 UTC,n,,node,metadata.name,,4,\n,n,,node,metadata.name,,8,\n",
            "6.000000000",
        ),
    ] {
        let world = World::new();
        given_named_machine(&world);
        let file = world.folder.path().join("prices.csv");
        let header = "EndTimestamp,InstanceID,Region,AssetClass,InstanceIDField,InstanceType,MarketPriceHourly,Version\n";
        fs::write(&file, format!("{header}{lines}")).unwrap();
        opencost_prices::import(&world.lake(), &file, date(2026, 11, 16)).unwrap();
        world.build(true);
        assert_eq!(cost(&world), expected, "{lines}");
    }
}

/// A virtual machine whose provider bills pods, with prices of its service.
fn given_billed_pods(world: &World, with_prices: bool) {
    world.given_machine(48, 192, 0, "9");
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:01' as observed_at, 'fargate-1' as node_name, \
         'aws' as provider, 'us-east-1' as region, 'on-demand' as capacity_type, 'pod_request' as billing_model, \
         timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    if with_prices {
        let options = catalogue::Options {
            provider: Some("aws".to_owned()),
            region: Some("us-east-1".to_owned()),
            recorded_date: date(2026, 11, 16),
        };
        catalogue::import(&world.lake(), &options).unwrap();
    }
    world.given(
        "pod_states",
        "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 10:30:00' as observed_at, 'p' as pod_name, \
         'ns' as namespace, 'm' as machine, timestamp '2026-11-16 10:00:00' as created_at, \
         timestamp '2026-11-16 10:00:00' as bound_at, 'scheduled' as start_source, \
         timestamp '2026-11-16 10:00:00' as running_at, timestamp '2026-11-16 10:30:00' as finished_at, \
         timestamp '2026-11-16 10:30:00' as released_at, 'watch' as end_source, 'Succeeded' as phase, \
         200 as cpu_request_millicores, 268435456::bigint as memory_request_bytes, \
         250 as billed_cpu_millicores, 536870912::bigint as billed_memory_bytes",
    );
}

#[test]
fn a_pod_on_fargate_pays_its_billed_shape_and_nothing_is_idle() {
    let world = World::new();
    given_billed_pods(&world, true);
    world.build(true);
    // Half an hour of 0.25 vCPU at 0.04048 and 0.5 GB at 0.004445.
    assert_eq!(
        world.rows(
            "select consumer_kind, cpu_cost, memory_cost from marts.allocations_hourly where total_cost <> 0"
        ),
        ["pod|0.005060000|0.001111250"]
    );
    assert_eq!(
        world.rows("select cost, idle_cost, node_reserved_cost from marts.machines_daily"),
        ["0.006171250|0.000000000|0.000000000"]
    );
}

#[test]
fn a_pod_on_fargate_without_known_prices_is_unpriced_not_free() {
    let world = World::new();
    given_billed_pods(&world, false);
    world.build(true);
    assert_eq!(cost(&world), "unknown");
    assert_eq!(
        world.rows(
            "select cast(value as bigint) from marts.data_quality where measure = 'unpriced_machine_hours'"
        ),
        ["1"]
    );
}

#[test]
fn fitted_weights_are_those_of_the_machine_s_provider() {
    let mut world = World::new();
    given_named_machine(&world);
    world.config = config("weights_method = 'fitted'");
    world.given(
        "allocation_weights",
        "select 'fitted' as method, provider, timestamp '2026-01-01 00:00:00' as valid_from_at, cpu as cpu_core_hour_nano, \
         memory as memory_gib_hour_nano, 0 as gpu_hour_nano, 'test' as source \
         from (values ('aws', 3, 1), ('gcp', 1, 1)) as v(provider, cpu, memory)",
    );
    world.build(true);
    // 4 cores x 3 against 16 GiB x 1.
    assert_eq!(
        world.rows("select sum(cpu_cost), sum(memory_cost) from marts.allocations_hourly"),
        ["0.428571428|0.571428572"]
    );
}

#[test]
fn the_catalogue_is_imported_once_and_by_region() {
    let world = World::new();
    let mut options = catalogue::Options {
        provider: Some("gcp".to_owned()),
        region: Some("us-central1".to_owned()),
        recorded_date: date(2026, 11, 16),
    };
    catalogue::import(&world.lake(), &options).unwrap();
    assert_eq!(
        catalogue::import(&world.lake(), &options).unwrap(),
        podledger_collector::import::Imported::Already
    );
    world.build(true);
    assert_eq!(
        world.rows(
            "select price_nano from staging.stg_prices where instance_type = 'n2-standard-4' \
             union all select price_nano from staging.stg_service_prices where service = 'GKE' order by 1"
        ),
        ["100000000", "194236000"]
    );
    options.region = Some("us-moon-1".to_owned());
    let error = catalogue::import(&world.lake(), &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("gcp/us-moon-1") && error.contains("gcp/us-central1"),
        "{error}"
    );
}

/// Real spot prices: every series prices one machine over all of it and one over a part; the cost of every hour is
/// computed once more here, by a plain loop over the price changes.
#[test]
fn machines_under_the_real_spot_history_cost_the_integral_of_its_prices() {
    let Some(prices) = shared_data("prices/aws_spot_history_2016_us_east_1.parquet") else {
        return;
    };
    let world = World::new();
    let read = format!(
        "select 'aws' as provider, 'us-east-1' as region, availability_zone as zone, instance_type, 'spot' as capacity_type, \
         cast(timestamp_utc as timestamp) as valid_from_at, cast(spot_price_usd_hour as decimal(18,9)) as hourly_usd, \
         'history' as source from '{}'",
        prices.display()
    );
    world.given("prices", &read);
    // From 2016-03-01 07:13:21 to the end of the history, and a stretch of some days that begins in the middle of a second.
    let lives = [
        (1_456_816_401_000_i64, 1_461_600_000_000_i64),
        (1_458_000_000_123, 1_458_333_333_456),
    ];
    for (number, (start, end)) in lives.iter().enumerate() {
        world.given(
            "machines",
            &format!(
                "select distinct 'c' as cluster, zone || ' ' || instance_type || ' {number}' as machine, \
                 make_timestamp({start} * 1000) as observed_at, 'aws' as provider, 'us-east-1' as region, zone, instance_type, \
                 'spot' as capacity_type, 'instance' as billing_model, make_timestamp({start} * 1000) as launched_at, \
                 'declared' as launch_source, make_timestamp({end} * 1000) as ended_at, 'declared' as end_source from ({read})"
            ),
        );
        world.given(
            "node_states",
            &format!(
                "select distinct 'c' as cluster, zone || ' ' || instance_type || ' {number}' as machine, \
                 make_timestamp({start} * 1000) as observed_at, 4000 as cpu_capacity_millicores, \
                 4000 as cpu_allocatable_millicores, 1073741824::bigint as memory_capacity_bytes, \
                 1073741824::bigint as memory_allocatable_bytes from ({read})"
            ),
        );
    }
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2016-05-01 00:00:00' as observed_through_at",
    );
    world.build(true);

    let scratch = Connection::open_in_memory().unwrap();
    let mut series: BTreeMap<String, BTreeMap<i64, i128>> = BTreeMap::new();
    let mut statement = scratch
        .prepare(&format!(
            "select zone || ' ' || instance_type, epoch_ms(valid_from_at), cast(cast(hourly_usd as decimal(38,9)) * 1000000000 as bigint) from ({read})"
        ))
        .unwrap();
    let mut points = statement.query([]).unwrap();
    let mut count = 0;
    while let Some(point) = points.next().unwrap() {
        let (name, at, price): (String, i64, i64) = (
            point.get(0).unwrap(),
            point.get(1).unwrap(),
            point.get(2).unwrap(),
        );
        // Of two prices of one instant the higher stands.
        let known = series.entry(name).or_default().entry(at).or_insert(0);
        *known = (*known).max(i128::from(price));
        count += 1;
    }
    assert_eq!(count, 426_745);
    let mut expected = Vec::new();
    for (name, changes) in &series {
        for (number, (start, end)) in lives.iter().enumerate() {
            let mut hour = start - start % 3_600_000;
            while hour < *end {
                let (from, to) = ((*start).max(hour), (*end).min(hour + 3_600_000));
                let mut integral = 0_i128;
                let mut at = from;
                while at < to {
                    let next = changes
                        .range(at + 1..)
                        .next()
                        .map_or(to, |(next, _)| to.min(*next));
                    let price = changes.range(..=at).next_back().map_or(0, |(_, price)| *price);
                    integral += price * i128::from(next - at);
                    at = next;
                }
                expected.push(format!("{name} {number}|{hour}|{}", integral / 3_600_000));
                hour += 3_600_000;
            }
        }
    }
    expected.sort();
    let ledger = world.ledger();
    let found = rows(
        ledger.connection(),
        "select machine, hour_start_ms, sum(cpu_nano + memory_nano + gpu_nano) from intermediate.machine_pod_hours \
         group by machine, hour_start_ms",
    );
    let mut found: Vec<String> = found;
    found.sort();
    assert_eq!(found.len(), expected.len());
    let wrong: Vec<_> = found
        .iter()
        .zip(&expected)
        .filter(|(a, b)| a != b)
        .take(5)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    eprintln!(
        "{} machine-hours of {} series under {count} price changes",
        found.len(),
        series.len()
    );
}
