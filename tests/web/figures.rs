//! Every figure against the marts.

use axum::http::StatusCode;
use podledger_reports::http::routes;
use podledger_sql::units::NanoUsd;

use super::Server;
use super::names::form;
use crate::harness::World;
use crate::weekly::fortnight;

/// A row of a CSV: names of columns with cells.
pub type Row = Vec<(String, String)>;

/// Rows of a CSV by column.
pub fn table(server: &Server, url: &str) -> Vec<Row> {
    let answer = server.get(url);
    assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
    let mut reader = csv::Reader::from_reader(answer.body.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            names
                .iter()
                .cloned()
                .zip(record.iter().map(str::to_owned))
                .collect()
        })
        .collect()
}

/// Chosen cells of rows as [`World::rows`] joins them: what is unknown is left out. Sorted.
pub fn chosen(rows: &[Row], columns: &[&str]) -> Vec<String> {
    let of_row = |row: &Row| {
        let cells = columns
            .iter()
            .map(|wanted| row.iter().find(|(name, _)| name == wanted).unwrap().1.as_str());
        let known: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        known.join("|")
    };
    let mut chosen: Vec<String> = rows.iter().map(of_row).collect();
    chosen.sort();
    chosen
}

fn sum(rows: &[Row], column: &str) -> String {
    let cells = rows
        .iter()
        .flatten()
        .filter(|(name, cell)| name == column && !cell.is_empty());
    let nano: i64 = cells
        .map(|(_, cell)| NanoUsd::from_decimal_str(cell).unwrap().get())
        .sum();
    NanoUsd::from_nano(nano).to_string()
}

pub fn ask(world: &World, query: &str) -> String {
    let found = world.rows(query);
    assert_eq!(found.len(), 1, "{query}");
    found[0].clone()
}

/// What all share is nobody's.
pub const DIRECT: &str = "cost_category not like 'idle%' and cost_category not in ('node_reserved', 'system', 'platform', 'unobserved', \
    'control_plane', 'load_balancer', 'network', 'fees', 'commitment_unused')";

