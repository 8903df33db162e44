//! `podledger export focus`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::ToSpan as _;
use jiff::civil::Date;
use podledger_reports::display::dollars;
use podledger_reports::door::Format;
use podledger_reports::focus::{self, Request};
use podledger_sql::project::Project;

use super::Cli;
use super::export::Output;

/// Write cost and usage as FOCUS 1.2.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: podledger export focus november.csv --from 2026-11-01 --to 2026-12-01\n          \
                  podledger export focus all.parquet --allocation-columns"
)]
pub struct Focus {
    /// The file to write.
    file: PathBuf,
    /// First day, UTC [default: the first that was observed].
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Date>,
    /// The day after the last one, UTC [default: after the last that was observed].
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<Date>,
    /// How it is written [default: by the ending of the file's name].
    #[arg(long, value_enum)]
    format: Option<FocusFormat>,
    /// With the columns of split cost allocation, which FOCUS has since 1.3: AllocatedMethodId, AllocatedMethodDetails, AllocatedResourceId,
    /// AllocatedResourceName, AllocatedTags.
    #[arg(long)]
    allocation_columns: bool,
    /// BillingAccountId of the charges: a ledger knows of none.
    #[arg(long, value_name = "ID", default_value = "podledger")]
    billing_account: String,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// How charges are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FocusFormat {
    Csv,
    Parquet,
}

impl Focus {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let format = self.format()?;
        let ledger = cli.ledger_read_only()?;
        let project = cli.configuration()?.apply(Project::embedded()?)?;
        let (first, last) = focus::days(ledger.connection())?
            .context("nothing has been built: run `podledger import` and `podledger build` first")?;
        let request = Request {
            from: self.from.unwrap_or(first),
            to: self.to.unwrap_or_else(|| last.saturating_add(1.day())),
            billing_account: self.billing_account.clone(),
            has_allocation: self.allocation_columns,
        };
        if request.from >= request.to {
            anyhow::bail!("there is no day from {} to before {}", request.from, request.to);
        }
        let mut output = Output::begin(&self.file, self.force)?;
        let exported = focus::export(ledger.connection(), &project, &request, format, &mut output)?;
        output.finish()?;
        println!(
            "{}: {} charges, {}, from {} to before {} (UTC)",
            self.file.display(),
            exported.rows,
            dollars(exported.cost),
            request.from,
            request.to
        );
        if exported.unpriced_machine_days > 0 {
            eprintln!(
                "left out, because nobody knows a price: {} machine-days (`podledger summary` names them)",
                exported.unpriced_machine_days
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn format(&self) -> anyhow::Result<Format> {
        let ending = self.file.extension().and_then(|ending| ending.to_str());
        match (self.format, ending) {
            (Some(FocusFormat::Csv), _) | (None, Some("csv")) => Ok(Format::CsvForPeople),
            (Some(FocusFormat::Parquet), _) | (None, Some("parquet")) => Ok(Format::Parquet),
            _ => anyhow::bail!(
                "the name of {} does not tell how it is to be written: give --format",
                self.file.display()
            ),
        }
    }
}
