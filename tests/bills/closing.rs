//! Months that are closed: nothing that comes later moves them, and what later bills say is one adjustment.

use std::process::Command;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use podledger_analyzer::Error;
use podledger_analyzer::build::{build, check};
use podledger_analyzer::close::{Closed, Request, close};
use podledger_collector::import::bills::Format;
use podledger_collector::import::query::import_query;

use super::invoice::{HOUR, Row, charges, focus, ledger_of_the_month, others};
use super::restated::scope;
use super::{deliver, given_a_busy_machine, hours_of};
use crate::harness::{World, contents};

pub const NOVEMBER: Date = date(2026, 11, 1);
pub const DECEMBER: Date = date(2026, 12, 1);

fn request(month: Date) -> Request {
    Request {
        month,
        at_list_price: false,
        ended_clusters: Vec::new(),
        closed_at: format!("{}T09:30:00Z", month.saturating_add(40.days()))
            .parse()
            .unwrap(),
    }
}

/// The clusters of these worlds are observed for a day or two.
pub fn of_ended_clusters(world: &World, month: Date) -> Request {
    Request {
        ended_clusters: world.rows("select distinct cluster from marts.clusters"),
        ..request(month)
    }
}

pub fn try_to_close(world: &World, request: &Request) -> Result<Closed, Error> {
    close(&world.ledger(), &world.lake(), &world.config, request)
}

fn refusal(world: &World, request: &Request) -> String {
    let before = world.lake().segments().unwrap();
    let error = try_to_close(world, request).unwrap_err();
    assert_eq!(world.lake().segments().unwrap(), before, "nothing is written");
    assert!(matches!(error, Error::NotClosed { .. }), "{error}");
    error.to_string()
}

/// What was booked before December, in all marts that are closed; weeks, before the one in which it begins.
fn closed_marts(world: &World) -> Vec<String> {
    let mut all = world.rows("from marts.costs_daily where charge_date < '2026-12-01' order by all");
    for query in [
        "from marts.costs_hourly where hour_start_at < '2026-12-01' order by all",
        "from marts.teams_weekly where iso_week < '2026-W49' order by all",
        "from marts.pipelines_weekly where iso_week < '2026-W49' order by all",
        "select * exclude (pods, failed_pods) from marts.jobs_daily where charge_date < '2026-12-01' and cost is not null order by all",
    ] {
        all.extend(world.rows(query));
    }
    all
}

fn sum(world: &World, mart: &str) -> String {
    world
        .rows(&format!("select sum(cost) as cost from marts.{mart}"))
        .remove(0)
}

fn is_as_built_anew(world: &World) {
    let kept = contents(world);
    world.build_anew();
    assert_eq!(contents(world), kept);
}

