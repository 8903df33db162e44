//! The dashboard's page of bills: before there is one, with one, and after a month was closed.

use podledger_collector::import::bills::Format;

use super::closing::{NOVEMBER, of_ended_clusters, try_to_close};
use super::restated::{HOUR_OF, cur, given_two_machines};
use super::{deliver, hours_of};
use crate::harness::World;
use crate::web::Server;

/// A savings plan that covers one machine and a quarter of another.
fn with_a_plan() -> String {
    let rows = [
        format!("1,2,SavingsPlanCoveredUsage,{HOUR_OF},BoxUsage:t,i-1,1,Hrs,1,USD,us-east-1,sp,0.6,,,,ml"),
        format!("1,2,SavingsPlanNegation,{HOUR_OF},BoxUsage:t,,1,Hrs,-1,USD,us-east-1,sp,,,,,"),
        format!(
            "1,2,SavingsPlanCoveredUsage,{HOUR_OF},BoxUsage:t,i-2,0.25,Hrs,0.25,USD,us-east-1,sp,0.15,,,,"
        ),
        format!("1,2,SavingsPlanNegation,{HOUR_OF},BoxUsage:t,,0.25,Hrs,-0.25,USD,us-east-1,sp,,,,,"),
        format!("1,2,Usage,{HOUR_OF},BoxUsage:t,i-2,0.75,Hrs,0.75,USD,us-east-1,,,,,,"),
        format!("1,2,SavingsPlanRecurringFee,{HOUR_OF},ComputeSP,,1,,0.8,USD,,sp,,0.8,0.75,,"),
    ];
    cur(&rows.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Chosen cells of the rows of an answer, joined as [`World::rows`] joins them.
fn told(server: &Server, question: &str, columns: &[&str]) -> Vec<String> {
    let answer = server.get(&format!("/api/v1/{question}"));
    assert_eq!(answer.status, 200, "{question}: {}", answer.body);
    let rows = answer.json()["rows"].as_array().unwrap().clone();
    let cell = |row: &serde_json::Value, name: &str| match &row[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let of_row = |row| {
        columns
            .iter()
            .map(|name| cell(row, name))
            .collect::<Vec<_>>()
            .join("|")
    };
    rows.iter().map(of_row).collect()
}

const DAYS: &str = "?from=2026-11-16&to=2026-11-16";

#[test]
fn bills_are_shown_line_by_line_to_the_last_digit() {
    let world = World::new();
    given_two_machines(&world);
    world.given_pod("p", 4000, 16 * 1024, 0);
    world.build(true);
    let server = Server::of_world(&world);
    let page = server.get(&format!("/bills{DAYS}")).body;
    assert!(
        page.contains("No bill was imported yet") && page.contains("podledger import focus"),
        "{page}"
    );
    let sources = told(
        &server,
        &format!("price-sources{DAYS}"),
        &["price_source", "share_permille", "machines"],
    );
    assert_eq!(sources, ["test|1000|2"]);
    drop(server);

    deliver(
        &world,
        "first.csv",
        &with_a_plan(),
        Format::Cur,
        "2026-12-02T00:00:00Z",
    );
    world.build(false);
    let server = Server::of_world(&world);
    let page = server.get(&format!("/bills{DAYS}")).body;
    let lines = world.rows(
        "select line, cast(sum(amount) as decimal(38,9)) from marts.reconciliation_daily group by line order by line",
    );
    let mut shown = told(&server, &format!("tie-out{DAYS}"), &["line", "amount"]);
    shown.sort();
    assert_eq!(shown, lines);
    for line in &lines {
        let (name, amount) = line.split_once('|').unwrap();
        let is_shown = name != "price_variance" && amount != "0.000000000";
        let row = format!(
            "<td>{}</td><td class=\"number\">{amount}</td>",
            name.replace('_', " ")
        );
        assert_eq!(page.contains(&row), is_shown, "{row}");
    }
    // The lines of the page add up to the invoice, which is what the bill says.
    let billed = world.rows("select cast(sum(billed_cost) as decimal(38,9)) from marts.billed_costs_daily");
    let invoice = format!(
        "= invoice</th><td class=\"number\"><strong>{}</strong>",
        billed[0]
    );
    assert!(page.contains(&invoice), "{invoice}");
    assert_eq!(
        told(&server, "bills", &["month", "billed_cost", "charges"]),
        world.rows("select '2026-11', cast(sum(billed_cost) as decimal(38,9)), sum(charges) from marts.billed_costs_daily")
    );
    assert_eq!(
        told(
            &server,
            &format!("commitments{DAYS}"),
            &[
                "commitment_discount_id",
                "used_cost",
                "unused_cost",
                "utilization_permille",
                "coverage_permille"
            ]
        ),
        ["sp|0.750000000|0.050000000|937|625"]
    );
    assert_eq!(
        told(
            &server,
            &format!("commitment-benefits{DAYS}"),
            &["team", "covered_cost", "estimated_cost", "benefit"]
        ),
        world.rows(
            "select team, cast(sum(covered_cost) as decimal(38,9)), cast(sum(estimated_cost) as decimal(38,9)), \
                 cast(sum(benefit) as decimal(38,9)) as benefit \
             from marts.commitment_benefits_daily group by team order by benefit desc, team"
        )
    );
    let sources = told(
        &server,
        &format!("price-sources{DAYS}"),
        &["price_source", "machines"],
    );
    assert_eq!(sources, ["billed|2"]);
    // Other months have links instead of lines, and prices lead to bills and back.
    let other = server.get("/bills?from=2026-10-05&to=2026-10-11").body;
    assert!(
        other.contains("choose another month") && other.contains("/bills?from=2026-11-01&amp;to=2026-11-30"),
        "{other}"
    );
    assert!(
        server
            .get(&format!("/prices{DAYS}"))
            .body
            .contains("href=\"/bills?from=2026-11-16")
    );
    assert!(page.contains("href=\"/prices?from=2026-11-16"));
    drop(server);

    // Closed, and a bill that comes later.
    try_to_close(&world, &of_ended_clusters(&world, NOVEMBER)).unwrap();
    let text = hours_of(&[("i-1", "1.25"), ("i-2", "0.5")]);
    deliver(&world, "second.csv", &text, Format::Cur, "2026-12-20T00:00:00Z");
    world.build(false);
    let server = Server::of_world(&world);
    assert_eq!(
        told(&server, "closed-months", &["month", "basis", "cost", "adjusted_cost", "adjusted_in", "content_hash"]),
        world.rows(
            "select '2026-11', 'a bill', cost, adjusted_cost, strftime(adjusted_in, '%Y-%m'), content_hash from marts.closed_months"
        )
    );
    let adjustments = told(&server, "adjustments", &["month", "booked_in", "team", "cost"]);
    assert!(!adjustments.is_empty());
    assert_eq!(
        adjustments,
        world.rows(
            "select strftime(adjusts_month, '%Y-%m'), strftime(charge_date, '%Y-%m'), team, cost from marts.adjustments order by cost desc"
        )
    );
    let deliveries = told(
        &server,
        "bill-deliveries",
        &["revision", "billed_cost", "billed_cost_change", "is_counted"],
    );
    assert_eq!(
        deliveries,
        [
            "2|1.750000000|0.200000000|true",
            "1|1.550000000|1.550000000|false"
        ]
    );
    let page = server.get(&format!("/bills{DAYS}")).body;
    for title in [
        "Closed months",
        "Adjustments",
        "Deliveries of bills",
        "Savings plans",
    ] {
        assert_eq!(page.contains(title), title != "Savings plans", "{title}");
    }
}
