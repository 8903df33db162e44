//! Objects that real clusters showed, as facts. The objects are not part of the project: what identifies people or
//! companies (names, labels, images, messages) is left out of the snapshot.

use std::fmt::Write;
use std::path::PathBuf;

use jiff::civil::date;
use podledger_collector::import::kubernetes::{Options, bytes_of, read};
use serde_json::Value;

use crate::harness::shared_data;

/// Files of the folder that hold no Kubernetes objects.
const OTHERS: &[&str] = &[
    "README.txt",
    "kube-state-metrics-1.35.prom.gz",
    "kubelet-stats-summary-1.35.json",
    "partial-excerpts",
];

/// Left out of the snapshot.
const HIDDEN: &[&str] = &[
    "cluster",
    "labels",
    "annotations",
    "pod_name",
    "namespace",
    "node_name",
    "machine",
    "pool",
    "provider_id",
    "boot_id",
    "name",
    "image",
    "message",
    "container_name",
    "involved_name",
    "event_uid",
    "involved_uid",
];

fn shown(name: &str, value: &Value) -> Option<String> {
    if HIDDEN.contains(&name) {
        return None;
    }
    let text = match value {
        Value::Null => return None,
        Value::String(text) if name.ends_with("_uid") => text.chars().take(8).collect(),
        Value::String(text) => text.strip_prefix("20").unwrap_or(text).to_owned(),
        Value::Array(owners) => {
            let kinds: Vec<&str> = owners.iter().filter_map(|owner| owner["kind"].as_str()).collect();
            kinds.join(">")
        }
        other => other.to_string(),
    };
    let short = name
        .trim_end_matches("_at")
        .replace("_millicores", "")
        .replace("_bytes", "")
        .replace("_milligpus", "");
    (!text.is_empty() && text != "0").then(|| format!("{short}={text}"))
}

#[test]
fn real_objects_become_facts_as_read() {
    let Some(folder) = shared_data("k8s-objects") else {
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !OTHERS.iter().any(|other| path.ends_with(other)))
        .collect();
    files.sort();
    let mut snapshot = String::new();
    for file in files {
        let options = Options {
            cluster: Some("c".to_owned()),
            observed_at: None,
            annotations: Vec::new(),
            recorded_date: date(2026, 11, 20),
        };
        let (facts, contents) = read(&file, &bytes_of(&file).unwrap(), &options).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        writeln!(snapshot, "== {name} {:?}", contents.objects).unwrap();
        for reason in &contents.rejected {
            writeln!(snapshot, "   left out {reason}").unwrap();
        }
        for fact in &facts {
            let columns = serde_json::to_value(fact).unwrap();
            let shown: Vec<String> = columns
                .as_object()
                .unwrap()
                .iter()
                .filter_map(|(name, value)| shown(name, value))
                .collect();
            writeln!(snapshot, "{} {}", fact.table(), shown.join(" ")).unwrap();
        }
    }
    insta::assert_snapshot!(snapshot);
}
