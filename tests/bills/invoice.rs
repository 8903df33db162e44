//! A simulated month, and the invoice that its truth makes: on demand, spot, a plan for the machines that are always there, credits, and
//! what the account has beside the cluster.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::date;
use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::{query, recording};
use podledger_simulator::truth::{MachineTruth, PodTruth};
use podledger_simulator::{Scenario, Told, record};

use crate::harness::World;
use crate::simulated::scenario;

pub(super) const HOUR: i64 = 3_600_000;

/// All of November: from Sunday 2026-11-01, 00:00 UTC.
const START_MS: i64 = 1_793_491_200_000;
pub(super) const DAYS: i64 = 30;

const HEADER: &str = "ProviderName,BillingAccountId,SubAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,\
                      ChargePeriodEnd,ChargeCategory,ServiceName,ServiceCategory,PricingCategory,ResourceId,CommitmentDiscountId,\
                      CommitmentDiscountStatus,ConsumedQuantity,ConsumedUnit,RegionId,BilledCost,EffectiveCost,x_UsageType";

/// Amounts in attodollars: the eighteenth decimal of a dollar.
#[derive(Default, Clone)]
pub(super) struct Row {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) category: &'static str,
    pub(super) service: &'static str,
    pub(super) pricing: &'static str,
    pub(super) resource: String,
    pub(super) status: &'static str,
    /// Milliseconds of a machine.
    pub(super) used_ms: Option<i64>,
    pub(super) billed: i128,
    pub(super) effective: i128,
    pub(super) usage_type: String,
}

pub(super) fn decimal(atto: i128) -> String {
    const ONE: u128 = 1_000_000_000_000_000_000;
    let sign = if atto < 0 { "-" } else { "" };
    let atto = atto.unsigned_abs();
    format!("{sign}{}.{:018}", atto / ONE, atto % ONE)
}

fn instant(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}

pub(super) fn focus(rows: &[Row]) -> String {
    let mut text = format!("{HEADER}\n");
    for row in rows {
        // Hours with ten decimals, as AWS has them.
        let hours = row.used_ms.map_or_else(String::new, |ms| {
            let hours = (i128::from(ms) * 10_000_000_000 + i128::from(HOUR) / 2) / i128::from(HOUR);
            format!("{}.{:010}", hours / 10_000_000_000, hours % 10_000_000_000)
        });
        let unit = if row.used_ms.is_some() { "Hrs" } else { "" };
        let commitment = if row.status.is_empty() { "" } else { "sp-1" };
        writeln!(
            text,
            "AWS,payer,111,USD,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,{},{},{},{},Compute,{},{},{commitment},{},{hours},{unit},sim-east-1,{},{},{}",
            instant(row.from_ms),
            instant(row.to_ms),
            row.category,
            row.service,
            row.pricing,
            row.resource,
            row.status,
            decimal(row.billed),
            decimal(row.effective),
            row.usage_type,
        )
        .unwrap();
    }
    text
}

/// What a machine is charged for: hour by hour, and apart where its price changes.
pub(super) fn charges(machine: &MachineTruth) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut hour = machine.launched_ms - machine.launched_ms % HOUR;
    while hour < machine.end_ms {
        for (number, (since_ms, nano)) in machine.prices.iter().enumerate() {
            let until_ms = machine.prices.get(number + 1).map_or(i64::MAX, |next| next.0);
            let (from_ms, to_ms) = (hour.max(*since_ms), (hour + HOUR).min(until_ms));
            let used_ms = to_ms.min(machine.end_ms) - from_ms.max(machine.launched_ms);
            if from_ms >= to_ms || used_ms <= 0 {
                continue;
            }
            let effective = i128::from(*nano) * i128::from(used_ms) * 1_000_000_000 / i128::from(HOUR);
            // The plan covers the pool that is always there and nothing else.
            let is_covered = machine.pool == "services";
            let is_spot = machine.capacity_type == "spot";
            let what = if is_spot { "SpotUsage" } else { "BoxUsage" };
            rows.push(Row {
                from_ms,
                to_ms,
                category: "Usage",
                service: "Amazon Elastic Compute Cloud",
                pricing: match (is_covered, is_spot) {
                    (true, _) => "Committed",
                    (_, true) => "Dynamic",
                    _ => "Standard",
                },
                resource: format!(
                    "arn:aws:ec2:sim-east-1:111:instance/{}",
                    machine.provider_id.rsplit('/').next().unwrap()
                ),
                status: if is_covered { "Used" } else { "" },
                used_ms: Some(used_ms),
                billed: if is_covered { 0 } else { effective },
                effective,
                usage_type: format!("{what}:{}", machine.instance_type),
            });
        }
        hour += HOUR;
    }
    rows
}

