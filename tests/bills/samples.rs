//! Real and official samples: sums by service and day are those of the files, added up here in another way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use podledger_collector::import::Imported;
use podledger_collector::import::bills::{self, Format};

use super::options;
use crate::harness::{World, shared_data};

/// Digits behind the point of what is added up here.
const DECIMALS: i32 = 30;

/// A number of a file as a whole one of the last of [`DECIMALS`]; exact.
fn number(text: &str) -> i128 {
    let text = text.trim().replace(['$', ','], "");
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    let shift = DECIMALS - i32::try_from(fraction.len()).unwrap() + exponent.parse::<i32>().unwrap();
    digits * 10_i128.pow(u32::try_from(shift).unwrap())
}

/// `2024-09-18 22:00:00`, `9/18/24`, `09/18/2024` as `2024-09-18`.
fn day(text: &str) -> String {
    let Some((month, rest)) = text.split_once('/') else {
        return text.chars().take(10).collect();
    };
    let (day, year) = rest.split_once('/').unwrap();
    let year = if year.len() == 2 {
        format!("20{year}")
    } else {
        year.to_owned()
    };
    format!("{year}-{month:0>2}-{day:0>2}")
}

/// Sums by day and service, of a file of rows.
fn sums_of(path: &Path, day_column: &str, service: &str, cost: &str) -> BTreeMap<(String, String), i128> {
    let mut text = Vec::new();
    let file = File::open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(file)
            .read_to_end(&mut text)
            .unwrap();
    } else {
        std::io::BufReader::new(file).read_to_end(&mut text).unwrap();
    }
    let text = String::from_utf8(text).unwrap();
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|header| header.eq_ignore_ascii_case(name))
    };
    let (day_column, cost) = (column(day_column).unwrap(), column(cost).unwrap());
    let service = column(service);
    let mut sums = BTreeMap::new();
    for row in reader.records() {
        let row = row.unwrap();
        let name = service.map_or("", |service| &row[service]);
        let name = if name.eq_ignore_ascii_case("null") {
            ""
        } else {
            name
        };
        *sums.entry((day(&row[day_column]), name.to_owned())).or_default() += number(&row[cost]);
    }
    sums
}

/// What the ledger says.
fn sums_in(world: &World, filter: &str) -> BTreeMap<(String, String), i128> {
    let rows = world.rows(&format!(
        "select cast(charge_date as varchar), cast(sum(billed_cost) as varchar), service_name from marts.billed_costs_daily \
         where {filter} group by charge_date, service_name"
    ));
    rows.iter()
        .map(|row| {
            let mut cells = row.splitn(3, '|');
            let (day, cost) = (cells.next().unwrap(), cells.next().unwrap());
            ((day.to_owned(), cells.next().unwrap().to_owned()), number(cost))
        })
        .collect()
}

