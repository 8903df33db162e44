//! What commands share that serve the dashboard.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use podledger_analyzer::config::Config;
use podledger_analyzer::rules::Rules;
use podledger_reports::door;
use podledger_reports::http::{
    App, Decision, Explain, ListenError, Listener, Settings, SnapshotError, Snapshots, Tls,
};
use podledger_reports::opencost::{self, OpenCost};
use podledger_reports::postgres::{self, PostgresError};
use podledger_sql::published::Published;
use tokio::sync::watch;

use super::advice::{advise, advise_week};
use super::collect::stopped_by_signal;
use super::sql::SqlLimits;

/// How often a ledger that another process builds is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Options of commands that serve the dashboard.
#[derive(Debug, Args)]
pub struct Dashboard {
    /// Where the dashboard and the API are served. An address that can be reached from elsewhere needs a token first.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT)]
    listen: SocketAddr,
    /// Another name under which the server is asked, such as that of a proxy before it.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// PEM file with the certificate, for TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Requests that each address has per second; four times as many at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests_per_second: u32,
    /// Connections that each address has at once. Behind a proxy, all readers have the proxy's address: give it as many as it opens.
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    connections_per_address: u16,
    /// What queries of analysts may take.
    #[command(flatten)]
    pub sql: SqlLimits,
    /// Where SQL is served on the PostgreSQL wire, or `off`.
    #[arg(long, value_name = "ADDRESS", default_value = POSTGRES)]
    postgres_listen: MaybeListen,
    /// Clients of the PostgreSQL wire at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    postgres_connections: u16,
    /// How long such a client may say nothing, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    postgres_idle: u64,
    /// Where OpenCost's clients (its pages, exporters, plugins and Prometheus) are answered, or `off`.
    #[arg(long, value_name = "ADDRESS", default_value = OPENCOST)]
    opencost: MaybeListen,
    /// Let all who reach the address of `--opencost` read all costs: OpenCost's clients can show no token.
    #[arg(long)]
    compat_anonymous: bool,
}

/// Where OpenCost's clients are answered unless another address is named: its own port.
const OPENCOST: &str = "127.0.0.1:9003";

/// Where the PostgreSQL wire is unless another address is named.
const POSTGRES: &str = "127.0.0.1:15439";

/// An address, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MaybeListen(Option<SocketAddr>);

impl std::str::FromStr for MaybeListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text
            .parse()
            .map_err(|_| format!("`{text}` is neither an address such as 127.0.0.1:9003 nor `off`"))?;
        Ok(Self(Some(address)))
    }
}

/// Where the dashboard is unless another address is named.
const DEFAULT: &str = "127.0.0.1:9480";

/// A dashboard that is about to be served.
pub struct Ready {
    app: Arc<App>,
    listener: Listener,
    url: String,
    postgres: Option<postgres::Listener>,
    opencost: Option<(Arc<OpenCost>, Listener)>,
}

impl Dashboard {
    /// Whether the address can be had, for commands that only listen after long work.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn can_listen(&self) -> anyhow::Result<()> {
        std::net::TcpListener::bind(self.listen)
            .map(drop)
            .with_context(|| {
                format!(
                    "cannot listen on {}; name another address with --listen, or give --no-serve",
                    self.listen
                )
            })
    }

    /// Checks what is asked for, and begins to listen.
    ///
    /// # Errors
    /// Where the address cannot be had, or nobody should be served there.
    pub async fn ready(
        &self,
        snapshots: &Arc<Snapshots>,
        tokens: PathBuf,
        config: &Config,
        door: door::Settings,
    ) -> anyhow::Result<Ready> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => None,
        };
        let settings = Settings {
            listen: self.listen,
            hosts: self.host.clone(),
            tokens: tokens.clone(),
            is_tls: tls.is_some(),
            requests_per_second: self.requests_per_second,
            explain: Some(explain(config)?),
            advise: Some(advise()),
            advise_week: Some(advise_week()),
            door: Some(door),
            fingerprint: fingerprint(config),
        };
        let app = App::new(Arc::clone(snapshots), settings)?;
        let most = usize::from(self.connections_per_address);
        let listener = Listener::bind(self.listen, tls.as_ref(), most).await?;
        let address = listener.address()?;
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                "tokens go over the network unencrypted: give --tls-cert and --tls-key, or put a proxy with TLS before it"
            );
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let postgres = self.postgres(&app, tokens, tls).await?;
        let opencost = self.opencost(snapshots).await?;
        Ok(Ready {
            app,
            listener,
            url: format!("{scheme}://{address}"),
            postgres,
            opencost,
        })
    }

    /// Begins to listen for OpenCost's clients. Where nobody named an address and the usual one is taken, the dashboard does without.
    async fn opencost(
        &self,
        snapshots: &Arc<Snapshots>,
    ) -> anyhow::Result<Option<(Arc<OpenCost>, Listener)>> {
        let Some(listen) = self.opencost.0 else {
            return Ok(None);
        };
        let settings = opencost::Settings {
            listen,
            hosts: self.host.clone(),
            is_open: self.compat_anonymous,
            requests_per_second: self.requests_per_second,
            clock: Box::new(|| Timestamp::now().as_millisecond()),
        };
        let server = OpenCost::new(Arc::clone(snapshots), settings)?;
        match Listener::bind(listen, None, usize::from(self.connections_per_address)).await {
            Ok(listener) => Ok(Some((server, listener))),
            Err(error @ ListenError::Bind { .. }) if listen.to_string() == OPENCOST => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "OpenCost's clients are not answered; name another address with --opencost"
                );
                Ok(None)
            }
            Err(error) => Err(error).context("cannot answer OpenCost's clients"),
        }
    }

    /// Begins to listen for clients of PostgreSQL. Where nobody named an address and the usual one is taken, the dashboard does without.
    async fn postgres(
        &self,
        app: &App,
        tokens: PathBuf,
        tls: Option<Tls>,
    ) -> anyhow::Result<Option<postgres::Listener>> {
        let (Some(listen), Some(door)) = (self.postgres_listen.0, app.sql_door()) else {
            return Ok(None);
        };
        let settings = postgres::Settings {
            listen,
            tokens,
            tls,
            connections: self.postgres_connections.into(),
            idle: Duration::from_secs(self.postgres_idle),
        };
        match postgres::Listener::bind(&settings, door).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error @ PostgresError::Listen(ListenError::Bind { .. }))
                if listen.to_string() == POSTGRES =>
            {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "the PostgreSQL wire is not served; name another address with --postgres-listen"
                );
                Ok(None)
            }
            Err(error) => Err(error).context("cannot serve the PostgreSQL wire"),
        }
    }
}