/// What else is on the invoice: a machine of somebody else, a plan's fee and what of it nobody used, storage, traffic of a machine, a
/// credit, tax.
pub(super) fn others(machines: &[MachineTruth], rows: &[Row]) -> Vec<Row> {
    let mut others = Vec::new();
    let covered: i128 = rows
        .iter()
        .filter(|row| row.status == "Used")
        .map(|row| row.effective)
        .sum();
    for hour in 0..DAYS * 24 {
        let row = Row {
            from_ms: START_MS + hour * HOUR,
            to_ms: START_MS + (hour + 1) * HOUR,
            category: "Usage",
            service: "Amazon Elastic Compute Cloud",
            ..Row::default()
        };
        others.push(Row {
            pricing: "Standard",
            resource: "i-0outside".to_owned(),
            used_ms: Some(HOUR),
            billed: 96_000_000_000_000_000,
            effective: 96_000_000_000_000_000,
            usage_type: "BoxUsage:m5.large".to_owned(),
            ..row.clone()
        });
        others.push(Row {
            pricing: "Committed",
            status: "Unused",
            effective: 12_345_678_901_234_567,
            ..row
        });
    }
    let whole = Row {
        from_ms: START_MS,
        to_ms: START_MS + 24 * HOUR,
        ..Row::default()
    };
    others.push(Row {
        category: "Purchase",
        service: "Savings Plans for AWS Compute usage",
        billed: covered + i128::from(DAYS) * 24 * 12_345_678_901_234_567,
        ..whole.clone()
    });
    let traffic = machines[0].provider_id.rsplit('/').next().unwrap();
    for (category, service, resource, amount) in [
        (
            "Usage",
            "Amazon Simple Storage Service",
            "bucket",
            7_000_000_000_000_000_001,
        ),
        (
            "Usage",
            "Amazon Elastic Compute Cloud",
            traffic,
            1_650_000_000_000_003,
        ),
        (
            "Credit",
            "Amazon Elastic Compute Cloud",
            "",
            -2_000_000_000_000_000_000,
        ),
        ("Tax", "Tax", "", 3_210_000_000_000_000_000),
    ] {
        others.push(Row {
            category,
            service,
            resource: resource.to_owned(),
            billed: amount,
            effective: amount,
            usage_type: "DataTransfer-Out-Bytes".to_owned(),
            ..whole.clone()
        });
    }
    others
}

/// A ledger of a scenario at list prices that are a quarter too high, and what is true of it.
pub(super) fn ledger_of_the_month() -> (World, Vec<PodTruth>, Vec<MachineTruth>) {
    let world = World::new();
    let out = world.folder.path().join("recorded");
    std::fs::create_dir(&out).unwrap();
    let (mut pods, mut machines) = (Vec::new(), Vec::new());
    let month = Scenario {
        start_ms: START_MS,
        teams: 2,
        ..scenario(11, u32::try_from(DAYS).unwrap(), 4)
    };
    record(month, &out, |told| match told {
        Told::Pod(pod) => pods.push(pod.clone()),
        Told::Machine(machine) => machines.push(machine.clone()),
        Told::Volume(_) | Told::Run(_) | Told::Change(_) | Told::Usage(_) => {}
    })
    .unwrap();
    world.given(
        "prices",
        &format!(
            "select provider, region, instance_type, capacity_type, cast(valid_from as timestamp) as valid_from_at, \
             cast(cast(hourly_usd as decimal(18,9)) * 1.25 as decimal(18,9)) as hourly_usd, 'list' as source \
             from read_csv('{}', all_varchar = true)",
            out.join("prices.csv").display()
        ),
    );
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: date(2026, 12, 1),
    };
    recording::import(&world.lake(), &out, &options).unwrap();
    let usage = format!("from '{}'", out.join("usage.csv").display());
    query::import_query(&world.lake(), "usage_hours", &usage, date(2026, 12, 1)).unwrap();
    world.build(true);
    (world, pods, machines)
}
