//! Bills that cannot be: the file, row and column are named, and nothing is stored. And bills that follow each other.

use std::io::Write;

use podledger_collector::import::Imported;
use podledger_collector::import::bills::{self, Format};
use podledger_sql::facts::Fact;
use podledger_sql::recall::relation;

use super::{file, import, options};
use crate::harness::{World, shared_data};

const HEADER: &str = "ProviderName,BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,\
                      ChargePeriodEnd,ChargeCategory,ServiceName,BilledCost,EffectiveCost,Tags";

fn row(day: u32, cost: &str) -> String {
    format!(
        "AWS,1,USD,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,2026-11-{day:02}T00:00:00Z,2026-11-{next:02}T00:00:00Z,Usage,S3,{cost},{cost},{{}}",
        next = day + 1
    )
}

fn text(rows: &[String]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

fn stored(world: &World) -> i64 {
    let relation = relation(&world.lake(), Fact::named("billed_charges").unwrap()).unwrap();
    let connection = podledger_sql::ledger::scratch().unwrap();
    connection
        .query_row(&format!("select count(*) from {relation}"), [], |row| row.get(0))
        .unwrap()
}

fn refused(world: &World, path: &std::path::Path, format: Format) -> String {
    let error = bills::import(
        &world.lake(),
        path,
        format,
        &options("2026-12-01T00:00:00Z"),
        &|_| {},
    )
    .unwrap_err()
    .to_string();
    assert_eq!(stored(world), 0, "{error}");
    error
}

#[test]
fn what_is_wrong_is_named_by_row_and_column() {
    let world = World::new();
    let good = row(1, "1.5");
    for (bad, expected) in [
        (row(2, "1,5x"), "line 3: has 14 cells instead of 12"),
        (
            row(2, "\"1,5\""),
            "row 2, column `EffectiveCost`: `1,5` is not a number",
        ),
        (
            row(2, "1_000"),
            "row 2, column `EffectiveCost`: `1_000` is not a number",
        ),
        (row(2, ""), "row 2, column `BilledCost`: is empty"),
        (
            good.replace("USD", "CNY"),
            "row 2, column `BillingCurrency`: `CNY` is another currency than the ledger's, which is USD; import an export in US dollars",
        ),
        (
            good.replace("2026-11-01T00:00:00Z,2026-12", "yesterday,2026-12"),
            "row 2, column `BillingPeriodStart`: `yesterday` is not an instant",
        ),
        (
            good.replace("2026-11-02T", "2026-10-02T"),
            "row 2, `charge_period_end_at`: `2026-10-02 00:00:00` is before the charge period's start",
        ),
        (
            good.replace("Usage", "Useage"),
            "row 2, `charge_category`: `Useage` is none of",
        ),
        (good.replace("{}", "{\"a\""), "column `Tags`"),
        ("AWS,1,USD".to_owned(), "line 3: has 3 cells instead of 12"),
    ] {
        let path = file(&world, "bad.csv", &text(&[good.clone(), bad.clone()]));
        let error = refused(&world, &path, Format::Focus);
        assert!(
            error.contains("bad.csv") && error.contains(expected),
            "{bad}: {error}"
        );
    }
    for (header, expected) in [
        (HEADER.replace("BilledCost", "Cost"), "has no column `BilledCost`"),
        (HEADER.replace("BillingCurrency", "Money"), "say --assume-usd"),
    ] {
        let path = file(&world, "bad.csv", &format!("{header}\n{good}\n"));
        let error = refused(&world, &path, Format::Focus);
        assert!(error.contains(expected), "{error}");
    }
    for (content, expected) in [("", "is empty"), (HEADER, "has no charges")] {
        let path = file(&world, "bad.csv", content);
        let error = refused(&world, &path, Format::Focus);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn files_that_break_off_leave_nothing_behind() {
    let world = World::new();
    let rows: Vec<String> = (1..25).map(|day| row(day, "0.25")).collect();
    let whole = text(&rows);
    let path = file(&world, "torn.csv", &whole[..whole.len() - 90]);
    assert!(refused(&world, &path, Format::Focus).contains("line 25"));

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(whole.as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    let path = world.folder.path().join("torn.csv.gz");
    std::fs::write(&path, &compressed[..compressed.len() - 20]).unwrap();
    assert!(refused(&world, &path, Format::Focus).contains("breaks off"));
    std::fs::write(world.folder.path().join("torn.parquet"), b"PAR1 and nothing").unwrap();
    let error = refused(&world, &world.folder.path().join("torn.parquet"), Format::Focus);
    assert!(error.contains("no Parquet"), "{error}");
    let path = file(&world, "torn.json", "{\"ResultsByTime\": [{\"TimePeriod\"");
    assert!(refused(&world, &path, Format::CostExplorer).contains("breaks off"));

    // One bad file of a delivery refuses all of it.
    let folder = world.folder.path().join("delivery");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("1.csv"), &whole).unwrap();
    std::fs::write(folder.join("2.csv"), &whole[..whole.len() - 90]).unwrap();
    assert!(refused(&world, &folder, Format::Focus).contains("2.csv"));
    std::fs::write(folder.join("2.csv"), text(&[row(25, "0.125")])).unwrap();
    let (imported, totals) = import(&world, &folder, Format::Focus);
    assert_eq!(imported, Imported::Written(vec![("billed_charges", 25)]));
    assert_eq!((totals.files, totals.billed_usd.as_str()), (2, "6.125"));
}

#[test]
fn samples_in_other_currencies_are_refused_by_name() {
    for (sample, format, currency) in [
        ("koku-fixtures/aws_cur_2023-06-01.csv", Format::Cur, "NOK"),
        (
            "opencost-azure-export/headers_Enterprise.csv",
            Format::Azure,
            "CAD",
        ),
        ("koku-fixtures/azure_azure_version_2.csv", Format::Azure, "MC"),
    ] {
        let Some(path) = shared_data(&format!("billing/{sample}")) else {
            return;
        };
        let error = refused(&World::new(), &path, format);
        assert!(
            error.contains(&format!("`{currency}` is another currency")),
            "{sample}: {error}"
        );
    }
}

#[test]
fn a_newer_delivery_stands_instead_of_an_older_one_and_the_difference_is_kept() {
    let world = World::new();
    let deliver = |name: &str, rows: &[String], at: &str| {
        let path = file(&world, name, &text(rows));
        bills::import(&world.lake(), &path, Format::Focus, &options(at), &|_| {})
            .unwrap()
            .0
    };
    let first = [row(1, "1"), row(2, "2.000000000000000001")];
    deliver("first.csv", &first, "2026-11-10T00:00:00Z");
    world.build(false);
    let second = [row(1, "1"), row(2, "2.5"), row(3, "4")];
    deliver("second.csv", &second, "2026-12-03T00:00:00Z");
    world.build(false);
    let billed = || world.rows("select sum(billed_cost) from marts.billed_costs_daily");
    assert_eq!(billed(), ["7.500000000000000000"]);
    assert_eq!(
        world.rows("select revision, is_counted, billed_cost, billed_cost_change from marts.bill_revisions order by 1"),
        [
            "1|false|3.000000000000000001|3.000000000000000001",
            "2|true|7.500000000000000000|4.499999999999999999"
        ]
    );
    // An old delivery that comes late changes nothing; neither does the same file.
    deliver("late.csv", &[row(1, "9")], "2026-11-20T00:00:00Z");
    assert_eq!(
        deliver("second.csv", &second, "2026-12-09T00:00:00Z"),
        Imported::Already
    );
    world.build(false);
    assert_eq!(billed(), ["7.500000000000000000"]);
    let kept = world.rows("from marts.billed_costs_daily order by all");
    world.build_anew();
    assert_eq!(world.rows("from marts.billed_costs_daily order by all"), kept);

    // What Cost Explorer says of the month is not added to it, and counts in another.
    let answer = |month: &str, amount: &str| {
        format!(
            "{{\"ResultsByTime\": [{{\"TimePeriod\": {{\"Start\": \"2026-{month}-01\", \"End\": \"2026-{month}-02\"}}, \
             \"Total\": {{\"UnblendedCost\": {{\"Amount\": \"{amount}\", \"Unit\": \"USD\"}}}}, \"Estimated\": true}}]}}"
        )
    };
    let mut options = options("2026-12-09T00:00:00Z");
    options.source = bills::COST_EXPLORER.to_owned();
    for (month, amount) in [("11", "99"), ("12", "0.5")] {
        let path = file(&world, &format!("{month}.json"), &answer(month, amount));
        bills::import(&world.lake(), &path, Format::CostExplorer, &options, &|_| {}).unwrap();
    }
    world.build(false);
    assert_eq!(billed(), ["8.000000000000000000"]);
}
