//! The watch of one resource: a list, then every change, for as long as somebody listens.
//!
//! ```text
//!            ┌─ no position ──> list (streamed, else paged) ─┐
//! position ──┤                                               ├──> follow ──> the watch ends ──> follow from the last version
//!            └───────────────────────────────────────────────┘        └────> too old (410) ──> blind since then ──> list
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::Settings;
use super::api::{self, Failure};
use super::clock::Clock;
use super::lines::{Broken, Freshness, next_line};
use super::message::{Blind, Change, Evidence, Message, Told};
use super::metrics::Metrics;
use super::recovery;
use super::resources::Resource;
use super::trim::trim;
use crate::object::Object;
use crate::occupancy::Sight;
use crate::words::Word;

/// How long is waited before a resource that is not there, or not allowed, is asked for again.
const REFUSED: Duration = Duration::from_secs(600);

/// A watch that ends sooner than this was not worth its request.
const SHORT: Duration = Duration::from_secs(1);

/// The annotation of the bookmark that ends a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Where a watch goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The resource version that was told last; `None` where a list has to tell what is there now.
    pub version: Option<String>,
    /// Until when all is told.
    pub through: Timestamp,
}

/// Why a watch stops for good.
enum Stop {
    /// Nobody listens any more.
    Closed,
    /// The request failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The watch of one resource.
pub(super) struct Watch {
    pub client: Client,
    pub resource: Arc<Resource>,
    pub settings: Arc<Settings>,
    pub clock: Clock,
    pub sender: Sender<Message>,
    pub metrics: Metrics,
    version: Option<String>,
    freshness: Freshness,
    /// Why the next list follows upon a time of which nothing is known.
    reason: Word,
    has_streaming_lists: bool,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What every object of a watch has.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Head {
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    resource_version: String,
    uid: String,
    name: String,
    annotations: std::collections::BTreeMap<String, String>,
}

impl Watch {
    pub(super) fn new(
        client: Client,
        resource: Resource,
        settings: Arc<Settings>,
        clock: Clock,
        sender: Sender<Message>,
        metrics: Metrics,
        position: Option<Position>,
    ) -> Self {
        metrics.watches(&resource.name);
        Self {
            has_streaming_lists: settings.has_streaming_lists,
            freshness: Freshness::new(position.as_ref().map(|position| position.through)),
            version: position.and_then(|position| position.version),
            reason: "restart",
            resource: Arc::new(resource),
            client,
            settings,
            clock,
            sender,
            metrics,
        }
    }

    /// Watches until nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut backoff = self.backoff();
        loop {
            let begun = Instant::now();
            let followed = self.follow().await;
            let wait = match followed {
                Err(Stop::Closed) => return,
                Ok(()) if begun.elapsed() >= SHORT => {
                    backoff = self.backoff();
                    None
                }
                Ok(()) => backoff.next(),
                Err(Stop::Failed(failure)) => {
                    if begun.elapsed() >= SHORT.saturating_mul(60) {
                        backoff = self.backoff();
                    }
                    self.failed(failure, &mut backoff)
                }
            };
            if let Some(wait) = wait {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.sender.closed() => return,
                }
            }
        }
    }

    fn backoff(&self) -> ExponentialBackoff {
        let seed = self.resource.name.bytes().fold(self.settings.seed, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(30))
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(seed)
            .build()
    }

    /// Notes a failure; says how long to wait before the next attempt.
    fn failed(&mut self, failure: Failure, backoff: &mut ExponentialBackoff) -> Option<Duration> {
        let delay = backoff.next();
        let name = &self.resource.name;
        self.metrics.failed(name);
        match failure {
            Failure::Expired if self.version.is_some() => {
                tracing::warn!(resource = %name, "the API server does not remember where the watch stopped; reading a list");
                self.version = None;
                self.metrics.relisted(name);
                None
            }
            Failure::Unsupported(_) if self.version.is_none() && self.has_streaming_lists => {
                tracing::debug!(resource = %name, "lists are read page by page from now on");
                self.has_streaming_lists = false;
                None
            }
            Failure::Throttled(after) => delay.max(after),
            Failure::Forbidden(said) | Failure::Missing(said) if !self.resource.is_required => {
                tracing::warn!(resource = %name, said, "not watched");
                Some(REFUSED)
            }
            other => {
                tracing::warn!(resource = %name, failure = %other, "the watch failed; trying again");
                delay
            }
        }
    }

