//! What becomes of a request: looked at, read, and answered from what is kept or computed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::answer::{Envelope, Summary, allocations};
use super::assets::assets;
use super::autocomplete;
use super::groups::sets;
use super::metrics::{KIND, metrics};
use super::question::{AssetQuestion, FieldQuestion, Question};
use super::{Key, OpenCost};
use crate::http::problem::Problem;
use crate::http::respond::{send, tagged};
use crate::http::routes::checksum;
use crate::http::{JSON, Reply, Snapshot, TEXT, guard, work};

/// How long a client waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Allocations(Box<Question>),
    Summary(Box<Question>),
    Assets(AssetQuestion),
    AllocationField(FieldQuestion),
    AssetField(FieldQuestion),
    Cluster,
    Clusters,
    Metrics,
}

impl OpenCost {
    pub(super) async fn answer(self: &Arc<Self>, request: Request) -> Response {
        let (parts, _) = request.into_parts();
        let mut response = match self.respond(&parts).await {
            Ok(response) => response,
            Err(problem) => refused(&problem),
        };
        guard::harden(response.headers_mut(), false);
        if parts.method == Method::HEAD {
            // The length is what a GET is told.
            if let Some(length) = response.body().size_hint().exact() {
                response
                    .headers_mut()
                    .insert(header::CONTENT_LENGTH, length.into());
            }
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn respond(self: &Arc<Self>, parts: &Parts) -> Result<Response, Problem> {
        let peer = parts
            .extensions
            .get::<SocketAddr>()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), SocketAddr::ip);
        if !self.limit.take(peer, Instant::now()) {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests; wait a second",
            ));
        }
        // OpenCost's pages ask below `/model`.
        let path = parts.uri.path();
        let path = path
            .strip_prefix("/model")
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(path);
        let path = path
            .strip_suffix('/')
            .filter(|rest| !rest.is_empty())
            .unwrap_or(path);
        // Kubelets ask a pod by its address.
        if path != "/healthz" {
            guard::check(parts, &self.hosts)?;
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this can only be read: ask with GET",
            ));
        }
        let query = parts.uri.query().unwrap_or_default();
        let now = (self.settings.clock)();
        let question = || Question::parse(query, now).map(Box::new);
        let (path, asked) = match path {
            "/healthz" => return Ok(send(&Reply::new(TEXT, "ok\n"))),
            "/allocation" | "/allocation/compute" => ("/allocation", Asked::Allocations(question()?)),
            "/allocation/summary" | "/allocation/compute/summary" => {
                ("/allocation/summary", Asked::Summary(question()?))
            }
            "/assets" => ("/assets", Asked::Assets(AssetQuestion::parse(query, now)?)),
            "/allocation/autocomplete" => (
                "/allocation/autocomplete",
                Asked::AllocationField(FieldQuestion::of_allocations(query, now)?),
            ),
            "/assets/autocomplete" => (
                "/assets/autocomplete",
                Asked::AssetField(FieldQuestion::of_assets(query, now)?),
            ),
            "/clusterInfo" => ("/clusterInfo", Asked::Cluster),
            "/clusterInfoMap" => ("/clusterInfoMap", Asked::Clusters),
            "/metrics" => ("/metrics", Asked::Metrics),
            other => return nothing(other),
        };
        let Some(snapshot) = self.snapshots.current() else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "nothing has been built yet: run `podledger import` or `podledger collect`, and `podledger build`",
            ));
        };
        let etag = format!("\"{}-{}\"", snapshot.key, checksum(&format!("{path} {asked:?}")));
        let key = (snapshot.key.clone(), path, asked);
        let reply = tokio::time::timeout(PATIENCE, self.kept(&snapshot, key)).await;
        let reply = reply.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the answer took too long; ask about a shorter `window` or fewer groups",
            ))
        })?;
        Ok(tagged(parts, &etag, || send(&reply)))
    }

    async fn kept(self: &Arc<Self>, snapshot: &Arc<Snapshot>, key: Key) -> Result<Arc<Reply>, Problem> {
        match self.cache.get_value_or_guard_async(&key).await {
            Ok(reply) => Ok(reply),
            Err(place) => {
                // Who asks for the same meanwhile waits for this answer.
                let reply = Arc::new(self.compute(snapshot, key.2).await?);
                let _ = place.insert(Arc::clone(&reply));
                Ok(reply)
            }
        }
    }

    async fn compute(self: &Arc<Self>, snapshot: &Arc<Snapshot>, asked: Asked) -> Result<Reply, Problem> {
        let permit = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|error| Problem::failed(&error))?;
        let connection = snapshot.connection().map_err(super::read::failed)?;
        work::run(connection, move |connection, over| {
            // Others have their turn when the work is over, not when nobody waits for it.
            let _permit = permit;
            match asked {
                Asked::Allocations(question) => {
                    let sets = sets(&question, connection, over)?;
                    enveloped(allocations(&sets, question.has_proportions))
                }
                Asked::Summary(question) => {
                    let sets = sets(&question, connection, over)?;
                    enveloped(Summary::of(&sets, question.steps))
                }
                Asked::Assets(question) => enveloped(assets(&question, connection, over)?),
                Asked::AllocationField(question) => {
                    enveloped(autocomplete::of_allocations(&question, connection, over)?)
                }
                Asked::AssetField(question) => {
                    enveloped(autocomplete::of_assets(&question, connection, over)?)
                }
                Asked::Cluster => enveloped(
                    clusters(connection)?
                        .into_iter()
                        .next()
                        .map(|(_, cluster)| cluster),
                ),
                Asked::Clusters => enveloped(clusters(connection)?),
                Asked::Metrics => Ok(Reply::new(KIND, metrics(connection, over)?)),
            }
        })
        .await
        .map_err(|error| Problem::failed(&error))?
    }
}

