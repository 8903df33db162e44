//! `podledger demo`, as a new user runs it.

use std::process::{Command, Output};

fn demo(folder: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .current_dir(folder)
        .env_remove("PODLEDGER_DATA")
        .env_remove("PODLEDGER_CONFIG")
        .arg("demo")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_demo_collects_builds_checks_and_reports_two_weeks_that_answer_the_cookbook() {
    let folder = tempfile::tempdir().unwrap();
    // A configuration of one's own is not meant for it.
    std::fs::write(folder.path().join("podledger.toml"), "nonsense = true").unwrap();
    let output = demo(folder.path(), &["--seed", "5", "--no-serve"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for expected in [
        "podledger demo · simulated platform, seed 5",
        "collected 2 weeks in",
        "WEEK 2026-W46 (2026-11-09 to 2026-11-15, UTC)",
        "estimate at list price",
        "WHERE EACH DOLLAR WENT",
        "TEAMS  team-",
        "DO NEXT",
        "CHECK  ok: ",
        "podledger-demo/reports/2026-W46.html",
        "podledger import kubernetes -",
    ] {
        assert!(said.contains(expected), "no `{expected}` in:\n{said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 110), "{said}");
    let data = folder.path().join("podledger-demo");
    assert!(data.join("reports/2026-W46.html").exists() && data.join("reports/2026-W46.md").exists());
    // The recording is gone; what is left is what any cluster leaves.
    let mut left: Vec<String> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            "demo.txt",
            "intake.duckdb",
            "lake",
            "ledger.duckdb",
            "published",
            "reports"
        ]
    );
    let answers = crate::sql_door::cookbook(&data);
    assert_eq!(answers.split("?\n\n").count() - 1, 25);
    insta::assert_snapshot!("cookbook", answers);
}

#[test]
fn the_demo_leaves_folders_alone_that_are_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("podledger-demo");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("thesis.txt"), "five years of work").unwrap();
    std::fs::write(data.join("demo.txt"), "notes for my own demo").unwrap();
    let output = demo(folder.path(), &["--no-serve"]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("podledger-demo") && said.contains("--data"),
        "{said}"
    );
    assert!(data.join("thesis.txt").exists());
}
