//! The server itself, over HTTP: in a browser, under a tester of APIs, and beside the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use podledger_reports::display::{dollars, thousands};
use podledger_reports::http::{Role, create_token, routes};
use podledger_sql::units::NanoUsd;

use super::needed;
use super::pictures::tiles;
use super::safety::one_pod;
use super::served::{PODLEDGER, Served, podledger};
use crate::harness::{system_tool, tool};
use crate::sql_door::publish;
use crate::weekly::fortnight;

/// Where what is left to look at is kept.
pub fn artifacts(name: &str) -> PathBuf {
    Path::new(PODLEDGER)
        .ancestors()
        .nth(2)
        .unwrap()
        .join("artifacts")
        .join(name)
}

pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    out
}

/// Columns of a CSV, row by row.
pub fn cells(text: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let place = |column: &&str| names.iter().position(|name| name == *column).unwrap();
    let places: Vec<usize> = columns.iter().map(place).collect();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        places.iter().map(|place| row[*place].to_owned()).collect()
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    rows.sort();
    rows
}

#[test]
fn a_server_shows_people_and_programs_what_it_promises() {
    let world = fortnight();
    publish(&world);
    let data = world.folder.path();
    let served = Served::of(data);
    advice_is_that_of_the_command_line(data, &served);
    the_proof_is_that_of_the_command_line(data, &served);
    patches_change_what_is_advised_and_back(&served);
    advice_is_told_in_sum(data, &served);
    every_page_works_in_a_browser(&served);
    the_api_keeps_what_its_document_says(&served);
}

fn advice_is_that_of_the_command_line(data: &Path, served: &Served) {
    let shown = served.get("/tables/rightsizing.csv");
    let shown = cells(
        &shown,
        &[
            "pipeline",
            "job",
            "container",
            "team",
            "cpu_advised_millicores",
            "memory_advised_bytes",
            "memory_withheld",
            "runs",
            "nominal_saving",
        ],
    );
    let told = said(podledger(data).args(["recommend", "--format", "csv"]));
    let told = cells(
        &told,
        &[
            "pipeline",
            "job",
            "container",
            "team",
            "cpu_recommended_millicores",
            "memory_recommended_bytes",
            "memory_withheld",
            "runs",
            "nominal_saving_usd",
        ],
    );
    assert_eq!(shown, told);
    assert!(told.iter().any(|row| !row[5].is_empty()) && told.iter().any(|row| !row[6].is_empty()));
    // What peers say of the same history.
    for (strategy, cpu, memory) in [
        ("krr", "cpu_krr_millicores", "memory_krr_bytes"),
        ("vpa", "cpu_vpa_millicores", "memory_vpa_bytes"),
    ] {
        let shown = cells(
            &served.get("/tables/rightsizing.csv"),
            &["pipeline", "job", "container", cpu, memory],
        );
        let told = said(podledger(data).args(["recommend", "--strategy", strategy, "--format", "csv"]));
        let columns = [
            "pipeline",
            "job",
            "container",
            "cpu_recommended_millicores",
            "memory_recommended_bytes",
        ];
        assert_eq!(shown, cells(&told, &columns), "{strategy}");
    }
    // A filter leaves the rows of one pipeline as they are.
    let pipeline = &told[0][0];
    let one = served.json(&format!("/api/v1/rightsizing?pipeline={pipeline}"));
    let of_it = told.iter().filter(|row| row[0] == *pipeline).count();
    assert_eq!(one["total"], of_it);
}

