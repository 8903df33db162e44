//! What a Prometheus would have kept of a recording: series of kube-state-metrics and cAdvisor, scraped once in a while, as
//! OpenMetrics text that `promtool tsdb create-blocks-from openmetrics` reads.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use crate::usage::{Pod, Profile};
use crate::world::{Change, ChangeKind, Object};

/// When is scraped.
#[derive(Debug, Clone, Copy)]
pub struct Scrapes {
    pub from_ms: i64,
    pub to_ms: i64,
    pub every_ms: i64,
    /// In this time nobody scrapes.
    pub outage: Option<(i64, i64)>,
}

/// The phases that kube-state-metrics tells of, each as yes or no.
const PHASES: &[&str] = &["Pending", "Succeeded", "Failed", "Running", "Unknown"];

/// Writes what scrapes of a recording tell.
///
/// # Errors
/// Those of reading and writing.
pub fn scrape(
    changes: impl Iterator<Item = io::Result<Change>>,
    scrapes: Scrapes,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut there: BTreeMap<(String, String), Value> = BTreeMap::new();
    let mut changes = changes.peekable();
    let mut at_ms = scrapes.from_ms;
    while at_ms < scrapes.to_ms {
        while let Some(change) =
            changes.next_if(|change| change.as_ref().is_ok_and(|change| change.at_ms <= at_ms))
        {
            let change = change?;
            let Object::Other(object) = change.object else {
                continue;
            };
            let text = |pointer: &str| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let key = (text("/kind"), text("/metadata/uid"));
            match change.kind {
                ChangeKind::Bookmark => {}
                ChangeKind::Deleted => drop(there.remove(&key)),
                _ => drop(there.insert(key, *object)),
            }
        }
        if let Some(Err(_)) = changes.peek() {
            return changes.next().map_or(Ok(()), |change| change.map(drop));
        }
        let is_out = scrapes
            .outage
            .is_some_and(|(from_ms, to_ms)| (from_ms..to_ms).contains(&at_ms));
        if !is_out {
            let mut page = Page {
                out: &mut *out,
                at_ms,
            };
            for ((kind, _), object) in &there {
                page.object(kind, object)?;
            }
        }
        at_ms += scrapes.every_ms;
    }
    writeln!(out, "# EOF")
}

/// What one scrape tells.
struct Page<'a> {
    out: &'a mut dyn Write,
    at_ms: i64,
}

