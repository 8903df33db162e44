//! A server, and a client of few words.

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use podledger_simulator::api_server::{ApiServer, Settings};
use podledger_simulator::{Change, ChangeKind, Object};
use serde_json::{Value, json};
use tower::ServiceExt;

/// 2026-11-16 00:00:00 UTC.
pub const START_MS: i64 = 1_794_787_200_000;

pub const JSON: &str = "application/json";
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub fn settings() -> Settings {
    Settings::new(Timestamp::from_millisecond(START_MS).unwrap())
}

pub fn server() -> ApiServer {
    ApiServer::new(settings())
}

pub fn pod(name: &str, node: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "jobs", "uid": format!("uid-{name}"), "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [{"name": "main"}]},
        "status": {"phase": phase},
    })
}

pub fn change(at_ms: i64, kind: ChangeKind, object: Value) -> Change {
    Change {
        at_ms,
        kind,
        object: Object::Other(Box::new(object)),
    }
}

pub fn feed(server: &ApiServer, kind: ChangeKind, object: Value) {
    server.feed(&change(START_MS, kind, object));
}

pub async fn ask(server: &ApiServer, request: Request<Body>) -> Response<Body> {
    server.router().oneshot(request).await.unwrap()
}

/// What a GET answers in a form: code and body.
pub async fn get_as(server: &ApiServer, path: &str, accept: &str) -> (u16, Value) {
    let request = Request::get(path)
        .header("accept", accept)
        .body(Body::empty())
        .unwrap();
    read(ask(server, request).await).await
}

pub async fn get(server: &ApiServer, path: &str) -> (u16, Value) {
    get_as(server, path, JSON).await
}

pub async fn send(server: &ApiServer, method: Method, path: &str, kind: &str, body: Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(Body::from(body.to_string()))
        .unwrap();
    read(ask(server, request).await).await
}

pub async fn read(response: Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// The version of a list or an object.
pub fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

pub fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

/// A watch that is read line by line.
pub struct Watch {
    body: BodyDataStream,
    read: Vec<u8>,
    pub is_broken: bool,
}

impl Watch {
    pub async fn open_as(server: &ApiServer, path: &str, accept: &str) -> Self {
        let request = Request::get(path)
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = ask(server, request).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body().into_data_stream(),
            read: Vec::new(),
            is_broken: false,
        }
    }

    pub async fn open(server: &ApiServer, path: &str) -> Self {
        Self::open_as(server, path, JSON).await
    }

    /// The next event, as soon as there is one; nothing once the watch is over.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.read.extend_from_slice(&chunk),
                Some(Err(_)) => {
                    self.is_broken = true;
                    return None;
                }
                None => return None,
            }
        }
    }

    /// Type and name of the next event.
    pub async fn told(&mut self) -> Option<(String, String)> {
        let event = self.next().await?;
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        Some((event["type"].as_str().unwrap().to_owned(), name.to_owned()))
    }

    pub async fn expect(&mut self, kind: &str, name: &str) {
        assert_eq!(self.told().await, Some((kind.to_owned(), name.to_owned())));
    }

    /// What was read of a line that did not end.
    pub fn rest(&self) -> &[u8] {
        &self.read
    }
}
