//! `podledger reconcile`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use duckdb::Connection;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_analyzer::build::build;
use podledger_analyzer::close::{Request, close};
use podledger_reports::bill_lines::{BILL_LINES, PRICE_VARIANCE};
use podledger_reports::display::{dollars, plain};
use podledger_sql::units::NanoUsd;

use super::{Cli, bucket};

/// Hold bills against what machines cost.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example: podledger reconcile 2026-11"
)]
pub struct Reconcile {
    /// The month [default: the last one of which there is a bill].
    #[arg(value_name = "YYYY-MM", value_parser = month)]
    month: Option<Date>,

    #[command(subcommand)]
    command: Option<ReconcileCommand>,
}

#[derive(Debug, Subcommand)]
enum ReconcileCommand {
    /// Freeze a month for good: later facts, prices and rules leave it alone, later bills become adjustments of an open month.
    #[command(after_help = "Example: podledger reconcile close 2026-11")]
    Close(Close),
}

#[derive(Debug, Args)]
struct Close {
    /// The month, UTC.
    #[arg(value_name = "YYYY-MM", value_parser = month)]
    month: Date,
    /// Close it without a bill, at the prices that are known.
    #[arg(long)]
    at_list_price: bool,
    /// A cluster of which nothing will come, although it was not observed to the month's end; may be given again.
    #[arg(long = "ended", value_name = "CLUSTER")]
    ended_clusters: Vec<String>,
}

impl Close {
    fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let (config, lake) = (cli.configuration()?, cli.lake()?);
        if !cli.ledger_path().exists() {
            anyhow::bail!(
                "there is no ledger in {}: run `podledger build` first",
                cli.data.display()
            );
        }
        let ledger = cli.ledger()?;
        let closed = close(
            &ledger,
            &lake,
            &config,
            &Request {
                month: self.month,
                at_list_price: self.at_list_price,
                ended_clusters: self.ended_clusters.clone(),
                closed_at: Timestamp::now(),
            },
        )?;
        println!(
            "closed {}: {} rows of costs and {} of prices, hash {}",
            self.month.strftime("%Y-%m"),
            closed.cost_rows,
            closed.price_rows,
            closed.content_hash
        );
        let (ledger, _) = build(ledger, &lake, &config, false)?;
        print_closed(ledger.connection(), &self.month.to_string())?;
        if let Some(bucket) = cli.bucket(&config)? {
            bucket::push(&bucket, &lake)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says that the month is closed, and what was booked of it since.
fn print_closed(connection: &Connection, month: &str) -> anyhow::Result<()> {
    let mut statement = connection.prepare(
        "select strftime(closed_at, '%Y-%m-%d %H:%M'), content_hash, basis, cast(cost as varchar), cast(adjusted_cost as varchar), \
         cast(restated_cost as varchar), strftime(adjusted_in, '%Y-%m') from marts.closed_months where closed_month = cast(? as date)",
    )?;
    let rows = statement.query_map([month], |row| {
        Ok((
            [row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(6)?],
            [row.get::<_, Option<String>>(3)?, row.get(4)?, row.get(5)?],
        ))
    })?;
    for row in rows {
        let ([closed_at, hash, basis, open], amounts) = row?;
        let basis = if basis == "bill" {
            "with a bill"
        } else {
            "without a bill"
        };
        let [cost, adjusted, restated] = amounts.map(|amount| amount.unwrap_or_else(|| "unknown".to_owned()));
        println!("\nclosed {closed_at} UTC {basis}, hash {hash}");
        println!("  {:<20} {cost:>18}  what it is, whatever comes later", "closed");
        println!(
            "  {:<20} {adjusted:>18}  by later bills; the next in {open}",
            "adjusted"
        );
        println!(
            "  {:<20} {restated:>18}  what facts, bills and rules of now would make of it",
            "restated"
        );
    }
    Ok(())
}

/// The first day of `YYYY-MM`.
fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01")
        .parse()
        .map_err(|_| format!("`{text}` is no month; write YYYY-MM, such as 2026-11"))
}

impl Reconcile {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        if let Some(ReconcileCommand::Close(command)) = &self.command {
            return command.run(cli);
        }
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
            for (line, meaning) in BILL_LINES {
                let nano = amount(line);
                invoice += nano;
                if nano != 0 {
                    println!("  {line:<20} {:>18}  {meaning}", exact(nano));
                }
            }
            println!("  {:<20} {:>18}", "= invoice", exact(invoice));
            println!(
                "  machines were billed {} more than estimated",
                dollars(NanoUsd::from_nano(amount(PRICE_VARIANCE)))
            );
        }
        print_closed(connection, &month)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Dollars with all nine decimals: this is where cents are not enough.
fn exact(nano: i64) -> String {
    NanoUsd::from_nano(nano).to_string()
}
