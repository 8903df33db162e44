//! `podledger bench` measures what it says: nothing here is timed.

use std::process::Command;

use serde_json::Value;

/// What a bench reports.
fn report(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_podledger"))
        .arg("bench")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_quick_bench_builds_asks_and_reports_as_json() {
    let report = report(&["--quick", "--json"]);
    assert_eq!(report["pods"], 20_000);
    let measures = report["measures"].as_array().unwrap();
    for name in ["DuckDB alone", "full build", "incremental build", "ask:"] {
        let found = measures
            .iter()
            .find(|measure| measure["name"].as_str().unwrap().starts_with(name));
        let found = found.unwrap_or_else(|| panic!("{name} is missing"));
        assert!(
            found["seconds"].as_f64().unwrap() > 0.0 && found["count"].as_u64().unwrap() > 0,
            "{found}"
        );
    }
    assert!(report["ledger_bytes_per_pod"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_quick_bench_of_collecting_hears_what_it_asks_for() {
    let report = report(&[
        "collect",
        "--pods",
        "500",
        "--nodes",
        "50",
        "--changes",
        "100",
        "--seconds",
        "6",
        "--usage",
        "--json",
    ]);
    assert_eq!(report["pods"], 500);
    assert!(report["measured_containers"].as_u64().unwrap() > 0, "{report}");
    for figure in ["list_seconds", "changes_per_second", "lag_seconds_most"] {
        assert!(report[figure].as_f64().unwrap() > 0.0, "{figure}: {report}");
    }
    if cfg!(target_os = "linux") {
        assert!(report["memory_bytes_most"].as_u64().unwrap() > 0, "{report}");
    }
}

#[test]
fn a_bench_of_sizing_decides_for_every_template() {
    let report = report(&["recommend", "--attempts", "60000", "--templates", "40", "--json"]);
    assert_eq!(
        (&report["attempts"], &report["templates"]),
        (&60_000.into(), &40.into())
    );
    let advised: Vec<(&str, u64)> = report["measures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|measured| {
            assert!(measured["seconds"].as_f64().unwrap() >= 0.0, "{measured}");
            (
                measured["strategy"].as_str().unwrap(),
                measured["advised"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        advised,
        [("podledger", 40), ("krr", 40), ("vpa", 40), ("current", 40)]
    );
}

#[test]
fn a_quick_bench_of_sql_asks_the_cookbook() {
    let report = report(&["sql", "--quick", "--times", "1", "--json"]);
    assert_eq!(report["pods"], 20_000);
    assert!(report["published_rows"].as_u64().unwrap() > 20_000, "{report}");
    let questions = report["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 1 + 25);
    assert_eq!(questions[1]["question"], "What did each team cost, week by week?");
    for question in questions {
        assert!(
            question["seconds"].as_f64().unwrap() > 0.0 && question["failed"].is_null(),
            "{question}"
        );
    }
    let answered = questions
        .iter()
        .filter(|question| question["rows"].as_u64().unwrap() > 0);
    assert!(answered.count() > 20, "{report}");
}

#[test]
fn a_quick_bench_of_serving_asks_everything_beside_a_build_and_after_it() {
    let report = report(&["serve", "--quick", "--readers", "20", "--seconds", "2", "--json"]);
    assert_eq!(
        (&report["pods"], &report["readers"]),
        (&20_000.into(), &20.into())
    );
    let urls = report["urls"].as_u64().unwrap();
    assert!(urls > 50, "{report}");
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases
        .iter()
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one reader", "alone", "beside a full build", "after it"]);
    let mut statuses = std::collections::BTreeMap::new();
    for phase in phases {
        for (status, count) in phase["statuses"].as_object().unwrap() {
            *statuses.entry(status.as_str()).or_insert(0) += count.as_u64().unwrap();
        }
    }
    // Browsers have what they were given before, programs are given it again, and nobody is sent away.
    assert_eq!(
        statuses.keys().copied().collect::<Vec<_>>(),
        ["200", "304"],
        "{report}"
    );
    let answers = |phase: usize, kind: &str| phases[phase][kind]["answers"].as_u64().unwrap();
    assert!(answers(0, "cold") > 50 && answers(1, "warm") > 0, "{report}");
    // All is anew after a build: whoever asks first waits for it.
    assert!(answers(2, "cold") + answers(3, "cold") >= urls / 2, "{report}");
    assert!(!report["slowest"].as_array().unwrap().is_empty(), "{report}");
}
