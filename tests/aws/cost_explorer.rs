//! Cost Explorer is asked by the day, and only for what is not final.

use serde_json::{Value, json};

use super::{Request, Server, facts, good, output, podledger};
use crate::harness::World;

/// A day of an answer: what each service of an account cost.
pub fn day(date: &str, next: &str, is_estimated: bool, costs: &[(&str, &str)]) -> Value {
    let metric = |amount: &str| json!({"Amount": amount, "Unit": "USD"});
    let groups: Vec<Value> = costs
        .iter()
        .map(|(service, amount)| {
            json!({
                "Keys": [service, "123456789012"],
                "Metrics": {"UnblendedCost": metric(amount), "AmortizedCost": metric(amount)},
            })
        })
        .collect();
    json!({
        "TimePeriod": {"Start": date, "End": next},
        "Estimated": is_estimated,
        "Groups": groups,
        "Total": {},
    })
}

pub fn page(days: &[Value], next: Option<&str>) -> Value {
    let mut page = json!({
        "GroupDefinitions": [
            {"Type": "DIMENSION", "Key": "SERVICE"},
            {"Type": "DIMENSION", "Key": "LINKED_ACCOUNT"}
        ],
        "ResultsByTime": days,
        "DimensionValueAttributes": [],
    });
    if let Some(token) = next {
        page["NextPageToken"] = token.into();
    }
    page
}

pub fn asking<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["import", "cost-explorer", "--live", "--endpoint-url", url];
    arguments.extend(["--since", "2025-03-01", "--until", "2025-03-03"]);
    arguments.extend(more);
    arguments
}

fn period(request: &Request) -> String {
    let text = |name: &str| request.body["TimePeriod"][name].as_str().unwrap().to_owned();
    format!("{} {}", text("Start"), text("End"))
}

#[test]
fn all_pages_are_one_delivery_and_each_request_is_counted() {
    let first = day(
        "2025-03-01",
        "2025-03-02",
        false,
        &[("S3", "1.0000000000000001"), ("EC2", "2")],
    );
    // The second day goes on on the second page.
    let second = |service: &str| day("2025-03-02", "2025-03-03", false, &[(service, "0.5")]);
    let pages = [
        page(&[first, second("S3")], Some("two")),
        page(&[second("EC2")], None),
    ];
    let server = Server::new(move |number, _| good(&pages[number]));
    let world = World::new();
    let said = output(&mut podledger(&world, &asking(&server.url, &[])));
    assert!(
        said.contains("asked for 2 days, of which 2 say something new; 0 more are final"),
        "{said}"
    );
    assert!(
        said.contains("2 requests ($0.02)") && said.contains("has 2 of 100 ($0.02)"),
        "{said}"
    );
    assert!(said.contains("4.0000000000000001 USD"), "{said}");

    let sent = server.sent();
    assert_eq!(sent[0].target, "AWSInsightsIndexService.GetCostAndUsage");
    assert_eq!(
        sent[0].body,
        json!({
            "TimePeriod": {"Start": "2025-03-01", "End": "2025-03-03"},
            "Granularity": "DAILY",
            "Metrics": ["UnblendedCost", "AmortizedCost"],
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "LINKED_ACCOUNT"}],
        })
    );
    assert_eq!(sent[1].body["NextPageToken"], "two");
    assert_eq!(sent.len(), 2);
    world.build(false);
    assert_eq!(
        world
            .rows("select charge_date, service_name, billed_cost from marts.billed_costs_daily order by all"),
        [
            "2025-03-01|EC2|2.000000000000000000",
            "2025-03-01|S3|1.000000000000000100",
            "2025-03-02|EC2|0.500000000000000000",
            "2025-03-02|S3|0.500000000000000000",
        ]
    );
}

