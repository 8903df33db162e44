//! FOCUS: every charge adds up to the marts, and every hour of a machine to its parts.

use std::collections::BTreeMap;

use duckdb::Connection;
use podledger_collector::import::bills::Format;

use super::{closed_and_adjusted, done, files, of_file, platform, refused};
use crate::bills::{deliver, given_a_busy_machine, hours_of, import};
use crate::harness::{World, rows};

const NANO: &str = "cast(sum(EffectiveCost) * 1000000000 as bigint)";

/// Nano-dollars by hour, cluster, team, pipeline, job, namespace and category: of a file, and of the marts.
fn by_mart(world: &World, file: &str) -> [BTreeMap<String, i128>; 2] {
    let keys = |names: [&str; 7]| names.join(", ");
    let of_rows = |rows: Vec<String>| -> BTreeMap<String, i128> {
        rows.iter()
            .map(|row| {
                let (key, nano) = row.rsplit_once('|').unwrap();
                (key.to_owned(), nano.parse().unwrap())
            })
            .filter(|(_, nano)| *nano != 0)
            .collect()
    };
    let exported = of_file(
        world,
        file,
        &format!(
            "select {}, {NANO} as nano from charges group by all",
            keys([
                "ChargePeriodStart",
                "x_Cluster",
                "x_Team",
                "x_Pipeline",
                "x_Job",
                "x_Namespace",
                "x_CostCategory"
            ])
        ),
    );
    let booked = world.rows(&format!(
        "select {}, cast(sum(cost) * 1000000000 as bigint) as nano from marts.costs_hourly where cost is not null group by all",
        keys(["hour_start_at", "cluster", "team", "pipeline", "job", "namespace", "cost_category"])
    ));
    [of_rows(exported), of_rows(booked)]
}

#[test]
fn charges_add_up_to_the_marts_and_their_parts_to_one() {
    let world = platform(11);
    let told = done(
        &world,
        &["export", "focus", "all.parquet", "--allocation-columns"],
    );
    let [exported, booked] = by_mart(&world, "all.parquet");
    assert!(booked.len() > 500, "{}", booked.len());
    assert_eq!(exported, booked);
    let ask = |query: &str| of_file(&world, "all.parquet", query);
    let total: i128 = booked.values().sum();
    let cents = (total + 5_000_000) / 10_000_000;
    assert!(
        told.contains(&format!(
            ".{:02}, from 2026-11-02 to before 2026-11-04 (UTC)",
            cents % 100
        )),
        "{told}"
    );

    // Every hour of a machine and of a volume is split to the last digit, among more than one.
    let split = "select SubAccountId, ResourceId, ChargePeriodStart, count(*) as parts, \
                 sum(cast(regexp_extract(AllocatedMethodDetails, '\"AllocatedRatio\":([0-9.]+)', 1) as decimal(38,18))) as ratio, \
                 sum(PricingQuantity) as quantity, sum(EffectiveCost) as cost, max(ContractedUnitPrice) as price \
                 from charges where AllocatedMethodId is not null group by all";
    assert_eq!(
        ask(&format!("select distinct ratio from ({split})")),
        ["1.000000000000000000"]
    );
    assert_eq!(
        ask(&format!(
            "select count(*) > 100 as many, max(parts) > 5 as shared, min(quantity) > 0 as some, max(quantity) <= 1 as an_hour, \
             max(abs(quantity * price - cost)) < 0.000000001 as priced from ({split})"
        )),
        ["true|true|true|true|true"]
    );
    // Who an hour falls to is named, and once.
    assert_eq!(
        ask(
            "select count(*) as n from charges where AllocatedMethodId is not null and (AllocatedResourceId is null or AllocatedResourceName is null or AllocatedTags is null)"
        ),
        ["0"]
    );
    assert_eq!(
        ask(
            "select distinct x_ConsumerKind from charges where AllocatedResourceId = x_ConsumerKind and x_ConsumerKind <> 'unobserved' and ServiceName = 'Kubernetes nodes' order by 1"
        ),
        ["idle", "node_reserved"]
    );
    // Of what was paid for: machines at both prices, volumes, load balancers and control planes as far as they cost something.
    assert_eq!(
        ask("select distinct ServiceName from charges order by 1"),
        world.rows(
            "select 'Kubernetes nodes' as name union \
             select distinct 'Kubernetes ' || replace(service_kind, '_', ' ') || 's' as name from marts.services_hourly order by 1"
        )
    );
    assert_eq!(
        ask("select distinct PricingCategory from charges where ServiceName = 'Kubernetes nodes' order by 1"),
        ["Dynamic", "Standard"]
    );
    // Resources are what providers call them.
    let machines = world
        .rows("select count(distinct coalesce(provider_id, machine)) as n from intermediate.int_machines");
    assert_eq!(
        ask("select count(distinct ResourceId) as n from charges where ResourceType = 'Virtual machine'"),
        machines
    );
}

