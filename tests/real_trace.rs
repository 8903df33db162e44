//! The main job on real input, with the commands that the README shows.

use std::process::{Command, Output};

use podledger_sql::ledger::Ledger;

use crate::conservation::sharing;
use crate::harness::shared_data;

fn podledger(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .args(arguments)
        .output()
        .unwrap()
}

fn done(arguments: &[&str]) -> String {
    let output = podledger(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_pod_of_the_nextflow_trace_is_accounted_for() {
    let Some(trace) = shared_data("traces/k8s-nextflow-cws") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let trace = trace.to_str().unwrap();
    let import = [
        "--data",
        data,
        "import",
        "nextflow-cws",
        trace,
        "--price-as",
        "aws/us-east-1/m5.8xlarge",
    ];
    let told = done(&import);
    assert!(
        told.contains("537460 pods in the trace, all imported, none rejected"),
        "{told}"
    );
    assert!(
        told.contains("3152.09 core-hours requested while containers ran"),
        "{told}"
    );
    assert!(done(&import).contains("imported before: nothing to do"));
    let weights = sharing::weights();
    let weights = weights
        .iter()
        .map(|(team, weight)| format!("{team} = {weight}\n"));
    let config = folder.path().join("podledger.toml");
    std::fs::write(
        &config,
        format!("[sharing.weights]\n{}", weights.collect::<String>()),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    assert!(done(&["--data", data, "--config", config, "build"]).contains("checks ok"));
    assert_eq!(
        done(&["--data", data, "--config", config, "check"]),
        "ok: 5424 machine-hours, 0 nano-dollars off\n"
    );
    let ledger = Ledger::open_read_only(&folder.path().join("ledger.duckdb")).unwrap();
    sharing::adds_up(ledger.connection());
    drop(ledger);
    // Eight machines at 1.536 USD from the first launcher's start to the last one's end.
    assert!(done(&["--data", data, "summary"]).contains("$8,318.39"));

    let ask = |query: &str| done(&["--data", data, "sql", "--format", "csv", query]);
    let pipelines = ask("select pipeline, sum(cost) from costs_daily group by all order by 2 desc");
    assert_eq!(pipelines.lines().count(), 1 + 9 + 1, "{pipelines}");
    assert_eq!(ask("select count(*) as n from pods"), "n\n537460\n");
    assert_eq!(
        ask("select count(*) as n, sum(pods) as pods from runs"),
        "n,pods\n990,537460\n"
    );
    assert_eq!(
        ask("select count(*) as n from pods where outcome = 'failed'"),
        "n\n660\n"
    );
    // As the README of the trace adds it up, from all its rows.
    assert_eq!(
        ask(
            "select round(sum(cpu_usage_millicore_ms) / 3600000000, 2) as cores, \
             round(sum(memory_usage_byte_ms) / 1073741824 / 3600000, 2) as gib from usage_daily"
        ),
        "cores,gib\n1335.55,561.18\n"
    );
    let refused = podledger(&["--data", data, "sql", "select * from read_csv('/etc/passwd')"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read_csv"));
}
