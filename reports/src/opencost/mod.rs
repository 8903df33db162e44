//! What OpenCost's clients ask: allocations, assets and metrics, in OpenCost's words, of the marts of the newest build.
//!
//! ```text
//! request -> guard (host, origin, size, rate) -> question (window, filter, aggregate) -> cache by (question, build)
//!         -> snapshot -> rows of marts -> steps, containers, groups: integers -> five decimals -> envelope
//! ```
//!
//! Architecture invariant: money is nano-dollars until an answer is written; parts of an hour add up to what marts say of it.
//! Architecture invariant: the clock is told; an answer is a function of the question, the window that the clock makes of it, and the build.
//! Architecture invariant: nothing is written, and no text of a request becomes text of a query.

mod aggregate;
mod answer;
mod assets;
mod autocomplete;
mod field;
mod filter;
mod groups;
mod item;
mod metrics;
mod question;
mod read;
mod respond;
mod sets;
mod share;
mod sums;
mod window;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use duckdb::Connection;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::http::guard::{Hosts, Limit};
use crate::http::work::Over;
use crate::http::{Reply, Snapshots};

/// Tells the time, ms since 1970.
pub type Clock = dyn Fn() -> i64 + Send + Sync;

/// How clients are served.
pub struct Settings {
    pub listen: SocketAddr,
    /// Names under which it may be asked, beside its address.
    pub hosts: Vec<String>,
    /// Whether everybody who reaches the address may read all costs: these clients can show no token.
    pub is_open: bool,
    /// Requests of one address, per second.
    pub requests_per_second: u32,
    pub clock: Box<Clock>,
}

/// Why clients cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenCostError {
    #[error(
        "{address} can be reached from elsewhere, and OpenCost's clients can show no token: give --compat-anonymous if all who reach it may read all \
         costs, or listen on 127.0.0.1"
    )]
    Open { address: SocketAddr },
}

/// Answers that are kept, in bytes.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Answers that are computed at once; others wait.
const AT_ONCE: usize = 2;

/// Build, path, and question.
type Key = (String, &'static str, respond::Asked);

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Arc<Reply>> for Weight {
    fn weight(&self, key: &Key, reply: &Arc<Reply>) -> u64 {
        (key.0.len() + reply.body.len() + 1_024) as u64
    }
}

/// The server.
pub struct OpenCost {
    snapshots: Arc<Snapshots>,
    settings: Settings,
    hosts: Hosts,
    limit: Limit,
    cache: Cache<Key, Arc<Reply>, Weight>,
    places: Arc<Semaphore>,
}

impl OpenCost {
    /// A server of the newest snapshot.
    ///
    /// # Errors
    /// [`OpenCostError::Open`]: an address that can be reached from elsewhere has to be opened by name.
    pub fn new(snapshots: Arc<Snapshots>, settings: Settings) -> Result<Arc<Self>, OpenCostError> {
        if !settings.listen.ip().is_loopback() && !settings.is_open {
            return Err(OpenCostError::Open {
                address: settings.listen,
            });
        }
        let per_second = f64::from(settings.requests_per_second);
        Ok(Arc::new(Self {
            hosts: Hosts::new(settings.listen, &settings.hosts),
            limit: Limit::new(per_second, per_second * 4.0),
            cache: Cache::with_weighter(500, CACHE_BYTES, Weight),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            snapshots,
            settings,
        }))
    }

    /// Answers every request.
    pub fn router(self: &Arc<Self>) -> Router {
        let server = Arc::clone(self);
        Router::new().fallback(move |request: Request| {
            let server = Arc::clone(&server);
            async move { server.answer(request).await }
        })
    }
}

/// Nano-dollars by group and field.
pub type NanoDollars = BTreeMap<String, BTreeMap<&'static str, i128>>;

/// What `/allocation` says, before it is rounded: of each set its start and end (ms since 1970), and nano-dollars by group and field (`cpuCost`, ...).
///
/// # Errors
/// What the request would be answered with: what is wrong, and how it is mended.
pub fn nano_dollars(
    connection: &Connection,
    query: &str,
    now_ms: i64,
) -> Result<Vec<(i64, i64, NanoDollars)>, String> {
    use sums::Money;
    let question = question::Question::parse(query, now_ms).map_err(|problem| problem.detail)?;
    let sets = groups::sets(&question, connection, &Over::default()).map_err(|problem| problem.detail)?;
    let fields: [(&'static str, &[Money]); 7] = [
        ("cpuCost", &[Money::Cpu, Money::CpuIdle]),
        ("ramCost", &[Money::Memory, Money::MemoryIdle]),
        ("gpuCost", &[Money::Gpu, Money::GpuIdle]),
        ("pvCost", &[Money::Volume]),
        ("loadBalancerCost", &[Money::LoadBalancer]),
        ("externalCost", &[Money::External]),
        ("sharedCost", &[Money::Shared]),
    ];
    let told = sets.into_iter().map(|set| {
        let allocations = set.allocations.into_iter().map(|(name, allocation)| {
            let costs = fields.iter().map(|(field, kinds)| {
                let sum = kinds.iter().map(|kind| allocation.amounts.money(*kind)).sum();
                (*field, sum)
            });
            (name, costs.collect())
        });
        (set.window.start_ms, set.window.end_ms, allocations.collect())
    });
    Ok(told.collect())
}