#[test]
fn a_closed_month_stays_whatever_bills_and_rules_say_later() {
    let (mut world, _, machines) = ledger_of_the_month();
    scope(&mut world, "[billing]\naccounts = ['111']\n");
    world.build(false);

    // The cluster was observed to the end, but there is no bill.
    let wanted = request(NOVEMBER);
    let refused = refusal(&world, &wanted);
    assert!(
        refused.contains("there is no bill of it") && !refused.contains("is observed through"),
        "{refused}"
    );
    let mut rows: Vec<Row> = machines.iter().flat_map(charges).collect();
    rows.extend(others(&machines, &rows));
    deliver(
        &world,
        "early.csv",
        &focus(&rows),
        Format::Focus,
        "2026-11-20T00:00:00Z",
    );
    let refused = refusal(&world, &wanted);
    assert!(refused.contains("no build has taken in"), "{refused}");
    world.build(false);
    let refused = refusal(&world, &wanted);
    assert!(
        refused
            .contains("not final (aws payer: delivered on 2026-11-20 00:00 UTC, before the month had ended)"),
        "{refused}"
    );
    deliver(
        &world,
        "bill.csv",
        &focus(&rows),
        Format::Focus,
        "2026-12-02T00:00:00Z",
    );
    world.build(false);
    let (before, total) = (closed_marts(&world), sum(&world, "costs_daily"));

    let closed = try_to_close(&world, &wanted).unwrap();
    assert!(closed.cost_rows > 0 && closed.price_rows > 0);
    assert!(refusal(&world, &wanted).contains("no build has taken in"));
    world.build(false);
    assert!(refusal(&world, &wanted).contains("it was closed on 2026-12-11 09:30 UTC with the hash"));
    assert_eq!(closed_marts(&world), before);
    assert_eq!(
        world.rows("select closed_month, content_hash, basis, cost, adjusted_cost, restated_cost, adjusted_in from marts.closed_months"),
        [format!("2026-11-01|{}|bill|{total}|0.000000000|{total}|2026-12-01", closed.content_hash)]
    );

    // A late line: an hour of one machine costs three times as much.
    let dear = rows
        .iter_mut()
        .find(|row| row.pricing == "Standard" && row.used_ms == Some(HOUR))
        .unwrap();
    let change = dear.effective * 2;
    dear.billed *= 3;
    dear.effective = dear.billed;
    deliver(
        &world,
        "late.csv",
        &focus(&rows),
        Format::Focus,
        "2026-12-12T00:00:00Z",
    );
    let report = world.build(false);
    assert_eq!((report.is_full, report.dirty_hours), (false, 1));
    assert_eq!(closed_marts(&world), before);
    assert_eq!(
        world.rows(
            "select adjusts_month, charge_date, sum(cost) = sum(cpu_cost + memory_cost + gpu_cost) as adds_up, bool_or(is_closed) as is_closed, \
             count(*) = count(distinct (cluster, team)) as is_one from marts.adjustments group by all"
        ),
        ["2026-11-01|2026-12-01|true|false|true"]
    );
    let adjusted: i128 = world
        .rows("select cast(sum(cost) * 1000000000 as bigint) as nano from marts.adjustments")[0]
        .parse()
        .unwrap();
    assert!(
        (adjusted - change / 1_000_000_000).abs() <= 1,
        "{adjusted} of {change}"
    );
    // Bills are the only reason, so the months together are the restated truth.
    assert_eq!(sum(&world, "costs_daily"), sum(&world, "costs_daily_restated"));
    assert_eq!(sum(&world, "costs_hourly"), sum(&world, "costs_hourly_restated"));
    assert_eq!(sum(&world, "teams_weekly"), sum(&world, "teams_weekly_restated"));
    assert_ne!(sum(&world, "costs_daily"), total);
    assert_eq!(
        world.rows("select cost_category, sum(cost) as cost from marts.costs_daily where charge_date = '2026-12-01' group by all"),
        world.rows("select 'adjustment' as cost_category, sum(cost) as cost from marts.adjustments")
    );

    // A rule: all that had no team of its own is somebody's.
    let pipeline = world.rows("select pipeline from marts.pipelines_weekly where pipeline <> 'unattributed' order by cost desc limit 1");
    let pipeline = &pipeline[0];
    scope(
        &mut world,
        &format!("[billing]\naccounts = ['111']\n[[teams]]\nteam = 'heirs'\npipeline = '{pipeline}'\n"),
    );
    world.build(false);
    assert_eq!(closed_marts(&world), before);
    assert_eq!(
        world.rows("select cast(sum(cost) * 1000000000 as bigint) as nano from marts.adjustments"),
        [adjusted.to_string()]
    );
    let heirs = |mart: &str| {
        world.rows(&format!(
            "select count(*) > 0 as has from marts.{mart} where team = 'heirs'"
        ))
    };
    assert_eq!(heirs("costs_daily_restated"), ["true"]);
    assert_eq!(heirs("costs_hourly_restated"), ["true"]);
    assert_eq!(heirs("teams_weekly_restated"), ["true"]);
    assert_eq!(
        world.rows("select count(*) as found from marts.costs_daily where team = 'heirs' and cost_category <> 'adjustment'"),
        ["0"]
    );
    assert!(check(&world.ledger(), &world.config).unwrap().is_empty());
    is_as_built_anew(&world);
}

const ADJUSTMENTS: &str =
    "select adjusts_month, charge_date, team, cost, is_closed from marts.adjustments order by all";