    /// Follows the changes from the last version on, or reads a list first.
    async fn follow(&mut self) -> Result<(), Stop> {
        if self.version.is_none() && !self.has_streaming_lists {
            self.list().await?;
        }
        let timeout = self.settings.watch_timeout;
        let opened = api::watch(
            &self.client,
            &self.clock,
            &self.resource,
            self.version.as_deref(),
            timeout,
        );
        let mut reader = tokio::select! {
            opened = opened => opened?,
            () = self.sender.closed() => return Err(Stop::Closed),
        };
        self.freshness.connected();
        let (mut is_listing, mut has_spoken) = (self.version.is_none(), false);
        if is_listing {
            self.tell(Told::Listing).await?;
        }
        loop {
            let sender = self.sender.clone();
            let line = tokio::select! {
                line = next_line(&mut reader, self.settings.patience) => line,
                () = sender.closed() => return Err(Stop::Closed),
            };
            let line = match line {
                Ok(line) => line,
                Err(Broken::End { waited }) => {
                    if !is_listing {
                        // One that said nothing may have had nothing to say, or not have been able to.
                        if has_spoken {
                            self.freshness.heard(waited, self.clock.now());
                        }
                        return Ok(());
                    }
                    // Servers that do not know the question answer it as if it were another.
                    return Err(Failure::Unsupported("the streamed list broke off".to_owned()).into());
                }
                Err(Broken::Silent) if !is_listing => {
                    self.check_version().await?;
                    return Ok(());
                }
                Err(Broken::Silent) => {
                    return Err(Failure::Unsupported("the streamed list does not go on".to_owned()).into());
                }
                Err(Broken::Failed(reason)) => {
                    self.reason = "outage";
                    return Err(Failure::Other(reason).into());
                }
            };
            has_spoken = true;
            let now = self.clock.now();
            let seen = if is_listing {
                Sight {
                    at: now,
                    is_prompt: false,
                }
            } else {
                self.freshness.heard(line.waited, now)
            };
            let wrong = |error: &dyn std::error::Error| {
                Failure::Other(format!("a line of the watch is no change: {error}"))
            };
            let text = std::str::from_utf8(&line.text).map_err(|error| wrong(&error))?;
            let parsed: Line<'_> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
            match parsed.kind.as_ref() {
                "BOOKMARK" => {
                    let head: Head = serde_json::from_str(parsed.object.get()).unwrap_or_default();
                    let version = self.ahead(head.metadata.resource_version)?;
                    let is_end = head
                        .metadata
                        .annotations
                        .get(INITIAL_EVENTS_END)
                        .is_some_and(|is_end| is_end == "true");
                    if is_listing && is_end {
                        is_listing = false;
                        self.listed(version, now).await?;
                    } else if !is_listing {
                        self.reached(version).await?;
                    }
                }
                "ADDED" | "MODIFIED" | "DELETED" => {
                    let change = match parsed.kind.as_ref() {
                        _ if is_listing => Change::Listed,
                        "DELETED" => Change::Deleted,
                        _ => Change::Applied,
                    };
                    self.object(parsed.object.get(), change, seen).await?;
                }
                "ERROR" => {
                    let status: Status = serde_json::from_str(parsed.object.get()).unwrap_or_default();
                    return Err(Failure::of_status(&status).into());
                }
                other => return Err(Failure::Other(format!("the watch said `{other}`")).into()),
            }
        }
    }

    /// A watch says nothing: a server that was set back knows no version as high as the last, and waits for it.
    async fn check_version(&self) -> Result<(), Stop> {
        let page = api::page(
            &self.client,
            &self.clock,
            &self.resource,
            None,
            1,
            Some("metadata.name=none"),
        )
        .await?;
        self.ahead(page.version).map(drop)
    }