impl Page<'_> {
    fn line(&mut self, metric: &str, labels: &[(&str, &str)], value: &str) -> io::Result<()> {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| {
                format!(
                    "{name}=\"{}\"",
                    value
                        .replace('\\', "\\\\")
                        .replace('"', "\\\"")
                        .replace('\n', "\\n")
                )
            })
            .collect();
        let (seconds, ms) = (self.at_ms / 1000, self.at_ms % 1000);
        writeln!(
            self.out,
            "{metric}{{{}}} {value} {seconds}.{ms:03}",
            labels.join(",")
        )
    }

    /// A metric whose value is an instant, if there is one.
    fn instant(&mut self, metric: &str, labels: &[(&str, &str)], at: Option<i64>) -> io::Result<()> {
        match at {
            Some(ms) => self.line(metric, labels, &(ms / 1000).to_string()),
            None => Ok(()),
        }
    }

    /// A metric whose labels are an object's labels or annotations.
    fn texts(&mut self, metric: &str, labels: &[(&str, &str)], object: &Value) -> io::Result<()> {
        let (field, prefix) = if metric.ends_with("annotations") {
            ("annotations", "annotation_")
        } else {
            ("labels", "label_")
        };
        let found: Vec<(String, &str)> = object["metadata"][field]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((format!("{prefix}{}", allowed(name)), value.as_str()?)))
            .collect();
        let found = found.iter().map(|(name, value)| (name.as_str(), *value));
        let all: Vec<(&str, &str)> = labels.iter().copied().chain(found).collect();
        self.line(metric, &all, "1")
    }

    fn owner(&mut self, metric: &str, labels: &[(&str, &str)], object: &Value) -> io::Result<()> {
        let owner = &object["metadata"]["ownerReferences"][0];
        let all = [
            labels,
            &[
                ("owner_kind", owner["kind"].as_str().unwrap_or_default()),
                ("owner_name", owner["name"].as_str().unwrap_or_default()),
                (
                    "owner_is_controller",
                    if owner["controller"] == true { "true" } else { "" },
                ),
            ],
        ];
        self.line(metric, &all.concat(), "1")
    }

    fn object(&mut self, kind: &str, object: &Value) -> io::Result<()> {
        match kind {
            "Pod" => self.pod(object),
            "Node" => self.node(object),
            "Job" => self.job(object),
            "Namespace" => {
                let name = [("namespace", text(object, "/metadata/name"))];
                self.instant(
                    "kube_namespace_created",
                    &name,
                    instant(object, "/metadata/creationTimestamp"),
                )?;
                self.texts("kube_namespace_labels", &name, object)
            }
            _ => Ok(()),
        }
    }

    fn job(&mut self, object: &Value) -> io::Result<()> {
        let name = [
            ("namespace", text(object, "/metadata/namespace")),
            ("job_name", text(object, "/metadata/name")),
        ];
        self.instant(
            "kube_job_created",
            &name,
            instant(object, "/metadata/creationTimestamp"),
        )?;
        self.owner("kube_job_owner", &name, object)?;
        self.texts("kube_job_labels", &name, object)?;
        self.instant(
            "kube_job_status_completion_time",
            &name,
            instant(object, "/status/completionTime"),
        )?;
        for (condition, metric) in [("Complete", "kube_job_complete"), ("Failed", "kube_job_failed")] {
            if status_of(object, condition) == Some("True") {
                for is in ["true", "false", "unknown"] {
                    let value = if is == "true" { "1" } else { "0" };
                    self.line(metric, &[&name[..], &[("condition", is)]].concat(), value)?;
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, object: &Value) -> io::Result<()> {
        let name = [("node", text(object, "/metadata/name"))];
        let info = [
            ("provider_id", text(object, "/spec/providerID")),
            ("system_uuid", text(object, "/status/nodeInfo/systemUUID")),
            ("kubelet_version", text(object, "/status/nodeInfo/kubeletVersion")),
        ];
        self.line("kube_node_info", &[&name[..], &info].concat(), "1")?;
        self.instant(
            "kube_node_created",
            &name,
            instant(object, "/metadata/creationTimestamp"),
        )?;
        self.texts("kube_node_labels", &name, object)?;
        for (metric, field) in [
            ("kube_node_status_capacity", "/status/capacity"),
            ("kube_node_status_allocatable", "/status/allocatable"),
        ] {
            self.amounts(metric, &name, object.pointer(field))?;
        }
        for taint in object["spec"]["taints"].as_array().into_iter().flatten() {
            let of =
                ["key", "value", "effect"].map(|field| (field, taint[field].as_str().unwrap_or_default()));
            self.line("kube_node_spec_taint", &[&name[..], &of].concat(), "1")?;
        }
        let ready = status_of(object, "Ready").unwrap_or("Unknown");
        for status in ["true", "false", "unknown"] {
            let value = if ready.eq_ignore_ascii_case(status) {
                "1"
            } else {
                "0"
            };
            let of = [("condition", "Ready"), ("status", status)];
            self.line("kube_node_status_condition", &[&name[..], &of].concat(), value)?;
        }
        Ok(())
    }

    fn amounts(&mut self, metric: &str, labels: &[(&str, &str)], amounts: Option<&Value>) -> io::Result<()> {
        for (resource, amount) in amounts.and_then(Value::as_object).into_iter().flatten() {
            let amount = amount.as_str().unwrap_or_default();
            let (unit, value) = match resource.as_str() {
                "cpu" => ("core", cores(amount)),
                "pods" => ("integer", amount.to_owned()),
                "memory" | "ephemeral-storage" => ("byte", bytes(amount)),
                _ => ("integer", amount.to_owned()),
            };
            let resource = allowed(resource);
            let of = [("resource", resource.as_str()), ("unit", unit)];
            self.line(metric, &[labels, &of].concat(), &value)?;
        }
        Ok(())
    }

    fn pod(&mut self, object: &Value) -> io::Result<()> {
        let name = [
            ("namespace", text(object, "/metadata/namespace")),
            ("pod", text(object, "/metadata/name")),
            ("uid", text(object, "/metadata/uid")),
        ];
        let node = text(object, "/spec/nodeName");
        self.line("kube_pod_info", &[&name[..], &[("node", node)]].concat(), "1")?;
        self.texts("kube_pod_labels", &name, object)?;
        self.texts("kube_pod_annotations", &name, object)?;
        self.owner("kube_pod_owner", &name, object)?;
        let phase = text(object, "/status/phase");
        for known in PHASES {
            let value = if *known == phase { "1" } else { "0" };
            self.line(
                "kube_pod_status_phase",
                &[&name[..], &[("phase", known)]].concat(),
                value,
            )?;
        }
        let reason = text(object, "/status/reason");
        if !reason.is_empty() {
            self.line(
                "kube_pod_status_reason",
                &[&name[..], &[("reason", reason)]].concat(),
                "1",
            )?;
        }
        let is_terminal = matches!(phase, "Succeeded" | "Failed");
        let statuses = object["status"]["containerStatuses"].as_array();
        let finished = statuses
            .into_iter()
            .flatten()
            .filter_map(|status| instant(status, "/state/terminated/finishedAt"));
        let is_scheduled = status_of(object, "PodScheduled") == Some("True");
        for (metric, at) in [
            ("kube_pod_created", instant(object, "/metadata/creationTimestamp")),
            ("kube_pod_start_time", instant(object, "/status/startTime")),
            (
                "kube_pod_status_scheduled_time",
                condition(object, "PodScheduled")
                    .filter(|_| is_scheduled)
                    .and_then(|found| instant(found, "/lastTransitionTime")),
            ),
            ("kube_pod_completion_time", finished.max().filter(|_| is_terminal)),
            (
                "kube_pod_deletion_timestamp",
                instant(object, "/metadata/deletionTimestamp"),
            ),
        ] {
            self.instant(metric, &name, at)?;
        }
        for (field, info, amounts) in [
            (
                "containers",
                "kube_pod_container_info",
                [
                    "kube_pod_container_resource_requests",
                    "kube_pod_container_resource_limits",
                ],
            ),
            (
                "initContainers",
                "kube_pod_init_container_info",
                [
                    "kube_pod_init_container_resource_requests",
                    "kube_pod_init_container_resource_limits",
                ],
            ),
        ] {
            for container in object["spec"][field].as_array().into_iter().flatten() {
                let of = [&name[..], &[("container", text(container, "/name"))]].concat();
                let more = [
                    ("image_spec", text(container, "/image")),
                    ("restart_policy", text(container, "/restartPolicy")),
                ];
                self.line(info, &[&of[..], &more].concat(), "1")?;
                let of = [&of[..], &[("node", node)]].concat();
                for (metric, of_what) in amounts.into_iter().zip(["requests", "limits"]) {
                    self.amounts(metric, &of, Some(&container["resources"][of_what]))?;
                }
            }
        }
        for status in statuses.into_iter().flatten() {
            let of = [&name[..], &[("container", text(status, "/name"))]].concat();
            let state = &status["state"];
            let started =
                instant(state, "/running/startedAt").or_else(|| instant(state, "/terminated/startedAt"));
            self.instant("kube_pod_container_state_started", &of, started)?;
            for (field, metric) in [
                ("/waiting/reason", "kube_pod_container_status_waiting_reason"),
                (
                    "/terminated/reason",
                    "kube_pod_container_status_terminated_reason",
                ),
            ] {
                let reason = text(state, field);
                if !reason.is_empty() {
                    self.line(metric, &[&of[..], &[("reason", reason)]].concat(), "1")?;
                }
            }
        }
        self.usage(object)
    }

    /// What cAdvisor tells of the containers that run.
    fn usage(&mut self, object: &Value) -> io::Result<()> {
        let pod: Pod = serde_json::from_value(object.clone()).map_err(io::Error::other)?;
        let profile = Profile::of(&pod);
        for status in &pod.status.container_statuses {
            let Some(running) = &status.state.running else {
                continue;
            };
            let started_ms = running.started_at.as_millisecond();
            if started_ms > self.at_ms {
                continue;
            }
            let id = format!("/kubepods/pod{}/{}/{started_ms}", pod.metadata.uid, status.name);
            let of = [
                ("namespace", pod.metadata.namespace.as_str()),
                ("pod", &pod.metadata.name),
                ("container", &status.name),
                ("id", &id),
            ];
            let nanoseconds = profile.cpu_nanoseconds(started_ms, self.at_ms);
            let seconds = format!(
                "{}.{:09}",
                nanoseconds / 1_000_000_000,
                nanoseconds % 1_000_000_000
            );
            self.line(
                "container_cpu_usage_seconds_total",
                &[&of[..], &[("cpu", "total")]].concat(),
                &seconds,
            )?;
            let bytes = profile.memory_bytes(started_ms, self.at_ms).to_string();
            self.line("container_memory_working_set_bytes", &of, &bytes)?;
            self.instant("container_start_time_seconds", &of, Some(started_ms))?;
            // Of ten periods in a second it is held back in one.
            let periods = (self.at_ms - started_ms) / 100;
            self.line("container_cpu_cfs_periods_total", &of, &periods.to_string())?;
            self.line(
                "container_cpu_cfs_throttled_periods_total",
                &of,
                &(periods / 10).to_string(),
            )?;
            self.gpus(object, &status.name)?;
        }
        Ok(())
    }

    /// What DCGM's exporter tells of the GPUs that a container holds: it is a pod itself, so the container's names are others.
    fn gpus(&mut self, object: &Value, container: &str) -> io::Result<()> {
        let containers = object["spec"]["containers"].as_array();
        let asked = containers
            .into_iter()
            .flatten()
            .filter(|found| found["name"] == container)
            .filter_map(|found| {
                found["resources"]["requests"]["nvidia.com/gpu"]
                    .as_str()?
                    .parse::<u32>()
                    .ok()
            });
        for gpu in 0..asked.max().unwrap_or(0) {
            let gpu = gpu.to_string();
            let of = [
                ("namespace", "gpu-operator"),
                ("pod", "dcgm-exporter-x"),
                ("gpu", gpu.as_str()),
                ("exported_namespace", text(object, "/metadata/namespace")),
                ("exported_pod", text(object, "/metadata/name")),
                ("exported_container", container),
            ];
            // It is busy for two fifths of the time.
            self.line("DCGM_FI_DEV_GPU_UTIL", &of, "40")?;
            self.line("DCGM_FI_DEV_FB_USED", &of, "1000")?;
        }
        Ok(())
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Milliseconds since 1970 of a time that an object tells.
fn instant(object: &Value, pointer: &str) -> Option<i64> {
    let at: Timestamp = object.pointer(pointer)?.as_str()?.parse().ok()?;
    Some(at.as_millisecond()).filter(|ms| *ms > 0)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

fn status_of<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    condition(object, kind)?["status"].as_str()
}

/// A name as Prometheus allows it.
fn allowed(name: &str) -> String {
    let mut text = String::new();
    let mut was_small = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && was_small {
            text.push('_');
        }
        was_small = character.is_ascii_lowercase() || character.is_ascii_digit();
        text.push(if character.is_ascii_alphanumeric() {
            character.to_ascii_lowercase()
        } else {
            '_'
        });
    }
    text
}

/// Quantities as this simulator writes them.
fn cores(text: &str) -> String {
    match text.strip_suffix('m').and_then(|text| text.parse::<i64>().ok()) {
        Some(millicores) => format!("{}.{:03}", millicores / 1000, millicores % 1000),
        None => text.to_owned(),
    }
}

fn bytes(text: &str) -> String {
    for (suffix, shift) in [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)] {
        if let Some(number) = text
            .strip_suffix(suffix)
            .and_then(|text| text.parse::<i64>().ok())
        {
            return (number << shift).to_string();
        }
    }
    text.to_owned()
}
