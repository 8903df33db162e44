//! Names that try to act, of everything that has one, on every page and in every table.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use axum::http::header;
use podledger_reports::display::HOSTILE_NAMES;
use podledger_reports::http::{Settings, routes};
use serde_json::Value;

use super::browser::{artifacts, said};
use super::safety::HOST;
use super::served::Served;
use super::{Server, settings};
use crate::harness::{World, system_tool, tool};
use crate::sql_door::{self, publish};

/// Tags that pages are made of.
const TAGS: &[&str] = &[
    "!DOCTYPE", "a", "body", "button", "circle", "code", "datalist", "dd", "defs", "details", "div", "dl",
    "dt", "footer", "form", "h1", "h2", "h3", "head", "header", "html", "input", "label", "li", "line",
    "link", "main", "meta", "nav", "ol", "option", "p", "path", "pattern", "polyline", "pre", "rect",
    "script", "section", "span", "strong", "summary", "svg", "table", "tbody", "td", "text", "textarea",
    "th", "thead", "time", "title", "tr", "ul",
];

/// Hostile names that a ledger can hold.
pub fn hostile_names() -> Vec<String> {
    HOSTILE_NAMES.iter().map(|name| name.replace('\0', "")).collect()
}

/// A ledger of an hour in which each of them is a cluster with a pod on a machine: everything there has that name, and bills tell of it under it.
pub fn hostile_world() -> World {
    let world = World::new();
    let rows: Vec<String> = hostile_names()
        .iter()
        .enumerate()
        .map(|(number, name)| format!("({number}, '{}')", name.replace('\'', "''")))
        .collect();
    let names = format!("(values {}) as names(number, name)", rows.join(", "));
    let (from, to) = (
        "timestamp '2026-11-16 10:00:00'",
        "timestamp '2026-11-16 11:00:00'",
    );
    for (table, columns) in [
        (
            "machines",
            format!(
                "name as cluster, name as machine, {from} as observed_at, name as node_name, 'aws' as provider, name as region, name as zone, \
                 name as instance_type, 'on-demand' as capacity_type, name as pool, 'aws:///z/i-' || number as provider_id, \
                 'instance' as billing_model, {from} as launched_at, name as launch_source, map {{name: name}} as labels, name as gpu_model"
            ),
        ),
        (
            "node_states",
            format!(
                "name as cluster, name as machine, {from} as observed_at, 4000 as cpu_capacity_millicores, 4000 as cpu_allocatable_millicores, \
                 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes, 1000 as gpu_capacity_milligpus"
            ),
        ),
        (
            "prices",
            "'aws' as provider, name as region, name as instance_type, 'on-demand' as capacity_type, \
             timestamp '2026-01-01 00:00:00' as valid_from_at, 1::decimal(18,9) as hourly_usd, name as source"
                .to_owned(),
        ),
        (
            "collection_watermarks",
            format!("name as cluster, {to} as observed_through_at"),
        ),
        (
            "pod_states",
            format!(
                "name as cluster, name as pod_uid, {to} as observed_at, name as pod_name, name as namespace, name as machine, name as node_name, \
                 {from} as created_at, {from} as bound_at, 'scheduled' as start_source, {from} as running_at, {to} as finished_at, {to} as released_at, \
                 'watch' as end_source, 'Failed' as phase, 1 as exit_code, name as end_reason, 1000 as cpu_request_millicores, \
                 1073741824 as memory_request_bytes, 0 as gpu_request_milligpus"
            ),
        ),
        (
            "pod_identities",
            format!(
                "name as cluster, name as pod_uid, {from} as valid_from_at, map {{'podledger.io/team': name, 'podledger.io/pipeline': name, \
                 'podledger.io/run': name, 'podledger.io/job': name, 'podledger.io/attempt': name, 'podledger.io/installation': name}} as labels"
            ),
        ),
        (
            "container_requests",
            format!(
                "name as cluster, name as pod_uid, name as container_name, {from} as observed_at, 'container' as container_kind, name as image, \
                 1000 as cpu_request_millicores, 1073741824 as memory_request_bytes"
            ),
        ),
        (
            "usage_hours",
            format!(
                "name as cluster, name as pod_uid, name as container_name, {from} as hour_start_at, 'kubelet' as source, \
                 360000000 as cpu_usage_millicore_ms, 536870912 as memory_peak_bytes"
            ),
        ),
        (
            "billed_charges",
            format!(
                "name as bill_source, 'focus' as bill_format, name as delivery, timestamp '2026-12-02 00:00:00' as delivered_at, name as source_file, \
                 number as source_row, 0 as source_part, 'aws' as provider, name as billing_account_id, name as sub_account_id, \
                 timestamp '2026-11-01 00:00:00' as billing_period_start_at, timestamp '2026-12-01 00:00:00' as billing_period_end_at, \
                 {from} as charge_period_start_at, {to} as charge_period_end_at, name as service_name, 'Compute' as service_category, name as region, \
                 'i-' || number as resource_id, 'Usage' as charge_category, name as charge_description, 'Committed' as pricing_category, \
                 1 as consumed_quantity, 'Hrs' as consumed_unit, name as commitment_discount_id, 'Used' as commitment_discount_status, \
                 name as commitment_discount_type, 0.75 as effective_cost, 0.75 as billed_cost, 'USD' as currency, map {{name: name}} as tags, \
                 name as usage_type, name as operation, name as instance_type"
            ),
        ),
    ] {
        world.given(table, &format!("select {columns} from {names}"));
    }
    world.build(true);
    world
}

