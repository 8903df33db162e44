//! Bills of platforms of which everything is known: what they restate, and how they tie out.

use std::collections::BTreeMap;

use podledger_analyzer::config::Config;
use podledger_collector::import::bills::{self, Format};

use super::invoice::{DAYS, HOUR, Row, charges, decimal, focus, ledger_of_the_month, others};
use super::{file, options};
use crate::harness::{World, contents};

pub(super) fn scope(world: &mut World, text: &str) {
    let path = file(world, "podledger.toml", text);
    world.config = Config::read(&path).unwrap();
}

pub(super) fn lines(world: &World) -> BTreeMap<String, i128> {
    world.sums(
        "select line, cast(sum(amount) * 1000000000 as bigint) from marts.reconciliation_daily group by line",
    )
}

const TEAMS: &str = "select team, cost_category, coalesce(cast(sum(total_cost) * 1000000000 as bigint), 0) \
                     from marts.allocations_hourly where pod_uid is not null and machine is not null group by all";

#[test]
fn a_bill_restates_every_team_to_the_truth_and_ties_out() {
    let (mut world, pods, machines) = ledger_of_the_month();
    let mut truth: BTreeMap<String, i128> = BTreeMap::new();
    for pod in &pods {
        for (category, cost) in &pod.costs {
            *truth.entry(format!("{}|{category}", pod.team)).or_default() += cost;
        }
    }
    truth.retain(|_, cost| *cost != 0);
    assert_ne!(world.sums(TEAMS), truth, "list prices are too high");

    scope(&mut world, "[billing]\naccounts = ['111']\n");
    let mut rows: Vec<Row> = machines.iter().flat_map(charges).collect();
    rows.extend(others(&machines, &rows));
    let deliver = |world: &World, name: &str, rows: &[Row], at: &str| {
        let path = file(world, name, &focus(rows));
        bills::import(&world.lake(), &path, Format::Focus, &options(at), &|_| {}).unwrap()
    };
    let (_, totals) = deliver(&world, "bill.csv", &rows, "2026-12-01T00:00:00Z");
    let billed: i128 = rows.iter().map(|row| row.billed).sum();
    assert_eq!(totals.billed_usd, decimal(billed).trim_end_matches('0'));
    let report = world.build(false);
    assert!(!report.is_full && report.dirty_hours > 0);

    // Teams follow; nobody's share of the plan went to another.
    assert_eq!(world.sums(TEAMS), truth);
    assert_eq!(
        world.rows("select distinct price_source from marts.machine_prices where end_at > start_at"),
        ["billed"]
    );

    // The tie-out.
    let found = lines(&world);
    let of = |line: &str| found.get(line).copied().unwrap_or(0);
    let sum: i128 = found
        .iter()
        .filter(|(line, _)| *line != "price_variance")
        .map(|(_, nano)| nano)
        .sum();
    assert!((billed / 1_000_000_000 - sum).abs() < DAYS.into(), "{found:?}");
    let time: i128 = machines.iter().map(|machine| machine.total).sum();
    assert_eq!(of("attributed") + of("shared") + of("idle"), time);
    assert_eq!(of("out_of_scope"), i128::from(DAYS) * 24 * 96_000_000);
    assert_eq!(
        of("commitment_unused") / 1000,
        i128::from(DAYS) * 24 * 12_345_678 / 1000
    );
    assert_eq!(of("tax"), 3_210_000_000);
    assert_eq!(of("credits"), -2_000_000_000);
    assert_eq!(of("network"), 7_001_650_000);
    assert_eq!(of("other_services"), 0);
    assert_eq!(of("quantity_variance"), 0);
    let hours = i128::try_from(rows.len()).unwrap();
    assert!(of("rounding").abs() < 2 * hours, "{}", of("rounding"));
    // A quarter more than the truth was estimated.
    assert!((of("price_variance") + time / 4).abs() < hours, "{found:?}");

    // The plan was good for who held the machines that it covers, and for nobody else.
    let benefits = |column: &str| {
        world.sums(&format!(
                "select team, cast(sum({column}) * 1000000000 as bigint) as nano from marts.commitment_benefits_daily group by team"
            ),
        )
    };
    let on_covered = world.sums(
        "select team, cast(sum(total_cost) * 1000000000 as bigint) as nano from marts.allocations_hourly \
         where machine in (select machine from marts.machines_daily where pool = 'services') group by team",
    );
    let (covered, estimated, benefit) = (
        benefits("covered_cost"),
        benefits("estimated_cost"),
        benefits("benefit"),
    );
    assert!(covered.keys().eq(on_covered.keys()), "{covered:?} {on_covered:?}");
    for (team, cost) in &covered {
        assert!(
            (cost - on_covered[team]).abs() < hours,
            "{team}: {covered:?} {on_covered:?}"
        );
        assert_eq!(benefit[team], estimated[team] - cost);
        assert!((benefit[team] - cost / 4).abs() < hours, "{team}: {benefit:?}");
    }
    let used: i128 = rows
        .iter()
        .filter(|row| row.status == "Used")
        .map(|row| row.effective)
        .sum();
    assert!((covered.values().sum::<i128>() - used / 1_000_000_000).abs() < hours);
    // Every team has work beside the machines that are always there too, for which the plan is nothing.
    let all = world.sums("select team, cast(sum(total_cost) * 1000000000 as bigint) as nano from marts.allocations_hourly group by team",
    );
    assert!(
        benefit.iter().all(|(team, nano)| nano * 4 + hours < all[team]),
        "{benefit:?} {all:?}"
    );
    let eligible: i64 = rows
        .iter()
        .filter(|row| row.pricing != "Dynamic")
        .filter_map(|row| row.used_ms)
        .sum();
    let plan: i64 = rows
        .iter()
        .filter(|row| row.status == "Used")
        .filter_map(|row| row.used_ms)
        .sum();
    assert_eq!(
        world.rows("select cast(sum(covered_ms) as bigint) as covered_ms, cast(sum(eligible_ms) as bigint) as eligible_ms from marts.commitments_daily"),
        [format!("{plan}|{eligible}")]
    );

    // All of it is as a full build would make it.
    let kept = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), kept);

    // In a scope where all machines are the clusters', those that nobody saw are unobserved.
    scope(&mut world, "[billing]\naccounts = ['111']\nexclusive = true\n");
    world.build(false);
    let exclusive = lines(&world);
    assert_eq!(exclusive.get("machines_not_seen"), found.get("out_of_scope"));
    assert_eq!(exclusive.get("out_of_scope"), None);

    // A newer bill: an hour of one machine costs twice as much, and half an hour of it was not seen.
    let dear = rows
        .iter_mut()
        .find(|row| row.pricing == "Standard" && row.used_ms == Some(HOUR))
        .unwrap();
    dear.billed *= 3;
    dear.effective = dear.billed;
    dear.used_ms = Some(HOUR + HOUR / 2);
    let (dear, resource) = (dear.clone(), dear.resource.rsplit('/').next().unwrap().to_owned());
    deliver(&world, "newer.csv", &rows, "2026-12-05T00:00:00Z");
    let report = world.build(false);
    assert_eq!(report.dirty_hours, 1);
    assert_eq!(
        world.rows(&format!(
            "select cast(sum(total_cost) * 1000000000 as bigint) from marts.allocations_hourly where machine like '%{resource}%' \
             and epoch_ms(hour_start_at) = {}",
            dear.from_ms
        )),
        [(dear.effective * 2 / 3 / 1_000_000_000).to_string()]
    );
    assert_eq!(
        lines(&world).get("quantity_variance"),
        Some(&(dear.effective / 3 / 1_000_000_000))
    );
    let kept = contents(&world);
    world.build_anew();
    assert_eq!(contents(&world), kept);
}

