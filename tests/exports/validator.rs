//! FOCUS's own validator: what is exported violates no mandatory rule of FOCUS 1.2.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{closed_and_adjusted, done, platform};
use crate::harness::{World, shared_data, tool_of};
use crate::parity::sample;

/// What a ledger has: all that FOCUS makes depend on the provider, but commitments and reservations of capacity, of which bills tell and no charge
/// of a ledger.
const CRITERIA: &str = "ACCOUNT_NAMING_SUPPORTED,AVAILABILITY_ZONE_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED,\
                        MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED,MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,\
                        PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,\
                        BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED,RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,\
                        PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED,REGION_SUPPORTED,TAGGING_SUPPORTED,VIRTUAL_CURRENCY_SUPPORTED";

/// Two rules of which one says that InvoiceId must be null, and one that it must not: the rule that unites them asks for one.
const UNITED: (&str, [&str; 2]) = ("InvoiceId-C-003-C", ["InvoiceId-C-004-C", "InvoiceId-C-005-C"]);

/// What the validator says of a file: each rule with PASS, FAIL or SKIPPED.
fn validated(program: &Path, file: &Path) -> BTreeMap<String, String> {
    // It looks for its list of currencies, and writes its log, where it is started.
    let packages = program.ancestors().nth(2).unwrap().join("lib");
    let packages = std::fs::read_dir(packages)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        packages.join("site-packages/focus_validator"),
        home.path().join("focus_validator"),
    )
    .unwrap();
    let output = Command::new(program)
        .current_dir(home.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("--data-file")
        .arg(file)
        .args([
            "--validate-version",
            "1.2.0.1",
            "--block-download",
            "--applicability-criteria",
            CRITERIA,
        ])
        .args(["--output-type", "console", "--show-violations"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let rules: BTreeMap<String, String> = said
        .lines()
        .filter_map(|line| {
            let (_, line) = line.split_once(' ')?;
            let (rule, found) = line.split_once(": ")?;
            let found = found.split_whitespace().next()?;
            ["PASS", "FAIL", "SKIPPED"]
                .contains(&found)
                .then(|| (rule.to_owned(), found.to_owned()))
        })
        .collect();
    assert!(
        rules.len() > 500,
        "{} rules: {said}{}",
        rules.len(),
        String::from_utf8_lossy(&output.stderr)
    );
    rules
}

/// The rules that are violated.
fn violated(rules: &BTreeMap<String, String>) -> Vec<&str> {
    let (united, either) = UNITED;
    assert_eq!(rules[united], "PASS");
    let failed = rules.iter().filter(|(_, found)| *found == "FAIL");
    failed
        .map(|(rule, _)| rule.as_str())
        .filter(|rule| !either.contains(rule))
        .collect()
}

fn is_valid(world: &World, file: &str) {
    let Some(program) = tool_of("venv-focus", "focus-validator") else {
        return;
    };
    let rules = validated(&program, &world.folder.path().join(file));
    assert_eq!(violated(&rules), Vec::<&str>::new(), "{file}");
    let passed = rules.values().filter(|found| *found == "PASS").count();
    assert!(passed >= 300, "{file}: {passed} rules were asked");
}

#[test]
fn charges_of_a_platform_are_valid() {
    let world = platform(21);
    done(&world, &["export", "focus", "all.csv"]);
    is_valid(&world, "all.csv");
}

#[test]
fn charges_of_a_closed_month_with_a_later_bill_are_valid_and_others_are_not() {
    let world = closed_and_adjusted();
    done(&world, &["export", "focus", "all.csv"]);
    is_valid(&world, "all.csv");

    // The validator sees what is wrong.
    let Some(program) = tool_of("venv-focus", "focus-validator") else {
        return;
    };
    let wrong = world.folder.path().join("wrong.csv");
    let text = std::fs::read_to_string(world.folder.path().join("all.csv")).unwrap();
    std::fs::write(&wrong, text.replace(",USD,", ",usd,")).unwrap();
    let rules = validated(&program, &wrong);
    assert!(
        violated(&rules).contains(&"BillingCurrency-C-003-M"),
        "{:?}",
        violated(&rules)
    );
}

#[test]
fn charges_of_the_real_trace_are_valid() {
    let Some(trace) = shared_data("traces/k8s-nextflow-cws") else {
        return;
    };
    let world = World::new();
    let folder = world.folder.path().join("trace");
    let trace = if std::env::var_os("PODLEDGER_SOAK").is_some() {
        trace
    } else {
        sample(&trace, &folder);
        folder
    };
    let trace = trace.to_str().unwrap();
    done(
        &world,
        &[
            "import",
            "nextflow-cws",
            trace,
            "--price-as",
            "aws/us-east-1/m5.8xlarge",
        ],
    );
    done(&world, &["build"]);
    done(&world, &["export", "focus", "all.parquet"]);
    assert_eq!(
        super::of_file(
            &world,
            "all.parquet",
            "select sum(EffectiveCost) as cost from charges"
        ),
        world.rows("select sum(cost) as cost from marts.costs_daily")
    );
    is_valid(&world, "all.parquet");
}
