//! Bills whose charges do not fit machines' hours one by one.

use podledger_collector::import::bills::{self, Format};

use super::restated::{HOUR_OF, cur, given_two_machines, lines, machine_costs, scope};
use super::{file, import, options};
use crate::harness::World;

/// Rounding of a price is not multiplied by hours that nobody saw: what is charged by the day ties out.
#[test]
fn a_day_s_charge_for_a_machine_that_was_seen_for_an_hour_ties_out() {
    let world = World::new();
    given_two_machines(&world);
    let rows = [
        "1,2,Usage,2026-11-16T00:00:00Z,2026-11-17T00:00:00Z,AmazonEC2,BoxUsage:t,i-2,24,Hrs,1.505034112230,USD,us-east-1,,,,,,",
    ];
    let path = file(&world, "cur.csv", &cur(&rows));
    import(&world, &path, Format::Cur);
    world.build(true);
    assert_eq!(machine_costs(&world), ["m|1.000000000", "n|0.062709755"]);
    let found = lines(&world);
    assert_eq!(found.get("idle"), Some(&62_709_755));
    // The rest of the charge, cut off below a nano-dollar.
    assert_eq!(found.get("quantity_variance"), Some(&1_442_324_357));
    assert_eq!(found.get("rounding"), None, "{found:?}");
}

#[test]
fn a_machine_that_two_accounts_are_charged_for_is_on_both_invoices() {
    let world = World::new();
    given_two_machines(&world);
    // Each account paid for half of the hour; the second for another machine, too.
    let rows = [
        "1,2,Usage,2026-11-16T10:00:00Z,2026-11-16T10:30:00Z,AmazonEC2,BoxUsage:t,i-2,0.5,Hrs,0.3,USD,us-east-1,,,,,,",
        "9,2,Usage,2026-11-16T10:30:00Z,2026-11-16T11:00:00Z,AmazonEC2,BoxUsage:t,i-2,0.5,Hrs,0.4,USD,us-east-1,,,,,,",
        "9,2,Usage,2026-11-16T10:00:00Z,2026-11-16T11:00:00Z,AmazonEC2,BoxUsage:t,i-1,1,Hrs,0.5,USD,us-east-1,,,,,,",
    ];
    let path = file(&world, "cur.csv", &cur(&rows));
    import(&world, &path, Format::Cur);
    world.build(true);
    assert_eq!(machine_costs(&world), ["m|0.500000000", "n|0.700000000"]);
    assert_eq!(
        world.rows(
            "select billing_account_id, line, cast(sum(amount) * 1000000000 as bigint) from marts.reconciliation_daily group by all order by all"
        ),
        [
            "1|partly_billed|300000000",
            "1|price_variance|-200000000",
            "9|idle|500000000",
            "9|partly_billed|400000000",
            // Half a dollar less for the one, and a tenth for half an hour of the other.
            "9|price_variance|-600000000",
        ]
    );
}

/// A charge that names a machine speaks for its own time; the day after, the machine is of its kind again.
#[test]
fn a_machine_that_was_charged_for_by_name_once_is_matched_by_kind_on_other_days() {
    let mut world = World::new();
    given_two_machines(&world);
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-17 01:00:00' as observed_through_at",
    );
    scope(&mut world, "[billing]\naccounts = ['1']\nexclusive = true\n");
    let rows = [
        "1,2,Usage,2026-11-16T10:00:00Z,2026-11-16T11:00:00Z,AmazonEC2,BoxUsage:t,i-2,1,Hrs,0.4,USD,us-east-1,,,,,,",
        "1,2,Usage,2026-11-17T00:00:00Z,2026-11-17T01:00:00Z,AmazonEC2,BoxUsage:t,,2,Hrs,0.6,USD,us-east-1,,,,,,",
    ];
    let path = file(&world, "cur.csv", &cur(&rows));
    import(&world, &path, Format::Cur);
    world.build(true);
    assert_eq!(
        world.rows(
            "select machine, hour_start_at, sum(total_cost) from marts.allocations_hourly \
             where hour_start_at in (timestamp '2026-11-16 10:00:00', timestamp '2026-11-17 00:00:00') and machine is not null group by all order by all"
        ),
        [
            "m|2026-11-16 10:00:00|1.000000000",
            "m|2026-11-17 00:00:00|0.300000000",
            "n|2026-11-16 10:00:00|0.400000000",
            "n|2026-11-17 00:00:00|0.300000000",
        ]
    );
    assert_eq!(lines(&world).get("machines_not_seen"), None);
}

