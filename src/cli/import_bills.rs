//! `podledger import focus`, `cur`, `gcp-billing`, `azure-costs`, and what these bills have in common with `cost-explorer`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_collector::import::Imported;
use podledger_collector::import::bills::{self, Format, Totals};

use super::Cli;

/// A bill, and what it does not tell of itself.
#[derive(Debug, Args)]
pub struct Bill {
    /// A file, or a folder whose files are one delivery of the bill.
    path: PathBuf,
    #[command(flatten)]
    filing: Filing,
}

/// How a bill is filed.
#[derive(Debug, Args)]
pub struct Filing {
    /// What the bill is filed under. Of one source, billing account and billing period only the newest delivery counts; bills of other
    /// sources stand beside it [default: exports; cost-explorer for what Cost Explorer answered].
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The billing account of rows that do not tell theirs.
    #[arg(long, value_name = "ID")]
    billing_account: Option<String>,
    /// Take amounts without a currency for US dollars.
    #[arg(long)]
    assume_usd: bool,
    /// When the provider wrote it: of two deliveries the later counts [default: now].
    #[arg(long, value_name = "INSTANT")]
    delivered_at: Option<Timestamp>,
    /// UTC date under which the facts are filed [default: today].
    #[arg(long, value_name = "YYYY-MM-DD")]
    recorded_date: Option<Date>,
}

impl Bill {
    pub fn run(&self, cli: &Cli, format: Format, bar: &ProgressBar, today: Date) -> anyhow::Result<Imported> {
        import(cli, &self.path, format, &self.filing, bar, today)
    }
}

impl Filing {
    pub fn options(&self, source: &str, today: Date) -> bills::Options {
        bills::Options {
            source: self.source.clone().unwrap_or_else(|| source.to_owned()),
            billing_account: self.billing_account.clone(),
            assume_usd: self.assume_usd,
            delivered_at: self.delivered_at.unwrap_or_else(Timestamp::now),
            recorded_date: self.recorded_date.unwrap_or(today),
        }
    }
}

/// Imports files.
pub fn import(
    cli: &Cli,
    path: &Path,
    format: Format,
    filing: &Filing,
    bar: &ProgressBar,
    today: Date,
) -> anyhow::Result<Imported> {
    let source = match format {
        Format::CostExplorer => bills::COST_EXPLORER,
        Format::Focus | Format::Cur | Format::Gcp | Format::Azure => bills::EXPORTS,
    };
    let progress = |file: &str| {
        bar.set_message(format!("importing {file}"));
        bar.tick();
    };
    let (imported, totals) = bills::import(
        &cli.lake()?,
        path,
        format,
        &filing.options(source, today),
        &progress,
    )
    .with_context(|| format!("cannot import {}; nothing was written", path.display()))?;
    bar.finish_and_clear();
    print(&totals);
    Ok(imported)
}

pub fn print(totals: &Totals) {
    let days = totals
        .days
        .as_ref()
        .map_or_else(String::new, |(first, last)| format!(", {first} to {last} (UTC)"));
    println!(
        "{} charges of {} rows in {} files{days}",
        totals.charges, totals.rows, totals.files
    );
    println!("  billed    {:>24} USD", totals.billed_usd);
    println!("  effective {:>24} USD", totals.effective_usd);
    if totals.without_effective_cost > 0 {
        println!(
            "  {:>9} charges do not tell their effective cost; it is counted as what was billed, and restates no machine",
            totals.without_effective_cost
        );
    }
    if totals.rounded_rows > 0 {
        println!(
            "  {:>9} rows have more than eighteen decimals and are rounded, which adds {} USD",
            totals.rounded_rows,
            totals.rounding_usd.join(" + ")
        );
    }
}
