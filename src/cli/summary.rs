//! `podledger summary`.

use std::process::ExitCode;

use clap::Args;
use duckdb::Connection;
use podledger_reports::basis::basis;
use podledger_reports::display::{dollars, plain};
use podledger_sql::units::NanoUsd;

use super::Cli;

/// Say what it cost and where the money went.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger --data real summary")]
pub struct Summary {}

/// Nano-dollars of a DECIMAL(18,9), as text: exact, and NULL stays NULL.
const NANO: &str = "cast(cast(sum(cost) as decimal(38,9)) as varchar)";

/// How much of what has no price is named.
const UNPRICED_SHOWN: usize = 20;

impl Summary {
    #[expect(clippy::unused_self, reason = "commands run alike")]
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let ledger = cli.ledger_read_only()?;
        let connection = ledger.connection();
        let (first, last): (Option<String>, Option<String>) = connection.query_row(
            "select cast(min(charge_date) as varchar), cast(max(charge_date) as varchar) from marts.costs_daily",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (Some(first), Some(last)) = (first, last) else {
            println!("nothing has been built: run `podledger import` and `podledger build`");
            return Ok(ExitCode::SUCCESS);
        };
        let total = amounts(
            connection,
            &format!("select 'total', {NANO} from marts.costs_daily"),
        )?;
        let total = total.first().map_or(0, |(_, nano)| *nano);
        let billed = amounts(
            connection,
            &format!("select 'billed', {NANO} from marts.billed_costs_hourly"),
        )?;
        let billed = billed.first().map_or(0, |(_, nano)| *nano);
        let (total_cost, billed) = (NanoUsd::from_nano(total), NanoUsd::from_nano(billed));
        println!(
            "{first} to {last} (UTC)   {}   {}\n",
            dollars(total_cost),
            basis(billed, total_cost)
        );

        println!("WHERE EACH DOLLAR WENT");
        table(
            &amounts(
                connection,
                &format!(
                    "select cost_category, {NANO} from marts.costs_daily inner join marts.cost_categories using (cost_category) \
                     group by cost_category, position order by position"
                ),
            )?,
            total,
        );
        for (title, column) in [("TEAMS", "team"), ("PIPELINES", "pipeline")] {
            println!("\n{title} (direct cost of pods)");
            table(
                &amounts(
                    connection,
                    &format!(
                        "select {column}, {NANO} from marts.costs_daily inner join marts.cost_categories using (cost_category) \
                         where category_group not in ('idle', 'unobserved') and cost_category <> 'node_reserved' \
                         group by {column} order by sum(cost) desc nulls last, {column}"
                    ),
                )?,
                total,
            );
        }
        println!("\nWHAT TO KNOW");
        let mut statement = connection.prepare(
            "select measure, unit, cast(sum(value) as bigint) from marts.data_quality group by measure, unit \
             having sum(value) <> 0 order by measure",
        )?;
        let measures = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for measure in measures {
            let (measure, unit, value): (String, String, i64) = measure?;
            let shown = if unit == "nano-usd" {
                dollars(NanoUsd::from_nano(value))
            } else {
                format!("{value} {unit}")
            };
            println!("  {:<34} {shown:>24}", measure.trim_end_matches("_nano"));
        }
        let mut statement = connection.prepare(
            "select resource_kind, coalesce(resource_type, '(none)'), coalesce(region, '(unknown)'), \
             mend || coalesce(': ' || configuration, ''), cast(sum(resources) as bigint) \
             from marts.unpriced_resources group by 1, 2, 3, 4 order by sum(unpriced_ms) desc, 1, 2, 3, 4",
        )?;
        let rows = statement.query_map([], |row| {
            let texts = [row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok((texts, row.get::<_, i64>(4)?))
        })?;
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        for (texts, resources) in rows.iter().take(UNPRICED_SHOWN) {
            let [kind, name, region, mend] = texts.each_ref().map(|text| plain(text));
            println!("  no price: {resources} of {kind} {name} in {region}: {mend}");
        }
        if rows.len() > UNPRICED_SHOWN {
            println!(
                "  no price: {} more in marts.unpriced_resources",
                rows.len() - UNPRICED_SHOWN
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn amounts(connection: &Connection, query: &str) -> anyhow::Result<Vec<(String, i64)>> {
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    let mut amounts = Vec::new();
    for row in rows {
        let (name, cost) = row?;
        if let Some(cost) = cost {
            amounts.push((plain(&name), NanoUsd::from_decimal_str(&cost)?.get()));
        }
    }
    Ok(amounts)
}

fn table(rows: &[(String, i64)], total: i64) {
    for (name, nano) in rows {
        let tenths = if total == 0 {
            0
        } else {
            i128::from(*nano) * 1000 / i128::from(total)
        };
        println!(
            "  {name:<26} {:>14} {:>5}.{}%",
            dollars(NanoUsd::from_nano(*nano)),
            tenths / 10,
            tenths.unsigned_abs() % 10
        );
    }
}