fn the_proof_is_that_of_the_command_line(data: &Path, served: &Served) {
    let told = said(podledger(data).args(["recommend", "--backtest", "--format", "json"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let shown = served.json("/api/v1/rightsizing-backtest");
    let shown = shown["rows"].as_array().unwrap();
    let total = told["backtest"]["total"].as_array().unwrap();
    assert_eq!(shown.len(), total.len() * 5, "a sum and four windows");
    for (row, outcome) in shown.iter().zip(total) {
        for name in [
            "strategy",
            "attempts",
            "failed_attempts",
            "failed_runs",
            "templates_advised",
        ] {
            assert_eq!(row[name], outcome[name], "{name}");
        }
        assert_eq!(row["wasted_millicore_ms"], outcome["wasted_millicore_ms"]);
        // What does not fit into 64 bits is read as a floating-point number.
        if let Some(bytes) = outcome["wasted_byte_ms"].as_u64() {
            assert_eq!(row["wasted_mib_ms"], bytes >> 20);
        }
    }
}

/// Tiles of the page of advice against what the command line advises.
fn advice_is_told_in_sum(data: &Path, served: &Served) {
    let told = said(podledger(data).args(["recommend", "--format", "csv"]));
    let told = cells(&told, &["memory_recommended_bytes", "nominal_saving_usd"]);
    let advised = told.iter().filter(|row| !row[0].is_empty()).count();
    let saving: i64 = told
        .iter()
        .map(|row| NanoUsd::from_decimal_str(&row[1]).unwrap().get())
        .sum();
    let proof = said(podledger(data).args(["recommend", "--backtest", "--format", "json"]));
    let proof: serde_json::Value = serde_json::from_str(&proof).unwrap();
    let failed = |strategy: &str| {
        let mut total = proof["backtest"]["total"].as_array().unwrap().iter();
        let outcome = total.find(|outcome| outcome["strategy"] == strategy);
        thousands(outcome.unwrap()["failed_attempts"].as_u64().unwrap())
    };
    let tiles = tiles(&served.get("/rightsizing"));
    let count = |number: usize| thousands(number as u64);
    assert_eq!(
        tiles["advised"].0,
        format!("{} of {}", count(advised), count(told.len()))
    );
    assert_eq!(tiles["nominal saving"].0, dollars(NanoUsd::from_nano(saving)));
    assert_eq!(
        tiles["in the back-test"],
        (
            failed("podledger"),
            format!("tries failed, {} as they asked", failed("current"))
        )
    );
}

fn patches_change_what_is_advised_and_back(served: &Served) {
    let shown = served.json("/api/v1/rightsizing?limit=5000");
    let mut patched = 0;
    for row in shown["rows"].as_array().unwrap() {
        let (Some(patch), Some(inverse)) = (row["patch"].as_str(), row["inverse_patch"].as_str()) else {
            continue;
        };
        patched += 1;
        let read = |text: &str| -> serde_json::Value { yaml_serde::from_str(text).unwrap() };
        let requests = |patch: &serde_json::Value| -> BTreeMap<String, serde_json::Value> {
            let template = patch
                .pointer("/spec/jobTemplate/spec/template")
                .or(patch.pointer("/spec/template"));
            let pod = &template.unwrap()["spec"];
            let list = pod.get("containers").or(pod.get("initContainers")).unwrap();
            assert_eq!(list[0]["name"], row["container"]);
            serde_json::from_value(list[0]["resources"]["requests"].clone()).unwrap()
        };
        let (there, back) = (requests(&read(patch)), requests(&read(inverse)));
        assert!(there.keys().eq(back.keys()) && there != back, "{patch}{inverse}");
    }
    assert!(patched > 3, "{patched}");
}

fn every_page_works_in_a_browser(served: &Served) {
    let (Some(python), Some(_), Some(_)) = (tool("python"), tool("playwright"), system_tool("chromium"))
    else {
        return;
    };
    let all = routes();
    let pages = all
        .iter()
        .map(|route| route.path.as_str())
        .filter(|path| {
            !["/api/", "/assets/", "/tables/"]
                .iter()
                .any(|prefix| path.starts_with(prefix))
        })
        .filter(|path| {
            ![
                "/healthz",
                "/readyz",
                "/metrics",
                "/sign-in",
                "/sign-out",
                "/report",
            ]
            .contains(path)
        });
    // A server of nothing, and one that asks for a token.
    let nothing = tempfile::tempdir().unwrap();
    let empty = Served::of(nothing.path());
    let small = one_pod();
    let tokens = small.folder.path().join("tokens.toml");
    let token = create_token(&tokens, "browser", Role::Viewer, String::new()).unwrap();
    let closed = Served::of(small.folder.path());
    let others = serde_json::json!({
        "empty": empty.url,
        "closed": closed.url,
        "token": token,
        "data": small.folder.path(),
        "program": PODLEDGER,
    });
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/browser.py");
    let told = said(
        Command::new(python)
            .env_remove("PODLEDGER_CONFIG")
            .arg(program)
            .arg(&served.url)
            .arg(artifacts("screenshots"))
            .arg(others.to_string())
            .args(pages),
    );
    println!("{told}");
}

fn the_api_keeps_what_its_document_says(served: &Served) {
    let Some(schemathesis) = tool("schemathesis") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // What has to be named is there: nobody guesses the name of a run, and an answer without rows keeps any promise of them.
    let needed = needed(&|url| served.json(url));
    let mut document = served.json("/api/v1/openapi.json");
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        let parameters = item.pointer_mut("/get/parameters");
        for parameter in parameters
            .and_then(|all| all.as_array_mut())
            .into_iter()
            .flatten()
        {
            // No service of this ledger has hours to be asked for.
            let value = needed.get(parameter["name"].as_str().unwrap());
            if let (true, Some(value)) = (parameter["required"] == true, value) {
                parameter["example"] = value.as_str().into();
            }
        }
    }
    let path = folder.path().join("openapi.json");
    std::fs::write(&path, document.to_string()).unwrap();
    // A schema's properties are read as conditions on requests and answers; the seed makes each run the same.
    said(
        Command::new(schemathesis)
            .current_dir(folder.path())
            .arg("run")
            .arg(path)
            .args(["--url", &served.url])
            .args(["--seed", "7", "--generation-deterministic"])
            .args([
                "--phases",
                "examples,fuzzing",
                "--max-examples",
                "6",
                "--mode",
                "all",
            ])
            .args([
                "--checks",
                CHECKS,
                "--continue-on-failure",
                "--suppress-health-check",
                "all",
            ])
            .args(["--no-color", "--warnings", "off"]),
    );
}

/// No answer of the server's fault, none that the document does not describe.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";