/// Imports a sample into a ledger of its own and holds it against the file.
fn same(file: &str, format: Format, columns: (&str, &str, &str), assume_usd: bool) {
    let Some(path) = shared_data(&format!("billing/{file}")) else {
        return;
    };
    let world = World::new();
    let mut options = options("2026-12-01T00:00:00Z");
    options.assume_usd = assume_usd;
    let import = || bills::import(&world.lake(), &path, format, &options, &|_| {}).unwrap();
    let (imported, totals) = import();
    assert!(matches!(imported, Imported::Written(_)), "{file}");
    world.build(true);
    let (day, service, cost) = columns;
    let expected = sums_of(&path, day, service, cost);
    // Credits upon a row of Google's are charges of their own.
    let filter = if format == Format::Gcp {
        "charge_category <> 'Credit'"
    } else {
        "true"
    };
    let found = sums_in(&world, filter);
    // A row with more than eighteen decimals is off by half of the last at most, and what all are off is told.
    let most = i128::from(totals.rounded_rows) * 500_000_000_000;
    for (key, sum) in &expected {
        let found = found.get(key).copied().unwrap_or(i128::MAX);
        assert!(
            found.abs_diff(*sum) <= most.unsigned_abs(),
            "{file}: {key:?}: {found} {sum}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{file}");
    if format != Format::Gcp {
        let rounding: i128 = totals.rounding_usd.iter().map(|text| number(text)).sum();
        let whole = expected.values().sum::<i128>() + rounding;
        assert_eq!(number(&totals.billed_usd), whole, "{file}");
    }
    // The same file once more changes nothing.
    assert_eq!(import().0, Imported::Already, "{file}");
}

const FOCUS: (&str, &str, &str) = ("ChargePeriodStart", "ServiceName", "BilledCost");

#[test]
fn the_real_focus_sample_comes_in_to_the_last_digit() {
    same(
        "focus-1.0-sample/focus_sample_1000.csv.gz",
        Format::Focus,
        FOCUS,
        false,
    );
}

#[test]
fn examples_of_the_focus_specification_come_in_together() {
    let Some(folder) = shared_data("billing/focus-spec-examples") else {
        return;
    };
    let world = World::new();
    let (mut expected, mut files) = (BTreeMap::new(), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut options = options("2026-12-01T00:00:00Z");
        // Examples of how a commitment is told leave out what is the same for all of a bill.
        options.assume_usd = name.starts_with("commitment");
        options.source = name.clone();
        let imported = bills::import(&world.lake(), &path, Format::Focus, &options, &|_| {});
        // Two of them tell of a thirtieth hour.
        if name.ends_with("purchase_scenario_2") || name.ends_with("purchase_scenario_3") {
            let error = imported.unwrap_err().to_string();
            assert!(
                error.contains("column `ChargePeriodEnd`: `2023-02-01T30:00:00Z` is not an instant"),
                "{error}"
            );
            continue;
        }
        imported.unwrap();
        for (key, sum) in sums_of(&path, FOCUS.0, FOCUS.1, FOCUS.2) {
            *expected.entry(key).or_default() += sum;
        }
        files += 1;
    }
    assert_eq!(files, 24);
    world.build(true);
    assert_eq!(sums_in(&world, "true"), expected);
}

#[test]
fn reports_of_aws_come_in_whatever_their_headers_look_like() {
    let of = |day, service, cost| (day, service, cost);
    same(
        "koku-fixtures/aws_cur_test_cur.csv",
        Format::Cur,
        of(
            "lineItem/UsageStartDate",
            "product/ProductName",
            "lineItem/UnblendedCost",
        ),
        false,
    );
    same(
        "koku-fixtures/aws_cur_2022-07-01-alt-columns.csv",
        Format::Cur,
        of(
            "line_item_usage_start_date",
            "product_product_name",
            "line_item_unblended_cost",
        ),
        false,
    );
}

#[test]
fn exports_of_google_come_in_with_their_credits() {
    for file in ["gcp_billing_export_2020-11.csv", "gcp_billing_export_2022-08.csv"] {
        same(
            &format!("koku-fixtures/{file}"),
            Format::Gcp,
            ("usage_start_time", "service.description", "cost"),
            false,
        );
    }
    let Some(path) = shared_data("billing/koku-fixtures/gcp_billing_export_2020-11.csv") else {
        return;
    };
    let world = World::new();
    super::import(&world, &path, Format::Gcp);
    world.build(true);
    // A free trial: its credit pays for all that it is for.
    let credits = world.rows(
        "select cast(sum(billed_cost) < 0 as varchar), cast(count(*) > 0 as varchar) from marts.billed_costs_daily where charge_category = 'Credit'",
    );
    assert_eq!(credits, ["true|true"]);
}

#[test]
fn exports_of_azure_come_in_with_all_their_headers() {
    let of = |day, service, cost| (day, service, cost);
    let azure = Format::Azure;
    same(
        "koku-fixtures/azure_camel_azure_version_2.csv",
        azure,
        of("date", "meterCategory", "costInBillingCurrency"),
        false,
    );
    same(
        "koku-fixtures/azure_costreport_a243c6f2-199f-4074-9a2c-40e671cf1584.csv",
        azure,
        of("UsageDateTime", "MeterCategory", "PreTaxCost"),
        false,
    );
    for file in ["Template", "MissingBrackets", "VirtualMachine"] {
        same(
            &format!("opencost-azure-export/azure_billing_{file}.csv"),
            azure,
            of("UsageDateTime", "MeterCategory", "costinbillingcurrency"),
            true,
        );
    }
    for (file, day, service, cost) in [
        ("PayAsYouGo", "UsageDateTime", "MeterCategory", "PreTaxCost"),
        (
            "EnterpriseCamel",
            "date",
            "meterCategory",
            "costInBillingCurrency",
        ),
        (
            "German",
            "UsageDateTime (UsageDateTime)",
            "Kategorie der Verbrauchseinheit (MeterCategory)",
            "PreTaxCost (PreTaxCost)",
        ),
        ("YA", "date", "meterCategory", "costInBillingCurrency"),
    ] {
        same(
            &format!("opencost-azure-export/headers_{file}.csv"),
            azure,
            of(day, service, cost),
            false,
        );
    }
}

#[test]
fn answers_of_cost_explorer_come_in_with_what_is_still_estimated() {
    let Some(path) = shared_data("billing/cost-explorer-get-cost-and-usage") else {
        return;
    };
    let daily = path.join("daily_by_service_2024-02-01_2024-04-26.json");
    let answer: serde_json::Value = serde_json::from_slice(&std::fs::read(&daily).unwrap()).unwrap();
    let mut expected: BTreeMap<(String, String), i128> = BTreeMap::new();
    let mut estimated = 0;
    for of in answer["ResultsByTime"].as_array().unwrap() {
        let day = of["TimePeriod"]["Start"].as_str().unwrap();
        for group in of["Groups"].as_array().unwrap() {
            let cost = group["Metrics"]["UnblendedCost"]["Amount"].as_str().unwrap();
            let service = group["Keys"][0].as_str().unwrap();
            *expected.entry((day.to_owned(), service.to_owned())).or_default() += number(cost);
            estimated += i64::from(of["Estimated"].as_bool().unwrap());
        }
    }
    let world = World::new();
    let (_, totals) = super::import(&world, &daily, Format::CostExplorer);
    assert_eq!(number(&totals.billed_usd), expected.values().sum::<i128>());
    world.build(true);
    assert_eq!(sums_in(&world, "true"), expected);
    assert_eq!(
        world.rows("select cast(sum(charges) as bigint) from marts.billed_costs_daily where bill_status = 'estimated'"),
        [estimated.to_string()]
    );

    let world = World::new();
    super::import(
        &world,
        &path.join("monthly_by_service_and_tag_2022.json"),
        Format::CostExplorer,
    );
    world.build(true);
    assert_eq!(
        world.rows("select count(*) from marts.billed_costs_daily where service_name = 'Amazon Simple Storage Service'"),
        ["6"]
    );
}
