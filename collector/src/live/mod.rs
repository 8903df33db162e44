//! Live collection: the watches of a cluster, and the intake that they feed.
//!
//! ```text
//! a watch per resource ──> bounded queue ──> batches ──> intake: index -> facts -> intake.duckdb -> lake
//!      list, follow,         blocks when        by size       facts, positions and what the index knows
//!      resume, relist          it is full      and time               in one transaction
//! ```
//!
//! Architecture invariant: read-only towards the cluster, but for the one Lease.
//! Architecture invariant: no clock and no randomness of its own: the instant and the seed are given.

mod api;
mod batches;
mod clock;
mod intake;
pub mod lease;
mod lines;
mod measured;
mod message;
mod metrics;
mod primed;
mod record;
mod recovery;
mod resources;
pub mod scrape;
mod trim;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use podledger_sql::bucket::Bucket;
use podledger_sql::intake::Intake as Store;
use podledger_sql::lake::Lake;
use tokio::sync::{mpsc, watch as signal};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

pub use clock::Clock;
pub use metrics::Figures;
pub use record::record;
pub use resources::{Resource, resources};

use crate::error::{Error, Result, chain};
use crate::index;
use batches::{Batch, Batches};
use intake::{Intake, Measuring};
use message::Message;
use metrics::Metrics;
use scrape::{Scraper, Targets};
use watch::{Position, Watch};

/// How a cluster is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Annotations that are kept, because a rule reads them.
    pub annotations: Vec<String>,
    /// How long a watch lasts before it is asked for anew.
    pub watch_timeout: Duration,
    /// After how long a watch that says nothing at all, not even a bookmark, is doubted. Servers send one every minute or so.
    pub patience: Duration,
    /// How many changes may wait for their commit; then the watches wait.
    pub queue: usize,
    /// How long a commit waits for more to commit, and how many changes it takes.
    pub commit_every: Duration,
    pub commit_changes: usize,
    /// How often facts are sealed into the lake, and after how many at the latest.
    pub seal_every: Duration,
    pub seal_facts: u64,
    /// How often the cluster is asked for resources that are new.
    pub discover_every: Duration,
    /// Objects per page of a list, where it is not streamed.
    pub page: u32,
    /// Whether lists are asked for as streams, where the server has them.
    pub has_streaming_lists: bool,
    /// What the jitter of waiting times follows from.
    pub seed: u64,
    /// The Lease to hold while collecting; `None` to collect without.
    pub lease: Option<lease::Settings>,
    /// How usage is measured; `None`: not at all.
    pub usage: Option<scrape::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            annotations: Vec::new(),
            watch_timeout: Duration::from_secs(290),
            patience: Duration::from_secs(150),
            queue: 2_000,
            commit_every: Duration::from_secs(1),
            commit_changes: 4_000,
            seal_every: Duration::from_secs(30),
            seal_facts: 200_000,
            discover_every: Duration::from_secs(600),
            page: 500,
            has_streaming_lists: true,
            seed: 0,
            lease: None,
            usage: None,
        }
    }
}

/// A cluster to collect, and where its facts go.
#[derive(Clone)]
pub struct Collection {
    pub client: Client,
    /// Sends requests to kubelets, at whatever address they name; `None` where kubelets cannot be reached.
    pub kubelets: Option<Client>,
    /// How it is called in messages and figures: the context of the kubeconfig.
    pub name: String,
    pub settings: Arc<Settings>,
    pub store: Arc<Store>,
    pub lake: Lake,
    /// Where the lake's facts are put, and where a collector that has lost its disk finds what was put.
    pub bucket: Option<Bucket>,
    pub clock: Clock,
    pub figures: Figures,
}

/// The identifier of a cluster: the UID of its namespace `kube-system`.
///
/// # Errors
/// [`Error::Cluster`] where it cannot be read.
pub async fn cluster_of(client: &Client, name: &str) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = namespaces.get("kube-system").await.map_err(|source| {
        Error::cluster(
            format!("cannot read the namespace kube-system of {name}, whose UID identifies the cluster"),
            source,
        )
    })?;
    namespace.metadata.uid.ok_or_else(|| Error::Object {
        field: "metadata.uid of the namespace kube-system".to_owned(),
        reason: "is missing".to_owned(),
    })
}