#[test]
fn each_month_books_what_bills_changed_since_the_last() {
    let world = World::new();
    given_a_busy_machine(&world);
    world.build(true);
    let team = world.rows("select team from marts.pods").remove(0);
    let at_list_price = |month| Request {
        at_list_price: true,
        ..of_ended_clusters(&world, month)
    };
    try_to_close(&world, &at_list_price(NOVEMBER)).unwrap();
    world.build(false);
    assert_eq!(
        world.rows("select basis, cost from marts.closed_months"),
        ["list_price|2.000000000"]
    );

    // A price that becomes known later is no bill.
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-02-01 00:00:00' as valid_from_at, 1.5::decimal(18,9) as hourly_usd, 'test' as source",
    );
    world.build(false);
    assert_eq!(
        [sum(&world, "costs_daily"), sum(&world, "costs_daily_restated")],
        ["2.000000000", "3.000000000"]
    );
    assert!(world.rows(ADJUSTMENTS).is_empty());

    // The first bill: 1.25 instead of the 1.00 that was closed. Exactly one row, of the team that had the machine.
    deliver(
        &world,
        "first.csv",
        &hours_of(&[("i-1", "1.25")]),
        Format::Cur,
        "2026-12-20T00:00:00Z",
    );
    world.build(false);
    assert_eq!(
        world.rows(ADJUSTMENTS),
        [format!("2026-11-01|2026-12-01|{team}|0.250000000|false")]
    );
    assert_eq!(
        world.rows("select charge_date, team, pipeline, cost_category, cost from marts.costs_daily where charge_date > '2026-11-30'"),
        [format!("2026-12-01|{team}|unattributed|adjustment|0.250000000")]
    );
    assert_eq!(sum(&world, "costs_daily"), "2.250000000");

    // December closes with it; a credit that comes later still is January's, and only what it changes.
    try_to_close(&world, &at_list_price(DECEMBER)).unwrap();
    world.build(false);
    assert_eq!(
        world.rows(ADJUSTMENTS),
        [format!("2026-11-01|2026-12-01|{team}|0.250000000|true")]
    );
    deliver(
        &world,
        "second.csv",
        &hours_of(&[("i-1", "0.95")]),
        Format::Cur,
        "2027-01-20T00:00:00Z",
    );
    world.build(false);
    let expected = [
        format!("2026-11-01|2026-12-01|{team}|0.250000000|true"),
        format!("2026-11-01|2027-01-01|{team}|-0.300000000|false"),
    ];
    assert_eq!(world.rows(ADJUSTMENTS), expected);
    assert_eq!(
        world.rows(
            "select closed_month, cost, adjusted_cost, adjusted_in from marts.closed_months order by 1"
        ),
        [
            "2026-11-01|2.000000000|-0.050000000|2027-01-01",
            "2026-12-01|0.250000000|0.000000000|2027-01-01"
        ]
    );
    // Of the machine that bills speak of, the months together are what they say; the other stays at what it was closed with.
    assert_eq!(
        world.rows("select machine, cost from marts.machines_daily order by 1"),
        ["m|0.950000000", "n|1.500000000"]
    );
    assert_eq!(sum(&world, "costs_daily"), "1.950000000");

    // A machine of the month that becomes known now, and its bill: restated only.
    world.given(
        "machines",
        "select 'c' as cluster, 'o' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'o' as node_name, \
         'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         'aws:///us-east-1a/i-3' as provider_id, 'instance' as billing_model, \
         timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    let text = hours_of(&[("i-1", "0.95"), ("i-3", "2")]);
    deliver(&world, "third.csv", &text, Format::Cur, "2027-01-21T00:00:00Z");
    world.build(false);
    assert_eq!(world.rows(ADJUSTMENTS), expected);
    assert_eq!(
        [sum(&world, "costs_daily"), sum(&world, "costs_daily_restated")],
        ["1.950000000", "4.450000000"]
    );
    is_as_built_anew(&world);
}

#[test]
fn a_month_of_which_the_bill_is_an_estimate_is_not_closed() {
    let mut world = World::new();
    given_a_busy_machine(&world);
    let charge = |status: &str, at: &str| {
        world.given(
            "billed_charges",
            &format!(
                "select 'exports' as bill_source, 'focus' as bill_format, '{status}' as delivery, timestamp '{at}' as delivered_at, \
                 'x' as source_file, 1 as source_row, 0 as source_part, 'aws' as provider, '1' as billing_account_id, \
                 timestamp '2026-11-01 00:00:00' as billing_period_start_at, timestamp '2026-12-01 00:00:00' as billing_period_end_at, \
                 timestamp '2026-11-16 10:00:00' as charge_period_start_at, timestamp '2026-11-16 11:00:00' as charge_period_end_at, \
                 'Usage' as charge_category, 1::decimal(38,18) as billed_cost, 1::decimal(38,18) as effective_cost, 'USD' as currency, \
                 '{status}' as bill_status"
            ),
        );
    };
    charge("estimated", "2026-12-01 12:00:00");
    world.build(true);
    let wanted = of_ended_clusters(&world, NOVEMBER);
    let refused = refusal(&world, &wanted);
    assert!(
        refused.contains("its bill is not final (aws 1: 1 charges are estimates): import the final one"),
        "{refused}"
    );
    // No flag closes on it.
    let without_bill = Request {
        at_list_price: true,
        ..wanted.clone()
    };
    assert!(refusal(&world, &without_bill).contains("not final"));
    let elsewhere = Request {
        ended_clusters: vec!["elsewhere".to_owned()],
        ..wanted.clone()
    };
    assert!(refusal(&world, &elsewhere).contains("no cluster `elsewhere` is known; those that are: c"));
    charge("final", "2026-12-03 12:00:00");
    world.build(false);
    let forged = import_query(&world.lake(), "closed_months", "select 1 as basis", NOVEMBER);
    assert!(
        forged
            .unwrap_err()
            .to_string()
            .contains("`closed_months` is no table"),
        "only a close writes it"
    );

    // With other rules than those of the build it would close what nobody has looked at.
    scope(&mut world, "platform_namespaces = ['ns']\n");
    assert!(refusal(&world, &wanted).contains("not built with this configuration"));
    world.build(false);
    assert!(
        refusal(
            &world,
            &Request {
                month: date(2026, 10, 1),
                at_list_price: true,
                ..wanted.clone()
            }
        )
        .contains("nothing of it was observed")
    );
    try_to_close(&world, &wanted).unwrap();
}