/// What Cost Explorer answers to two questions, of an hour of the two machines.
fn answer(start: &str, end: &str, groups: &[(&str, &str)]) -> String {
    let groups: Vec<String> = groups
        .iter()
        .map(|(usage_type, usd)| {
            format!(
                r#"{{"Keys": ["us-east-1", "{usage_type}"], "Metrics": {{
                    "UnblendedCost": {{"Amount": "{usd}", "Unit": "USD"}}, "AmortizedCost": {{"Amount": "{usd}", "Unit": "USD"}},
                    "UsageQuantity": {{"Amount": "2", "Unit": "Hrs"}}}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"GroupDefinitions": [{{"Type": "DIMENSION", "Key": "REGION"}}, {{"Type": "DIMENSION", "Key": "USAGE_TYPE"}}],
            "ResultsByTime": [{{"TimePeriod": {{"Start": "{start}", "End": "{end}"}}, "Total": {{}}, "Groups": [{}], "Estimated": false}}]}}"#,
        groups.join(", ")
    )
}

#[test]
fn cost_explorer_s_usage_types_tell_the_kind_of_machines() {
    let mut world = World::new();
    given_two_machines(&world);
    scope(&mut world, "[billing]\naccounts = ['1']\nexclusive = true\n");
    let text = answer(
        "2026-11-16",
        "2026-11-17",
        &[("BoxUsage:t", "1.5"), ("SpotUsage:t", "0.5")],
    );
    let path = file(&world, "answer.json", &text);
    let options = bills::Options {
        billing_account: Some("1".to_owned()),
        ..options("2026-12-01T00:00:00Z")
    };
    bills::import(&world.lake(), &path, Format::CostExplorer, &options, &|_| {}).unwrap();
    world.build(true);
    // Spot machines are another kind.
    assert_eq!(machine_costs(&world), ["m|0.750000000", "n|0.750000000"]);
    assert_eq!(lines(&world).get("machines_not_seen"), Some(&500_000_000));
}

#[test]
fn an_answer_by_days_replaces_the_answers_by_hours_of_that_day() {
    let world = World::new();
    given_two_machines(&world);
    for (name, start, end, usd, at) in [
        ("1", "2026-11-16T09:00:00Z", "2026-11-16T10:00:00Z", "10", "01"),
        ("2", "2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z", "11", "01"),
        ("3", "2026-11-16", "2026-11-17", "24", "02"),
        // Another day.
        ("4", "2026-11-15", "2026-11-16", "5", "01"),
    ] {
        let path = file(&world, name, &answer(start, end, &[("BoxUsage:t", usd)]));
        let options = options(&format!("2026-12-{at}T00:00:00Z"));
        bills::import(&world.lake(), &path, Format::CostExplorer, &options, &|_| {}).unwrap();
    }
    world.build(true);
    assert_eq!(
        world.rows(
            "select charge_date, sum(billed_cost) from marts.billed_costs_daily group by all order by all"
        ),
        [
            "2026-11-15|5.000000000000000000",
            "2026-11-16|24.000000000000000000"
        ]
    );
    assert_eq!(
        world.rows("select count(*), count(*) filter (is_newest) from marts.bill_revisions"),
        ["4|2"]
    );
}

