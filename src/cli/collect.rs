//! `podledger collect`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use podledger_collector::live::{Clock, Collection, Figures, Settings};
use podledger_collector::live::{lease, scrape};
use podledger_sql::bucket::Bucket;
use podledger_sql::intake::Intake;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Cli;
use super::bucket::{self, Pusher, Pushing};
use super::clusters::{Cluster, Clusters, KubeletTrust};
use super::status::{self, Status, serve};

/// Watch clusters, and write what happens in them to the lake.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: podledger --data /var/lib/podledger collect --context prod-eu --context prod-us"
)]
pub struct Collect {
    #[command(flatten)]
    live: Live,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9481")]
    listen: SocketAddr,
}

/// Options of commands that collect.
#[derive(Debug, Args)]
pub struct Live {
    #[command(flatten)]
    clusters: Clusters,
    /// How often facts are sealed into the lake, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seal_every: u64,
    /// Namespace of the Lease that lets one collector at a time collect a cluster [default: that of the context, or of the pod].
    #[arg(long, value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of that Lease.
    #[arg(long, value_name = "NAME", default_value = "podledger-collector")]
    lease_name: String,
    /// Collect without a Lease: nothing else may then collect these clusters.
    #[arg(long)]
    no_lease: bool,
    /// Who is asked what containers use. `auto` asks kubelets, and the metrics API where no kubelet answers.
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    usage: Usage,
    /// How often each kubelet is asked, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=300))]
    usage_every: u64,
    #[command(flatten)]
    kubelet_trust: KubeletTrust,
    /// Serve /metrics, /healthz and /readyz of collecting to everybody who reaches their address: scrapers and kubelets show no token. They tell names
    /// of clusters, how much is collected, and no cost.
    #[arg(long)]
    metrics_anonymous: bool,
    #[command(flatten)]
    pushing: Pushing,
}

/// Where collected facts are put beside the lake.
pub struct Shared {
    pub bucket: Bucket,
    pub figures: bucket::Figures,
    /// Whether nobody else merges days that are over.
    pub merges: bool,
}

/// Who is asked what containers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Usage {
    /// Kubelets; where none of them answers, the metrics API.
    Auto,
    /// Kubelets, at their own addresses; needs `get` of `nodes/stats`, or of `nodes/metrics`.
    Kubelet,
    /// Kubelets through the API server; needs `get` of `nodes/proxy`, which also lets its holder run commands in containers.
    KubeletProxy,
    /// The metrics API: averages, once a minute, of at most 20,000 pods.
    MetricsApi,
    /// Nobody.
    Off,
}

impl Usage {
    fn source(self) -> Option<scrape::Source> {
        match self {
            Self::Auto => Some(scrape::Source::Auto),
            Self::Kubelet => Some(scrape::Source::Kubelet),
            Self::KubeletProxy => Some(scrape::Source::KubeletProxy),
            Self::MetricsApi => Some(scrape::Source::MetricsApi),
            Self::Off => None,
        }
    }
}

impl Collect {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        runtime()?.block_on(async {
            let stop = stopped_by_signal();
            let mut registry = Registry::default();
            let figures = bucket::Figures::default();
            let bucket = cli.bucket(&cli.configuration()?)?;
            if bucket.is_some() {
                figures.register(&mut registry);
            }
            let shared = bucket.map(|bucket| Shared {
                bucket,
                figures,
                merges: true,
            });
            self.live.run(cli, stop, registry, self.listen, shared).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// A runtime for commands that talk to clusters.
///
/// # Errors
/// Where the system gives no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
}

/// Says true once the process is asked to end; asked twice, it ends at once.
pub fn stopped_by_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        while asked_to_end().await.is_ok() {
            if sender.send_replace(true) {
                eprintln!("podledger: ended at once; what was committed is kept");
                std::process::exit(1);
            }
        }
    });
    receiver
}

async fn asked_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

