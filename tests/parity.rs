//! The same models under real dbt, on DuckDB and on Spark, must leave the same rows as the embedded runner.

use std::fs;
use std::path::Path;
use std::process::Command;

use duckdb::Connection;
use serde_json::json;

use crate::harness::{shared_data, tool};

/// Runs of the trace that the sample holds; `make soak` takes all.
const SAMPLED_RUNS: u32 = 12;

fn podledger(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_podledger"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder with some runs of the trace.
pub fn sample(trace: &Path, folder: &Path) {
    fs::create_dir(folder).unwrap();
    let connection = Connection::open_in_memory().unwrap();
    let (trace, to) = (trace.display(), folder.display());
    connection
        .execute_batch(&format!(
            "create table runs as select distinct run_id from '{trace}/pods.parquet' order by md5(run_id) limit {SAMPLED_RUNS};
             copy (select * from '{trace}/pods.parquet' semi join runs using (run_id)) to '{to}/pods.parquet';
             copy (select * from '{trace}/scheduler_events.parquet' semi join runs using (run_id))
                 to '{to}/scheduler_events.parquet';
             copy (select * from read_csv('{trace}/runs.csv', all_varchar = true) semi join runs using (run_id))
                 to '{to}/runs.csv';
             copy (select * from read_csv('{trace}/nodes.csv', all_varchar = true)) to '{to}/nodes.csv';"
        ))
        .unwrap();
}

const CONFIG: &str = "
weights_method = 'fitted'
[[price_overrides]]
node = 'cpu05'
hourly_usd = '1.1'
valid_from = '2022-11-20'
[[price_overrides]]
label = 'rack=7'
[price_overrides.on_premises]
purchase_usd = '20000'
years = 3
[[discounts]]
provider = 'aws'
instance_type = 'm5.*'
percent = '7.25'
valid_from = '2022-11-25'
[[teams]]
shares = {ml = 3, growth = 4}
pipeline = 'rnaseq'
";

/// A node of each kind: one that has a rack, and one of Fargate with its pod.
fn fargate() -> serde_json::Value {
    let node = |name: &str, id: &str, labels: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-11-16T09:00:00Z", "labels": labels},
            "spec": {"providerID": id},
            "status": {"capacity": {"cpu": "2", "memory": "8Gi"}, "allocatable": {"cpu": "2", "memory": "8Gi"}}})
    };
    let place = ("topology.kubernetes.io/region", "us-east-1");
    json!({"apiVersion": "v1", "kind": "List", "items": [
        node("racked", "aws:///us-east-1a/i-1", json!({"rack": "7", place.0: place.1})),
        node("fargate-1", "aws:///us-east-1a/f-1", json!({"eks.amazonaws.com/compute-type": "fargate", place.0: place.1})),
        {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "etl", "uid": "p", "creationTimestamp": "2026-11-16T09:59:59Z",
                "labels": {"eks.amazonaws.com/fargate-profile": "etl"},
                "annotations": {"CapacityProvisioned": "0.5vCPU 1GB"}},
            "spec": {"nodeName": "fargate-1", "restartPolicy": "Never", "containers": [
                {"name": "main", "resources": {"requests": {"cpu": "300m", "memory": "700Mi"}}}]},
            "status": {"phase": "Succeeded",
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-16T10:00:00Z"}],
                "containerStatuses": [{"name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                    "state": {"terminated": {"exitCode": 0, "reason": "Completed",
                        "startedAt": "2026-11-16T10:00:30Z", "finishedAt": "2026-11-16T11:20:07Z"}}}]}},
    ]})
}

#[test]
fn dbt_on_duckdb_and_on_spark_leaves_the_rows_of_the_embedded_build() {
    let (Some(trace), Some(python)) = (shared_data("traces/k8s-nextflow-cws"), tool("python")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, project, trace) = if std::env::var_os("PODLEDGER_SOAK").is_some() {
        (path("data"), path("project"), trace.to_str().unwrap().to_owned())
    } else {
        sample(&trace, &folder.path().join("sample"));
        (path("data"), path("project"), path("sample"))
    };
    let import = [
        "import",
        "nextflow-cws",
        &trace,
        "--price-as",
        "aws/us-east-1/m5.8xlarge",
    ];
    podledger(&[&["--data", &data][..], &import].concat());
    // Beside the trace, what it does not have: prices of every kind, and a pod that is billed by itself.
    let (config, objects) = (path("podledger.toml"), path("objects.json"));
    fs::write(&config, CONFIG).unwrap();
    fs::write(&objects, fargate().to_string()).unwrap();
    podledger(&[
        "--data",
        &data,
        "import",
        "catalogue",
        "--provider",
        "aws",
        "--region",
        "us-east-1",
    ]);
    podledger(&["--data", &data, "import", "kubernetes", &objects]);
    // Nobody watched while pods came and went, in two gaps that overlap.
    let gaps = format!(
        "select cluster, 'pods' as resource, unnest(quantile_disc(bound_at, [0.25, 0.5, 0.51])) as middle_at \
         from read_parquet('{data}/lake/pod_states/**/*.parquet', union_by_name => true) where bound_at is not null group by cluster"
    );
    let gaps = format!(
        "select cluster, resource, middle_at - interval 20 minute as gap_start_at, middle_at + interval 95 minute as gap_end_at, \
         'restart' as reason, 3 as recovered_pods from ({gaps})"
    );
    podledger(&[
        "--data",
        &data,
        "import",
        "query",
        "--into",
        "collection_gaps",
        "--from",
        &gaps,
    ]);
    podledger(&["--data", &data, "--config", &config, "build"]);
    podledger(&["--data", &data, "--config", &config, "export", "dbt", &project]);
    // The trace crosses the end of daylight saving time in this zone; no row may follow it.
    let whole = std::env::var_os("PODLEDGER_SOAK").map(|_| "--column-tests");
    let compared = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/parity.py"))
        .args(whole)
        .args([
            &format!("{data}/ledger.duckdb"),
            &project,
            "--zone",
            "America/New_York",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compared.stdout);
    let errors = String::from_utf8_lossy(&compared.stderr);
    let last: Vec<&str> = errors.lines().rev().take(20).collect();
    assert!(compared.status.success(), "{said}\n{}", last.join("\n"));
    assert!(said.contains("equal on all engines"), "{said}");
    println!("{said}");
}
