//! `podledger simulate`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_simulator::{Load, Scenario, Settings, Told, World, record};

use super::simulated::Listen;

/// Write what a watch would record of a simulated data platform, the prices of its machines, and what everything really cost;
/// or serve it as a Kubernetes API server.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: podledger simulate --out week --seed 7 --days 7 && podledger --data week-data import kubernetes week"
)]
pub struct Simulate {
    #[command(flatten)]
    load: LoadOptions,
    /// Folder to write: recording-*.jsonl, usage.csv, prices.csv and the truth.
    #[arg(long, value_name = "DIR", required_unless_present = "listen")]
    out: Option<PathBuf>,
    #[command(flatten)]
    listen: Listen,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// UTC date of the first day.
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "2026-11-02")]
    start: Date,
    /// How many days.
    #[arg(long, default_value_t = 14)]
    days: u32,
    /// How many teams.
    #[arg(long, default_value_t = 6)]
    teams: usize,
    /// How many pipelines; a day has some twenty pods for each.
    #[arg(long, default_value_t = 40)]
    pipelines: usize,
    /// Let everything happen in whole seconds and be told as it was, without late, cut off or missing reports.
    #[arg(long)]
    without_noise: bool,
}

/// A cluster that is only large and busy.
#[derive(Debug, Args)]
struct LoadOptions {
    /// Serve, instead of a data platform, a cluster in which so many pods are there at any time.
    #[arg(long, value_name = "N", requires = "listen")]
    load_pods: Option<u64>,
    /// On so many nodes.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "load_pods", value_parser = clap::value_parser!(u64).range(1..))]
    load_nodes: u64,
    /// And in which so many changes happen per second: each five replace a pod.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "load_pods", value_parser = clap::value_parser!(u64).range(1..))]
    load_changes: u64,
}

/// What every folder of this command holds.
const MARK: &str = "truth.json";

impl Simulate {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let Some(out) = &self.out else {
            return self.serve();
        };
        let started = Instant::now();
        if out.exists() && !out.join(MARK).exists() && out.read_dir()?.next().is_some() {
            anyhow::bail!(
                "{} is there and was not written by this command; name another folder",
                out.display()
            );
        }
        if out.exists() {
            std::fs::remove_dir_all(out).with_context(|| format!("cannot clear {}", out.display()))?;
        }
        std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let scenario = self.scenario()?;
        let (changes, sums) =
            record(scenario, out, |_| {}).with_context(|| format!("cannot write into {}", out.display()))?;
        println!(
            "simulated {} days, seed {}: {} pods, {changes} changes, in {:.1} s",
            self.days,
            self.seed,
            sums.pods,
            started.elapsed().as_secs_f64()
        );
        println!("  podledger import prices {}", out.join("prices.csv").display());
        println!("  podledger import kubernetes {}", out.display());
        println!(
            "  podledger import query --into usage_hours --from \"from '{}'\"",
            out.join("usage.csv").display()
        );
        println!(
            "  podledger import query --into service_prices --from \"select * replace (cast(price_usd as decimal(18,9)) as price_usd) from '{}'\"",
            out.join("services.csv").display()
        );
        Ok(ExitCode::SUCCESS)
    }

    fn scenario(&self) -> anyhow::Result<Scenario> {
        Ok(Scenario {
            seed: self.seed,
            start_ms: self.start.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond(),
            days: self.days,
            teams: self.teams,
            pipelines: self.pipelines,
            has_noise: !self.without_noise,
            // Who lists Events of a live cluster expects those of pods.
            has_pod_events: self.out.is_none(),
            has_flaws: true,
            slower_from_ms: None,
            request_percent: None,
            heavier_from_ms: None,
            has_branches: false,
        })
    }

    /// Serves the platform as the API server of its cluster.
    fn serve(&self) -> anyhow::Result<ExitCode> {
        let address = self
            .listen
            .listen
            .context("say with --listen where to serve it")?;
        if let Some(pods) = self.load.load_pods {
            let now = Timestamp::now();
            let load = Load {
                start_ms: now.as_millisecond(),
                pods,
                nodes: self.load.load_nodes,
                changes_per_second: self.load.load_changes,
            };
            return self
                .listen
                .serve(address, Settings::new(now), load.changes())
                .map(|()| ExitCode::SUCCESS);
        }
        let scenario = self.scenario()?;
        let settings = Settings::new(Timestamp::from_millisecond(scenario.start_ms)?);
        let changes = World::new(scenario).filter_map(|told| match told {
            Told::Change(change) => Some(change),
            _ => None,
        });
        self.listen.serve(address, settings, changes)?;
        Ok(ExitCode::SUCCESS)
    }
}