const WEEK: &str = "week=2026-W47";

/// Every row of an answer.
fn rows(server: &Server, name: &str) -> Vec<Value> {
    let answer = server.get(&format!("/api/v1/{name}?{WEEK}&limit=5000"));
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    answer.json()["rows"].as_array().unwrap().clone()
}

/// The query that names what a row is about, of columns and the parameters that they are.
fn about(row: &Value, columns: &[(&str, &str)]) -> String {
    let named = columns
        .iter()
        .map(|(parameter, column)| format!("&{parameter}={}", form(row[*column].as_str().unwrap())));
    format!("{WEEK}{}", named.collect::<String>())
}

#[test]
fn names_that_try_to_act_are_inert_on_every_page_and_in_every_table() {
    let world = hostile_world();
    publish(&world);
    let folder = world.folder.path();
    let server = Server::with(
        folder,
        Settings {
            door: Some(sql_door::settings(folder)),
            ..settings(&folder.join("tokens.toml"))
        },
    );
    names_are_carried_as_they_are(&server);
    // A page of each kind about each name.
    let mut urls = BTreeSet::new();
    let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, page, columns) in [
        ("teams", "/team", vec![("team", "team")]),
        ("pipelines", "/pipeline", vec![("pipeline", "pipeline")]),
        (
            "runs",
            "/run",
            vec![("run", "run"), ("pipeline", "pipeline"), ("cluster", "cluster")],
        ),
        ("pools", "/pool", vec![("pool", "pool")]),
        (
            "machines",
            "/machine",
            vec![("machine", "machine"), ("cluster", "cluster")],
        ),
        ("pods", "/pod", vec![("pod", "pod_uid"), ("cluster", "cluster")]),
        (
            "pods",
            "/pods",
            vec![
                ("team", "team"),
                ("pipeline", "pipeline"),
                ("job", "job"),
                ("namespace", "namespace"),
                ("run", "run"),
            ],
        ),
        ("clusters", "/", vec![("cluster", "cluster")]),
    ] {
        let of_each: Vec<String> = rows(&server, name)
            .iter()
            .map(|row| about(row, &columns))
            .collect();
        assert!(
            of_each.len() >= HOSTILE_NAMES.len() - 3,
            "{name}: {}",
            of_each.len()
        );
        urls.extend(of_each.iter().map(|query| format!("{page}?{query}")));
        named.insert(page, of_each);
    }
    let mut pages = server.pages(&format!("/?{WEEK}"), 2);
    for url in &urls {
        let answer = server.get(url);
        assert_eq!(answer.status, 200, "{url}: {}", answer.body);
        pages.push((url.clone(), answer.body));
    }
    let asked = server.ask("POST", "/sql", &[HOST], "query=select+*+from+pods");
    assert_eq!(asked.status, 200, "{}", asked.body);
    pages.push(("/sql".to_owned(), asked.body));
    let reached: BTreeSet<&str> = pages
        .iter()
        .map(|(url, _)| url.split('?').next().unwrap())
        .collect();
    let all = routes();
    let missing: Vec<&str> = all
        .iter()
        .map(|route| route.path.as_str())
        .filter(|path| {
            !["/api/", "/assets/", "/tables/"]
                .iter()
                .any(|prefix| path.starts_with(prefix))
        })
        .filter(|path| !["/healthz", "/readyz", "/metrics", "/sign-in", "/sign-out"].contains(path))
        .filter(|path| !reached.contains(path))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "was not reached");
    for (url, body) in &pages {
        if body.starts_with("<!DOCTYPE html>") {
            is_inert(url, body);
        }
    }
    // What a question has to be told is told for each name.
    for route in all.iter().filter(|route| route.path.starts_with("/tables/")) {
        let page = match route.path.as_str() {
            // This server has no rules to tell, and the ledger no services.
            "/tables/pod-rules.csv" => continue,
            path if path.starts_with("/tables/service-") => continue,
            "/tables/pod.csv" | "/tables/pod-hours.csv" => "/pod",
            "/tables/team-load.csv" => "/team",
            "/tables/pipeline-weeks.csv" => "/pipeline",
            path if path.starts_with("/tables/machine-") => "/machine",
            path if path.starts_with("/tables/run") && !path.starts_with("/tables/runs") => "/run",
            "/tables/critical-path.csv" => "/run",
            _ => "",
        };
        let queries = named.get(page).cloned().unwrap_or_else(|| vec![WEEK.to_owned()]);
        for query in queries {
            is_no_formula(&server, &format!("{}?{query}", route.path));
        }
    }
    the_same_is_true_of_a_server_that_advises(&world, &urls);
}

