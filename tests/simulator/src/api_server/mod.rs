//! A Kubernetes API server, as far as clients can tell: it stands in front of a world, or of a recording of one.
//!
//! ```text
//! changes -> run: clock -> store: objects, history ──> list, page by page
//!                            │        └─> watches: what is there, what changes, bookmarks
//!                            └─ write <── POST, PUT, PATCH, DELETE;  access: who may;  fault: what goes wrong
//! ```
//!
//! Architecture invariant: everything follows from the changes, the settings and the requests; time is tokio's.
//! Architecture invariant: no admission, no controllers, no garbage collection. What happens is what is told and written.

mod access;
mod answer;
mod clock;
mod discovery;
mod failure;
mod fault;
mod history;
mod kubelet;
mod list;
mod patch;
mod request;
mod resources;
mod selector;
mod sent;
mod store;
mod table;
mod table_pods;
mod version;
mod watch;
mod write;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep_until;

pub use access::Access;
pub use fault::Fault;

use crate::world::Change;
use clock::Clock;
use store::Store;

/// How a server behaves. Spans are of simulated time.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The simulated time at which the server is made.
    pub start: Timestamp,
    /// Simulated milliseconds for one of tokio's; at least 1. Clients live in tokio's time, and so does their `timeoutSeconds`.
    pub speed: u32,
    pub seed: u64,
    /// How far back a watch can resume.
    pub history: Duration,
    pub bookmark_every: Duration,
    /// A watch that does not say how long it lasts ends after a time between this and its double.
    pub watch_least: Duration,
    /// How long Events are kept.
    pub event_ttl: Duration,
    /// Whether a watch can begin with what is there (`sendInitialEvents`).
    pub has_streaming_lists: bool,
    pub has_aggregated_discovery: bool,
    /// Whether kubelets answer at their own addresses.
    pub has_kubelets: bool,
    /// Whether kubelets have `/stats/summary` beside `/metrics/resource`.
    pub has_stats_summary: bool,
    /// Whether somebody answers for `metrics.k8s.io`.
    pub has_metrics_api: bool,
    /// Who may do what; without it everybody may do all.
    pub access: Option<Access>,
}

impl Settings {
    /// As Kubernetes sets them: 75 s of history, bookmarks every minute, watches of 30 to 60 min, Events for an hour.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            speed: 1,
            seed: 1,
            history: Duration::from_secs(75),
            bookmark_every: Duration::from_secs(60),
            watch_least: Duration::from_secs(30 * 60),
            event_ttl: Duration::from_secs(60 * 60),
            has_streaming_lists: true,
            has_aggregated_discovery: true,
            has_kubelets: true,
            has_stats_summary: true,
            has_metrics_api: true,
            access: None,
        }
    }
}

/// Something that was asked of the server, whether it was granted or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub verb: &'static str,
    pub group: String,
    pub resource: String,
    pub subresource: Option<String>,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

/// Lets simulated time go on when changes are told no more, also where that was given up halfway.
struct Held<'a>(&'a Clock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The server. Clones are the same server.
#[derive(Debug, Clone)]
pub struct ApiServer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    clock: Clock,
    store: Mutex<Store>,
    measured: Mutex<kubelet::Measured>,
}

impl ApiServer {
    /// A server without objects.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            clock: Clock::new(settings.start, settings.speed),
            store: Mutex::new(Store::new(&settings)),
            measured: Mutex::default(),
            settings,
        }))
    }

    /// Simulated time, in whole milliseconds. While a change is told by [`run`](Self::run), exactly its time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock().now_ms()).unwrap_or(self.0.settings.start)
    }

    /// Applies a change now, whatever time it bears.
    pub fn feed(&self, change: &Change) {
        let now_ms = self.clock().now_ms();
        let mut store = self.store();
        store.age(now_ms);
        store.apply(change.kind, change.object.clone(), now_ms);
        store.wake();
    }

    /// Applies changes when they are due, those of one instant together. After the last, watches get a bookmark. Simulated
    /// time does not pass a change before it is applied.
    pub async fn run(&self, changes: impl Iterator<Item = Change>) {
        let held = Held(self.clock());
        let mut changes = changes.peekable();
        while let Some(at_ms) = changes.peek().map(|change| change.at_ms) {
            self.wait(at_ms).await;
            let now_ms = self.clock().now_ms();
            // What makes them may take its time: they are taken outside the lock.
            let mut due = Vec::new();
            while let Some(change) = changes.next_if(|change| change.at_ms <= at_ms) {
                due.push(change);
            }
            {
                let mut store = self.store();
                store.age(now_ms);
                for change in due {
                    store.apply(change.kind, change.object, now_ms);
                }
                store.wake();
            }
            // Who was woken reads before time goes on.
            tokio::task::yield_now().await;
        }
        drop(held);
        let mut store = self.store();
        store.bookmark();
        store.wake();
    }

    /// Waits until a change is due, and lets Events vanish meanwhile.
    async fn wait(&self, at_ms: i64) {
        loop {
            let vanishes_ms = self.store().vanishes_ms();
            let next_ms = vanishes_ms.map_or(at_ms, |vanishes_ms| vanishes_ms.min(at_ms));
            self.clock().hold_at(next_ms);
            sleep_until(self.clock().instant(next_ms)).await;
            if next_ms == at_ms {
                return;
            }
            let mut store = self.store();
            store.age(next_ms);
            store.wake();
        }
    }

    /// The server as a service: for sockets, or for a client without.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .fallback(answer::answer)
            .with_state(self.clone())
    }

    /// Everything that was asked so far.
    #[must_use]
    pub fn uses(&self) -> BTreeSet<Use> {
        self.store().uses.clone()
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        let mut store = self.store();
        match &fault {
            Fault::ForgetHistory | Fault::Restart => store.forget_history(),
            Fault::RunBackwards => store.run_backwards(),
            _ => {}
        }
        store.faults.plan(fault);
        store.wake_all();
    }

    /// Ends silence, and forgets what was to go wrong yet.
    pub fn lift(&self) {
        let mut store = self.store();
        store.faults.lift();
        store.wake_all();
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn measured(&self) -> MutexGuard<'_, kubelet::Measured> {
        self.0.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Nothing is half done where somebody panicked: a test has failed, and others may go on.
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
