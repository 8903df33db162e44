//! Advice in the words of what is to be changed: Kubernetes patches, Airflow, Spark.
//!
//! Architecture invariant: only what a template itself is known to ask for is written, so every patch has an exact inverse.

use std::fmt::Write;

use podledger_sql::units::{Bytes, Millicores};
use serde_json::{Map, Value, json};

use super::MIB;
use super::advice::{Recommendation, Resource};
use super::history::ContainerKind;
use super::policy::{LEAST_HEAP_BYTES, is_spark};

/// Millicores as Kubernetes writes them.
#[must_use]
pub fn cpu_quantity(millicores: u64) -> String {
    let millicores = i64::try_from(millicores).unwrap_or(i64::MAX);
    Millicores::from_millicores(millicores).map_or_else(|_| String::new(), |amount| amount.to_string())
}

/// Bytes as Kubernetes writes them, in whole mebibytes where they are.
#[must_use]
pub fn memory_quantity(bytes: u64) -> String {
    if bytes > 0 && bytes.is_multiple_of(MIB) {
        return format!("{}Mi", bytes / MIB);
    }
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    Bytes::from_bytes(bytes).map_or_else(|_| String::new(), |amount| amount.to_string())
}

/// Names from outside, on one line.
fn one_line(name: &str) -> String {
    name.escape_debug().to_string()
}

fn title(row: &Recommendation) -> String {
    format!(
        "# {} / {} / {}: {} runs, {} confidence\n",
        one_line(&row.template.pipeline),
        one_line(&row.template.job),
        one_line(&row.template.container),
        row.runs,
        row.confidence.name()
    )
}

/// What a resource is to be: as advised, or, backwards, as it is, which is nothing where nothing was asked for: a merge patch takes away what is null.
fn chosen(resource: &Resource, is_inverse: bool, quantity: fn(u64) -> String) -> Option<Value> {
    let advised = resource
        .recommended
        .filter(|advised| *advised != resource.current)?;
    Some(match (is_inverse, resource.current) {
        (true, 0) => Value::Null,
        (true, current) => json!(quantity(current)),
        (false, _) => json!(quantity(advised)),
    })
}

/// A strategic-merge patch per template for its pod template, as YAML documents; `is_inverse` gives what takes it back. Containers of
/// generated names are left out, since nothing names them, and memory limits where none is known.
///
/// # Errors
/// That of the YAML writer, as text.
pub fn patch(rows: &[Recommendation], is_inverse: bool) -> Result<String, String> {
    let mut text = String::new();
    for row in rows {
        let (cpu, memory) = (
            chosen(&row.cpu_millicores, is_inverse, cpu_quantity),
            // A heap is changed where it is set, with what is beside it, and nowhere else.
            chosen(&row.memory_bytes, is_inverse, memory_quantity).filter(|_| row.heap_limit_bytes.is_none()),
        );
        if row.template.container == "(main)" || (cpu.is_none() && memory.is_none()) {
            continue;
        }
        let mut requests = Map::new();
        let is_memory_changed = memory.is_some();
        for (name, quantity) in [("cpu", cpu), ("memory", memory)] {
            if let Some(quantity) = quantity {
                requests.insert(name.to_owned(), quantity);
            }
        }
        let mut resources = json!({ "requests": requests });
        if let (true, Some(advised), Some(limit)) = (
            is_memory_changed,
            row.memory_bytes.recommended,
            row.memory_limit_bytes,
        ) {
            let limit = if is_inverse { limit } else { advised };
            resources["limits"] = json!({ "memory": memory_quantity(limit) });
        }
        let list = match row.template.kind {
            ContainerKind::Container => "containers",
            // Sidecars are init containers that are restarted.
            ContainerKind::Sidecar | ContainerKind::Init => "initContainers",
        };
        let pod = json!({ list: [{ "name": row.template.container, "resources": resources }] });
        let of_pods = json!({ "spec": { "template": { "spec": pod } } });
        let whole = if row.template.system.as_deref() == Some("cronjob") {
            json!({ "spec": { "jobTemplate": of_pods } })
        } else {
            of_pods
        };
        text += "---\n";
        text += &title(row);
        text += &yaml(&whole)?;
    }
    Ok(text)
}

fn yaml(value: &Value) -> Result<String, String> {
    yaml_serde::to_string(value).map_err(|error| error.to_string())
}