/// JSON carries names as they are, and every one of them can be asked about.
fn names_are_carried_as_they_are(server: &Server) {
    let names: BTreeSet<String> = hostile_names().into_iter().collect();
    for (question, columns) in [
        (
            "pods",
            vec!["pod_name", "pod_uid", "namespace", "end_reason", "cluster"],
        ),
        (
            "machines",
            vec!["machine", "node_name", "pool", "instance_type", "cluster"],
        ),
        ("bills", vec!["billing_account_id", "bill_source"]),
        ("commitments", vec!["commitment_discount_id"]),
        ("clusters", vec!["cluster"]),
    ] {
        let all = rows(server, question);
        for column in columns {
            let told: BTreeSet<String> = all
                .iter()
                .map(|row| row[column].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(told, names, "{question}.{column}");
        }
    }
    for row in rows(server, "teams") {
        let name = row["team"].as_str().unwrap();
        let one = server
            .get(&format!("/api/v1/teams?{WEEK}&team={}", form(name)))
            .json();
        assert_eq!(one["total"], 1, "{name}");
        assert_eq!(one["rows"][0]["team"], *name);
    }
}

/// A spreadsheet computes no cell of a CSV.
fn is_no_formula(server: &Server, url: &str) {
    let answer = server.get(url);
    assert_eq!(answer.status, 200, "{url}: {}", answer.body);
    assert!(
        answer.header(header::CONTENT_TYPE).starts_with("text/csv"),
        "{url}"
    );
    cells_are_inert(url, &answer.body);
}

fn cells_are_inert(url: &str, text: &str) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    for record in reader.records() {
        for cell in &record.unwrap() {
            let is_number = cell.parse::<f64>().is_ok();
            assert!(
                is_number || !cell.trim_start().starts_with(['=', '+', '-', '@']),
                "{url}: {cell}"
            );
        }
    }
}

/// Of the whole server, advice is asked for too, and a browser looks at what it shows.
fn the_same_is_true_of_a_server_that_advises(world: &World, urls: &BTreeSet<String>) {
    let served = Served::of(world.folder.path());
    is_inert("/rightsizing", &served.get("/rightsizing"));
    let advice = served.get("/tables/rightsizing.csv");
    assert!(advice.lines().count() > HOSTILE_NAMES.len(), "{advice}");
    cells_are_inert("/tables/rightsizing.csv", &advice);
    let (Some(python), Some(_), Some(_)) = (tool("python"), tool("playwright"), system_tool("chromium"))
    else {
        return;
    };
    // Of each kind of page one, and of pods one for each name.
    let mut seen = BTreeSet::new();
    let of_each_kind = urls
        .iter()
        .filter(|url| url.starts_with("/pod?") || seen.insert(url.split('?').next().unwrap()));
    let lists = [
        "/",
        "/teams",
        "/pods",
        "/machines",
        "/bills",
        "/findings",
        "/rightsizing",
        "/prices",
    ];
    let lists = lists.iter().map(|path| format!("{path}?{WEEK}"));
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/inert.py");
    said(
        Command::new(python)
            .arg(program)
            .arg(&served.url)
            .arg(artifacts("hostile"))
            .args(lists)
            .args(of_each_kind),
    );
}

/// Whether a page is made of the tags that pages are made of, and what is read on it is plain.
fn is_inert(url: &str, body: &str) {
    for tag in ["svg", "title", "script", "style"] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        assert_eq!(
            body.matches(&open).count(),
            body.matches(&close).count(),
            "{url}: {tag}"
        );
    }
    for tag in body.split('<').skip(1) {
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '!')
            .collect();
        // A report is a file of its own, and has its style in it.
        let is_known = TAGS.contains(&name.as_str()) || name == "style" && url.starts_with("/report");
        assert!(is_known, "{url}: <{}", &tag[..tag.len().min(60)]);
        let open = tag.split('>').next().unwrap();
        // What is left of a tag without the values of its attributes.
        let bare: String = open.split('"').step_by(2).collect();
        assert!(
            bare.split_whitespace()
                .all(|attribute| !attribute.starts_with("on")),
            "{url}: {open}"
        );
        assert!(
            !open.starts_with("script") || open == "script src=\"/assets/dashboard.js\" defer",
            "{open}"
        );
    }
    let visible = |letter: char| {
        !(letter.is_control() && letter != '\n'
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    // Values of filters are sent back as they are; what is read is plain.
    let read: String = body
        .split('>')
        .skip(1)
        .map(|part| part.split('<').next().unwrap())
        .collect();
    assert!(read.chars().all(visible), "{url}");
}

/// A value in a query.
pub fn form(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
