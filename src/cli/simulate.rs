//! `podledger simulate`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_simulator::{Scenario, record};

/// Write what a watch would record of a simulated data platform, the prices of its machines, and what everything really cost.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: podledger simulate --out week --seed 7 --days 7 && podledger --data week-data import kubernetes week"
)]
pub struct Simulate {
    /// Folder to write: recording-*.jsonl, usage.csv, prices.csv and the truth.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
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

/// What every folder of this command holds.
const MARK: &str = "truth.json";

impl Simulate {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let out = &self.out;
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
        let scenario = Scenario {
            seed: self.seed,
            start_ms: self.start.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond(),
            days: self.days,
            teams: self.teams,
            pipelines: self.pipelines,
            has_noise: !self.without_noise,
            has_pod_events: false,
        };
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
        Ok(ExitCode::SUCCESS)
    }
}