fn enveloped<T: Serialize>(data: T) -> Result<Reply, Problem> {
    let text = serde_json::to_string(&Envelope::of(data)).map_err(|error| Problem::failed(&error))?;
    Ok(Reply::new(JSON, text))
}

fn refused(problem: &Problem) -> Response {
    let envelope = Envelope {
        code: problem.status.as_u16(),
        status: "error",
        data: (),
        message: problem.detail.clone(),
    };
    let mut reply = Reply::new(JSON, serde_json::to_string(&envelope).unwrap_or_default());
    reply.status = problem.status;
    let mut response = send(&reply);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let more = match problem.status {
        StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "10")),
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "30")),
        StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
        _ => None,
    };
    if let Some((name, value)) = more {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What is told of a cluster.
type Cluster = BTreeMap<&'static str, String>;

/// Clusters, by identifier.
fn clusters(connection: &duckdb::Connection) -> Result<BTreeMap<String, Cluster>, Problem> {
    let mut statement = connection
        .prepare("select cluster from marts.clusters")
        .map_err(super::read::failed)?;
    let names = statement
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<duckdb::Result<Vec<String>>>)
        .map_err(super::read::failed)?;
    let told = names.into_iter().map(|name| {
        let cluster = BTreeMap::from([
            ("id", name.clone()),
            ("name", name.clone()),
            ("provider", String::new()),
            ("provisioner", String::new()),
        ]);
        (name, cluster)
    });
    Ok(told.collect())
}

/// What OpenCost's pages ask for and podledger has nothing of: bills of clouds and of other services are in its own dashboard.
fn nothing(path: &str) -> Result<Response, Problem> {
    let totals = json!({ "cost": 0, "kubernetesPercent": 0, "name": "" });
    let data = match path {
        "/cloudCost" => json!({ "sets": [] }),
        "/cloudCost/autocomplete" => json!({ "data": [] }),
        "/cloudCost/view/table" | "/cloudCost/view/graph" | "/cloudCost/status" => json!([]),
        "/cloudCost/view/totals" => json!({ "numResults": 0, "combined": totals }),
        "/customCost/total" => json!({ "customCosts": [], "totalCost": 0 }),
        "/customCost/timeseries" => json!({ "timeseries": [] }),
        _ => return Err(Problem::missing("there is nothing here")),
    };
    enveloped(data).map(|reply| send(&reply))
}
