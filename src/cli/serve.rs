//! `podledger serve`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use podledger_analyzer::build::build;
use podledger_analyzer::config::Config;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::Cli;
use super::collect::{Live, runtime, stopped_by_signal};

/// The whole line in one process: watch clusters, and compute what they cost, over and over.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger --data /var/lib/podledger serve")]
pub struct Serve {
    #[command(flatten)]
    live: Live,
    /// How often costs are computed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    build_every: u64,
}

/// What builds tell of themselves.
#[derive(Debug, Clone, Default)]
struct Figures {
    builds: Counter,
    failures: Counter,
    /// How long the last build took.
    milliseconds: Gauge,
}

impl Serve {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let config = cli.configuration()?;
        runtime()?.block_on(async {
            let figures = Figures::default();
            let mut registry = Registry::default();
            let own = registry.sub_registry_with_prefix("podledger_build");
            own.register("builds", "Builds that were done", figures.builds.clone());
            own.register("failures", "Builds that failed", figures.failures.clone());
            own.register(
                "last_duration_milliseconds",
                "How long the last build took",
                figures.milliseconds.clone(),
            );
            let stop = stopped_by_signal();
            // Costs are computed on a thread of their own, and never blind the watches.
            let builds = tokio::spawn(keep_building(
                cli.ledger_path(),
                cli.lake()?,
                config,
                Duration::from_secs(self.build_every),
                stop.clone(),
                figures,
            ));
            let collected = self.live.run(cli, stop, registry).await;
            if collected.is_err() {
                builds.abort();
            } else {
                builds.await?;
            }
            collected?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

async fn keep_building(
    path: std::path::PathBuf,
    lake: Lake,
    config: Config,
    every: Duration,
    mut stop: watch::Receiver<bool>,
    figures: Figures,
) {
    let mut compacted = None;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every) => {}
        }
        let started = std::time::Instant::now();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let compacts = compacted != Some(today);
        let (path, lake, config) = (path.clone(), lake.clone(), config.clone());
        let built = tokio::task::spawn_blocking(move || -> anyhow::Result<(u64, bool)> {
            let (_, report) = build(Ledger::open(&path)?, &lake, &config, false)?;
            let mut is_compacted = !compacts;
            if compacts {
                match lake.compact(today) {
                    Ok(_) => is_compacted = true,
                    // A collector may be sealing just now.
                    Err(error) => tracing::info!(%error, "yesterday's segments are not merged yet"),
                }
            }
            Ok((report.ingested_rows, is_compacted))
        });
        match built.await {
            Ok(Ok((facts, is_compacted))) => {
                compacted = is_compacted.then_some(today);
                figures.builds.inc();
                figures
                    .milliseconds
                    .set(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
                tracing::info!(facts, seconds = started.elapsed().as_secs_f64(), "built");
            }
            Ok(Err(error)) => {
                figures.failures.inc();
                tracing::error!(error = format!("{error:#}"), "the build failed; trying again");
            }
            Err(error) => tracing::error!(%error, "the build was interrupted"),
        }
    }
}