/// `container_resources` for tasks of Airflow's `KubernetesPodOperator`, one per template of Airflow.
#[must_use]
pub fn airflow(rows: &[Recommendation]) -> String {
    let mut text = String::new();
    for row in rows
        .iter()
        .filter(|row| row.template.system.as_deref() == Some("airflow") && !is_spark(&row.template))
    {
        let quantity = |name: &str, value: Option<String>| {
            value.map_or_else(String::new, |value| format!("\"{name}\": \"{value}\", "))
        };
        let memory = row.memory_bytes.recommended.map(memory_quantity);
        let cpu = row.cpu_millicores.recommended.map(cpu_quantity);
        let requests = quantity("cpu", cpu) + &quantity("memory", memory.clone());
        if requests.is_empty() {
            continue;
        }
        text += &title(row);
        text += "container_resources=k8s.V1ResourceRequirements(\n";
        // Writing to a string does not fail.
        let _ = writeln!(text, "    requests={{{}}},", requests.trim_end_matches(", "));
        if let Some(memory) = memory {
            let _ = writeln!(text, "    limits={{\"memory\": \"{memory}\"}},");
        }
        text += "),\n";
    }
    text
}

/// What Spark adds to a heap: a tenth, of programs that are no JVM's 0.4, at least 384 MiB (`spark.executor.memoryOverhead`,
/// `spark.kubernetes.memoryOverheadFactor` in Spark's documentation).
const LEAST_OVERHEAD_MIB: u64 = 384;

/// The heap and the overhead, in mebibytes, that fill so many, or the least that Spark starts with: the overhead is what Spark would take
/// by itself.
fn heap_and_overhead_mib(whole: u64, is_jvm: bool) -> (u64, u64) {
    let overhead = if is_jvm {
        whole.div_ceil(11)
    } else {
        (whole * 2).div_ceil(7)
    };
    let overhead = overhead.max(LEAST_OVERHEAD_MIB);
    (
        whole.saturating_sub(overhead).max(LEAST_HEAP_BYTES / MIB),
        overhead,
    )
}

/// Settings of Spark for drivers and executors, one block per template of Spark.
#[must_use]
pub fn spark(rows: &[Recommendation]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| is_spark(&row.template)) {
        let role = if row.template.container.contains("driver") {
            "driver"
        } else {
            "executor"
        };
        let image = row.image.as_deref().unwrap_or("");
        let is_jvm = !(image.contains("pyspark") || image.contains("spark-py") || image.contains("spark-r"));
        text += &title(row);
        // Writing to a string does not fail.
        if let Some(millicores) = row.cpu_millicores.recommended {
            let _ = writeln!(
                text,
                "spark.kubernetes.{role}.request.cores={}",
                cpu_quantity(millicores)
            );
        }
        match (row.memory_bytes.recommended, row.memory_bytes.withheld) {
            (Some(bytes), _) => {
                let whole = bytes.div_ceil(MIB);
                // What is beside a heap that is known stays as it is.
                let beside = row
                    .heap_limit_bytes
                    .and_then(|heap| row.memory_bytes.current.checked_sub(heap))
                    .map(|beside| beside.div_ceil(MIB));
                let (heap, overhead) = beside.map_or_else(
                    || heap_and_overhead_mib(whole, is_jvm),
                    |beside| (whole.saturating_sub(beside), beside),
                );
                let _ = writeln!(
                    text,
                    "spark.{role}.memory={heap}m\nspark.{role}.memoryOverhead={overhead}m"
                );
            }
            (None, Some(withheld)) => {
                let _ = writeln!(text, "# spark.{role}.memory: withheld, {}", withheld.reason());
            }
            (None, None) => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_and_overhead_are_what_spark_would_take() {
        // 4224 = 3840 + 384: from there on a tenth of the heap is the larger part.
        assert_eq!(heap_and_overhead_mib(4224, true), (3840, 384));
        assert_eq!(heap_and_overhead_mib(11_000, true), (10_000, 1000));
        assert_eq!(heap_and_overhead_mib(1408, true), (1024, 384));
        assert_eq!(heap_and_overhead_mib(14_000, false), (10_000, 4000));
        assert_eq!(heap_and_overhead_mib(834, true), (450, 384));
        assert_eq!(heap_and_overhead_mib(100, true), (450, 384));
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        assert_eq!(
            (cpu_quantity(50), cpu_quantity(2000)),
            ("50m".to_owned(), "2".to_owned())
        );
        assert_eq!(memory_quantity(128 * MIB), "128Mi");
        assert_eq!(memory_quantity(50 << 30), "51200Mi");
        assert_eq!(one_line("a\n- b"), "a\\n- b");
    }
}
