//! Reservations, and discounts that were negotiated, in the words of legacy reports and of CUR 2.0.

use podledger_collector::import::bills::Format;

use super::restated::{given_two_machines, lines, machine_costs};
use super::{file, import};
use crate::harness::World;

/// Columns of a report: what legacy reports and CUR 2.0 call them.
const COLUMNS: &[(&str, &str)] = &[
    ("bill/PayerAccountId", "bill_payer_account_id"),
    ("lineItem/LineItemType", "line_item_line_item_type"),
    ("lineItem/UsageStartDate", "line_item_usage_start_date"),
    ("lineItem/UsageEndDate", "line_item_usage_end_date"),
    ("lineItem/ProductCode", "line_item_product_code"),
    ("lineItem/UsageType", "line_item_usage_type"),
    ("lineItem/ResourceId", "line_item_resource_id"),
    ("lineItem/UsageAmount", "line_item_usage_amount"),
    ("pricing/unit", "pricing_unit"),
    ("lineItem/CurrencyCode", "line_item_currency_code"),
    ("lineItem/UnblendedCost", "line_item_unblended_cost"),
    ("lineItem/NetUnblendedCost", "line_item_net_unblended_cost"),
    ("discount/TotalDiscount", "discount_total_discount"),
    ("reservation/ReservationARN", "reservation_reservation_a_r_n"),
    ("reservation/EffectiveCost", "reservation_effective_cost"),
    ("reservation/NetEffectiveCost", "reservation_net_effective_cost"),
    (
        "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod",
        "reservation_unused_amortized_upfront_fee_for_billing_period",
    ),
    (
        "reservation/NetUnusedAmortizedUpfrontFeeForBillingPeriod",
        "reservation_net_unused_amortized_upfront_fee_for_billing_period",
    ),
    (
        "reservation/UnusedRecurringFee",
        "reservation_unused_recurring_fee",
    ),
    (
        "reservation/NetUnusedRecurringFee",
        "reservation_net_unused_recurring_fee",
    ),
    ("savingsPlan/SavingsPlanARN", "savings_plan_savings_plan_a_r_n"),
    (
        "savingsPlan/SavingsPlanEffectiveCost",
        "savings_plan_savings_plan_effective_cost",
    ),
    (
        "savingsPlan/NetSavingsPlanEffectiveCost",
        "savings_plan_net_savings_plan_effective_cost",
    ),
    (
        "savingsPlan/TotalCommitmentToDate",
        "savings_plan_total_commitment_to_date",
    ),
    ("savingsPlan/UsedCommitment", "savings_plan_used_commitment"),
    (
        "savingsPlan/RecurringCommitmentForBillingPeriod",
        "savings_plan_recurring_commitment_for_billing_period",
    ),
    (
        "savingsPlan/NetRecurringCommitmentForBillingPeriod",
        "savings_plan_net_recurring_commitment_for_billing_period",
    ),
    (
        "savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod",
        "savings_plan_amortized_upfront_commitment_for_billing_period",
    ),
    (
        "savingsPlan/NetAmortizedUpfrontCommitmentForBillingPeriod",
        "savings_plan_net_amortized_upfront_commitment_for_billing_period",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Legacy,
    Cur2,
}

/// A line: its type, what it is of, hours of a machine, and what else it says, by legacy names.
type Line<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A report of November: lines of machines are of the hour from 10:00 on the 16th, all others of the month. It has the columns that
/// `has` keeps.
fn report(lines: &[Line<'_>], names: Names, has: fn(&str) -> bool) -> String {
    let columns: Vec<_> = COLUMNS.iter().filter(|(legacy, _)| has(legacy)).collect();
    let header: Vec<&str> = columns
        .iter()
        .map(|(legacy, cur2)| if names == Names::Legacy { *legacy } else { *cur2 })
        .collect();
    let row = |&(kind, resource, hours, said): &Line<'_>| {
        let is_machine = resource.starts_with("i-");
        let cell = |name: &str| match name {
            "bill/PayerAccountId" => "1",
            "lineItem/LineItemType" => kind,
            "lineItem/UsageStartDate" if is_machine => "2026-11-16T10:00:00Z",
            "lineItem/UsageEndDate" if is_machine => "2026-11-16T11:00:00Z",
            "lineItem/UsageStartDate" => "2026-11-01T00:00:00Z",
            "lineItem/UsageEndDate" => "2026-12-01T00:00:00Z",
            "lineItem/ProductCode" => "AmazonEC2",
            "lineItem/UsageType" if is_machine => "BoxUsage:t",
            "lineItem/ResourceId" => resource,
            "lineItem/UsageAmount" => hours,
            "pricing/unit" if !hours.is_empty() => "Hrs",
            "lineItem/CurrencyCode" => "USD",
            _ => said
                .iter()
                .find(|(column, _)| *column == name)
                .map_or("", |(_, value)| value),
        };
        let cells: Vec<&str> = columns.iter().map(|(legacy, _)| cell(legacy)).collect();
        cells.join(",")
    };
    let rows: Vec<String> = lines.iter().map(row).collect();
    format!("{}\n{}\n", header.join(","), rows.join("\n"))
}

/// What all lines that are part of the invoice add up to.
fn invoice(world: &World) -> i128 {
    lines(world)
        .iter()
        .filter(|(line, _)| *line != "price_variance")
        .map(|(_, nano)| nano)
        .sum()
}

const UNBLENDED: &str = "lineItem/UnblendedCost";
const NET: &str = "lineItem/NetUnblendedCost";
const RESERVATION: (&str, &str) = ("reservation/ReservationARN", "ri");
const PLAN: (&str, &str) = ("savingsPlan/SavingsPlanARN", "sp");

#[test]
fn a_reservation_is_for_the_machine_that_it_covers_and_what_of_it_is_unused_for_nobody() {
    let charges: [Line<'_>; 4] = [
        // Paid at once for a year, and for the month.
        ("Fee", "", "", &[RESERVATION, (UNBLENDED, "100")]),
        (
            "RIFee",
            "",
            "720",
            &[
                RESERVATION,
                (UNBLENDED, "30"),
                ("reservation/UnusedAmortizedUpfrontFeeForBillingPeriod", "4"),
                ("reservation/UnusedRecurringFee", "6.5"),
            ],
        ),
        (
            "DiscountedUsage",
            "i-1",
            "1",
            &[
                RESERVATION,
                (UNBLENDED, "0"),
                ("reservation/EffectiveCost", "0.45"),
            ],
        ),
        ("Usage", "i-2", "1", &[(UNBLENDED, "1.25")]),
    ];
    for names in [Names::Legacy, Names::Cur2] {
        let world = World::new();
        given_two_machines(&world);
        world.given_pod("p", 4000, 16 * 1024, 0);
        let path = file(&world, "cur.csv", &report(&charges, names, |_| true));
        let (_, totals) = import(&world, &path, Format::Cur);
        assert_eq!(
            (totals.billed_usd.as_str(), totals.effective_usd.as_str()),
            ("131.25", "12.2")
        );
        world.build(true);
        assert_eq!(machine_costs(&world), ["m|0.450000000", "n|1.250000000"]);
        let found = lines(&world);
        for (line, nano) in [
            ("attributed", 450_000_000),
            ("idle", 1_250_000_000),
            ("commitment_unused", 10_500_000_000),
            // What was paid, less what was effective of it.
            ("amortization", 119_050_000_000),
        ] {
            assert_eq!(found.get(line), Some(&nano), "{line}: {found:?}");
        }
        assert_eq!(invoice(&world), 131_250_000_000, "{found:?}");
        // In no total of the clusters, so no way of sharing spreads it.
        for mart in ["costs_daily", "teams_weekly"] {
            let total = world.rows(&format!("select sum(cost) from marts.{mart}"));
            assert_eq!(total, ["1.700000000"], "{mart}");
        }
        assert_eq!(
            world.rows(
                "select distinct sum(fully_loaded_cost) from marts.shared_costs_weekly group by method"
            ),
            ["1.700000000"]
        );
        assert_eq!(
            world.rows(
                "select commitment_discount_id, sum(used_cost), sum(unused_cost), sum(covered_ms) from marts.commitments_daily group by all"
            ),
            ["ri|0.450000000000000000|10.500000000000000000|3600000"]
        );
        // Estimated at the list price, 1 USD; the other machine has none of it.
        assert_eq!(
            world.rows("select team, covered_cost, benefit from marts.commitment_benefits_daily"),
            ["unattributed|0.450000000|0.550000000"]
        );
    }
}

/// A tenth off everything: usage, a reservation that covers half of an hour, and a savings plan of which a quarter is unused.
const DISCOUNTED: [Line<'_>; 7] = [
    (
        "Usage",
        "i-1",
        "0.5",
        &[
            (UNBLENDED, "0.5"),
            (NET, "0.45"),
            ("discount/TotalDiscount", "-0.05"),
        ],
    ),
    (
        "DiscountedUsage",
        "i-1",
        "0.5",
        &[
            RESERVATION,
            (UNBLENDED, "0"),
            (NET, "0"),
            ("reservation/EffectiveCost", "0.3"),
            ("reservation/NetEffectiveCost", "0.27"),
        ],
    ),
    (
        "RIFee",
        "",
        "1",
        &[
            RESERVATION,
            (UNBLENDED, "0.6"),
            (NET, "0.54"),
            ("discount/TotalDiscount", "-0.06"),
            ("reservation/UnusedAmortizedUpfrontFeeForBillingPeriod", "0.1"),
            ("reservation/NetUnusedAmortizedUpfrontFeeForBillingPeriod", "0.09"),
            ("reservation/UnusedRecurringFee", "0.2"),
            ("reservation/NetUnusedRecurringFee", "0.18"),
        ],
    ),
    (
        "SavingsPlanCoveredUsage",
        "i-2",
        "1",
        &[
            PLAN,
            (UNBLENDED, "1"),
            (NET, "1"),
            ("savingsPlan/SavingsPlanEffectiveCost", "0.6"),
            ("savingsPlan/NetSavingsPlanEffectiveCost", "0.54"),
        ],
    ),
    (
        "SavingsPlanNegation",
        "",
        "1",
        &[PLAN, (UNBLENDED, "-1"), (NET, "-1")],
    ),
    (
        "SavingsPlanRecurringFee",
        "",
        "1",
        &[
            PLAN,
            (UNBLENDED, "0.5"),
            (NET, "0.45"),
            ("discount/TotalDiscount", "-0.05"),
            ("savingsPlan/TotalCommitmentToDate", "0.8"),
            ("savingsPlan/UsedCommitment", "0.6"),
            ("savingsPlan/RecurringCommitmentForBillingPeriod", "0.5"),
            ("savingsPlan/NetRecurringCommitmentForBillingPeriod", "0.45"),
            ("savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod", "0.3"),
            (
                "savingsPlan/NetAmortizedUpfrontCommitmentForBillingPeriod",
                "0.27",
            ),
        ],
    ),
    ("EdpDiscount", "", "", &[(UNBLENDED, "-0.16"), (NET, "0")]),
];

/// What machines cost, what of commitments is unused, and what the discount's own line is, in nano-dollars.
fn discounted(charges: &[Line<'_>], names: Names, has: fn(&str) -> bool) -> (Vec<String>, i128, i128) {
    let world = World::new();
    given_two_machines(&world);
    let path = file(&world, "cur.csv", &report(charges, names, has));
    let (_, totals) = import(&world, &path, Format::Cur);
    assert_eq!(totals.billed_usd, "1.44");
    assert_eq!(totals.rounded_rows, 0);
    world.build(true);
    assert_eq!(invoice(&world), 1_440_000_000, "{:?}", lines(&world));
    let found = lines(&world);
    let of = |line: &str| found.get(line).copied().unwrap_or(0);
    (machine_costs(&world), of("commitment_unused"), of("adjustments"))
}

#[test]
fn a_negotiated_discount_lowers_what_everything_costs_by_its_net_columns() {
    for names in [Names::Legacy, Names::Cur2] {
        // With the discount as a line of its own, which is net of nothing, and without.
        for charges in [&DISCOUNTED[..], &DISCOUNTED[..6]] {
            let (machines, unused, line) = discounted(charges, names, |_| true);
            assert_eq!(machines, ["m|0.720000000", "n|0.540000000"]);
            // 0.27 of the reservation; and of the plan a quarter, of which nine tenths are paid.
            assert_eq!((unused, line), (450_000_000, 0));
        }
        // A report that leaves these columns out does not tell whose discount it was.
        let (machines, unused, line) = discounted(&DISCOUNTED, names, |column| {
            !column.contains("/Net") && !column.starts_with("discount")
        });
        assert_eq!(machines, ["m|0.800000000", "n|0.600000000"]);
        assert_eq!((unused, line), (500_000_000, -160_000_000));
    }
}