#[test]
fn every_figure_is_that_of_its_mart() {
    let world = fortnight();
    let server = Server::of_world(&world);
    let days = "charge_date between '2026-11-09' and '2026-11-15'";
    let hours = "hour_start_at >= '2026-11-09' and hour_start_at < '2026-11-16'";
    let total = ask(
        &world,
        &format!("select sum(cost) from marts.costs_daily where {days}"),
    );
    let direct = ask(
        &world,
        &format!("select sum(cost) from marts.costs_daily where {days} and {DIRECT}"),
    );
    let csv = |name: &str| table(&server, &format!("/tables/{name}.csv?week=2026-W46"));

    // Sums over everything.
    let of_machines = ask(
        &world,
        &format!("select sum(cost) from marts.machines_daily where {days}"),
    );
    let of_pods = format!(
        "select sum(total_cost) from marts.allocations_hourly where consumer_kind = 'pod' and {hours}"
    );
    for (name, column, expected) in [
        ("categories", "cost", total.clone()),
        ("days", "cost", total.clone()),
        ("teams", "fully_loaded_cost", total.clone()),
        ("teams", "direct_cost", direct.clone()),
        ("pipelines", "cost", direct.clone()),
        ("jobs", "cost", direct.clone()),
        ("namespaces", "cost", total.clone()),
        ("pools", "cost", of_machines.clone()),
        ("pool-hours", "cost", of_machines.clone()),
        ("machines", "cost", of_machines.clone()),
        ("pods", "cost", ask(&world, &of_pods)),
        (
            "runs",
            "cost",
            ask(
                &world,
                "select sum(cost) from marts.runs where started_at >= '2026-11-09' and started_at < '2026-11-16'",
            ),
        ),
        (
            "findings",
            "cost",
            ask(
                &world,
                "select sum(cost) from marts.findings where zone = 'UTC' and iso_week = '2026-W46'",
            ),
        ),
        (
            "stuck-pods",
            "cost",
            ask(
                &world,
                &format!(
                    "select coalesce(sum(cost), 0) from marts.costs_daily where {days} and cost_category = 'stuck'"
                ),
            ),
        ),
    ] {
        let rows = csv(name);
        assert!(!rows.is_empty() || name == "stuck-pods", "{name}");
        let expected = NanoUsd::from_decimal_str(&expected).unwrap().to_string();
        assert_eq!(sum(&rows, column), expected, "{name}.{column}");
    }
    // Row by row.
    for (name, columns, query) in [
        (
            "teams",
            vec!["team", "direct_cost"],
            format!("select team, sum(cost) from marts.costs_daily where {days} and {DIRECT} group by 1"),
        ),
        (
            "pipelines",
            vec!["team", "pipeline", "cost"],
            format!("select team, pipeline, sum(cost) from marts.costs_daily where {days} and {DIRECT} group by all"),
        ),
        (
            "jobs",
            vec!["team", "pipeline", "job", "cost"],
            format!("select team, pipeline, job, sum(cost) from marts.costs_daily where {days} and {DIRECT} group by all"),
        ),
        (
            "pools",
            vec!["pool", "cost"],
            format!("select pool, sum(cost) from marts.machines_daily where {days} group by all"),
        ),
        (
            "machines",
            vec!["machine", "cost", "idle_cost"],
            format!("select machine, sum(cost), sum(idle_cost) from marts.machines_daily where {days} group by all"),
        ),
        (
            "runs",
            vec!["run", "run_epoch", "status", "pods", "cost", "wasted_cost"],
            "select run, run_epoch, status, pods, cost, wasted_cost from marts.runs \
             where started_at >= '2026-11-09' and started_at < '2026-11-16'"
                .to_owned(),
        ),
        (
            "waits",
            vec!["team", "pipeline", "pods", "queue_wait_p95_ms", "queue_wait_max_ms"],
            "select team, pipeline, count(*), quantile_disc(queue_wait_ms, 0.95), max(queue_wait_ms) from marts.attempt_pods \
             where created_at >= '2026-11-09' and created_at < '2026-11-16' group by all"
                .to_owned(),
        ),
    ] {
        let shown = chosen(&csv(name), &columns);
        let mut expected = world.rows(&query);
        expected.sort();
        assert_eq!(shown, expected, "{name}");
    }

    the_gantt_shows_what_the_mart_says(&world, &server);
    the_api_says_the_same_page_by_page(&server);
    every_link_leads_somewhere(&world, &server, &total);
    super::marts::rows_are_those_of_their_marts(&world, &server);
    super::pictures::say_what_marts_say(&world, &server);
    no_page_stumbles_where_there_is_nothing(&server);
    super::document::answers_are_as_it_describes_them(&server);
}

/// Nobody's costs, days that nobody saw, and a day of another zone are pages too.
fn no_page_stumbles_where_there_is_nothing(server: &Server) {
    let overview = server.get("/").body;
    let links = overview.split("href=\"").skip(1);
    // Those that every page leads to, as they are without a filter; files have a dot.
    let lists: std::collections::BTreeSet<&str> = links
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|link| link.starts_with('/') && !link.contains(['?', '.']) && *link != "/sql")
        .collect();
    assert!(lists.len() > 12, "{lists:?}");
    for url in lists {
        for query in [
            "team=nobody&pipeline=nobody&namespace=nowhere",
            "week=2020-W10",
            "from=2026-11-09&to=2026-11-09&zone=Asia/Kolkata",
        ] {
            let answer = server.get(&format!("{url}?{query}"));
            assert_eq!(answer.status, StatusCode::OK, "{url}?{query}: {}", answer.body);
            assert!(answer.body.contains("<h1>"), "{url}?{query}");
        }
    }
}

