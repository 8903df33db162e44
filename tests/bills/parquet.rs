//! A delivery in Parquet says what the same delivery says in CSV.

use std::path::Path;

use duckdb::Connection;
use podledger_collector::import::bills::Format;

use super::restated::{given_two_machines, machine_costs};
use super::{file, import};
use crate::harness::{World, shared_data};

/// Writes the rows of a CSV that `filter` keeps as Parquet, with the types that `typed` gives to columns; all others are texts.
fn parquet(csv: &Path, typed: &str, filter: &str, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    Connection::open_in_memory()
        .unwrap()
        .execute_batch(&format!(
            "copy (select * replace ({typed}) from read_csv('{}', all_varchar = true, nullstr = ['', 'NULL']) where {filter}) to '{}' (format parquet)",
            csv.display(),
            to.display()
        ))
        .unwrap();
}

/// What a delivery becomes: its totals, its charges without where they stood, and what they make of machines and of the invoice.
fn told(path: &Path, format: Format) -> (Vec<String>, Vec<String>) {
    let world = World::new();
    given_two_machines(&world);
    let (_, totals) = import(&world, path, format);
    world.build(true);
    let charges = world.rows(
        "select * exclude (delivery, source_file, source_row, build_id) from raw.billed_charges order by all",
    );
    let mut made = vec![
        totals.rows.to_string(),
        totals.charges.to_string(),
        totals.billed_usd,
        totals.effective_usd,
    ];
    made.extend(machine_costs(&world));
    made.extend(world.rows("from marts.billed_costs_daily order by all"));
    made.extend(world.rows("from marts.reconciliation_daily order by all"));
    (charges, made)
}

const CUR_2: &str = "\
bill_payer_account_id,bill_billing_period_start_date,line_item_usage_account_id,line_item_line_item_type,line_item_usage_start_date,\
line_item_usage_end_date,line_item_product_code,line_item_usage_type,line_item_resource_id,line_item_usage_amount,pricing_unit,\
line_item_unblended_cost,line_item_net_unblended_cost,line_item_currency_code,product_region_code,product,discount,\
reservation_reservation_a_r_n,reservation_effective_cost,reservation_net_effective_cost,reservation_unused_recurring_fee,resource_tags
1,2026-11-01 00:00:00,2,Usage,2026-11-16 10:00:00,2026-11-16 11:00:00,AmazonEC2,BoxUsage:t,i-1,1.0,Hrs,0.123456789,0.1111111101,USD,us-east-1,\
\"{\"\"vcpu\"\":\"\"4\"\"}\",\"{\"\"edp_discount\"\":-0.0123456789}\",,,,,\"{\"\"user_team\"\":\"\"ml\"\",\"\"user_cluster\"\":\"\"prod\"\"}\"
1,2026-11-01 00:00:00,2,DiscountedUsage,2026-11-16 10:00:00,2026-11-16 11:00:00,AmazonEC2,BoxUsage:t,i-2,1.0,Hrs,0,0,USD,us-east-1,{},{},\
arn:ri,0.0600000001,0.0540000001,,{}
1,2026-11-01 00:00:00,2,RIFee,2026-11-01 00:00:00,2026-12-01 00:00:00,AmazonEC2,HeavyUsage:t,,720.0,Hrs,50,45,USD,us-east-1,{},{},arn:ri,,,2.5,{}
1,2026-11-01 00:00:00,2,Usage,2026-11-16 10:00:00,2026-11-16 11:00:00,AmazonS3,Requests-Tier1,bucket,1.0,,5e-07,4.5e-07,USD,us-east-1,{},{},,,,,{}
";

#[test]
fn cur_2_in_parquet_is_cur_2_in_csv() {
    let world = World::new();
    let csv = file(&world, "cur.csv", CUR_2);
    // As Data Exports writes it: floating point, instants, maps, in pieces below a folder of the billing period.
    let typed = "cast(bill_billing_period_start_date as timestamp) as bill_billing_period_start_date, \
                 cast(line_item_usage_start_date as timestamp) as line_item_usage_start_date, \
                 cast(line_item_usage_end_date as timestamp) as line_item_usage_end_date, \
                 cast(line_item_usage_amount as double) as line_item_usage_amount, \
                 cast(line_item_unblended_cost as double) as line_item_unblended_cost, \
                 cast(line_item_net_unblended_cost as double) as line_item_net_unblended_cost, \
                 cast(reservation_effective_cost as double) as reservation_effective_cost, \
                 cast(reservation_net_effective_cost as double) as reservation_net_effective_cost, \
                 cast(reservation_unused_recurring_fee as double) as reservation_unused_recurring_fee, \
                 cast(cast(product as json) as map(varchar, varchar)) as product, \
                 cast(cast(discount as json) as map(varchar, double)) as discount, \
                 cast(cast(resource_tags as json) as map(varchar, varchar)) as resource_tags";
    let folder = world.folder.path().join("export");
    for (piece, filter) in [
        ("00001", "line_item_product_code = 'AmazonEC2'"),
        ("00002", "line_item_product_code <> 'AmazonEC2'"),
    ] {
        let to = folder.join(format!("BILLING_PERIOD=2026-11/cur-{piece}.snappy.parquet"));
        parquet(&csv, typed, filter, &to);
    }
    let (charges, made) = told(&csv, Format::Cur);
    assert_eq!(
        made[..6],
        [
            "4",
            "5",
            "45.1111115601",
            "2.6651115602",
            "m|0.111111110",
            "n|0.054000000"
        ]
    );
    assert!(
        charges.iter().any(|row| row.contains("{team=ml, cluster=prod}")),
        "{charges:?}"
    );
    assert_eq!(told(&folder, Format::Cur), (charges, made));
}

#[test]
fn focus_in_parquet_is_focus_in_csv() {
    let Some(sample) = shared_data("billing/focus-1.0-sample/focus_sample_1000.csv.gz") else {
        return;
    };
    let world = World::new();
    let instants = [
        "BillingPeriodStart",
        "BillingPeriodEnd",
        "ChargePeriodStart",
        "ChargePeriodEnd",
    ]
    .map(|column| format!("cast({column} as timestamptz) as {column}"));
    let amounts = [
        "BilledCost",
        "EffectiveCost",
        "ListCost",
        "ContractedCost",
        "PricingQuantity",
        "ConsumedQuantity",
    ]
    .map(|column| format!("cast({column} as decimal(38,18)) as {column}"));
    let typed = format!(
        "{}, {}, cast(cast(Tags as json) as map(varchar, varchar)) as Tags",
        instants.join(", "),
        amounts.join(", ")
    );
    let to = world.folder.path().join("focus.parquet");
    parquet(&sample, &typed, "true", &to);
    let (charges, made) = told(&sample, Format::Focus);
    assert_eq!(charges.len(), 1000);
    assert_eq!(told(&to, Format::Focus), (charges, made));
}
