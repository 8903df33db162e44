//! What `metrics.k8s.io` answers: averages over a short window, by the names of pods.

use jiff::{SignedDuration, Span, Timestamp};
use podledger_sql::units::Quantity;
use serde::Deserialize;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    timestamp: Timestamp,
    /// As Go writes durations: `15.039s`, `1m0s`.
    #[serde(default)]
    window: String,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize, Default)]
struct Usage {
    cpu: Option<String>,
    memory: Option<String>,
}

/// What a container used on average over a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Average {
    pub namespace: String,
    pub pod_name: String,
    pub container_name: String,
    /// The end of the window.
    pub at: Timestamp,
    pub window: SignedDuration,
    pub cpu_nanocores: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
}

/// What is taken where the window cannot be read: that of the metrics server.
const WINDOW: SignedDuration = SignedDuration::from_secs(15);

/// The averages in an answer. Amounts that cannot be read are left out.
///
/// # Errors
/// Where the answer is no list of such metrics.
pub fn averages(text: &[u8]) -> Result<Vec<Average>, serde_json::Error> {
    let list: List = serde_json::from_slice(text)?;
    let mut averages = Vec::new();
    for pod in list.items {
        let window = pod.window.parse::<Span>().ok();
        let window = window.and_then(|span| SignedDuration::try_from(span).ok());
        let window = window.filter(|window| window.is_positive()).unwrap_or(WINDOW);
        for container in pod.containers {
            averages.push(Average {
                namespace: pod.metadata.namespace.clone(),
                pod_name: pod.metadata.name.clone(),
                container_name: container.name,
                at: pod.timestamp,
                window,
                cpu_nanocores: container.usage.cpu.as_deref().and_then(nanocores),
                memory_working_set_bytes: container.usage.memory.as_deref().and_then(bytes),
            });
        }
    }
    Ok(averages)
}

fn nanocores(text: &str) -> Option<u64> {
    u64::try_from(Quantity::parse(text).ok()?.nano()).ok()
}

fn bytes(text: &str) -> Option<u64> {
    u64::try_from(Quantity::parse(text).ok()?.nano() / 1_000_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_of_the_metrics_api_are_read() {
        let text = br#"{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [
            {"metadata": {"name": "p", "namespace": "d"}, "timestamp": "2026-11-16T10:00:00Z", "window": "1m15.039s",
             "containers": [{"name": "main", "usage": {"cpu": "151m", "memory": "9Mi"}},
                            {"name": "other", "usage": {"cpu": "many"}}]},
            {"metadata": {"name": "q"}, "timestamp": "2026-11-16T10:00:00Z", "window": "soon",
             "containers": [{"name": "main", "usage": {"cpu": "58n"}}]}]}"#;
        let found = averages(text).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].cpu_nanocores, Some(151_000_000));
        assert_eq!(found[0].memory_working_set_bytes, Some(9 << 20));
        assert_eq!(found[0].window, SignedDuration::from_millis(75_039));
        assert_eq!(
            (found[1].cpu_nanocores, found[1].memory_working_set_bytes),
            (None, None)
        );
        assert_eq!((found[2].cpu_nanocores, found[2].window), (Some(58), WINDOW));
        assert!(averages(b"{\"items\": [{}]}").is_err());
    }
}
