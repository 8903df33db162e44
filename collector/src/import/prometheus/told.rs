//! What is asked of a Prometheus about objects, and what it told of a window of time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names::Names;
use super::server::{Series, Server};
use crate::error::Result;

/// Metrics of which the newest value tells enough, and how their series are chosen. They are kube-state-metrics' (v2), whose
/// documentation says what each means.
const NEWEST: &[(&str, &str)] = &[
    ("kube_pod_created", ""),
    ("kube_pod_start_time", ""),
    ("kube_pod_status_scheduled_time", ""),
    ("kube_pod_completion_time", ""),
    ("kube_pod_deletion_timestamp", ""),
    ("kube_pod_labels", ""),
    ("kube_pod_annotations", ""),
    ("kube_pod_owner", ""),
    ("kube_pod_container_info", ""),
    ("kube_pod_init_container_info", ""),
    ("kube_pod_container_resource_requests", ""),
    ("kube_pod_init_container_resource_requests", ""),
    ("kube_pod_container_resource_limits", ""),
    ("kube_pod_init_container_resource_limits", ""),
    ("kube_pod_overhead_cpu_cores", ""),
    ("kube_pod_overhead_memory_bytes", ""),
    ("kube_pod_container_state_started", ""),
    ("kube_pod_container_status_terminated_reason", ""),
    ("kube_pod_status_reason", ""),
    ("kube_job_created", ""),
    ("kube_job_owner", ""),
    ("kube_job_labels", ""),
    ("kube_job_complete", "condition=\"true\""),
    ("kube_job_failed", "condition=\"true\""),
    ("kube_job_status_completion_time", ""),
    ("kube_replicaset_owner", ""),
    ("kube_namespace_labels", ""),
    ("kube_namespace_annotations", ""),
    ("kube_namespace_created", ""),
    ("kube_node_created", ""),
    ("kube_node_labels", ""),
    ("kube_node_spec_taint", ""),
    ("kube_node_status_capacity", ""),
    ("kube_node_status_allocatable", ""),
    ("kube_node_status_condition", "condition=\"Ready\""),
];

/// Metrics whose value says whether what their labels say is so.
const TRUTHS: &[&str] = &[
    "kube_pod_status_reason",
    "kube_job_complete",
    "kube_job_failed",
    "kube_node_status_condition",
    "kube_pod_container_status_terminated_reason",
];

/// What a server told of `[from_ms, to_ms)`.
#[derive(Debug, Default)]
pub struct Told {
    pub from_ms: i64,
    pub to_ms: i64,
    /// All samples of `kube_pod_info` and `kube_node_info`.
    pub pods: Vec<Series>,
    pub nodes: Vec<Series>,
    /// All samples of containers that wait, by reason.
    pub waits: Vec<Series>,
    /// How many samples each pod has of a phase that it was in.
    pub phases: Vec<Series>,
    /// How many samples tell that a pod was asked to go.
    pub deletions: Vec<Series>,
    /// The newest values, by metric.
    newest: HashMap<&'static str, Vec<Series>>,
    /// All samples of nodes whose name several machines bore, by metric.
    shared: HashMap<&'static str, Vec<Series>>,
}