/// Each pod of a run has a bar, that says how long it waited and worked, and leads to it.
fn the_gantt_shows_what_the_mart_says(world: &World, server: &Server) {
    let runs = table(server, "/tables/runs.csv?week=2026-W46&sort=-failed_attempts");
    let cell = |name: &str| runs[0].iter().find(|(known, _)| known == name).unwrap().1.clone();
    let names = [
        "run",
        "pipeline",
        "cluster",
        "system",
        "installation",
        "run_epoch",
    ]
    .map(|name| (name, cell(name)));
    let given = names.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = given
        .map(|(name, value)| format!("{name}={}", form(value)))
        .collect();
    let url = format!("/run?{}", query.join("&"));
    let page = server.get(&url).body;
    let svg = page
        .split("aria-label=\"Pods of the run on their machines")
        .nth(1)
        .unwrap();
    let svg = svg.split("</svg>").next().unwrap();
    let mut shown: Vec<String> = svg
        .split("<a ")
        .skip(1)
        .map(|bar| {
            let uid = bar
                .split("pod=")
                .nth(1)
                .unwrap()
                .split(['&', '"'])
                .next()
                .unwrap();
            let title = bar
                .split("<title>")
                .nth(1)
                .unwrap()
                .split("</title>")
                .next()
                .unwrap();
            let part = |word: &str| {
                let mut parts = title.split(", ");
                let found = parts.find_map(|part| part.strip_prefix(word)).unwrap_or_default();
                found.trim().to_owned()
            };
            let is_red = bar.contains("fill=\"var(--failed)\"");
            format!("{uid}|{}|{}|{is_red}", part("waited"), part("worked"))
        })
        .collect();
    shown.sort();
    let condition: Vec<String> = names
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} = '{value}'"))
        .collect();
    let told = world.rows(&format!(
        "select pod_uid, coalesce(cast(queue_wait_ms as varchar), ''), coalesce(cast(epoch_ms(finished_at) - epoch_ms(started_at) as varchar), ''), \
             started_at is not null and outcome in ('failed', 'lost') \
         from marts.attempt_pods where {} order by pod_uid",
        condition.join(" and ")
    ));
    let mut told: Vec<String> = told
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let time = |cell: &str| {
                cell.parse::<i64>().map_or_else(
                    |_| String::new(),
                    |ms| podledger_reports::display::duration(ms.max(0)),
                )
            };
            format!("{}|{}|{}|{}", cells[0], time(cells[1]), time(cells[2]), cells[3])
        })
        .collect();
    told.sort();
    assert!(
        told.len() > 1 && told.iter().any(|row| row.ends_with("true")),
        "{told:?}"
    );
    assert_eq!(shown, told, "{url}");
}

fn the_api_says_the_same_page_by_page(server: &Server) {
    let rows = table(server, "/tables/jobs.csv?week=2026-W46&sort=-attempts");
    let mut told = Vec::new();
    let mut next = Some("/api/v1/jobs?week=2026-W46&sort=-attempts&limit=7".to_owned());
    while let Some(url) = next {
        let page = server.get(&url).json();
        assert_eq!(page["total"], rows.len(), "{url}");
        told.extend(page["rows"].as_array().unwrap().clone());
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(told.len(), rows.len());
    for (row, object) in rows.iter().zip(&told) {
        for (name, cell) in row {
            let value = &object[name];
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            };
            assert_eq!(*cell, text, "{name}");
        }
    }
}

/// From the total to a pod, by links alone.
fn every_link_leads_somewhere(world: &World, server: &Server, total: &str) {
    let pages = server.pages("/", 2);
    let mut paths: Vec<&str> = pages
        .iter()
        .map(|(url, _)| url.split('?').next().unwrap())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let all = routes();
    let missing: Vec<&str> = all
        .iter()
        .map(|route| route.path.as_str())
        .filter(|path| {
            !path.starts_with("/api") && !path.starts_with("/assets") && !path.starts_with("/tables")
        })
        .filter(|path| !["/healthz", "/readyz", "/metrics", "/sign-in", "/sign-out"].contains(path))
        .filter(|path| !paths.contains(path))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "no page leads there");
    let overview = &pages.iter().find(|(url, _)| url == "/").unwrap().1;
    let total = podledger_reports::display::dollars(NanoUsd::from_decimal_str(total).unwrap());
    assert!(
        overview.contains(&format!("<span class=\"total\">{total}</span>")),
        "{total}"
    );
    // A pod's page adds up to what the mart says of it.
    let (url, page) = pages.iter().find(|(url, _)| url.starts_with("/pod?")).unwrap();
    let uid = url.split("pod=").nth(1).unwrap().split('&').next().unwrap();
    let cost = ask(
        world,
        &format!("select sum(total_cost) from marts.allocations_hourly where pod_uid = '{uid}'"),
    );
    let cost = NanoUsd::from_decimal_str(&cost).unwrap();
    assert!(
        page.contains(&podledger_reports::display::small_dollars(cost)),
        "{url}"
    );
    let hours = table(server, &format!("/tables/pod-hours.csv?pod={uid}"));
    assert_eq!(sum(&hours, "total_cost"), cost.to_string());
}