/// How long is waited before a cluster that failed is collected again.
const AGAIN: Duration = Duration::from_secs(10);

/// Why a collection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Another collector has taken over.
    Superseded,
}

impl Collection {
    /// Collects until `stop` says true. What fails once the cluster was observed, is tried again, and so is a Lease that is lost.
    ///
    /// # Errors
    /// What fails before.
    pub async fn keep(self, mut stop: signal::Receiver<bool>) -> Result<()> {
        loop {
            match self.clone().run(stop.clone()).await {
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::Superseded) => {}
                Err(error) if !self.figures.is_observed(&self.name) => return Err(error),
                Err(error) => {
                    tracing::error!(
                        cluster = self.name,
                        error = chain(&error),
                        "collecting failed; trying again"
                    );
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// Collects until `stop` says true or the Lease is lost. What was told until then is committed and sealed.
    ///
    /// # Errors
    /// Where the cluster cannot be asked at first, or facts cannot be committed: what was not committed is told again by
    /// the next collection.
    pub async fn run(self, mut stop: signal::Receiver<bool>) -> Result<Ended> {
        let metrics = self.figures.of(&self.name);
        let cluster = tokio::select! {
            cluster = cluster_of(&self.client, &self.name) => cluster?,
            _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
        };
        let Some(lease) = self.settings.lease.clone() else {
            return self
                .collect(&cluster, &metrics, stop, std::future::pending())
                .await;
        };
        let acquired = lease::acquire(self.client.clone(), lease, self.clock.clone(), metrics.clone());
        let mut held = tokio::select! {
            held = acquired => held?,
            _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
        };
        let ended = self.collect(&cluster, &metrics, stop, held.renew()).await;
        if !matches!(ended, Ok(Ended::Superseded)) {
            self.put_all().await;
            held.release().await;
        }
        ended
    }

    /// Puts what was sealed at the end, before the Lease is given back: who follows with a disk of its own begins with it.
    async fn put_all(&self) {
        let Some(bucket) = self.bucket.clone() else { return };
        let (lake, now) = (self.lake.clone(), self.clock.now());
        if let Err(error) = blocking(move || Ok(bucket.push(&lake, now)?)).await {
            tracing::error!(%error, "the last facts are not in the bucket: who follows states a gap");
        }
    }

    async fn collect(
        &self,
        cluster: &str,
        metrics: &Metrics,
        mut stop: signal::Receiver<bool>,
        lost: impl Future<Output = ()>,
    ) -> Result<Ended> {
        let settings = index::Settings {
            annotations: self.settings.annotations.clone(),
            ..index::Settings::new(cluster)
        };
        let (store, told) = (Arc::clone(&self.store), metrics.clone());
        let of = cluster.to_owned();
        let (lake, bucket) = (self.lake.clone(), self.bucket.clone());
        let now = self.clock.now();
        let measuring = self.settings.usage.map(|usage| Measuring {
            every: SignedDuration::try_from(usage.every).unwrap_or(SignedDuration::MAX),
            now,
        });
        let intake = blocking(move || {
            let store = store.of(&of)?;
            if let Some(bucket) = bucket
                && store.positions()?.is_empty()
            {
                bucket.pull_cluster(&lake, &of)?;
            }
            Intake::open(store, settings, measuring.as_ref(), told, &lake)
        })
        .await?;
        let (sender, receiver) = mpsc::channel(self.settings.queue.max(1));
        let (targets, targeted) = signal::channel(intake.targets());
        let mut measuring = JoinSet::new();
        if let Some(usage) = self.settings.usage {
            let scraper = Scraper {
                client: self.client.clone(),
                kubelets: self.kubelets.clone(),
                settings: usage,
                targets: targeted,
                sender: sender.clone(),
                metrics: metrics.clone(),
            };
            measuring.spawn(scraper.run());
        }
        let watches = Watches {
            collection: self,
            metrics,
            sender,
            positions: intake.positions().clone(),
            running: JoinSet::new(),
            watched: Vec::new(),
        };
        tracing::info!(
            cluster = self.name,
            uid = cluster,
            open_pods = intake.open_pods(),
            "collecting"
        );
        let mut lost = std::pin::pin!(lost);
        let mut ended = Ended::Stopped;
        let stopped = async {
            tokio::select! {
                // A sender that is gone can never say so.
                _ = stop.wait_for(|stop| *stop) => {}
                () = &mut lost => ended = Ended::Superseded,
            }
        };
        self.intake(intake, Batches::new(receiver), watches, targets, stopped)
            .await?;
        measuring.shutdown().await;
        Ok(ended)
    }

    /// Takes in what watches tell, batch by batch, until `stopped`.
    async fn intake(
        &self,
        mut intake: Intake,
        mut batches: Batches,
        mut watches: Watches<'_>,
        targets: signal::Sender<Targets>,
        stopped: impl Future<Output = ()>,
    ) -> Result<()> {
        let mut stopped = std::pin::pin!(stopped);
        let mut is_stopped = false;
        let metrics = watches.metrics;
        watches.discover().await?;
        let mut discover_at = Instant::now() + self.settings.discover_every;
        let mut seal_at = Instant::now() + self.settings.seal_every;
        while !is_stopped {
            let batch;
            Batch {
                messages: batch,
                is_last: is_stopped,
            } = batches.next(&self.settings, &self.clock, &mut stopped).await;
            let seals =
                is_stopped || Instant::now() >= seal_at || intake.unsealed() >= self.settings.seal_facts;
            intake = self.commit(intake, batch, seals, is_stopped).await?;
            if self.settings.usage.is_some() {
                let now = intake.targets();
                targets.send_if_modified(|targets| {
                    let is_new = *targets != now;
                    *targets = now;
                    is_new
                });
            }
            if seals {
                seal_at = Instant::now() + self.settings.seal_every;
            }
            metrics.state(batches.waiting(), intake.open_pods(), intake.unsealed());
            for (resource, position) in intake.positions() {
                metrics.reached(resource, position.through);
            }
            if let Some(through) = intake.observed_through() {
                metrics.observed(through, &self.clock);
            }
            if Instant::now() >= discover_at {
                if let Err(error) = watches.discover().await {
                    tracing::warn!(%error, "cannot look for new resources");
                }
                discover_at = Instant::now() + self.settings.discover_every;
            }
        }
        watches.running.shutdown().await;
        Ok(())
    }

    /// Commits a batch, and seals if it is time: work for a thread that may block.
    async fn commit(
        &self,
        mut intake: Intake,
        batch: Vec<Message>,
        seals: bool,
        is_last: bool,
    ) -> Result<Intake> {
        if batch.is_empty() && !seals {
            return Ok(intake);
        }
        let (lake, now) = (self.lake.clone(), self.clock.now());
        blocking(move || {
            intake.take(batch, now)?;
            if is_last {
                intake.finish()?;
            }
            if seals && let Err(error) = intake.seal(&lake, now) {
                // What is committed stays until the lake takes it.
                tracing::error!(
                    error = chain(&error),
                    "cannot seal facts into the lake; trying again"
                );
            }
            Ok(intake)
        })
        .await
    }
}

/// Runs what may block on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|error| Error::Stopped {
        reason: error.to_string(),
    })?
}

/// The watches of a cluster.
struct Watches<'a> {
    collection: &'a Collection,
    metrics: &'a Metrics,
    sender: mpsc::Sender<Message>,
    positions: std::collections::BTreeMap<String, Position>,
    running: JoinSet<()>,
    watched: Vec<String>,
}

impl Watches<'_> {
    /// Starts a watch of each resource that is not watched yet.
    async fn discover(&mut self) -> Result<()> {
        let of = self.collection;
        for resource in resources(&of.client).await? {
            if self.watched.contains(&resource.name) {
                continue;
            }
            self.watched.push(resource.name.clone());
            let position = self.positions.get(&resource.name).cloned();
            let watch = Watch::new(
                of.client.clone(),
                resource,
                Arc::clone(&of.settings),
                of.clock.clone(),
                self.sender.clone(),
                self.metrics.clone(),
                position,
            );
            self.running.spawn(watch.run());
        }
        Ok(())
    }
}
