//! `podledger sql-worker`: the process in which a query runs. Commands start it; nobody needs to.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use podledger_reports::door::{shut_in, work};
use podledger_sql::published::Published;
use podledger_sql::session::{Limits, Session};

/// Answer queries over published marts on a pair of pipes.
#[derive(Debug, Args)]
pub struct SqlWorker {
    published: PathBuf,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    threads: u32,
    #[arg(long)]
    process_bytes: u64,
    #[arg(long)]
    cpu_seconds: u64,
}

impl SqlWorker {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        // Before anything is given up: see there.
        let session = Session::new()?;
        let mut shut_in =
            shut_in(&self.published, self.process_bytes).context("cannot shut the process in")?;
        let limits = Limits {
            memory_bytes: self.memory_bytes,
            threads: self.threads,
        };
        work(
            &mut shut_in,
            session,
            &Published::new(&self.published),
            limits,
            self.cpu_seconds,
            &mut std::io::stdin().lock(),
            &mut std::io::stdout().lock(),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