impl Ready {
    /// Says where it is.
    pub fn tell(&self) {
        if let Some(address) = self
            .postgres
            .as_ref()
            .and_then(|listener| listener.address().ok())
        {
            println!(
                "postgres   psql -h {} -p {} podledger",
                address.ip(),
                address.port()
            );
        }
        if let Some(address) = self
            .opencost
            .as_ref()
            .and_then(|(_, listener)| listener.address().ok())
        {
            println!("opencost   {address}");
        }
        println!("dashboard  {}  (Ctrl-C stops)", self.url);
    }

    /// Serves until `stop` says true, and computes first pages ahead whenever `changed` tells of a new snapshot.
    pub async fn serve(self, stop: watch::Receiver<bool>, mut changed: watch::Receiver<u64>) {
        let app = Arc::clone(&self.app);
        let warming = tokio::spawn(async move {
            loop {
                app.warm().await;
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
        let postgres = async {
            if let Some(postgres) = self.postgres {
                postgres.serve(stop.clone()).await;
            }
        };
        let opencost = async {
            if let Some((server, listener)) = self.opencost {
                listener.serve(server.router(), stop.clone()).await;
            }
        };
        tokio::join!(
            self.listener.serve(self.app.router(), stop.clone()),
            postgres,
            opencost
        );
        warming.abort();
    }
}

/// Serves what is there, and what other processes build, until somebody stops it.
///
/// # Errors
/// As [`Dashboard::ready`].
pub async fn show(
    dashboard: &Dashboard,
    shown: Arc<Snapshots>,
    tokens: PathBuf,
    config: &Config,
    door: door::Settings,
) -> anyhow::Result<()> {
    let ready = dashboard.ready(&shown, tokens, config, door).await?;
    let (changes, changed) = watch::channel(0);
    take(&shown, &changes).await;
    ready.tell();
    let stop = stopped_by_signal();
    tokio::join!(follow(shown, changes, stop.clone()), ready.serve(stop, changed));
    Ok(())
}

/// Looks for new builds by other processes until `stop` says true.
async fn follow(snapshots: Arc<Snapshots>, changes: watch::Sender<u64>, mut stop: watch::Receiver<bool>) {
    loop {
        take(&snapshots, &changes).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Takes a snapshot, if there is something new to show.
pub async fn take(snapshots: &Arc<Snapshots>, changes: &watch::Sender<u64>) {
    look(snapshots, changes, Snapshots::take).await;
}

/// Shows what was published of the snapshots that were taken.
pub async fn show_published(snapshots: &Arc<Snapshots>, changes: &watch::Sender<u64>) {
    look(snapshots, changes, Snapshots::show_published).await;
}

async fn look(
    snapshots: &Arc<Snapshots>,
    changes: &watch::Sender<u64>,
    how: fn(&Snapshots) -> Result<bool, SnapshotError>,
) {
    let snapshots = Arc::clone(snapshots);
    let looked = tokio::task::spawn_blocking(move || how(&snapshots).map_err(anyhow::Error::from));
    match looked.await {
        Ok(Ok(true)) => changes.send_modify(|number| *number += 1),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            tracing::error!(
                error = format!("{error:#}"),
                "the newest build cannot be served as it should be"
            );
        }
        Err(error) => tracing::error!(%error, "taking a snapshot was interrupted"),
    }
}

/// Snapshots of a ledger, and of its published marts.
pub fn snapshots(ledger: &Path, published: Published) -> Arc<Snapshots> {
    Arc::new(Snapshots::new(ledger, published))
}

/// Tells this program and its configuration from others: which rule decided what is said by these, not by the build.
fn fingerprint(config: &Config) -> String {
    let program = std::env::current_exe().and_then(std::fs::metadata).ok();
    let made = program.map(|program| (program.len(), program.modified().ok()));
    format!("{} {made:?}", config.views_fingerprint())
}

/// Says which rules decided what of a pod.
fn explain(config: &Config) -> anyhow::Result<Box<Explain>> {
    let rules = Rules::of(config).context("cannot read the rules")?;
    Ok(Box::new(move |connection, uid, cluster| {
        let decided = rules
            .decisions_of(connection, cluster, uid)
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        Ok(decided
            .into_iter()
            .flat_map(|pod| pod.decisions)
            .map(|decision| Decision {
                field: decision.field.to_string(),
                value: decision.value,
                rule: decision.rule,
            })
            .collect())
    }))
}