#[test]
fn a_period_is_whole_days_and_the_same_ledger_gives_the_same_file() {
    let world = platform(12);
    done(&world, &["export", "focus", "a.csv"]);
    done(&world, &["export", "focus", "b.csv", "--format", "csv"]);
    done(&world, &["export", "focus", "first.csv", "--to", "2026-11-03"]);
    done(&world, &["export", "focus", "second.csv", "--from", "2026-11-03"]);
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join(name)).unwrap();
    let (whole, first, second) = (read("a.csv"), read("first.csv"), read("second.csv"));
    assert_eq!(whole, read("b.csv"));
    let (head, rest) = second.split_once('\n').unwrap();
    assert!(first.starts_with(head) && first.len() > head.len() + 1000 && rest.len() > 1000);
    assert_eq!(whole, format!("{first}{rest}"));
    assert!(
        !head.contains("Allocated") && head.contains("EffectiveCost") && head.contains("x_CostCategory"),
        "{head}"
    );
    // FOCUS tells UTC by a letter.
    let row = rest.lines().next().unwrap();
    assert!(
        row.contains("2026-11-03T00:00:00Z") && row.contains("2026-12-01T00:00:00Z"),
        "{row}"
    );
}

#[test]
fn an_export_is_imported_again_to_the_last_digit() {
    let world = platform(13);
    let total = world.rows("select sum(cost) as cost from marts.costs_hourly");
    for file in ["again.csv", "again.parquet"] {
        done(&world, &["export", "focus", file, "--billing-account", "42"]);
        let other = World::new();
        let (_, totals) = import(&other, &world.folder.path().join(file), Format::Focus);
        assert_eq!(totals.billed_usd, total[0].trim_end_matches('0'), "{file}");
        let lake = Connection::open_in_memory().unwrap();
        lake.execute_batch(&format!(
            "create view charges as from read_parquet('{}/lake/billed_charges/**/*.parquet', union_by_name = true) where source_row is not null",
            other.folder.path().display()
        ))
        .unwrap();
        assert_eq!(
            rows(
                &lake,
                "select distinct billing_account_id, currency, sum(effective_cost)::decimal(38,9) as cost from charges group by all"
            ),
            [format!("42|USD|{}", total[0])],
            "{file}"
        );
        // What was a machine is one, of the same provider.
        let providers = rows(
            &lake,
            "select distinct provider from charges where resource_type = 'Virtual machine'",
        );
        assert_eq!(
            providers,
            world.rows("select distinct provider from intermediate.int_machines"),
            "{file}"
        );
    }
}

#[test]
fn what_a_bill_says_stands_beside_the_list_price() {
    let world = World::new();
    given_a_busy_machine(&world);
    deliver(
        &world,
        "bill.csv",
        &hours_of(&[("i-1", "0.25")]),
        Format::Cur,
        "2026-12-20T00:00:00Z",
    );
    world.build(true);
    done(
        &world,
        &["export", "focus", "all.parquet", "--allocation-columns"],
    );
    assert_eq!(
        of_file(
            &world,
            "all.parquet",
            "select ResourceId, x_CostBasis, sum(EffectiveCost) as cost, sum(BilledCost) as billed, sum(ListCost) as list, max(ContractedUnitPrice) as unit, \
             max(ListUnitPrice) as list_unit, sum(PricingQuantity) as quantity from charges group by all order by all"
        ),
        [
            "aws:///us-east-1a/i-1|billed|0.250000000|0.250000000|1.000000000|0.250000000|1.000000000|1.000000000000000000",
            "aws:///us-east-1a/i-2|estimated|1.000000000|1.000000000|1.000000000|1.000000000|1.000000000|1.000000000000000000",
        ]
    );
    let [exported, booked] = by_mart(&world, "all.parquet");
    assert_eq!(exported, booked);
}

