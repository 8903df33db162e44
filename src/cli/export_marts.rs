//! `podledger export parquet` and `podledger export csv`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use duckdb::Connection;
use jiff::civil::Date;
use podledger_reports::door::Format;
use podledger_reports::mart_files::{self, Days};
use podledger_sql::ledger::scratch;
use podledger_sql::published::{PublishedMart, manifest};

use super::Cli;
use super::export::{MARK, Output, refuse_others};

/// Write marts as they were published last.
#[derive(Debug, Args)]
pub struct Marts {
    /// A folder that gets a file for every mart; with --mart, a file.
    path: PathBuf,
    /// One mart instead of all.
    #[arg(long, value_name = "NAME")]
    mart: Option<String>,
    /// First day, UTC, of marts that tell time.
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Date>,
    /// The day after the last one.
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<Date>,
    /// Replace a file that is there.
    #[arg(long, requires = "mart")]
    force: bool,
}

/// How marts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Parquet,
    Csv,
}

impl Written {
    fn format(self) -> Format {
        match self {
            Self::Parquet => Format::Parquet,
            Self::Csv => Format::CsvForPeople,
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

impl Marts {
    pub fn run(&self, cli: &Cli, written: Written) -> anyhow::Result<ExitCode> {
        let nothing = "nothing is published: run `podledger build` first";
        let folder = cli.published().current()?.context(nothing)?;
        let marts = manifest(&folder)?.context(nothing)?.marts;
        let connection = scratch()?;
        let days = Days {
            from: self.from,
            to: self.to,
        };
        if let Some(name) = &self.mart {
            let mart = marts.iter().find(|mart| mart.name == *name).with_context(|| {
                let known: Vec<&str> = marts.iter().map(|mart| mart.name.as_str()).collect();
                format!("there is no mart `{name}`; there are {}", known.join(", "))
            })?;
            if !days.is_all() && mart_files::time_of(mart).is_none() {
                anyhow::bail!("{name} does not tell time: leave out --from and --to");
            }
            let rows = write(&connection, &folder, mart, days, written, &self.path, self.force)?;
            println!("{}: {rows} rows", self.path.display());
            return Ok(ExitCode::SUCCESS);
        }
        refuse_others(&self.path)?;
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot create {}", self.path.display()))?;
        Output::begin(&self.path.join(MARK), true)?.finish()?;
        for mart in &marts {
            let file = self.path.join(format!("{}.{}", mart.name, written.ending()));
            let rows = write(&connection, &folder, mart, days, written, &file, true)?;
            let is_whole = !days.is_all() && mart_files::time_of(mart).is_none();
            let note = if is_whole {
                ", all of them: it tells no time"
            } else {
                ""
            };
            println!("{}: {rows} rows{note}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(
    connection: &Connection,
    folder: &Path,
    mart: &PublishedMart,
    days: Days,
    written: Written,
    path: &Path,
    may_replace: bool,
) -> anyhow::Result<u64> {
    let mut output = Output::begin(path, may_replace)?;
    let rows = mart_files::write(connection, folder, mart, days, written.format(), &mut output)
        .with_context(|| format!("cannot export {}", mart.name))?;
    output.finish()?;
    Ok(rows)
}
