//! Kubelets and the metrics API: what containers use, as those who ask are told.

use std::collections::HashMap;

use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::CONTENT_TYPE;
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

/// In which form a kubelet tells what it has measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `/stats/summary`.
    Summary,
    /// `/metrics/resource`.
    Resource,
}

impl Form {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/stats/summary" => Some(Self::Summary),
            "/metrics/resource" => Some(Self::Resource),
            _ => None,
        }
    }

    /// The subresource of nodes that a kubelet has it allowed by.
    fn subresource(self) -> &'static str {
        match self {
            Self::Summary => "stats",
            Self::Resource => "metrics",
        }
    }
}

/// What is asked of a kubelet, or of the metrics API.
pub(super) enum Asked<'a> {
    /// A kubelet at its own address.
    Kubelet(&'a str, Form),
    /// A kubelet through the API server.
    Proxy(&'a str, Form),
    MetricsApi,
}

impl<'a> Asked<'a> {
    /// What a request asks for, if it is about usage.
    pub(super) fn of(authority: Option<&'a str>, path: &'a str) -> Option<Self> {
        if let (Some(address), Some(form)) = (authority, Form::of(path)) {
            return Some(Self::Kubelet(address, form));
        }
        if path == "/apis/metrics.k8s.io/v1beta1/pods" {
            return Some(Self::MetricsApi);
        }
        let rest = path.strip_prefix("/api/v1/nodes/")?;
        let (node, path) = rest.split_once("/proxy")?;
        Form::of(path).map(|form| Self::Proxy(node, form))
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
        Asked::Kubelet(address, form) => {
            let node = node_at(server, address).ok_or_else(Failure::no_such_path)?;
            let used = of_node(&node, form.subresource());
            (Some((node, *form)), used)
        }
        Asked::Proxy(node, form) => (Some(((*node).to_owned(), *form)), of_node(node, "proxy")),
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
        Asked::Kubelet(..) if !settings.has_kubelets => false,
        Asked::Kubelet(_, form) | Asked::Proxy(_, form) => {
            *form == Form::Resource || settings.has_stats_summary
        }
        Asked::MetricsApi => settings.has_metrics_api,
    };
    if !is_there {
        return Err(Failure::no_such_path());
    }
    Ok(match node {
        Some((node, Form::Summary)) => json_of(200, &summary(server, &node)),
        Some((node, Form::Resource)) => {
            let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (kind, resource_metrics(server, &node)).into_response()
        }
        None => json_of(200, &metrics(server)),
    })
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

/// Measures again what kubelets tell, if that is due.
fn measure(server: &ApiServer, measured: &mut Measured) {
    let now_ms = server.clock().now_ms();
    if now_ms >= measured.at_ms + MEASURES_MS {
        measured.at_ms = now_ms;
        measured.by_node.clear();
        for runs in running(server) {
            let of_node = measured.by_node.entry(runs.pod.spec.node_name.clone());
            of_node.or_default().push(runs);
        }
    }
}

/// What a kubelet tells of its pods.
fn summary(server: &ApiServer, node: &str) -> Value {
    let mut measured = server.measured();
    measure(server, &mut measured);
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

/// The same for Prometheus, by the names of pods.
fn resource_metrics(server: &ApiServer, node: &str) -> String {
    let mut measured = server.measured();
    measure(server, &mut measured);
    let at_ms = measured.at_ms;
    let mut parts = [const { String::new() }; 3];
    for runs in measured.by_node.get(node).into_iter().flatten() {
        let Runs {
            pod,
            container,
            started_ms,
        } = runs;
        let of = format!(
            "{{container=\"{container}\",namespace=\"{}\",pod=\"{}\"}}",
            pod.metadata.namespace, pod.metadata.name
        );
        parts[2] += &format!(
            "container_start_time_seconds{of} {}.{:03}\n",
            started_ms / 1000,
            started_ms % 1000
        );
        if *started_ms >= at_ms {
            continue;
        }
        let profile = Profile::of(pod);
        let nanoseconds = profile.cpu_nanoseconds(*started_ms, at_ms);
        parts[0] += &format!(
            "container_cpu_usage_seconds_total{of} {}.{:09} {at_ms}\n",
            nanoseconds / 1_000_000_000,
            nanoseconds % 1_000_000_000
        );
        parts[1] += &format!(
            "container_memory_working_set_bytes{of} {:e} {at_ms}\n",
            profile.memory_bytes(*started_ms, at_ms)
        );
    }
    let [cpu, memory, started] = parts;
    format!(
        "# TYPE container_cpu_usage_seconds_total counter\n{cpu}# TYPE container_memory_working_set_bytes gauge\n{memory}\
         # TYPE container_start_time_seconds gauge\n{started}# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n"
    )
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