    /// Reads a list page by page.
    async fn list(&mut self) -> Result<(), Stop> {
        self.tell(Told::Listing).await?;
        let (mut next, mut version): (Option<String>, Option<String>) = (None, None);
        loop {
            let page = api::page(
                &self.client,
                &self.clock,
                &self.resource,
                next.as_deref(),
                self.settings.page,
                None,
            )
            .await?;
            let seen = Sight {
                at: self.clock.now(),
                is_prompt: false,
            };
            for item in &page.items {
                self.object(item.get(), Change::Listed, seen).await?;
            }
            // All pages show the state of the first.
            let shown = version.get_or_insert(page.version).clone();
            next = page.next;
            if next.is_none() {
                return self.listed(shown, seen.at).await;
            }
        }
    }

    /// A list is complete.
    async fn listed(&mut self, version: String, at: Timestamp) -> Result<(), Stop> {
        let since = self.freshness.through().filter(|since| *since < at);
        let blind = match since {
            None => None,
            Some(since) => Some(Blind {
                since,
                reason: std::mem::replace(&mut self.reason, "expired"),
                evidence: if self.resource.kind == "Pod" {
                    recovery::evidence(&self.client, &self.clock).await
                } else {
                    Evidence::default()
                },
            }),
        };
        self.reason = "expired";
        self.version = Some(version.clone());
        self.freshness.listed(at);
        self.tell(Told::Listed { version, at, blind }).await
    }

    async fn object(&mut self, text: &str, change: Change, mut seen: Sight) -> Result<(), Stop> {
        let read = Object::from_json(&self.resource.kind, text);
        let object = match read {
            Ok(mut object) => {
                if change != Change::Listed {
                    seen = self.freshness.written(written_at(object.metadata()), seen);
                }
                trim(&mut object, &self.settings.annotations);
                object
            }
            Err(error) => {
                let head: Head = serde_json::from_str(text).unwrap_or_default();
                self.metrics.skipped(&self.resource.name);
                tracing::warn!(
                    resource = %self.resource.name,
                    object = head.metadata.name,
                    %error,
                    "an object that cannot be read is left out"
                );
                let Metadata { uid, name, .. } = head.metadata;
                if change == Change::Listed {
                    return self.tell(Told::Unread { uid, name }).await;
                }
                if head.metadata.resource_version.is_empty() {
                    return Ok(());
                }
                let version = self.ahead(head.metadata.resource_version)?;
                return self.reached(version).await;
            }
        };
        let version = object.metadata().resource_version.clone().unwrap_or_default();
        let version = if change == Change::Listed {
            version
        } else {
            let version = self.ahead(version)?;
            if self.version.as_ref() == Some(&version) {
                // A change has a version of its own: this one was told already.
                return Ok(());
            }
            self.version = Some(version.clone());
            version
        };
        let through = self.freshness.through().unwrap_or(seen.at);
        self.metrics.heard(&self.resource.name, seen);
        self.tell(Told::Object {
            object: Box::new(object),
            change,
            seen,
            version,
            through,
        })
        .await
    }

    async fn reached(&mut self, version: String) -> Result<(), Stop> {
        self.version = Some(version.clone());
        let Some(through) = self.freshness.through() else {
            return Ok(());
        };
        self.tell(Told::Reached { version, through }).await
    }

    /// The version, unless it lies before the last: then the server was set back, and what is known has to be read anew.
    fn ahead(&self, version: String) -> Result<String, Stop> {
        let number = |version: &str| version.parse::<u128>().ok();
        let last = self.version.as_deref().and_then(number);
        match (last, number(&version)) {
            (Some(last), Some(now)) if now < last => Err(Failure::Expired.into()),
            _ => Ok(version),
        }
    }

    async fn tell(&self, told: Told) -> Result<(), Stop> {
        let message = Message {
            resource: Arc::clone(&self.resource),
            told,
        };
        self.sender.send(message).await.map_err(|_| Stop::Closed)
    }
}

/// When an object was last written, as far as it says, by the API server's clock.
fn written_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let entries = metadata.managed_fields.iter().flatten();
    let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or(0).max(0));
    let deleted_at = metadata.deletion_timestamp.as_ref();
    entries
        .filter_map(|entry| entry.time.as_ref())
        .chain(&metadata.creation_timestamp)
        .map(|time| time.0)
        .chain(deleted_at.and_then(|time| time.0.checked_sub(grace).ok()))
        .max()
}
