//! The report of a week and the advice in it are the same from a server and from the command line.

use axum::http::StatusCode;
use serde_json::Value;

use super::Server;
use super::browser::{cells, said};
use super::names::form;
use super::served::{Served, podledger};
use crate::weekly::fortnight;

#[test]
fn a_server_reports_and_advises_as_the_command_line_does() {
    let world = fortnight();
    let data = world.folder.path();
    let served = Served::of(data);
    let team = world.rows("select team from marts.teams_weekly where team <> 'unattributed' order by cost desc nulls last, team limit 1");
    for team in [None, Some(team[0].as_str())] {
        let out = tempfile::tempdir().unwrap();
        let mut command = podledger(data);
        command.args([
            "report", "weekly", "--week", "2026-W46", "--format", "json,md", "--out",
        ]);
        command.arg(out.path());
        command.args(team.iter().flat_map(|team| ["--team", team]));
        let files = said(&mut command);
        let file = |ending: &str| {
            let path = files.lines().find(|path| path.ends_with(ending)).unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        let query = team.map_or_else(String::new, |team| format!("&team={}", form(team)));
        let told: Value = serde_json::from_str(&file(".json")).unwrap();
        let shown: Value =
            serde_json::from_str(&served.get(&format!("/api/v1/weekly-report?week=2026-W46{query}")))
                .unwrap();
        assert_eq!(shown, told, "{team:?}");
        assert_eq!(
            served.get(&format!("/report?week=2026-W46&format=md{query}")),
            file(".md")
        );
        // Rows of the download are those of the report, and the overview names the first.
        let actions = told["actions"].as_array().unwrap();
        assert!(
            actions.iter().any(|action| action["kind"] == "right_sizing"),
            "{actions:?}"
        );
        let csv = served.get(&format!("/tables/weekly-actions.csv?week=2026-W46{query}"));
        let mut subjects: Vec<Vec<String>> = actions
            .iter()
            .map(|action| vec![action["subject"].as_str().unwrap().to_owned()])
            .collect();
        subjects.sort();
        assert_eq!(cells(&csv, &["subject"]), subjects);
        let overview = served.get(&format!("/?week=2026-W46{query}"));
        let next = overview.split("<h2>Do next</h2>").nth(1).unwrap();
        for action in actions.iter().take(3) {
            let finding = podledger_reports::display::short(action["finding"].as_str().unwrap());
            assert!(next.contains(&finding), "{finding}");
        }
    }
    realisable_savings_are_those_of_the_command_line(data, &served);
    rules_are_downloaded_as_they_are_shown(&world, &served);
}

fn realisable_savings_are_those_of_the_command_line(data: &std::path::Path, served: &Served) {
    let told = said(podledger(data).args(["recommend", "--format", "csv"]));
    let told = cells(
        &told,
        &[
            "pipeline",
            "job",
            "container",
            "realisable_saving_usd",
            "realisable_least_usd",
            "realisable_most_usd",
            "realisable_withheld",
        ],
    );
    let shown = cells(
        &served.get("/tables/rightsizing.csv"),
        &[
            "pipeline",
            "job",
            "container",
            "realisable_saving",
            "realisable_least",
            "realisable_most",
            "realisable_withheld",
        ],
    );
    assert_eq!(shown, told);
    assert!(
        told.iter().all(|row| row[3].is_empty() != row[6].is_empty()),
        "{told:?}"
    );
    let told = said(podledger(data).args(["recommend", "--pools", "--format", "json"]));
    let told: Value = serde_json::from_str(&told).unwrap();
    let shown: Value = serde_json::from_str(&served.get("/api/v1/rightsizing-savings")).unwrap();
    let shown = &shown["rows"][0];
    let dollars = |value: &Value| value.as_str().map(str::to_owned);
    for (column, key) in [
        ("realisable_saving", "saving"),
        ("realisable_least", "least"),
        ("realisable_most", "most"),
    ] {
        assert_eq!(
            dollars(&shown[column]),
            dollars(&told["total"][key]),
            "{column}: {told}"
        );
    }
    let pools: Value = serde_json::from_str(&served.get("/api/v1/rightsizing-pools?limit=5000")).unwrap();
    assert_eq!(pools["total"], told["pools"].as_array().unwrap().len());
    assert!(served.get("/rightsizing").contains("realisable saving"));
}

fn rules_are_downloaded_as_they_are_shown(world: &crate::harness::World, served: &Served) {
    let uid = &world.rows("select min(pod_uid) from marts.pods where team <> 'unattributed'")[0];
    let page = served.get(&format!("/pod?pod={uid}"));
    let csv = served.get(&format!("/tables/pod-rules.csv?pod={uid}"));
    let rows = cells(&csv, &["field", "value", "rule"]);
    assert!(
        rows.iter().any(|row| row[0] == "team" && !row[2].is_empty()),
        "{csv}"
    );
    for row in rows {
        assert!(page.contains(&row[2]) && page.contains(&row[1]), "{row:?}");
    }
    assert!(page.contains("/tables/pod-rules.csv?pod="));
}

#[test]
fn what_is_asked_for_over_and_over_has_a_tag() {
    let world = fortnight();
    let server = Server::of_world(&world);
    for url in [
        "/api/v1/build",
        "/api/v1/openapi.json",
        "/api/v1/weekly-report",
        "/",
    ] {
        let first = server.get(url);
        let etag = first.header(axum::http::header::ETAG).to_owned();
        assert!(etag.len() > 2, "{url}");
        let again = server.ask(
            "GET",
            url,
            &[("host", "127.0.0.1:9480"), ("if-none-match", &etag)],
            "",
        );
        assert_eq!(
            (again.status, again.body.as_str()),
            (StatusCode::NOT_MODIFIED, ""),
            "{url}"
        );
        let other = server.ask(
            "GET",
            url,
            &[("host", "127.0.0.1:9480"), ("if-none-match", "\"x\"")],
            "",
        );
        assert_eq!((other.status, other.body), (StatusCode::OK, first.body), "{url}");
    }
}