#[test]
fn final_days_are_asked_once_and_estimates_until_they_are_final() {
    // What the second day costs is told in three ways.
    let told = [("0.5", true), ("0.75", true), ("0.75", false), ("0.75", false)];
    let first = || day("2025-03-01", "2025-03-02", false, &[("S3", "1")]);
    let second = move |number: usize| {
        let (amount, is_estimated) = told[number.min(3)];
        day("2025-03-02", "2025-03-03", is_estimated, &[("S3", amount)])
    };
    let server = Server::new(move |number, request| {
        let mut days = vec![first(), second(number)];
        days.retain(|day| {
            day["TimePeriod"]["Start"].as_str() >= request.body["TimePeriod"]["Start"].as_str()
        });
        good(&page(&days, None))
    });
    let world = World::new();
    let run = |more: &[&str]| output(&mut podledger(&world, &asking(&server.url, more)));
    run(&[]);
    assert_eq!(
        server.sent().iter().map(period).collect::<Vec<_>>(),
        ["2025-03-01 2025-03-03"]
    );
    let said = run(&[]);
    assert_eq!(
        server.sent().iter().map(period).collect::<Vec<_>>(),
        ["2025-03-02 2025-03-03"]
    );
    assert!(
        said.contains("asked for 1 days, of which 1 say something new; 1 more are final"),
        "{said}"
    );
    run(&[]);
    assert_eq!(server.sent().len(), 1);
    let said = run(&[]);
    assert_eq!(server.sent().len(), 0);
    assert!(
        said.contains("asked for 0 days") && said.contains("has 3 of 100"),
        "{said}"
    );
    let said = run(&["--refresh"]);
    assert_eq!(
        server.sent().iter().map(period).collect::<Vec<_>>(),
        ["2025-03-01 2025-03-03"]
    );
    assert!(said.contains("of which 0 say something new"), "{said}");

    world.build(false);
    assert_eq!(
        world.rows(
            "select settled_date, revision, is_counted, billed_cost, billed_cost_change from marts.bill_revisions order by all"
        ),
        [
            "2025-03-01|1|true|1.000000000000000000|1.000000000000000000",
            "2025-03-02|1|false|0.500000000000000000|0.500000000000000000",
            "2025-03-02|2|false|0.750000000000000000|0.250000000000000000",
            "2025-03-02|3|true|0.750000000000000000|0.000000000000000000",
        ]
    );
    assert_eq!(
        facts(world.folder.path(), "billed_charges", "bill_status, billed_cost"),
        [
            "estimated|0.500000000000000000",
            "estimated|0.750000000000000000",
            "final|0.750000000000000000",
            "final|1.000000000000000000",
        ]
    );
    // Another question is asked of all days; a lake that is gone is filled again.
    run(&["--group-by", "SERVICE,REGION", "--source", "by-region"]);
    assert_eq!(
        server.sent().iter().map(period).collect::<Vec<_>>(),
        ["2025-03-01 2025-03-03"]
    );
    std::fs::remove_dir_all(world.folder.path().join("lake")).unwrap();
    run(&[]);
    assert_eq!(
        server.sent().iter().map(period).collect::<Vec<_>>(),
        ["2025-03-01 2025-03-03"]
    );
}

#[test]
fn a_day_on_which_all_was_taken_back_counts_nothing() {
    let server = Server::new(|number, _| {
        let costs: &[(&str, &str)] = if number == 0 { &[("S3", "3")] } else { &[] };
        let days = [
            day("2025-03-01", "2025-03-02", true, costs),
            day("2025-03-02", "2025-03-03", true, &[("S3", "1")]),
        ];
        good(&page(&days, None))
    });
    let world = World::new();
    for _ in 0..2 {
        output(&mut podledger(&world, &asking(&server.url, &[])));
    }
    world.build(false);
    assert_eq!(
        world
            .rows("select settled_date, revision, billed_cost_change from marts.bill_revisions order by all"),
        [
            "2025-03-01|1|3.000000000000000000",
            "2025-03-01|2|-3.000000000000000000",
            "2025-03-02|1|1.000000000000000000",
        ]
    );
}

#[test]
fn only_the_declared_scope_is_asked_for_and_its_charges_are_in_it() {
    let server = Server::new(|_, _| {
        let days = [day("2025-03-01", "2025-03-02", false, &[("S3", "1")])];
        good(&page(&days, None))
    });
    let world = World::new();
    let config = world.folder.path().join("podledger.toml");
    std::fs::write(
        &config,
        "[billing]\naccounts = ['123456789012', 'subscription']\ntags = { cluster = 'prod' }\n",
    )
    .unwrap();
    let said = output(&mut podledger(&world, &asking(&server.url, &[])));
    assert!(
        said.contains("only accounts 123456789012; tag cluster=prod"),
        "{said}"
    );
    assert!(
        said.contains("nothing is said of 1 days between 2025-03-02 and 2025-03-02"),
        "{said}"
    );
    assert_eq!(
        server.sent()[0].body["Filter"],
        json!({"And": [
            {"Dimensions": {"Key": "LINKED_ACCOUNT", "Values": ["123456789012"]}},
            {"Tags": {"Key": "cluster", "Values": ["prod"]}},
        ]})
    );
    assert_eq!(
        facts(
            world.folder.path(),
            "billed_charges",
            "sub_account_id, tags, service_name"
        ),
        ["123456789012|{cluster=prod}|S3"]
    );
    output(&mut podledger(
        &world,
        &asking(&server.url, &["--whole-bill", "--group-by", "SERVICE,TAG:team"]),
    ));
    let body = &server.sent()[0].body;
    assert_eq!(body.get("Filter"), None);
    assert_eq!(body["GroupBy"][1], json!({"Type": "TAG", "Key": "team"}));
}
