//! Kubelets and the metrics API: what containers use, as those who ask are told.

use std::collections::HashMap;

use axum::response::Response;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Attributes;
use super::answer::json_of;
use super::failure::Failure;
use super::{ApiServer, Use};
use crate::usage::{Pod, Profile};

/// A kubelet measures every ten seconds: so long it answers the same.
const MEASURES_MS: i64 = 10_000;

/// The metrics API tells averages over this time.
const WINDOW_MS: i64 = 15_000;

/// What is asked of a kubelet, or of the metrics API.
pub(super) enum Asked<'a> {
    /// A kubelet at its own address.
    Kubelet(&'a str),
    /// A kubelet through the API server.
    Proxy(&'a str),
    MetricsApi,
}

impl<'a> Asked<'a> {
    /// What a request asks for, if it is about usage.
    pub(super) fn of(authority: Option<&'a str>, path: &'a str) -> Option<Self> {
        if let (Some(address), "/stats/summary") = (authority, path) {
            return Some(Self::Kubelet(address));
        }
        if path == "/apis/metrics.k8s.io/v1beta1/pods" {
            return Some(Self::MetricsApi);
        }
        let rest = path.strip_prefix("/api/v1/nodes/")?;
        rest.strip_suffix("/proxy/stats/summary").map(Self::Proxy)
    }
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

pub(super) fn answer(
    server: &ApiServer,
    asked: &Asked<'_>,
    user: Option<&str>,
    method: &Method,
) -> Result<Response, Failure> {
    let (node, used) = match asked {
        Asked::Kubelet(address) => {
            let node = node_at(server, address).ok_or_else(Failure::no_such_path)?;
            let used = of_node(&node, "stats");
            (Some(node), used)
        }
        Asked::Proxy(node) => (Some((*node).to_owned()), of_node(node, "proxy")),
        Asked::MetricsApi => (
            None,
            Use {
                verb: "list",
                group: "metrics.k8s.io".to_owned(),
                resource: "pods".to_owned(),
                subresource: None,
                namespace: None,
                name: None,
            },
        ),
    };
    let allowed = match (&server.settings().access, user) {
        (Some(access), Some(user)) => access.check(user, &Attributes::of(&used)),
        _ => Ok(()),
    };
    server.store().uses.insert(used);
    allowed?;
    if method != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    if let Some(failure) = server.store().faults.refuse() {
        return Err(failure);
    }
    let settings = server.settings();
    let is_there = match asked {
        Asked::Kubelet(_) => settings.has_kubelets,
        Asked::Proxy(_) => true,
        Asked::MetricsApi => settings.has_metrics_api,
    };
    if !is_there {
        return Err(Failure::no_such_path());
    }
    let body = match node {
        Some(node) => summary(server, &node),
        None => metrics(server),
    };
    Ok(json_of(200, &body))
}

fn of_node(node: &str, subresource: &str) -> Use {
    Use {
        verb: "get",
        group: String::new(),
        resource: "nodes".to_owned(),
        subresource: Some(subresource.to_owned()),
        namespace: None,
        name: Some(node.to_owned()),
    }
}

/// All objects of a kind of the core group.
fn objects(server: &ApiServer, plural: &str) -> Vec<(String, bytes::Bytes)> {
    let store = server.store();
    let number = store.resources.find("", "v1", plural);
    let kept = number.and_then(|number| store.of(number));
    let objects = kept.iter().flat_map(|(_, kept)| kept.objects.iter());
    objects
        .map(|(key, version)| (key.name.clone(), version.whole.clone()))
        .collect()
}

/// The node that has this address (and port).
fn node_at(server: &ApiServer, authority: &str) -> Option<String> {
    let address = authority
        .rsplit_once(':')
        .map_or(authority, |(address, _)| address);
    objects(server, "nodes").into_iter().find_map(|(name, whole)| {
        let node: Node = serde_json::from_slice(&whole).ok()?;
        let has = node.status.addresses.iter().any(|held| held.address == address);
        has.then_some(name)
    })
}

/// What kubelets have measured last.
#[derive(Debug, Default)]
pub(super) struct Measured {
    at_ms: i64,
    by_node: HashMap<String, Vec<Runs>>,
}

/// A container that runs.
#[derive(Debug)]
struct Runs {
    pod: Pod,
    container: String,
    started_ms: i64,
}

fn running(server: &ApiServer) -> Vec<Runs> {
    let mut running = Vec::new();
    for (_, whole) in objects(server, "pods") {
        let Ok(pod) = serde_json::from_slice::<Pod>(&whole) else {
            continue;
        };
        for status in &pod.status.container_statuses {
            if let Some(state) = &status.state.running {
                running.push(Runs {
                    pod: pod.clone(),
                    container: status.name.clone(),
                    started_ms: state.started_at.as_millisecond(),
                });
            }
        }
    }
    running
}

fn time(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

/// What a kubelet tells of its pods.
fn summary(server: &ApiServer, node: &str) -> Value {
    let now_ms = server.clock().now_ms();
    let mut measured = server.measured();
    if now_ms >= measured.at_ms + MEASURES_MS {
        measured.at_ms = now_ms;
        measured.by_node.clear();
        for runs in running(server) {
            let of_node = measured.by_node.entry(runs.pod.spec.node_name.clone());
            of_node.or_default().push(runs);
        }
    }
    let at_ms = measured.at_ms;
    let pods: Vec<Value> = measured
        .by_node
        .get(node)
        .into_iter()
        .flatten()
        .map(|runs| {
            let Runs {
                pod,
                container,
                started_ms,
            } = runs;
            let mut measured = json!({"name": container, "startTime": time(*started_ms)});
            if *started_ms < at_ms {
                let profile = Profile::of(pod);
                measured["cpu"] = json!({
                    "time": time(at_ms),
                    "usageCoreNanoSeconds": profile.cpu_nanoseconds(*started_ms, at_ms),
                });
                let bytes = profile.memory_bytes(*started_ms, at_ms);
                measured["memory"] =
                    json!({"time": time(at_ms), "usageBytes": bytes, "workingSetBytes": bytes});
            }
            let metadata = &pod.metadata;
            // A static pod is known to its kubelet by the hash of its manifest.
            let uid = metadata
                .annotations
                .get("kubernetes.io/config.mirror")
                .unwrap_or(&metadata.uid);
            json!({
                "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": uid},
                "containers": [measured],
            })
        })
        .collect();
    json!({"node": {"nodeName": node}, "pods": pods})
}

/// What the metrics API tells of all pods.
fn metrics(server: &ApiServer) -> Value {
    let at_ms = server.clock().now_ms();
    let items: Vec<Value> = running(server)
        .into_iter()
        .filter(|runs| runs.started_ms <= at_ms - WINDOW_MS)
        .map(|runs| {
            let profile = Profile::of(&runs.pod);
            let used = profile.cpu_nanoseconds(at_ms - WINDOW_MS, at_ms);
            let nanocores = used / u64::try_from(WINDOW_MS / 1000).unwrap_or(1);
            let bytes = profile.memory_bytes(runs.started_ms, at_ms);
            json!({
                "metadata": {"name": runs.pod.metadata.name, "namespace": runs.pod.metadata.namespace},
                "timestamp": time(at_ms),
                "window": format!("{}s", WINDOW_MS / 1000),
                "containers": [{
                    "name": runs.container,
                    "usage": {"cpu": format!("{nanocores}n"), "memory": format!("{}Ki", bytes / 1024)},
                }],
            })
        })
        .collect();
    json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items})
}