/// Two machines of one type that are up from 10:00 to 11:00 at a list price of 1 USD.
pub(super) fn given_two_machines(world: &World) {
    for (machine, id) in [("m", "i-1"), ("n", "i-2")] {
        if machine == "m" {
            world.given_machine(4, 16, 0, "1");
        }
        world.given(
            "machines",
            &format!(
                "select 'c' as cluster, '{machine}' as machine, timestamp '2026-11-16 10:00:00' as observed_at, '{machine}' as node_name, \
                 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
                 'aws:///us-east-1a/{id}' as provider_id, 'instance' as billing_model, \
                 timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source"
            ),
        );
    }
    world.given(
        "node_states",
        "select 'c' as cluster, 'n' as machine, timestamp '2026-11-16 10:00:00' as observed_at, \
         4000 as cpu_capacity_millicores, 4000 as cpu_allocatable_millicores, \
         17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes",
    );
}

pub(super) fn cur(rows: &[&str]) -> String {
    format!(
        "bill/PayerAccountId,lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,\
         lineItem/ProductCode,lineItem/UsageType,lineItem/ResourceId,lineItem/UsageAmount,pricing/unit,lineItem/UnblendedCost,\
         lineItem/CurrencyCode,product/region,savingsPlan/SavingsPlanARN,savingsPlan/SavingsPlanEffectiveCost,\
         savingsPlan/TotalCommitmentToDate,savingsPlan/UsedCommitment,splitLineItem/ParentResourceId,resourceTags/user:team\n{}\n",
        rows.join("\n")
    )
}

