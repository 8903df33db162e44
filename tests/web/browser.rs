//! The server itself, over HTTP: in a browser, under a tester of APIs, and beside the command line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use podledger_reports::http::routes;

use crate::harness::{system_tool, tool};
use crate::weekly::fortnight;

const PODLEDGER: &str = env!("CARGO_BIN_EXE_podledger");

pub fn podledger(data: &Path) -> Command {
    let mut command = Command::new(PODLEDGER);
    command.current_dir(data).arg("--data").arg(data);
    for name in ["PODLEDGER_DATA", "PODLEDGER_CONFIG"] {
        command.env_remove(name);
    }
    command
}

/// `podledger serve --no-collect`, until it is dropped.
pub struct Served {
    child: Child,
    address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    pub fn of(data: &Path) -> Self {
        let mut child = podledger(data)
            .args(["serve", "--no-collect", "--listen", "127.0.0.1:0"])
            .args(["--requests-per-second", "100000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.find_map(|line| {
            line.unwrap()
                .split_once("http://")
                .map(|(_, rest)| rest.to_owned())
        });
        let address = told.unwrap().split_whitespace().next().unwrap().to_owned();
        Self { child, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        body.to_owned()
    }
}

/// Where what is left to look at is kept.
fn artifacts(name: &str) -> PathBuf {
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
    let data = world.folder.path();
    let served = Served::of(data);
    advice_is_that_of_the_command_line(data, &served);
    the_proof_is_that_of_the_command_line(data, &served);
    patches_change_what_is_advised_and_back(&served);
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
    let one: serde_json::Value =
        serde_json::from_str(&served.get(&format!("/api/v1/rightsizing?pipeline={pipeline}"))).unwrap();
    let of_it = told.iter().filter(|row| row[0] == *pipeline).count();
    assert_eq!(one["total"], of_it);
}

fn the_proof_is_that_of_the_command_line(data: &Path, served: &Served) {
    let told = said(podledger(data).args(["recommend", "--backtest", "--format", "json"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&served.get("/api/v1/rightsizing-backtest")).unwrap();
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

fn patches_change_what_is_advised_and_back(served: &Served) {
    let shown: serde_json::Value =
        serde_json::from_str(&served.get("/api/v1/rightsizing?limit=5000")).unwrap();
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
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/browser.py");
    said(
        Command::new(python)
            .arg(program)
            .arg(served.url())
            .arg(artifacts("screenshots"))
            .args(pages),
    );
}

fn the_api_keeps_what_its_document_says(served: &Served) {
    let Some(schemathesis) = tool("schemathesis") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // A schema's properties are read as conditions on requests and answers; the seed makes each run the same.
    said(
        Command::new(schemathesis)
            .current_dir(folder.path())
            .arg("run")
            .arg(format!("{}/api/v1/openapi.json", served.url()))
            .args([
                "--seed",
                "7",
                "--generation-deterministic",
                "--generation-database",
                "none",
            ])
            .args(["--phases", "fuzzing", "--max-examples", "6", "--mode", "all"])
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
