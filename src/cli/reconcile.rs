//! `podledger reconcile`.

use std::process::ExitCode;

use clap::Args;
use jiff::civil::Date;
use podledger_reports::display::{dollars, plain};
use podledger_sql::units::NanoUsd;

use super::Cli;

/// Hold bills against what machines cost.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger reconcile 2026-11")]
pub struct Reconcile {
    /// The month [default: the last one of which there is a bill].
    #[arg(value_name = "YYYY-MM", value_parser = month)]
    month: Option<Date>,
}

/// The first day of `YYYY-MM`.
fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01")
        .parse()
        .map_err(|_| format!("`{text}` is no month; write YYYY-MM, such as 2026-11"))
}

/// What each line says to who reads it, in the order of the tie-out.
const LINES: &[(&str, &str)] = &[
    ("attributed", "pods of teams and jobs"),
    ("shared", "node reservation, system, platform"),
    ("idle", "capacity that nobody held"),
    ("unobserved", "time in which nobody watched"),
    ("quantity_variance", "machine time charged for and not seen"),
    ("machines_not_seen", "machines of the scope that nobody saw"),
    ("out_of_scope", "charges outside of the scope"),
    (
        "commitment_unused",
        "savings plans and reservations that nobody used",
    ),
    ("other_services", "usage that is no machine's time"),
    ("purchases", "fees of commitments and others"),
    ("amortization", "fees paid at another time than what they are for"),
    ("credits", ""),
    ("tax", ""),
    ("adjustments", ""),
    ("partly_billed", "hours of machines that were charged for in part"),
    ("rounding", "below a nano-dollar per hour and charge"),
];

impl Reconcile {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let config = cli.configuration()?;
        let ledger = cli.ledger_read_only()?;
        let connection = ledger.connection();
        let month: Option<String> = match self.month {
            Some(month) => Some(month.to_string()),
            None => connection.query_row(
                "select cast(cast(date_trunc('month', max(charge_date)) as date) as varchar) from marts.billed_costs_daily",
                [],
                |row| row.get(0),
            )?,
        };
        let Some(month) = month else {
            println!(
                "no bill was imported: `podledger import --help` names the kinds, then run `podledger build`"
            );
            return Ok(ExitCode::SUCCESS);
        };
        let mut statement = connection.prepare(
            "select provider, billing_account_id, line, cast(cast(sum(amount) as decimal(38,9)) as varchar) from marts.reconciliation_daily \
             where date_trunc('month', charge_date) = cast(? as date) group by all order by all",
        )?;
        let rows = statement.query_map([&month], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
            ))
        })?;
        let mut lines = Vec::new();
        for row in rows {
            let (provider, account, line, amount) = row?;
            lines.push((provider, account, line, NanoUsd::from_decimal_str(&amount)?.get()));
        }
        println!(
            "{} · scope: {}",
            month.get(..7).unwrap_or(&month),
            config.billing.describe()
        );
        if lines.is_empty() {
            println!("no bill of this month was imported");
        }
        for bill in lines.chunk_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1)) {
            let Some((provider, account, ..)) = bill.first() else {
                continue;
            };
            println!("\n{} {}", plain(provider), plain(account));
            let amount = |name: &str| -> i64 {
                let of_line = bill.iter().filter(|(_, _, line, _)| line == name);
                of_line.map(|(.., nano)| nano).sum()
            };
            let mut invoice = 0;
            for (line, meaning) in LINES {
                let nano = amount(line);
                invoice += nano;
                if nano != 0 {
                    println!("  {line:<20} {:>18}  {meaning}", exact(nano));
                }
            }
            println!("  {:<20} {:>18}", "= invoice", exact(invoice));
            println!(
                "  machines were billed {} more than estimated",
                dollars(NanoUsd::from_nano(amount("price_variance")))
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Dollars with all nine decimals: this is where cents are not enough.
fn exact(nano: i64) -> String {
    NanoUsd::from_nano(nano).to_string()
}