/// A plan covers one machine: whose pods run beside it neither profits from it nor pays for what of it nobody used, in no view.
#[test]
fn a_team_without_a_covered_machine_neither_profits_from_a_plan_nor_pays_for_it() {
    let of_blue = |with_plan: bool| {
        let world = World::new();
        given_two_machines(&world);
        world.given_pod("red", 2000, 8 * 1024, 0);
        world.given(
            "pod_states",
            "select 'c' as cluster, 'blue' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, 'blue' as pod_name, 'ns' as namespace, \
             'n' as machine, timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 10:00:00' as bound_at, \
             'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, timestamp '2026-11-16 11:00:00' as finished_at, \
             timestamp '2026-11-16 11:00:00' as released_at, 'watch' as end_source, 'Succeeded' as phase, \
             4000 as cpu_request_millicores, 17179869184 as memory_request_bytes",
        );
        for team in ["red", "blue"] {
            world.given(
                "pod_identities",
                &format!(
                    "select 'c' as cluster, '{team}' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
                     map {{'team': '{team}'}} as labels"
                ),
            );
        }
        let mut rows = vec![format!(
            "1,2,Usage,{HOUR_OF},BoxUsage:t,i-2,1,Hrs,1.25,USD,us-east-1,,,,,,"
        )];
        if with_plan {
            rows.extend([
                format!(
                    "1,2,SavingsPlanCoveredUsage,{HOUR_OF},BoxUsage:t,i-1,1,Hrs,1.25,USD,us-east-1,sp,0.5,,,,"
                ),
                format!("1,2,SavingsPlanNegation,{HOUR_OF},BoxUsage:t,,1,Hrs,-1.25,USD,us-east-1,sp,,,,,"),
                format!("1,2,SavingsPlanRecurringFee,{HOUR_OF},ComputeSP,,1,,0.8,USD,,sp,,0.8,0.5,,"),
            ]);
        } else {
            rows.push(format!(
                "1,2,Usage,{HOUR_OF},BoxUsage:t,i-1,1,Hrs,1.25,USD,us-east-1,,,,,,"
            ));
        }
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let path = file(&world, "cur.csv", &cur(&rows));
        import(&world, &path, Format::Cur);
        world.build(true);
        let unused = lines(&world).get("commitment_unused").copied();
        assert_eq!(unused, with_plan.then_some(300_000_000));
        let benefits =
            world.rows("select team, covered_cost from marts.commitment_benefits_daily order by all");
        // Half of the covered machine was idle.
        let covered: &[&str] = if with_plan {
            &["red|0.250000000", "unattributed|0.250000000"]
        } else {
            &[]
        };
        assert_eq!(benefits, covered);
        // What is unused is in no total of the clusters, so no way of sharing spreads it.
        let total = if with_plan { "1.750000000" } else { "2.500000000" };
        assert_eq!(
            world.rows(
                "select distinct sum(fully_loaded_cost) from marts.shared_costs_weekly group by method"
            ),
            [total]
        );
        let of = |table: &str, column: &str| {
            world.rows(&format!(
                "select sum({column}) from marts.{table} where team = 'blue'"
            ))
        };
        [
            of("costs_daily", "cost"),
            of("teams_weekly", "cost"),
            world.rows("select cost from marts.machines_daily where machine = 'n'"),
        ]
    };
    let alone = of_blue(false);
    assert_eq!(alone, [["1.250000000"], ["1.250000000"], ["1.250000000"]]);
    assert_eq!(of_blue(true), alone);
}

/// What a bill says beside machines has lines with the field's names, and all of them are the invoice.
#[test]
fn traffic_and_support_are_lines_of_their_own() {
    let world = World::new();
    given_two_machines(&world);
    let charge = |product: &str, usage: &str, resource: &str, cost: &str| {
        let hour = HOUR_OF.replace("AmazonEC2", product);
        format!("1,2,Usage,{hour},{usage},{resource},1,,{cost},USD,us-east-1,,,,,,")
    };
    let rows = [
        format!("1,2,Usage,{HOUR_OF},BoxUsage:t,i-1,1,Hrs,1,USD,us-east-1,,,,,,"),
        // Traffic of a machine that is known is not its time.
        charge("AmazonEC2", "USE1-DataTransfer-Regional-Bytes", "i-1", "0.01"),
        charge("AmazonEC2", "NatGateway-Hours", "nat-1", "0.045"),
        charge("AWSELB", "LoadBalancerUsage", "lb-1", "0.0225"),
        charge("AmazonS3", "TimedStorage-ByteHrs", "bucket", "0.3"),
        charge("AWSSupportBusiness", "Dollar", "", "100"),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let path = file(&world, "cur.csv", &cur(&rows));
    import(&world, &path, Format::Cur);
    world.build(true);
    let found = lines(&world);
    for (line, nano) in [
        ("idle", 1_000_000_000),
        ("network", 55_000_000),
        ("fees", 100_000_000_000),
        ("other_services", 322_500_000),
    ] {
        assert_eq!(found.get(line), Some(&nano), "{line}: {found:?}");
    }
    assert_eq!(found.values().sum::<i128>(), 101_377_500_000, "{found:?}");
}