#[test]
fn closed_months_and_what_later_bills_say_of_them_are_exported_as_they_were_booked() {
    let world = closed_and_adjusted();
    done(
        &world,
        &["export", "focus", "all.parquet", "--allocation-columns"],
    );
    let [exported, booked] = by_mart(&world, "all.parquet");
    assert_eq!(exported, booked);
    assert_eq!(
        of_file(
            &world,
            "all.parquet",
            "select ChargeCategory, ChargeClass, BillingPeriodStart, x_AdjustsMonth, x_CostBasis, PricingUnit, count(ResourceId) as resources, \
             sum(EffectiveCost) as cost from charges group by all order by all"
        ),
        [
            "Adjustment|Correction|2026-12-01 00:00:00|2026-11-01|billed|0|0.250000000",
            "Usage|2026-11-01 00:00:00|closed|USD|0|2.000000000",
        ]
    );
}

#[test]
fn a_shared_teams_charges_are_its_members() {
    let mut world = World::new();
    given_a_busy_machine(&world);
    let text = "[[teams]]\nnamespace = 'ns'\nshares = { a = 1, b = 2 }\n";
    let config = crate::bills::file(&world, "podledger.toml", text);
    world.config = podledger_analyzer::config::Config::read(&config).unwrap();
    world.build(true);
    done(
        &world,
        &["export", "focus", "all.parquet", "--allocation-columns"],
    );
    let [exported, booked] = by_mart(&world, "all.parquet");
    assert_eq!(exported.values().sum::<i128>(), booked.values().sum::<i128>());
    assert!(booked.keys().any(|key| key.contains("|a|")), "{booked:?}");
    assert!(exported.keys().eq(booked.keys()));
    for (key, nano) in &booked {
        assert!(
            (exported[key] - nano).abs() <= 1,
            "{key}: {exported:?} {booked:?}"
        );
    }
}

#[test]
fn a_machine_without_a_price_is_left_out_and_counted() {
    let world = World::new();
    given_a_busy_machine(&world);
    world.given(
        "machines",
        "select 'c' as cluster, 'o' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'o' as node_name, \
         'aws' as provider, 'us-east-1' as region, 'unheard-of' as instance_type, 'on-demand' as capacity_type, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    world.build(true);
    let output = super::podledger(&world, &["export", "focus", "all.csv"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.contains("nobody knows a price: 1 machine-days"),
        "{said}"
    );
    assert_eq!(
        of_file(
            &world,
            "all.csv",
            "select count(*) as n from charges where ResourceId = 'o' or EffectiveCost is null"
        ),
        ["0"]
    );
}

#[test]
fn a_file_that_is_there_is_left_alone_and_none_is_left_half_written() {
    let world = World::new();
    given_a_busy_machine(&world);
    assert!(refused(&world, &["export", "focus", "x.csv"]).contains("there is no ledger"));
    world.build(true);
    let path = world.folder.path().join("thesis.csv");
    std::fs::write(&path, "five years of work").unwrap();
    let said = refused(&world, &["export", "focus", "thesis.csv"]);
    assert!(
        said.contains("thesis.csv is there") && said.contains("--force"),
        "{said}"
    );
    let said = refused(&world, &["export", "focus", "thesis.doc"]);
    assert!(said.contains("--format"), "{said}");
    let said = refused(
        &world,
        &[
            "export",
            "focus",
            "x.csv",
            "--from",
            "2026-11-17",
            "--to",
            "2026-11-17",
        ],
    );
    assert!(said.contains("no day from 2026-11-17"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "five years of work");
    assert_eq!(files(world.folder.path()), ["thesis.csv"]);
    done(&world, &["export", "focus", "thesis.csv", "--force"]);
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("AvailabilityZone,")
    );
    assert_eq!(files(world.folder.path()), ["thesis.csv"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
