//! The command line: wiring only, one file per command.

mod advice;
mod bench;
mod bench_collect;
mod bench_recommend;
mod bench_serve;
mod bench_sql;
mod bucket;
mod build;
mod check;
mod clusters;
mod collect;
mod config;
mod dashboard;
mod demo;
mod export;
mod export_focus;
mod export_marts;
mod findings;
mod import;
mod import_aws_prices;
mod import_bills;
mod import_cost_explorer;
mod import_prometheus;
mod import_spot_prices;
mod recommend;
mod recommend_proof;
mod recommend_rows;
mod recommend_track;
mod reconcile;
mod record;
mod replay;
mod report;
mod report_advice;
mod rules;
mod serve;
mod simulate;
mod simulated;
mod sql;
mod sql_shell;
mod sql_source;
mod sql_worker;
mod status;
mod summary;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use podledger_analyzer::config::Config;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::Published;

/// Directory of data unless another is named.
const DEFAULT_DATA: &str = "podledger-data";

/// Exit code of a wrong configuration.
const WRONG_CONFIG: u8 = 2;

/// Exit code of a check that found a violation.
const VIOLATED: u8 = 3;

/// Usage metering and cost analytics for Kubernetes data platforms.
#[derive(Debug, Parser)]
#[command(
    name = "podledger",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 a check found a violation."
)]
pub struct Cli {
    /// Directory with the lake and the ledger.
    #[arg(
        long,
        global = true,
        env = "PODLEDGER_DATA",
        default_value = DEFAULT_DATA,
        value_name = "DIR"
    )]
    data: PathBuf,

    /// Configuration file [default: podledger.toml, if it is there].
    #[arg(long, global = true, env = "PODLEDGER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Bucket of an object store that lakes share, and where snapshots are published too: `s3://BUCKET/PREFIX`, `gs://`, `az://`,
    /// `abfss://` or `file:///FOLDER` [default: `bucket` of the configuration].
    #[arg(long, global = true, env = "PODLEDGER_BUCKET", value_name = "URL")]
    bucket: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Collect(collect::Collect),
    /// Bring in what others recorded.
    #[command(subcommand)]
    Import(import::Import),
    /// Take in new facts and compute what they cost.
    Build(build::Build),
    /// Run every check over the ledger.
    Check(check::Check),
    /// Say what it cost and where the money went.
    Summary(summary::Summary),
    Findings(findings::Findings),
    Reconcile(reconcile::Reconcile),
    Recommend(recommend::Recommend),
    /// Write what people read.
    #[command(subcommand)]
    Report(report::Report),
    /// Show and check the rules that say who a pod works for.
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    Sql(sql::Sql),
    #[command(hide = true)]
    SqlWorker(sql_worker::SqlWorker),
    /// Write what other programs read.
    #[command(subcommand)]
    Export(export::Export),
    /// Measure writing facts, building and asking, on generated pods.
    Bench(bench::Bench),
    Record(record::Record),
    Replay(replay::Replay),
    Simulate(simulate::Simulate),
    /// Make, list and revoke tokens, without which nobody reads the dashboard over a network.
    #[command(subcommand)]
    Token(token::Token),
    /// Write or check the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Runs the command.
///
/// # Errors
/// Whatever the command meets, with the object at fault and the mend.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Demo(command) => command.run(cli),
        Command::Serve(command) => command.run(cli),
        Command::Collect(command) => command.run(cli),
        Command::Import(command) => command.run(cli),
        Command::Build(command) => command.run(cli),
        Command::Check(command) => command.run(cli),
        Command::Summary(command) => command.run(cli),
        Command::Findings(command) => command.run(cli),
        Command::Recommend(command) => command.run(cli),
        Command::Report(command) => command.run(cli),
        Command::Rules(command) => command.run(cli),
        Command::Sql(command) => command.run(cli),
        Command::SqlWorker(command) => command.run(),
        Command::Export(command) => command.run(cli),
        Command::Bench(command) => command.run(cli),
        Command::Reconcile(command) => command.run(cli),
        Command::Record(command) => command.run(cli),
        Command::Replay(command) => command.run(),
        Command::Simulate(command) => command.run(),
        Command::Token(command) => command.run(cli),
        Command::Config(command) => command.run(cli),
    }
}

/// The exit code that an error asks for.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<podledger_analyzer::Error>() {
        Some(podledger_analyzer::Error::Config { .. }) => ExitCode::from(WRONG_CONFIG),
        Some(podledger_analyzer::Error::Violated { .. }) => ExitCode::from(VIOLATED),
        _ => ExitCode::FAILURE,
    }
}

impl Cli {
    /// What is logged unless `RUST_LOG` says otherwise: who runs on and on says what it does.
    pub fn log_filter(&self) -> &'static str {
        match self.command {
            Command::Serve(_) | Command::Collect(_) => {
                "warn,podledger=info,podledger_collector=info,podledger_reports=info"
            }
            _ => "warn",
        }
    }

    fn lake(&self) -> anyhow::Result<Lake> {
        Ok(Lake::open(&self.data.join("lake"))?)
    }

    fn ledger_path(&self) -> PathBuf {
        self.data.join("ledger.duckdb")
    }

    fn published(&self) -> Published {
        Published::new(&self.data.join("published"))
    }

    fn ledger(&self) -> anyhow::Result<Ledger> {
        std::fs::create_dir_all(&self.data)
            .with_context(|| format!("cannot create {}", self.data.display()))?;
        Ok(Ledger::open(&self.ledger_path())?)
    }

    fn ledger_read_only(&self) -> anyhow::Result<Ledger> {
        Ok(Ledger::open_read_only(&self.ledger_path())?)
    }

    fn configuration(&self) -> anyhow::Result<Config> {
        let default = PathBuf::from("podledger.toml");
        Ok(match &self.config {
            Some(path) => Config::read(path)?,
            None if default.exists() => Config::read(&default)?,
            None => Config::default(),
        })
    }
}