pub(super) const HOUR_OF: &str = "2026-11-16T10:00:00Z,2026-11-16T11:00:00Z,AmazonEC2";

pub(super) fn machine_costs(world: &World) -> Vec<String> {
    world.rows("select machine, cost from marts.machines_daily order by 1")
}

#[test]
fn a_plan_is_for_the_machine_that_it_covers_and_what_of_it_is_unused_for_nobody() {
    let world = World::new();
    given_two_machines(&world);
    let rows = [
        // Covered for all of the hour; the other for a quarter of it, and on demand for the rest.
        format!("1,2,SavingsPlanCoveredUsage,{HOUR_OF},BoxUsage:t,i-1,1,Hrs,1,USD,us-east-1,sp,0.6,,,,ml"),
        format!("1,2,SavingsPlanNegation,{HOUR_OF},BoxUsage:t,,1,Hrs,-1,USD,us-east-1,sp,,,,,"),
        format!(
            "1,2,SavingsPlanCoveredUsage,{HOUR_OF},BoxUsage:t,i-2,0.25,Hrs,0.25,USD,us-east-1,sp,0.15,,,,"
        ),
        format!("1,2,SavingsPlanNegation,{HOUR_OF},BoxUsage:t,,0.25,Hrs,-0.25,USD,us-east-1,sp,,,,,"),
        format!("1,2,Usage,{HOUR_OF},BoxUsage:t,i-2,0.75,Hrs,0.75,USD,us-east-1,,,,,,"),
        format!("1,2,SavingsPlanRecurringFee,{HOUR_OF},ComputeSP,,1,,0.8,USD,,sp,,0.8,0.75,,"),
        // Split cost allocation says its parent's cost once more.
        format!("1,2,Usage,{HOUR_OF},USE1-EKS-EC2-vCPU-Hours,pod/x,1,vCPU-Hours,0,USD,us-east-1,,,,,i-1,"),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let path = file(&world, "cur.csv", &cur(&rows));
    let (_, totals) = super::import(&world, &path, Format::Cur);
    assert_eq!(
        (
            totals.rows,
            totals.charges,
            totals.billed_usd.as_str(),
            totals.effective_usd.as_str()
        ),
        (7, 7, "1.55", "1.55")
    );
    world.build(true);
    assert_eq!(machine_costs(&world), ["m|0.600000000", "n|0.900000000"]);
    let found = lines(&world);
    assert_eq!(found.get("commitment_unused"), Some(&50_000_000));
    assert_eq!(
        world.rows(
            "select commitment_discount_id, used_cost, unused_cost, utilization from marts.commitments_daily"
        ),
        ["sp|0.750000000000000000|0.050000000000000000|0.937500"]
    );
    assert_eq!(
        world.rows("select covered_ms, eligible_ms, coverage from marts.commitments_daily"),
        ["4500000|7200000|0.625000"]
    );
    assert_eq!(
        world.rows("select team, covered_cost, estimated_cost, benefit from marts.commitment_benefits_daily"),
        ["unattributed|0.750000000|1.250000000|0.500000000"]
    );
    assert_eq!(found.get("idle"), Some(&1_500_000_000));
    assert_eq!(found.get("price_variance"), Some(&-500_000_000));
    assert_eq!(
        found.values().sum::<i128>() + 500_000_000,
        1_550_000_000,
        "{found:?}"
    );
}

#[test]
fn charges_without_a_resource_match_by_kind_only_where_all_machines_are_the_clusters() {
    let rows = [
        "1,2,Usage,2026-11-16T10:00:00Z,2026-11-16T11:00:00Z,AmazonEC2,BoxUsage:t,,2,Hrs,1.5,USD,us-east-1,,,,,,",
        "1,2,Usage,2026-11-16T10:00:00Z,2026-11-16T11:00:00Z,AmazonEC2,SpotUsage:t,,2,Hrs,0.5,USD,us-east-1,,,,,,",
    ];
    for (is_exclusive, costs, line) in [
        (false, ["m|1.000000000", "n|1.000000000"], "out_of_scope"),
        (true, ["m|0.750000000", "n|0.750000000"], "machines_not_seen"),
    ] {
        let mut world = World::new();
        given_two_machines(&world);
        scope(
            &mut world,
            &format!("[billing]\naccounts = ['1']\nexclusive = {is_exclusive}\n"),
        );
        let path = file(&world, "cur.csv", &cur(&rows));
        super::import(&world, &path, Format::Cur);
        world.build(true);
        assert_eq!(machine_costs(&world), costs);
        let found = lines(&world);
        let amount = if is_exclusive { 500_000_000 } else { 2_000_000_000 };
        assert_eq!(found.get(line), Some(&amount), "{found:?}");
        let invoice: i128 = found
            .iter()
            .filter(|(line, _)| *line != "price_variance")
            .map(|(_, nano)| nano)
            .sum();
        assert_eq!(invoice, 2_000_000_000, "{found:?}");
    }
}

#[test]
fn a_bill_that_ends_within_an_hour_leaves_the_estimate_for_the_rest() {
    let world = World::new();
    given_two_machines(&world);
    let path = file(
        &world,
        "cur.csv",
        &cur(&[
            "1,2,Usage,2026-11-16T10:00:00Z,2026-11-16T10:30:00Z,AmazonEC2,BoxUsage:t,i-2,0.5,Hrs,0.9,USD,us-east-1,,,,,,",
            // An hour of which nothing was seen yet.
            "1,2,Usage,2026-11-16T11:00:00Z,2026-11-16T12:00:00Z,AmazonEC2,BoxUsage:t,i-2,1,Hrs,0.4,USD,us-east-1,,,,,,",
        ]),
    );
    super::import(&world, &path, Format::Cur);
    world.build(true);
    assert_eq!(machine_costs(&world), ["m|1.000000000", "n|1.400000000"]);
    let expected = [
        ("partly_billed", 900_000_000),
        ("price_variance", 400_000_000),
        ("quantity_variance", 400_000_000),
    ];
    assert_eq!(
        lines(&world),
        expected.map(|(line, nano)| (line.to_owned(), nano)).into()
    );
    assert_eq!(
        world.rows("select start_at, hourly_price, price_source from marts.machine_prices where machine = 'n' order by 1"),
        ["2026-11-16 10:00:00|1.800000000|billed", "2026-11-16 10:30:00|1.000000000|test"]
    );
}
