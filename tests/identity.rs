//! Pods as each system writes them, and who they must be found to work for. The cases stand in `tests/data/identity`.

use std::path::Path;

use jiff::civil::date;
use podledger_analyzer::config::Config;
use podledger_collector::import::kubernetes::{Options, import};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{World, rows};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    objects: Vec<Value>,
    pods: Vec<CasePod>,
    #[serde(default)]
    engine_outcomes: Vec<EngineOutcome>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CasePod {
    object: Value,
    #[serde(default)]
    deleted: bool,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    system: String,
    installation: String,
    pipeline: String,
    run: String,
    job: String,
    attempt: String,
    team: String,
    outcome: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineOutcome {
    pod: String,
    outcome: String,
}

fn event(kind: &str, object: &Value) -> String {
    json!({"type": kind, "object": object}).to_string()
}

/// The case as a recorded watch.
fn recording(case: &Case) -> String {
    let added = case.objects.iter().chain(case.pods.iter().map(|pod| &pod.object));
    let mut lines: Vec<String> = added.map(|object| event("ADDED", object)).collect();
    let deleted = case.pods.iter().filter(|pod| pod.deleted);
    lines.extend(deleted.map(|pod| event("DELETED", &pod.object)));
    lines.join("\n")
}

#[test]
fn every_system_s_pods_are_found_to_work_for_whom_they_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/identity");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 30,
        "one file for each system, and for each overlap"
    );
    let world = World::new();
    let lake = world.lake();
    let mut cases = Vec::new();
    for file in files {
        let cluster = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let case: Case = yaml_serde::from_str(&std::fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let options = Options {
            cluster: Some(cluster.clone()),
            observed_at: None,
            annotations: Config::default().annotations().unwrap(),
            recorded_date: date(2026, 11, 20),
        };
        let (_, contents) = import(&lake, &file, recording(&case).as_bytes(), &options).unwrap();
        assert_eq!(contents.rejected, Vec::<String>::new(), "{cluster}");
        for told in &case.engine_outcomes {
            let pod = case
                .pods
                .iter()
                .find(|pod| pod.object["metadata"]["name"] == told.pod.as_str())
                .unwrap();
            world.given(
                "engine_outcomes",
                &format!(
                    "select '{cluster}' as cluster, '{}' as pod_uid, timestamp '2026-11-20 00:00:00' as observed_at, \
                     'airflow' as source, '{}' as outcome",
                    pod.object["metadata"]["uid"].as_str().unwrap(),
                    told.outcome
                ),
            );
        }
        cases.push((cluster, case));
    }
    world.build(true);
    let ledger = world.ledger();
    let mut wrong = Vec::new();
    for (cluster, case) in &cases {
        for pod in &case.pods {
            let uid = pod.object["metadata"]["uid"].as_str().unwrap();
            let found = rows(
                ledger.connection(),
                &format!(
                    "select system, installation, pipeline, run, job, attempt, team, outcome from marts.pods \
                     where cluster = '{cluster}' and pod_uid = '{uid}'"
                ),
            );
            let expect = &pod.expect;
            let expected = [
                &expect.system,
                &expect.installation,
                &expect.pipeline,
                &expect.run,
                &expect.job,
                &expect.attempt,
                &expect.team,
                &expect.outcome,
            ]
            .map(String::as_str)
            .join("|");
            if found != [expected.clone()] {
                wrong.push(format!(
                    "{cluster} {}\n  expected {expected}\n  found    {}",
                    pod.object["metadata"]["name"],
                    found.join(" and ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