#[test]
fn a_month_is_not_closed_before_it_is_over() {
    let world = World::new();
    given_a_busy_machine(&world);
    world.build(true);
    let closing_at = |at: &str| Request {
        at_list_price: true,
        closed_at: at.parse().unwrap(),
        ..of_ended_clusters(&world, NOVEMBER)
    };
    // The second is December already where it was said, but bills are in UTC.
    for (at, told) in [
        ("2026-11-16T12:00:00Z", "2026-11-16 12:00 UTC"),
        ("2026-12-01T00:59:59.999+01:00", "2026-11-30 23:59 UTC"),
    ] {
        assert_eq!(
            refusal(&world, &closing_at(at)),
            format!(
                "cannot close 2026-11: it is not over: it ends at 2026-12-01 00:00 UTC, and it is {told} now"
            )
        );
    }
    try_to_close(&world, &closing_at("2026-12-01T00:00:00Z")).unwrap();
}

#[test]
fn a_closed_month_that_was_tampered_with_fails_the_checks() {
    let world = World::new();
    given_a_busy_machine(&world);
    world.build(true);
    let data = world.folder.path().to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_podledger"))
            .current_dir(world.folder.path())
            .args(["--data", &data])
            .args(arguments)
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let reason = refusal(&world, &request(NOVEMBER));
    assert!(
        reason.contains("cluster c is observed through 2026-11-16")
            && reason.contains("--ended c")
            && reason.contains("--at-list-price"),
        "{reason}"
    );
    let (code, said) = run(&["reconcile", "close", "2999-01", "--at-list-price", "--ended", "c"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("cannot close 2999-01: it is not over: it ends at 2999-02-01 00:00 UTC"),
        "{said}"
    );
    let closed = try_to_close(
        &world,
        &Request {
            at_list_price: true,
            ..of_ended_clusters(&world, NOVEMBER)
        },
    )
    .unwrap();
    let (code, said) = run(&["build"]);
    assert_eq!(code, Some(0), "{said}");
    let hash = world
        .rows("select content_hash from marts.closed_months")
        .remove(0);
    assert_eq!(hash, closed.content_hash);
    let (_, said) = run(&["reconcile", "2026-11"]);
    assert!(
        said.contains(&format!("without a bill, hash {hash}"))
            && said.contains("by later bills; the next in 2026-12"),
        "{said}"
    );
    assert_eq!(run(&["check"]).0, Some(0));

    // In the ledger: a cent from one team to another, so that no sum tells.
    let tamper = "update raw.closed_costs set team = 'x' || team where cpu_nano = (select max(cpu_nano) from raw.closed_costs)";
    world.ledger().connection().execute_batch(tamper).unwrap();
    let (code, said) = run(&["check"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("hashes to what its close noted"), "{said}");

    // In the lake.
    let file = world
        .lake()
        .segments()
        .unwrap()
        .into_iter()
        .find(|segment| segment.table == "closed_prices")
        .unwrap()
        .path;
    let copy = file.with_extension("copy");
    duckdb::Connection::open_in_memory()
        .unwrap()
        .execute_batch(&format!(
            "copy (select * replace (price_nano + 1 as price_nano) from '{}') to '{}' (format parquet)",
            file.display(),
            copy.display()
        ))
        .unwrap();
    std::fs::rename(copy, file).unwrap();
    std::fs::remove_file(world.folder.path().join("ledger.duckdb")).unwrap();
    let error = build(world.ledger(), &world.lake(), &world.config, true).unwrap_err();
    let Error::Violated { failures } = error else {
        panic!("{error}");
    };
    assert!(
        failures[0].contains("hashes to what its close noted"),
        "{failures:?}"
    );
}
