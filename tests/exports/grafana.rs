//! The dashboard for Grafana: every query of it is answered by the PostgreSQL endpoint, with what its panel needs.

use serde_json::Value;

use crate::harness::World;
use crate::simulated::{ledger_of, scenario};
use crate::sql_door::postgres::Served;
use crate::sql_door::publish;

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string("deploy/grafana/podledger.json").unwrap()).unwrap()
}

/// A query as Grafana sends it: the times of the dashboard and the chosen values of its variable are put in.
fn sent(query: &str, clusters: &[String]) -> String {
    let chosen: Vec<String> = clusters.iter().map(|name| format!("'{name}'")).collect();
    let mut text = query.replace("${cluster:sqlstring}", &chosen.join(","));
    while let Some(at) = text.find("$__timeFilter(") {
        let (before, rest) = text.split_at(at);
        let (column, after) = rest["$__timeFilter(".len()..].split_once(')').unwrap();
        text =
            format!("{before}{column} BETWEEN '2026-11-02T00:00:00Z' AND '2026-11-10T23:59:59.999Z'{after}");
    }
    assert!(!text.contains('$'), "{text}");
    text
}

/// What a query yields: its columns' names, and rows.
fn answered(served: &Served, text: &str) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let told = served.told(&["\\pset tuples_only off", "\\pset footer off", text])?;
    assert!(!told.contains("ERROR"), "{text}: {told}");
    let mut lines = told.lines().filter(|line| !line.is_empty());
    let cells = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>();
    let names = cells(lines.next().unwrap());
    Some((names, lines.map(cells).collect()))
}

#[test]
fn every_panel_is_answered_over_postgresql() {
    let (world, _) = ledger_of(scenario(17, 9, 4));
    publish(&world);
    let served = Served::of(&world);
    let dashboard = dashboard();
    let clusters = |world: &World| world.rows("select cluster from marts.clusters order by 1");
    let variable = dashboard["templating"]["list"][1]["query"].as_str().unwrap();
    let Some((_, rows)) = answered(&served, variable) else {
        return;
    };
    assert_eq!(rows.concat(), clusters(&world));
    let mut titles = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        titles.push(title);
        let target = &panel["targets"][0];
        let text = sent(target["rawSql"].as_str().unwrap(), &clusters(&world));
        let (names, rows) = answered(&served, &text).unwrap();
        assert!(!rows.is_empty(), "{title} is empty: {text}");
        // Nobody imported a bill.
        let is_zero = title == "Of it billed";
        match panel["type"].as_str().unwrap() {
            "timeseries" => {
                assert_eq!(target["format"], "time_series", "{title}");
                assert_eq!(names[0], "time", "{title}");
                let mut times: Vec<&String> = rows.iter().map(|row| &row[0]).collect();
                assert!(times.is_sorted(), "{title}");
                times.dedup();
                assert!(times.len() >= 7, "{title}: {times:?}");
            }
            "stat" => {
                assert_eq!((names.len(), rows.len()), (1, 1), "{title}");
                let value: f64 = rows[0][0].parse().unwrap();
                assert_eq!(value > 0.0, !is_zero, "{title}: {value}");
            }
            "table" => {
                // What a panel formats is there.
                for formatted in panel["fieldConfig"]["overrides"].as_array().unwrap() {
                    let column = formatted["matcher"]["options"].as_str().unwrap();
                    assert!(
                        names.iter().any(|name| name == column),
                        "{title}: {column} of {names:?}"
                    );
                }
            }
            other => panic!("{title} is a {other}"),
        }
        if title == "Cost" {
            assert_eq!(
                rows[0],
                world.rows(
                    "select sum(cost) as cost from marts.costs_hourly where hour_start_at < '2026-11-11'"
                )
            );
        }
        // Nobody sees what is of another cluster.
        let (_, rows) = answered(
            &served,
            &sent(target["rawSql"].as_str().unwrap(), &["nobody".to_owned()]),
        )
        .unwrap();
        assert!(
            rows.iter()
                .flatten()
                .all(|cell| cell.is_empty() || cell.parse() == Ok(0.0)),
            "{title}: {rows:?}"
        );
    }
    assert_eq!(titles.len(), 12);
    let mut panels: Vec<(i64, i64)> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| {
            (
                panel["id"].as_i64().unwrap(),
                panel["gridPos"]["y"].as_i64().unwrap() * 100 + panel["gridPos"]["x"].as_i64().unwrap(),
            )
        })
        .collect();
    let count = panels.len();
    panels.sort_unstable();
    panels.dedup_by_key(|(id, _)| *id);
    assert_eq!(panels.len(), count, "an id is there twice");
}
