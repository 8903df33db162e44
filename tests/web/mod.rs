//! The dashboard and the API over whole ledgers: who is answered, with which figures, and how names are shown.

mod browser;
mod cache;
mod clusters;
mod document;
mod drilled;
mod figures;
mod handy;
mod marts;
pub mod names;
mod pictures;
mod published;
mod reports;
mod safety;
mod secrets;
mod served;
mod tls;
mod unlike;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use podledger_reports::http::{App, Settings, Snapshots};
use tower::ServiceExt;

use crate::harness::{World, snapshots_of};

/// A server of a ledger, asked without a network.
pub struct Server {
    pub snapshots: Arc<Snapshots>,
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub fn settings(tokens: &Path) -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 9480)),
        hosts: vec!["costs.example.com".to_owned()],
        tokens: tokens.to_path_buf(),
        is_tls: false,
        requests_per_second: 1_000_000,
        explain: None,
        advise: None,
        advise_week: None,
        door: None,
        fingerprint: String::new(),
    }
}

async fn answer(router: axum::Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// What questions need to be told, of what a ledger has: the run with the most failures and its pipeline, the dearest pod and machine.
pub fn needed(ask: &dyn Fn(&str) -> serde_json::Value) -> BTreeMap<&'static str, String> {
    let first = |name: &str, sort: &str, column: &str| {
        let answer = ask(&format!("/api/v1/{name}?sort={sort}&limit=1"));
        answer["rows"][0][column].as_str().unwrap().to_owned()
    };
    BTreeMap::from([
        ("run", first("runs", "-failed_attempts", "run")),
        ("pipeline", first("runs", "-failed_attempts", "pipeline")),
        ("pod", first("pods", "-cost", "pod_uid")),
        ("machine", first("machines", "-cost", "machine")),
        (
            "team",
            ask("/api/v1/teams?limit=1")["rows"][0]["team"]
                .as_str()
                .unwrap()
                .to_owned(),
        ),
    ])
}

impl Server {
    /// Of what is in a folder, for whom the tokens there say.
    pub fn of(folder: &Path) -> Self {
        Self::with(folder, settings(&folder.join("tokens.toml")))
    }

    /// Of what is in a folder, as settings say.
    pub fn with(folder: &Path, settings: Settings) -> Self {
        let snapshots = snapshots_of(folder);
        snapshots.take().unwrap();
        let app = App::new(Arc::clone(&snapshots), settings).unwrap();
        Self {
            router: app.router(),
            snapshots,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .worker_threads(1)
                .build()
                .unwrap(),
        }
    }

    pub fn of_world(world: &World) -> Self {
        Self::of(world.folder.path())
    }

    pub fn get(&self, url: &str) -> Answer {
        self.ask("GET", url, &[("host", "127.0.0.1:9480")], "")
    }

    pub fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.runtime.block_on(answer(self.router.clone(), request))
    }

    /// Answers to requests that are all there before the first is answered.
    pub fn at_once(&self, requests: Vec<Request<Body>>) -> Vec<Answer> {
        self.runtime.block_on(async {
            let asked = requests
                .into_iter()
                .map(|request| answer(self.router.clone(), request));
            asked.collect::<tokio::task::JoinSet<Answer>>().join_all().await
        })
    }

    /// Pages that are reached from others, at most so many of each path, with what they say.
    pub fn pages(&self, from: &str, each: usize) -> Vec<(String, String)> {
        let mut seen: Vec<(String, String)> = Vec::new();
        let mut waiting = vec![from.to_owned()];
        let mut known: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        let mut asked: std::collections::BTreeSet<String> = waiting.iter().cloned().collect();
        while let Some(url) = waiting.pop() {
            let path = url.split('?').next().unwrap().to_owned();
            let count = known.entry(path).or_default();
            *count += 1;
            if *count > each {
                continue;
            }
            let answer = self.get(&url);
            assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
            if answer.header(header::CONTENT_TYPE).starts_with("text/html") {
                for link in answer.body.split("href=\"").skip(1) {
                    let link = link.split('"').next().unwrap().replace("&amp;", "&");
                    if link.starts_with('/') && !link.starts_with("/assets") && asked.insert(link.clone()) {
                        waiting.push(link);
                    }
                }
            }
            seen.push((url, answer.body));
        }
        seen
    }
}
