//! What commands do with a bucket: take what other lakes put there, and put what this one has.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use podledger_analyzer::config::Config;
use podledger_sql::bucket::{Bucket, Pulled, Pushed, Upload};
use podledger_sql::lake::Lake;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::Cli;

/// Options of commands that run on and put what they collect.
#[derive(Debug, Args)]
pub struct Pushing {
    /// How often new facts are put into the bucket, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    push_every: u64,
}

/// What is told of a bucket.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pushes: Counter,
    push_failures: Counter,
    pushed_segments: Counter,
    pushed_bytes: Counter,
    last_push_seconds: Gauge,
    pulls: Counter,
    pull_failures: Counter,
    pulled_segments: Counter,
}

impl Figures {
    /// Registers all figures under `podledger_bucket_`.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("podledger_bucket");
        for (name, help, counter) in [
            ("pushes", "Pushes into the bucket that were done", &self.pushes),
            (
                "push_failures",
                "Pushes into the bucket that failed",
                &self.push_failures,
            ),
            (
                "pushed_segments",
                "Segments that were put into the bucket",
                &self.pushed_segments,
            ),
            (
                "pushed_bytes",
                "Bytes that were put into the bucket",
                &self.pushed_bytes,
            ),
            ("pulls", "Pulls from the bucket that were done", &self.pulls),
            (
                "pull_failures",
                "Pulls from the bucket that failed",
                &self.pull_failures,
            ),
            (
                "pulled_segments",
                "Segments that were taken from the bucket",
                &self.pulled_segments,
            ),
        ] {
            own.register(name, help, counter.clone());
        }
        own.register(
            "last_push_timestamp_seconds",
            "Until when all that the lake has is in the bucket",
            self.last_push_seconds.clone(),
        );
    }

    /// Takes what other lakes put there; what cannot be taken is taken by the next.
    pub fn pull(&self, bucket: &Bucket, lake: &Lake) {
        match bucket.pull(lake) {
            Ok(pulled) => {
                self.pulls.inc();
                self.pulled_segments.inc_by(pulled.segments as u64);
                if pulled.segments > 0 {
                    tracing::info!(
                        bucket = bucket.url(),
                        segments = pulled.segments,
                        bytes = pulled.bytes,
                        "taken from the bucket"
                    );
                }
            }
            Err(error) => {
                self.pull_failures.inc();
                let error = anyhow::Error::from(error);
                tracing::error!(
                    error = format!("{error:#}"),
                    "what other lakes put into the bucket is not taken; trying again"
                );
            }
        }
    }

    fn push(&self, bucket: &Bucket, lake: &Lake) {
        let now = Timestamp::now();
        match bucket.push(lake, now) {
            Ok(pushed) => {
                self.pushes.inc();
                self.pushed_segments.inc_by(pushed.segments as u64);
                self.pushed_bytes.inc_by(pushed.bytes);
                self.last_push_seconds.set(now.as_second());
            }
            Err(error) => {
                self.push_failures.inc();
                let error = anyhow::Error::from(error);
                tracing::error!(
                    error = format!("{error:#}"),
                    "new facts are not in the bucket yet; trying again"
                );
            }
        }
    }
}

/// Puts what the lake has, over and over.
pub struct Pusher {
    pub bucket: Bucket,
    pub lake: Lake,
    /// Whether days that are over are merged first: where nobody builds, nobody else does.
    pub merges: bool,
    pub figures: Figures,
}

impl Pusher {
    /// Puts until `stop` says true, and then once more.
    pub async fn run(self, every: Duration, mut stop: watch::Receiver<bool>) {
        let mut merged = None;
        loop {
            let is_last = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(every) => false,
            };
            let (bucket, lake, figures) = (self.bucket.clone(), self.lake.clone(), self.figures.clone());
            let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
            let merges = self.merges && !is_last && merged != Some(today);
            let pushed = tokio::task::spawn_blocking(move || {
                let mut is_merged = false;
                if merges {
                    match lake.compact(today) {
                        Ok(_) => is_merged = true,
                        // The collector may be sealing just now.
                        Err(error) => tracing::info!(%error, "yesterday's segments are not merged yet"),
                    }
                }
                figures.push(&bucket, &lake);
                is_merged
            });
            match pushed.await {
                Ok(true) => merged = Some(today),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "a push was interrupted"),
            }
            if is_last {
                return;
            }
        }
    }
}

impl Pushing {
    /// How often new facts are put.
    pub fn every(&self) -> Duration {
        Duration::from_secs(self.push_every)
    }
}

impl Cli {
    /// The bucket that is named on the command line or in the configuration; `None` where there is none.
    pub fn bucket(&self, config: &Config) -> anyhow::Result<Option<Bucket>> {
        let url = self.bucket.as_ref().or(config.bucket.as_ref());
        let url = url.filter(|url| !url.is_empty());
        Ok(url.map(|url| Bucket::open(url)).transpose()?)
    }
}

/// Takes what other lakes put there, and says so.
pub fn pull(bucket: &Bucket, lake: &Lake) -> anyhow::Result<()> {
    let Pulled {
        origins,
        segments,
        bytes,
    } = bucket
        .pull(lake)
        .context("cannot take what others put into the bucket")?;
    if segments > 0 {
        println!(
            "taken from {}: {segments} segments of {origins} origins, {:.1} MB",
            bucket.url(),
            bytes as f64 / 1e6
        );
    }
    Ok(())
}

/// Puts what the lake has, and says so.
pub fn push(bucket: &Bucket, lake: &Lake) -> anyhow::Result<()> {
    let Pushed { segments, bytes, .. } = bucket.push(lake, Timestamp::now()).context(
        "what is in the lake is not in the bucket yet; the next command that uses the bucket goes on",
    )?;
    if segments > 0 {
        println!(
            "put into {}: {segments} segments, {:.1} MB",
            bucket.url(),
            bytes as f64 / 1e6
        );
    }
    Ok(())
}

/// Publishes a snapshot there, and says so.
pub fn publish(bucket: &Bucket, folder: &Path) -> anyhow::Result<()> {
    let upload = bucket
        .publish(folder, Timestamp::now())
        .context("the snapshot is not in the bucket yet; the next build puts it there")?;
    if let Upload::Done { bytes } = upload {
        println!("published into {}: {:.1} MB", bucket.url(), bytes as f64 / 1e6);
    }
    Ok(())
}
