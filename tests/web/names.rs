//! Names that try to act, on every page and in every table.

use podledger_reports::display::HOSTILE_NAMES;

use super::Server;
use crate::weekly::pods_named;

/// Tags that pages are made of.
const TAGS: &[&str] = &[
    "!DOCTYPE", "a", "body", "button", "circle", "code", "datalist", "dd", "defs", "details", "div", "dl",
    "dt", "footer", "form", "h1", "h2", "h3", "head", "header", "html", "input", "label", "li", "line",
    "link", "main", "meta", "nav", "ol", "option", "p", "path", "pattern", "polyline", "pre", "rect",
    "script", "section", "span", "strong", "summary", "svg", "table", "tbody", "td", "text", "th", "thead",
    "time", "title", "tr", "ul",
];

#[test]
fn names_that_try_to_act_are_inert_on_every_page() {
    let rows: Vec<String> = HOSTILE_NAMES
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let name = name.replace('\'', "''").replace('\0', "");
            format!("select {number} as number, '{name}' as team, '{name}' as pipeline, '{name}' as job")
        })
        .collect();
    let world = pods_named(&rows.join(" union all "));
    let server = Server::of_world(&world);
    let all = server.get("/api/v1/teams?week=2026-W47").json();
    let all = all["rows"].as_array().unwrap();
    assert!(all.len() >= HOSTILE_NAMES.len() - 3, "{}", all.len());
    let mut pages = server.pages("/?week=2026-W47", 2);
    for row in all {
        let name = form(row["team"].as_str().unwrap());
        for url in [
            format!("/team?week=2026-W47&team={name}"),
            format!("/pipeline?week=2026-W47&pipeline={name}"),
            format!("/pods?week=2026-W47&team={name}&pipeline={name}&job={name}"),
        ] {
            let answer = server.get(&url);
            assert_eq!(answer.status, 200, "{url}: {}", answer.body);
            pages.push((url, answer.body));
        }
    }
    let paths: std::collections::BTreeSet<&str> = pages
        .iter()
        .map(|(url, _)| url.split('?').next().unwrap())
        .collect();
    for path in [
        "/",
        "/teams",
        "/team",
        "/pipelines",
        "/pipeline",
        "/jobs",
        "/pods",
        "/pod",
        "/machine",
    ] {
        assert!(paths.contains(path), "{path} was not reached: {paths:?}");
    }
    for (url, body) in &pages {
        if !body.starts_with("<!DOCTYPE html>") {
            continue;
        }
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
    for table in ["teams", "pipelines", "jobs", "pods"] {
        let text = server.get(&format!("/tables/{table}.csv?week=2026-W47")).body;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        for record in reader.records() {
            for cell in &record.unwrap() {
                let is_number = cell.parse::<f64>().is_ok();
                assert!(
                    is_number || !cell.trim_start().starts_with(['=', '+', '-', '@']),
                    "{table}: {cell}"
                );
            }
        }
    }
    // JSON carries names as they are, and every one of them can be asked about.
    for row in all {
        let name = row["team"].as_str().unwrap();
        let query: String = form(name);
        let one = server
            .get(&format!("/api/v1/teams?week=2026-W47&team={query}"))
            .json();
        assert_eq!(one["total"], 1, "{name}");
        assert_eq!(one["rows"][0]["team"], *name);
    }
}

/// A value in a query.
pub fn form(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
