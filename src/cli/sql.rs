//! `podledger sql`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use podledger_sql::judge::judge;

use super::Cli;

/// Ask one read-only question over the marts.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: podledger sql \"select pipeline, sum(cost) from costs_daily group by all order by 2 desc\""
)]
pub struct Sql {
    /// The query; tables are those of `marts`.
    query: String,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

impl Sql {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let ledger = cli.ledger_read_only()?;
        judge(ledger.connection(), &self.query)?;
        let mut statement = ledger
            .connection()
            .prepare(&self.query)
            .context("cannot prepare the query")?;
        let rows = statement.query_arrow([]).context("cannot run the query")?;
        let schema = rows.get_schema();
        let mut batches: Vec<RecordBatch> = rows.collect();
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Table => writeln!(out, "{}", pretty_format_batches(&batches)?)?,
            Format::Csv => {
                let mut writer = arrow::csv::Writer::new(out);
                for batch in &batches {
                    writer.write(batch)?;
                }
            }
            Format::Json => {
                let mut writer = arrow::json::ArrayWriter::new(&mut out);
                for batch in &batches {
                    writer.write(batch)?;
                }
                writer.finish()?;
                writeln!(out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
