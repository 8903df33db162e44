//! `podledger check`.

use std::process::ExitCode;

use clap::Args;
use podledger_analyzer::build::{check, describe};

use super::{Cli, VIOLATED};

/// Run every check over the whole ledger; nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger --data real check")]
pub struct Check {}

impl Check {
    #[expect(clippy::unused_self, reason = "commands run alike")]
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        if !cli.ledger_path().exists() {
            anyhow::bail!(
                "there is no ledger in {}: run `podledger build` first",
                cli.data.display()
            );
        }
        let ledger = cli.ledger()?;
        let failures = check(&ledger, &cli.configuration()?)?;
        for failure in &failures {
            println!("violated: {}", describe(failure));
        }
        if failures.is_empty() {
            let hours: i64 = ledger.connection().query_row(
                "select coalesce(sum(value), 0)::bigint from marts.data_quality where measure = 'machine_hours'",
                [],
                |row| row.get(0),
            )?;
            println!("ok: {hours} machine-hours, 0 nano-dollars off");
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::from(VIOLATED))
    }
}
