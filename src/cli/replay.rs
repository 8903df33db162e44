//! `podledger replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use podledger_simulator::{Change, Settings, recording};

use super::simulated::Listen;

/// Serve a recording as the API server of the cluster that was recorded, change by change.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger replay monday --listen 127.0.0.1:8001 --speed 60")]
pub struct Replay {
    /// A recording: a file, or a folder of *.jsonl.
    path: PathBuf,
    #[command(flatten)]
    listen: Listen,
}

impl Replay {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let address = self
            .listen
            .listen
            .context("say with --listen where to serve it")?;
        let mut changes = recording::changes(&self.path);
        let cannot = || format!("cannot replay {}", self.path.display());
        let first: Change = changes
            .next()
            .context("records no change")
            .with_context(cannot)?
            .with_context(cannot)?;
        let start = Timestamp::from_millisecond(first.at_ms)?;
        let rest = changes.map_while(|change| {
            change
                .inspect_err(|error| tracing::error!(%error, "the rest of the recording is not replayed"))
                .ok()
        });
        self.listen
            .serve(address, Settings::new(start), std::iter::once(first).chain(rest))?;
        Ok(ExitCode::SUCCESS)
    }
}
