//! OpenCost's clients, answered from the marts: that no nano-dollar is lost on the way, and that answers are what these clients read.

mod answers;
mod assets;
mod proposals;
mod refused;
mod schema;
mod sums;

use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use duckdb::Connection;
use podledger_reports::opencost::{NanoDollars, OpenCost, Settings, nano_dollars};
use tower::ServiceExt;

use crate::harness::{World, snapshots_of};
use crate::services::declared;
use crate::simulated::{START_MS, ledger_of, scenario};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// When questions are asked: in the second day of the scenario.
const NOW: i64 = START_MS + DAY + 10 * HOUR + 1_234;

/// A server of a ledger, asked without a network.
pub struct Server {
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

pub fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:9003".parse().unwrap(),
        hosts: vec!["model".to_owned()],
        is_open: false,
        requests_per_second: 1_000_000,
        clock: Box::new(|| NOW),
    }
}

impl Server {
    pub fn of(folder: &Path) -> Self {
        let snapshots = snapshots_of(folder);
        snapshots.take().unwrap();
        Self {
            router: OpenCost::new(snapshots, settings()).unwrap().router(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .worker_threads(1)
                .build()
                .unwrap(),
        }
    }

    pub fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: String::from_utf8(bytes.to_vec()).unwrap(),
            }
        })
    }

    pub fn get(&self, url: &str) -> Answer {
        self.ask("GET", url, &[("host", "127.0.0.1:9003")])
    }

    pub fn text(&self, url: &str) -> String {
        let answer = self.get(url);
        assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
        answer.body
    }
}

/// Two days of a platform with volumes, a control plane, and a load balancer of a Service.
fn platform() -> World {
    let (mut world, _) = ledger_of(scenario(29, 2, 10));
    world.config = declared("");
    let cluster = world.rows("select cluster from marts.clusters")[0].clone();
    let at = "make_timestamp_ms(1793577600000) + interval 3 hours";
    world.given(
        "service_states",
        &format!(
            "select '{cluster}' as cluster, 'lb' as service_uid, {at} as observed_at, 'ingress' as service_name, \
             'web' as namespace, {at} as created_at"
        ),
    );
    world.build(false);
    world
}

/// What a question is answered with before it is rounded.
fn asked(connection: &Connection, query: &str) -> Vec<(i64, i64, NanoDollars)> {
    let sets = nano_dollars(connection, query, NOW);
    assert!(sets.is_ok(), "{query}: {sets:?}");
    sets.unwrap()
}

/// A window of the scenario, in seconds from its start, as a parameter.
fn window(from_s: i64, to_s: i64) -> String {
    format!("window={},{}", START_MS / 1_000 + from_s, START_MS / 1_000 + to_s)
}
