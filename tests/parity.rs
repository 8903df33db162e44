//! The same models under real dbt, on DuckDB and on Spark, must leave the same rows as the embedded runner.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use duckdb::Connection;

use crate::harness::shared_data;

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

/// The Python of the tests' own environment, beside the build; `make test` installs it and does not go on without.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_podledger"))
        .ancestors()
        .nth(2)
        .unwrap();
    let python = target.join("venv/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
        "{} is missing: run `make venv`",
        python.display()
    );
    eprintln!("SKIPPED: {} is not there; run `make venv`", python.display());
    None
}

/// A folder with some runs of the trace.
fn sample(trace: &Path, folder: &Path) {
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

#[test]
fn dbt_on_duckdb_and_on_spark_leaves_the_rows_of_the_embedded_build() {
    let (Some(trace), Some(python)) = (shared_data("traces/k8s-nextflow-cws"), python()) else {
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
    podledger(&["--data", &data, "build"]);
    podledger(&["--data", &data, "export", "dbt", &project]);
    // The trace crosses the end of daylight saving time in this zone; no row may follow it.
    let compared = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/parity.py"))
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
