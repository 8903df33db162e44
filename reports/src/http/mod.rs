//! The dashboard and the HTTP API.
//!
//! ```text
//! request -> guard (host, origin, size, rate) -> access (token or session) -> cache by (URL, role, build)
//!                                                                            └-> snapshot -> questions -> page, CSV or JSON
//! ```
//!
//! Architecture invariant: a page, its CSV and the API ask the same question, so they cannot differ.
//! Architecture invariant: every route stands in [`routes`], and says there who may ask it.
//! Architecture invariant: nothing is written, and no value of a request becomes text of a query; queries of analysts go to the door.

mod access;
mod advice;
mod answers;
mod gauges;
pub(crate) mod guard;
mod listen;
mod openapi;
mod pages;
mod pictures;
pub(crate) mod problem;
mod question;
mod questions;
pub(crate) mod respond;
pub(crate) mod routes;
mod scope;
mod snapshot;
mod sql;
pub(crate) mod work;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::any;
use duckdb::Connection;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

pub(crate) use access::SALT_BYTES;
pub use access::{
    Access, AccessError, Role, create as create_token, read as read_tokens, revoke as revoke_token,
};
pub use advice::{Advice, Advise, AdviseWeek, Amount, NoAdvice, Replayed, Saving, Template};
pub use guard::{Hosts, LARGEST_BODY};
pub use listen::{ListenError, Listener, Tls};
pub use routes::{Route, routes};
pub use snapshot::{Snapshot, SnapshotError, Snapshots};

use crate::door::{self, Door};

use guard::Limit;
use respond::Who;

/// What a rule decided of a pod: of which field, what, and which rule it was.
#[derive(Debug, Clone)]
pub struct Decision {
    pub field: String,
    pub value: Option<String>,
    pub rule: Option<String>,
}

/// Says which rules decided what of the pod with a UID, in a cluster if one is named.
pub type Explain = dyn Fn(&Connection, &str, Option<&str>) -> Result<Vec<Decision>, String> + Send + Sync;

/// How the server behaves.
pub struct Settings {
    pub listen: SocketAddr,
    /// Names under which it may be asked, beside its address.
    pub hosts: Vec<String>,
    /// File of tokens.
    pub tokens: PathBuf,
    /// Whether answers go over TLS.
    pub is_tls: bool,
    /// Requests of one address, per second.
    pub requests_per_second: u32,
    pub explain: Option<Box<Explain>>,
    /// Says what containers should ask for.
    pub advise: Option<Box<Advise>>,
    /// Says what they should have asked for in a week, for its report.
    pub advise_week: Option<Box<AdviseWeek>>,
    /// How queries of analysts run; `None` if they are not served.
    pub door: Option<door::Settings>,
    /// Tells what answers depend on beside the build from what it was in another process: the configuration.
    pub fingerprint: String,
}

/// Answers that are kept, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Answers that are computed at once; others wait.
const AT_ONCE: usize = 4;

/// Tries to sign in that an address has at once, and how often it gets another, per second.
const TRIES: f64 = 10.0;
const TRIES_PER_SECOND: f64 = 0.1;

/// An answer, as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub kind: &'static str,
    pub body: Bytes,
    /// Other policy than that of pages.
    pub policy: Option<&'static str>,
    /// Name of the file as which it is downloaded.
    pub download: Option<String>,
}

impl Reply {
    pub fn new(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            kind,
            body: body.into(),
            policy: None,
            download: None,
        }
    }
}

pub(crate) const CSV: &str = "text/csv; charset=utf-8";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
pub(crate) const PROBLEM: &str = "application/problem+json";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

type Key = (String, Who, String);

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Arc<Reply>> for Weight {
    fn weight(&self, key: &Key, reply: &Arc<Reply>) -> u64 {
        (key.0.len() + key.2.len() + reply.body.len() + 256) as u64
    }
}

/// The labels of a counter.
type Labels = Vec<(&'static str, String)>;

#[derive(Default)]
struct Figures {
    requests: Family<Labels, Counter>,
    computed: Counter,
    from_cache: Counter,
    unchanged: Counter,
    build: Gauge,
}

/// The server: what it serves, to whom.
pub struct App {
    snapshots: Arc<Snapshots>,
    access: Access,
    door: Option<Arc<Door>>,
    settings: Settings,
    hosts: Hosts,
    cache: Cache<Key, Arc<Reply>, Weight>,
    places: Arc<Semaphore>,
    limit: Limit,
    tries: Limit,
    figures: Figures,
    registry: Registry,
}

/// Why a server cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(
        "{address} can be reached from elsewhere, and there is no token: make one with `podledger token create NAME`, or listen on 127.0.0.1"
    )]
    Open { address: SocketAddr },
}

impl App {
    /// A server of the newest snapshot.
    ///
    /// # Errors
    /// [`AppError`]: nobody is served over a network without a token.
    pub fn new(snapshots: Arc<Snapshots>, settings: Settings) -> Result<Arc<Self>, AppError> {
        let access = Access::of(&settings.tokens, false)?;
        if !settings.listen.ip().is_loopback() && !access.is_required() {
            return Err(AppError::Open {
                address: settings.listen,
            });
        }
        let figures = Figures::default();
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("podledger_http");
        own.register("requests", "Requests by status", figures.requests.clone());
        own.register(
            "answers_computed",
            "Answers that were computed",
            figures.computed.clone(),
        );
        own.register(
            "answers_cached",
            "Answers that were kept from before",
            figures.from_cache.clone(),
        );
        own.register(
            "answers_unchanged",
            "Requests that had the newest answer",
            figures.unchanged.clone(),
        );
        own.register(
            "build_id",
            "Number of the build that is served",
            figures.build.clone(),
        );
        Ok(Arc::new(Self {
            hosts: Hosts::new(settings.listen, &settings.hosts),
            limit: Limit::new(
                f64::from(settings.requests_per_second),
                f64::from(settings.requests_per_second) * 4.0,
            ),
            tries: Limit::new(TRIES_PER_SECOND, TRIES),
            cache: Cache::with_weighter(2_000, CACHE_BYTES, Weight),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            snapshots,
            access,
            door: settings.door.clone().map(Door::new).map(Arc::new),
            settings,
            figures,
            registry,
        }))
    }

    /// The router, made of [`routes`].
    pub fn router(self: &Arc<Self>) -> Router {
        static ROUTES: OnceLock<Vec<Route>> = OnceLock::new();
        let mut router = Router::new();
        for route in ROUTES.get_or_init(routes) {
            let app = Arc::clone(self);
            router = router.route(
                &route.path,
                any(move |request: Request| {
                    let app = Arc::clone(&app);
                    async move { app.answer(Some(route), request).await }
                }),
            );
        }
        let app = Arc::clone(self);
        router.fallback(move |request: Request| {
            let app = Arc::clone(&app);
            async move { app.answer(None, request).await }
        })
    }

    /// Computes the first pages that people open, so that they wait for none of them.
    pub async fn warm(self: &Arc<Self>) {
        let Some(snapshot) = self.snapshots.current() else {
            return;
        };
        for route in routes().iter().filter(|route| route.is_first()) {
            let is_known = self.access.is_required();
            let role = if is_known { Role::Viewer } else { Role::Admin };
            let who = Who { role, is_known };
            if let Err(problem) = self.kept(&snapshot, who, &route.path, "", &route.what).await {
                tracing::warn!(
                    path = route.path,
                    problem = problem.detail,
                    "a page could not be computed ahead"
                );
            }
        }
    }
}
