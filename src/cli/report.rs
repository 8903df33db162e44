//! `podledger report`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use duckdb::Connection;
use podledger_reports::display::hex;
use podledger_reports::weekly::{self, Request, Week, Weekly};
use sha2::{Digest, Sha256};

use super::Cli;
use super::report_advice::advise;

/// Write a report.
#[derive(Debug, Subcommand)]
pub enum Report {
    /// What a week cost, where the money went, why it changed, and what to do next.
    Weekly(WeeklyReport),
}

/// Write the report of a week.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger report weekly --week 2026-W46 --zone Europe/Berlin --out reports")]
pub struct WeeklyReport {
    /// ISO week [default: the last one that was observed whole, else the last].
    #[arg(long, value_name = "YYYY-Www")]
    week: Option<String>,
    /// One team instead of all.
    #[arg(long)]
    team: Option<String>,
    /// IANA name of the zone in which weeks begin at Monday's midnight.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// Which formats are written.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "html,md")]
    format: Vec<Format>,
    /// Leave out what containers should ask for: a replay of the week takes its time.
    #[arg(long)]
    without_advice: bool,
    /// Folder to write into.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
}

/// A format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Html,
    Md,
    Csv,
    Json,
    Xlsx,
}

impl Report {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let Self::Weekly(report) = self;
        report.run(cli)
    }
}

impl WeeklyReport {
    fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let ledger = cli.ledger_read_only()?;
        let week = match &self.week {
            Some(week) => Week::parse(week, &self.zone)?,
            None => last_week(ledger.connection(), &self.zone)?,
        };
        let request = Request {
            week,
            team: self.team.clone(),
        };
        let mut report = weekly::weekly(ledger.connection(), &request)?;
        if !self.without_advice {
            advise(&mut report, ledger.connection(), &request)?;
        }
        for path in write(&report, &self.format, &self.out)? {
            println!("{}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The last week that was observed whole, or else the last that was observed at all.
pub fn last_week(connection: &Connection, zone: &str) -> anyhow::Result<Week> {
    Week::last_observed(&weekly::clusters(connection)?, zone)?
        .context("nothing has been built: run `podledger import` and `podledger build` first")
}

/// Writes a report in each format; returns the files.
pub fn write(report: &Weekly, formats: &[Format], out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let stem = match &report.team {
        Some(team) => format!("{}-{}", report.week, file_name(team)),
        None => report.week.clone(),
    };
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for format in formats {
        match format {
            Format::Html => files.push((format!("{stem}.html"), weekly::html(report)?.into_bytes())),
            Format::Md => files.push((format!("{stem}.md"), weekly::markdown(report).into_bytes())),
            Format::Json => files.push((format!("{stem}.json"), weekly::json(report)?.into_bytes())),
            Format::Xlsx => files.push((format!("{stem}.xlsx"), weekly::xlsx(report)?)),
            Format::Csv => {
                for table in weekly::tables(report) {
                    files.push((
                        format!("{stem}-{}.csv", table.name),
                        weekly::csv(&table)?.into_bytes(),
                    ));
                }
            }
        }
    }
    let mut paths = Vec::new();
    for (name, bytes) in files {
        let path = out.join(name);
        write_private(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// A team's name as part of a file's. What cannot be part of one is left out, and a checksum then tells it from others.
fn file_name(team: &str) -> String {
    let name: String = team
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter))
        .take(60)
        .collect();
    if name == team {
        return name;
    }
    let mut sum = hex(&Sha256::digest(team));
    sum.truncate(8);
    format!("{name}-{sum}")
}

/// Writes a file that nobody else may read: what teams cost is theirs to tell.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}