impl Told {
    /// Asks a server.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn ask(server: &Server, from_ms: i64, to_ms: i64) -> Result<Self> {
        let mut told = Self {
            from_ms,
            to_ms,
            pods: server.samples("kube_pod_info", "", from_ms, to_ms).await?,
            nodes: server.samples("kube_node_info", "", from_ms, to_ms).await?,
            ..Self::default()
        };
        if told.pods.is_empty() && told.nodes.is_empty() {
            return Ok(told);
        }
        let reason = "kube_pod_container_status_waiting_reason";
        told.waits = server.samples(reason, "", from_ms, to_ms).await?;
        for series in &mut told.waits {
            series.samples.retain(|(_, value)| *value > 0.0);
        }
        let phase = "kube_pod_status_phase";
        told.phases = server
            .over("sum_over_time", phase, "", from_ms, to_ms, " > 0")
            .await?;
        let deletion = "kube_pod_deletion_timestamp";
        told.deletions = server
            .over("count_over_time", deletion, "", from_ms, to_ms, "")
            .await?;
        for (metric, keep) in NEWEST {
            let mut series = server.newest(metric, keep, from_ms, to_ms).await?;
            if TRUTHS.contains(metric) {
                series.retain(|series| series.last() == Some(1.0));
            }
            told.newest.insert(metric, series);
        }
        for name in told.shared_names() {
            for (metric, keep) in NEWEST
                .iter()
                .filter(|(metric, _)| metric.starts_with("kube_node_"))
            {
                let of_node = format!("node={name:?}");
                let keep: Vec<&str> = [*keep, &of_node]
                    .into_iter()
                    .filter(|keep| !keep.is_empty())
                    .collect();
                let series = server.samples(metric, &keep.join(","), from_ms, to_ms).await?;
                told.shared.entry(metric).or_default().extend(series);
            }
        }
        Ok(told)
    }

    /// Names of nodes that several machines bore.
    fn shared_names(&self) -> BTreeSet<String> {
        let mut machines: HashMap<&str, BTreeSet<(&str, &str)>> = HashMap::new();
        for series in &self.nodes {
            let machine = (series.label("provider_id"), series.label("system_uuid"));
            machines.entry(series.label("node")).or_default().insert(machine);
        }
        let shared = machines.into_iter().filter(|(_, machines)| machines.len() > 1);
        shared.map(|(name, _)| name.to_owned()).collect()
    }

    /// The series of a metric that are a node's, as they were at an instant if machines share its name.
    #[must_use]
    pub fn of_node(&self, metric: &str, node: &str, at_ms: i64) -> Vec<Series> {
        let shared = self.shared.get(metric).into_iter().flatten();
        let shared: Vec<&Series> = shared.filter(|series| series.label("node") == node).collect();
        if shared.is_empty() {
            let newest = self.of(metric).filter(|series| series.label("node") == node);
            return newest.cloned().collect();
        }
        let then = shared.into_iter().filter_map(|series| {
            let sample = series.samples.iter().find(|(ms, _)| *ms == at_ms)?;
            if TRUTHS.contains(&metric) && sample.1 == 0.0 {
                return None;
            }
            Some(Series {
                labels: series.labels.clone(),
                samples: vec![*sample],
            })
        });
        then.collect()
    }

    /// The newest series of a metric.
    pub fn of(&self, metric: &str) -> impl Iterator<Item = &Series> {
        self.newest.get(metric).into_iter().flatten()
    }

    /// The newest series of a metric by one of their labels.
    #[must_use]
    pub fn by<'a>(&'a self, metric: &str, label: &str) -> HashMap<&'a str, &'a Series> {
        self.of(metric)
            .map(|series| (series.label(label), series))
            .collect()
    }

    /// The newest series of a metric by one of their labels, where several share it.
    #[must_use]
    pub fn all_by<'a>(&'a self, metric: &str, label: &str) -> HashMap<&'a str, Vec<&'a Series>> {
        let mut found: HashMap<&str, Vec<&Series>> = HashMap::new();
        for series in self.of(metric) {
            found.entry(series.label(label)).or_default().push(series);
        }
        found
    }

    /// The texts of objects by namespace and name, from a metric whose labels they are.
    #[must_use]
    pub fn texts(
        &self,
        metric: &str,
        prefix: &str,
        name: &str,
        names: &Names,
    ) -> BTreeMap<(String, String), crate::facts::Texts> {
        self.of(metric)
            .map(|series| {
                let key = (
                    series.label("namespace").to_owned(),
                    series.label(name).to_owned(),
                );
                (key, names.texts(series, prefix))
            })
            .collect()
    }
}