impl Live {
    /// Collects all clusters until `stop` says true, and tells of itself at `listen`.
    ///
    /// # Errors
    /// Where a cluster cannot be reached at first, or the data directory is in use.
    pub async fn run(
        &self,
        cli: &Cli,
        stop: watch::Receiver<bool>,
        mut registry: Registry,
        listen: SocketAddr,
        shared: Option<Shared>,
    ) -> anyhow::Result<()> {
        self.may_tell(listen)?;
        let clusters = self.clusters.connect().await?;
        let config = cli.configuration()?;
        std::fs::create_dir_all(&cli.data)
            .with_context(|| format!("cannot create {}", cli.data.display()))?;
        let store = Arc::new(Intake::open(&cli.data.join("intake.duckdb"), Timestamp::now())?);
        let lake = cli.lake()?;
        let figures = Figures::default();
        figures.register(&mut registry);
        let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
        let known = figures.clone();
        let status = Status {
            registry,
            is_ready: Box::new(move || names.iter().all(|name| known.is_observed(name))),
        };
        let address = serve(listen, status).await?;
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
        let bucket = shared.as_ref().map(|shared| shared.bucket.clone());
        let (end, ended) = watch::channel(false);
        let pushing = shared.map(|shared| {
            let pusher = Pusher {
                bucket: shared.bucket,
                lake: lake.clone(),
                merges: shared.merges,
                figures: shared.figures,
            };
            tokio::spawn(pusher.run(self.push_every(), ended))
        });
        let mut running = JoinSet::new();
        for cluster in clusters {
            let settings = Settings {
                annotations: config.annotations()?,
                seal_every: Duration::from_secs(self.seal_every),
                seed: seed(&cluster.name),
                lease: (!self.no_lease).then(|| self.lease(&cluster)),
                usage: self.usage.source().map(|source| scrape::Settings {
                    source,
                    every: Duration::from_secs(self.usage_every),
                }),
                ..Settings::default()
            };
            let collection = Collection {
                kubelets: cluster.kubelets(&self.kubelet_trust)?,
                client: cluster.client,
                name: cluster.name,
                settings: Arc::new(settings),
                store: Arc::clone(&store),
                lake: lake.clone(),
                bucket: bucket.clone(),
                clock: Clock::new(Timestamp::now),
                figures: figures.clone(),
            };
            let stop = stop.clone();
            running.spawn(async move {
                let name = collection.name.clone();
                let kept = collection.keep(stop).await;
                kept.with_context(|| format!("cannot collect {name}"))
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.context("a collection was interrupted")??;
        }
        // What was sealed at the end is put too.
        end.send_replace(true);
        if let Some(pushing) = pushing {
            pushing.await.context("a push was interrupted")?;
        }
        Ok(())
    }

    /// Whether figures may be told at an address.
    ///
    /// # Errors
    /// As [`status::check`].
    pub fn may_tell(&self, listen: SocketAddr) -> anyhow::Result<()> {
        status::check(listen, self.metrics_anonymous)
    }

    /// How often new facts are put into the bucket.
    pub fn push_every(&self) -> Duration {
        self.pushing.every()
    }

    fn lease(&self, cluster: &Cluster) -> lease::Settings {
        let namespace = cluster.client.default_namespace();
        lease::Settings {
            namespace: self
                .lease_namespace
                .clone()
                .unwrap_or_else(|| namespace.to_owned()),
            name: self.lease_name.clone(),
            holder: holder(),
        }
    }
}

/// Who holds the Lease: the pod's name in a cluster, elsewhere host and process.
fn holder() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string(Path::new("/etc/hostname")).ok())
        .map(|host| host.trim().to_owned())
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| "podledger".to_owned());
    format!("{host}_{}", std::process::id())
}

/// Collectors of different clusters, and of different processes, wait for different times.
fn seed(name: &str) -> u64 {
    name.bytes().fold(u64::from(std::process::id()), |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(byte))
    })
}
