//! What a Prometheus is told of the marts: little, exact, and in a form that it takes; and the alert rules made for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{World, system_tool};
use crate::simulated::{ledger_of, scenario};
use crate::web::Server;
use crate::web::names::hostile_world;

const RULES: &str = "deploy/prometheus/podledger-alerts.yaml";

/// The lines of the marts' gauges: series to value.
pub fn gauges(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| line.starts_with("podledger_marts_"))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.to_owned())
        })
        .collect()
}

/// A server's text for a Prometheus, of which no series is told twice.
fn told(world: &World) -> (String, BTreeMap<String, String>) {
    let answer = Server::of_world(world).get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let gauges = gauges(&answer.body);
    let lines = answer
        .body
        .lines()
        .filter(|line| line.starts_with("podledger_marts_"))
        .count();
    assert_eq!(lines, gauges.len(), "a series is told twice");
    assert!(answer.body.ends_with("# EOF\n"));
    assert_eq!(answer.body.matches("# EOF").count(), 1);
    (answer.body, gauges)
}

/// Whether promtool takes a text; its words if it does not.
fn checked(text: &str) -> Option<()> {
    let mut child = Command::new(system_tool("promtool")?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Some(())
}

/// The gauges with what describes them: the text format of Prometheus knows no other ends of counters.
fn of_marts(text: &str) -> String {
    text.lines()
        .filter(|line| line.contains("podledger_marts_"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn gauges_are_the_sums_of_the_marts() {
    // From Monday 2026-11-02 on: a whole week, and two days more.
    let (world, _) = ledger_of(scenario(16, 9, 4));
    let (text, gauges) = told(&world);
    let week = "charge_date between '2026-11-02' and '2026-11-08'";
    let day = "charge_date = (select max(cast(observed_through_at as date)) - 1 from marts.clusters)";
    let mut expected = BTreeMap::new();
    for (period, filter) in [("week", week), ("day", day)] {
        for (name, key, label) in [
            ("cost", "'x'", ""),
            ("team_cost", "team", "team"),
            ("pipeline_cost", "pipeline", "pipeline"),
            ("category_cost", "cost_category", "cost_category"),
        ] {
            for row in world.rows(&format!(
                "select {key} as key, sum(cost) as cost from marts.costs_daily where {filter} and cost is not null group by all"
            )) {
                let (value, cost) = row.split_once('|').unwrap();
                let label = if label.is_empty() { String::new() } else { format!(",{label}=\"{value}\"") };
                expected.insert(format!("podledger_marts_{name}_usd{{period=\"{period}\"{label}}}"), cost.to_owned());
            }
        }
    }
    let costs: BTreeMap<String, String> = gauges
        .iter()
        .filter(|(series, _)| series.contains("_usd{"))
        .map(|(series, cost)| (series.clone(), cost.clone()))
        .collect();
    assert!(costs.len() > 30, "{costs:?}");
    assert_eq!(costs, expected);
    // As the weekly mart has it, which rounds as little.
    for resource in ["cpu", "memory"] {
        let ratio: f64 = gauges[&format!("podledger_marts_{resource}_efficiency_ratio{{period=\"week\"}}")]
            .parse()
            .unwrap();
        assert!(ratio > 0.0 && ratio < 1.0);
        let parts = world.rows(&format!(
            "select cast(sum({resource}_cost) filter (where cost_category = 'used') / sum({resource}_cost) as double) as ratio from marts.costs_daily \
             where {week} and cost_category in ('used', 'unused_request')"
        ));
        assert!(
            (ratio - parts[0].parse::<f64>().unwrap()).abs() < 0.000_002,
            "{ratio} {parts:?}"
        );
    }
    assert_eq!(
        gauges["podledger_marts_period_start_timestamp_seconds{period=\"week\"}"],
        "1793577600"
    );
    assert_eq!(
        gauges["podledger_marts_period_end_timestamp_seconds{period=\"week\"}"],
        "1794182400"
    );
    checked(&of_marts(&text));
    names_are_told(&text);
}

/// Rules and dashboards name no gauge that is not there.
fn names_are_told(text: &str) {
    let rules = std::fs::read_to_string(RULES).unwrap();
    let named: BTreeSet<&str> = rules
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("podledger_marts_"))
        .collect();
    assert!(named.len() > 4, "{named:?}");
    for name in named {
        assert!(
            text.contains(&format!("# TYPE {name} gauge\n")),
            "{name} is not told"
        );
    }
}

#[test]
fn names_that_try_to_act_are_values_of_labels() {
    let world = hostile_world();
    let (text, gauges) = told(&world);
    assert!(
        gauges
            .keys()
            .filter(|series| series.contains("team_cost"))
            .count()
            > 15
    );
    checked(&of_marts(&text));
}

#[test]
fn teams_and_pipelines_beyond_the_dearest_are_one_series() {
    let world = World::new();
    world.given_machine(200, 800, 0, "200");
    world.given(
        "pod_states",
        "select 'c' as cluster, 'p' || number as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, 'p' || number as pod_name, 'ns' as namespace, \
         'm' as machine, timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 10:00:00' as bound_at, 'scheduled' as start_source, \
         timestamp '2026-11-16 10:00:00' as running_at, timestamp '2026-11-16 11:00:00' as finished_at, timestamp '2026-11-16 11:00:00' as released_at, \
         'watch' as end_source, 'Succeeded' as phase, 1000 + number as cpu_request_millicores, 1073741824 as memory_request_bytes, \
         0 as gpu_request_milligpus from range(120) as numbers(number)",
    );
    world.given(
        "pod_identities",
        "select 'c' as cluster, 'p' || number as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
         map {'podledger.io/team': 'team-' || number, 'podledger.io/pipeline': 'pipeline-' || number} as labels from range(120) as numbers(number)",
    );
    // The day is over, so it is one that gauges speak of.
    world.given(
        "collection_watermarks",
        "select 'c' as cluster, timestamp '2026-11-17 01:00:00' as observed_through_at",
    );
    world.build(true);
    let (_, gauges) = told(&world);
    for (name, label) in [("team_cost", "team"), ("pipeline_cost", "pipeline")] {
        let of_day: BTreeMap<&str, &str> = gauges
            .iter()
            .filter(|(series, _)| series.starts_with(&format!("podledger_marts_{name}_usd{{period=\"day\"")))
            .map(|(series, cost)| (series.as_str(), cost.as_str()))
            .collect();
        assert_eq!(of_day.len(), 51, "{of_day:?}");
        let others =
            of_day[format!("podledger_marts_{name}_usd{{period=\"day\",{label}=\"(others)\"}}").as_str()];
        let expected = world.rows(&format!(
            "select sum(cost) as cost from (select {label}, sum(cost) as cost from marts.costs_daily where charge_date = '2026-11-16' group by all order by 2 desc, 1 offset 50)"
        ));
        assert_eq!(expected, [others]);
    }
}

#[test]
fn nothing_is_told_of_a_ledger_that_is_not_there() {
    let world = World::new();
    world.build(true);
    let (text, gauges) = told(&world);
    assert!(
        gauges.is_empty() && text.contains("podledger_http_build_id 1"),
        "{text}"
    );
}

#[test]
fn alert_rules_are_taken_and_fire_when_they_say() {
    let Some(promtool) = system_tool("promtool") else {
        return;
    };
    for arguments in [
        vec!["check", "rules", "--lint-fatal", RULES],
        vec!["test", "rules", "deploy/prometheus/podledger-alerts.test.yaml"],
    ] {
        let output = Command::new(&promtool)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .args(&arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // Every alert is shown to fire.
    let rules: serde_json::Value = yaml_serde::from_str(&std::fs::read_to_string(RULES).unwrap()).unwrap();
    let shown = std::fs::read_to_string("deploy/prometheus/podledger-alerts.test.yaml").unwrap();
    let mut alerts = 0;
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(
                shown.contains(&format!("alertname: {name}\n")),
                "{name} is not tested"
            );
            alerts += 1;
        }
    }
    assert!(alerts >= 6);
}
