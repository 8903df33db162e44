//! `podledger serve`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use podledger_analyzer::build::build;
use podledger_analyzer::config::Config;
use podledger_reports::http::Snapshots;
use podledger_sql::bucket::Bucket;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::{Published, Publishing};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::Cli;
use super::bucket::{self, Pusher};
use super::collect::{Live, Shared, runtime, stopped_by_signal};
use super::dashboard::{Dashboard, show, show_published, snapshots, take};
use super::status::{self, Status};

/// The whole line in one process: watch clusters, compute what they cost over and over, and show it on a dashboard.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: podledger --data /var/lib/podledger serve\n          podledger serve --no-collect"
)]
pub struct Serve {
    /// Show what is there, and collect and build nothing: other processes may, and their builds are shown as they are done.
    #[arg(long)]
    no_collect: bool,
    /// Watch no cluster: compute and show what imports, and collectors elsewhere, put into the lake or the bucket.
    #[arg(long, conflicts_with = "no_collect")]
    no_watch: bool,
    #[command(flatten)]
    dashboard: Dashboard,
    #[command(flatten)]
    live: Live,
    /// Where /metrics, /healthz and /readyz of collecting and building are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9481")]
    metrics_listen: SocketAddr,
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
        let door = self.dashboard.sql.settings(&cli.data)?;
        runtime()?.block_on(async {
            let shown = snapshots(&cli.ledger_path(), cli.published());
            if self.no_collect {
                show(&self.dashboard, shown, cli.tokens_path(), &config, door).await?;
                return Ok(ExitCode::SUCCESS);
            }
            let ready = self
                .dashboard
                .ready(&shown, cli.tokens_path(), &config, door)
                .await?;
            let (changes, changed) = watch::channel(0);
            // What was built before is shown at once.
            take(&shown, &changes).await;
            ready.tell();
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
            let bucket = cli.bucket(&config)?;
            let shared = bucket::Figures::default();
            if bucket.is_some() {
                shared.register(&mut registry);
            }
            let bucket = bucket.map(|bucket| (bucket, shared));
            let stop = stopped_by_signal();
            let (builds, built) = watch::channel(());
            let publishing = tokio::spawn(keep_publishing(
                Arc::clone(&shown),
                cli.published(),
                bucket.clone(),
                changes.clone(),
                built,
                stop.clone(),
            ));
            let serving = tokio::spawn(ready.serve(stop.clone(), changed));
            // Costs are computed on a thread of their own, and never blind the watches.
            let builds = tokio::spawn(keep_building(
                cli.ledger_path(),
                (cli.lake()?, bucket.clone()),
                config,
                Duration::from_secs(self.build_every),
                stop.clone(),
                figures,
                (shown, changes, builds),
            ));
            let collected = if self.no_watch {
                self.watch_nothing(cli, stop, registry, bucket).await
            } else {
                let shared = bucket.map(|(bucket, figures)| Shared {
                    bucket,
                    figures,
                    // Builds do, when they are done.
                    merges: false,
                });
                self.live
                    .run(cli, stop, registry, self.metrics_listen, shared)
                    .await
            };
            if collected.is_err() {
                builds.abort();
            } else {
                builds.await?;
                publishing.await?;
                serving.await?;
            }
            collected?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Serve {
    /// Tells of building, and puts what was imported here, until `stop` says true.
    async fn watch_nothing(
        &self,
        cli: &Cli,
        mut stop: watch::Receiver<bool>,
        registry: Registry,
        bucket: Option<(Bucket, bucket::Figures)>,
    ) -> anyhow::Result<()> {
        self.live.may_tell(self.metrics_listen)?;
        let status = Status {
            registry,
            is_ready: Box::new(|| true),
        };
        let address = status::serve(self.metrics_listen, status).await?;
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
        if let Some((bucket, figures)) = bucket {
            let pusher = Pusher {
                bucket,
                lake: cli.lake()?,
                merges: false,
                figures,
            };
            pusher.run(self.live.push_every(), stop).await;
        } else {
            // A sender that is gone can never say so.
            let _ = stop.wait_for(|stop| *stop).await;
        }
        Ok(())
    }
}

/// Publishes the newest build whenever there is one, but for no more than a tenth of the time, and shows it so.
async fn keep_publishing(
    shown: Arc<Snapshots>,
    published: Published,
    bucket: Option<(Bucket, bucket::Figures)>,
    changes: watch::Sender<u64>,
    mut built: watch::Receiver<()>,
    mut stop: watch::Receiver<bool>,
) {
    built.mark_changed();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            built = built.changed() => if built.is_err() { return },
        }
        let Some(snapshot) = shown.newest() else { continue };
        let started = Instant::now();
        let (published, bucket) = (published.clone(), bucket.clone());
        let done = tokio::task::spawn_blocking(move || -> anyhow::Result<Publishing> {
            let done = published.publish(&snapshot.connection()?)?;
            if let (Some((bucket, _)), Publishing::Done { folder, .. } | Publishing::Unchanged { folder }) =
                (&bucket, &done)
            {
                bucket.publish(folder, Timestamp::now())?;
            }
            Ok(done)
        });
        match done.await {
            Ok(Ok(Publishing::Done { folder, bytes })) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(folder = %folder.display(), bytes, seconds, "published");
            }
            Ok(Ok(Publishing::Unchanged { .. })) => {}
            Ok(Ok(Publishing::Busy)) => tracing::info!("another process is publishing"),
            Ok(Err(error)) => {
                tracing::error!(error = format!("{error:#}"), "the newest build is not published");
            }
            Err(error) => tracing::error!(%error, "publishing was interrupted"),
        }
        // What could not be put into the bucket is here all the same. The ledger is not looked at, for a build may be at work on it.
        show_published(&shown, &changes).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(started.elapsed() * 9) => {}
        }
    }
}

async fn keep_building(
    path: std::path::PathBuf,
    (lake, bucket): (Lake, Option<(Bucket, bucket::Figures)>),
    config: Config,
    every: Duration,
    mut stop: watch::Receiver<bool>,
    figures: Figures,
    (shown, changes, builds): (Arc<Snapshots>, watch::Sender<u64>, watch::Sender<()>),
) {
    let mut compacted = None;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every) => {}
        }
        let started = Instant::now();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let compacts = compacted != Some(today);
        let (path, lake, config) = (path.clone(), lake.clone(), config.clone());
        let bucket = bucket.clone();
        let built = tokio::task::spawn_blocking(move || -> anyhow::Result<(u64, bool)> {
            if let Some((bucket, figures)) = bucket {
                figures.pull(&bucket, &lake);
            }
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
                // The ledger is closed until the next build.
                take(&shown, &changes).await;
                builds.send_replace(());
            }
            Ok(Err(error)) => {
                figures.failures.inc();
                tracing::error!(error = format!("{error:#}"), "the build failed; trying again");
            }
            Err(error) => tracing::error!(%error, "the build was interrupted"),
        }
    }
}
