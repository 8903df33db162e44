//! The OpenAPI document: it names every path, every column and every status.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use podledger_reports::http::{Role, Settings, create_token, routes};
use serde_json::Value;

use super::names::form;
use super::safety::{HOST, one_pod};
use super::{Server, needed, settings};

/// Whether answers have what the document says they have, where there is something to answer.
pub fn answers_are_as_it_describes_them(server: &Server) {
    let document = server.get("/api/v1/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    for route in routes() {
        let path = route.path;
        if path.starts_with("/api/") && path != "/api/v1/openapi.json" {
            assert!(paths.contains_key(&path), "{path}");
        }
    }
    let needed = needed(&|url| server.get(url).json());
    for (path, item) in paths {
        let of_rows =
            &item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["rows"];
        let Some(columns) = of_rows["items"]["properties"].as_object() else {
            continue;
        };
        let parameters = item["get"]["parameters"].as_array().unwrap();
        let required: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        // There is no service here whose hours could be asked for.
        if required.contains(&"service") {
            continue;
        }
        let given: String = required
            .iter()
            .map(|name| format!("&{name}={}", form(&needed[name])))
            .collect();
        let answer = server.get(&format!("{path}?limit=3{given}")).json();
        let rows = answer["rows"].as_array().unwrap();
        assert!(required.is_empty() || !rows.is_empty(), "{path}: {answer}");
        for row in rows {
            let told: Vec<&String> = row.as_object().unwrap().keys().collect();
            let mut named: Vec<&String> = columns.keys().collect();
            named.sort();
            assert_eq!(told, named, "{path}");
        }
    }
}

#[test]
fn every_status_with_which_the_api_answers_is_in_the_document() {
    let world = one_pod();
    let folder = world.folder.path();
    let server = Server::of_world(&world);
    let document = server.get("/api/v1/openapi.json").json();
    let mut seen = BTreeSet::new();
    let mut ask = |server: &Server, method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = server.ask(method, path, headers, "");
        let of = path.split('?').next().unwrap();
        let status = answer.status.as_u16().to_string();
        let described = &document["paths"][of][method.to_lowercase()]["responses"][&status];
        assert!(!described.is_null(), "{method} {path}: {status} is not described");
        // What is described is there, by reference or in place.
        if let Some(to) = described["$ref"].as_str() {
            let there = document.pointer(to.strip_prefix('#').unwrap());
            let content = &there.unwrap()["content"];
            assert!(content.get("application/problem+json").is_some(), "{to}");
        }
        seen.insert(answer.status);
    };
    let paths = [
        "/api/v1/teams",
        "/api/v1/rightsizing",
        "/api/v1/weekly-report",
        "/api/v1/build",
    ];
    for path in paths {
        let tag = server.get(path).headers.get("etag").cloned();
        ask(&server, "GET", path, &[HOST]);
        if let Some(tag) = tag {
            ask(
                &server,
                "GET",
                path,
                &[HOST, ("if-none-match", tag.to_str().unwrap())],
            );
        }
        ask(&server, "GET", path, &[]);
        ask(&server, "GET", path, &[("host", "evil.example")]);
        ask(&server, "GET", path, &[HOST, ("origin", "http://evil.example")]);
        let long = format!("{path}?zone={}", "x".repeat(9_000));
        ask(&server, "GET", &long, &[HOST]);
    }
    for path in ["/api/v1/teams?weak=1", "/api/v1/weekly-report?team=nobody"] {
        ask(&server, "GET", path, &[HOST]);
    }
    for kind in ["application/json", "application/xml", "text/plain"] {
        ask(&server, "POST", "/api/v1/sql", &[HOST, ("content-type", kind)]);
    }
    ask(&server, "POST", "/api/v1/sql", &[HOST, ("accept", "text/html")]);
    let nothing = tempfile::tempdir().unwrap();
    let empty = Server::of(nothing.path());
    for path in &paths[..3] {
        ask(&empty, "GET", path, &[HOST]);
    }
    let slow = Settings {
        requests_per_second: 1,
        ..settings(&folder.join("none.toml"))
    };
    let slow = Server::with(folder, slow);
    for path in paths {
        // Some are answered before there are too many.
        for _ in 0..8 {
            ask(&slow, "GET", path, &[HOST]);
        }
    }
    let viewer = create_token(&folder.join("tokens.toml"), "viewer", Role::Viewer, String::new()).unwrap();
    let shown = format!("Bearer {viewer}");
    for path in paths {
        ask(&server, "GET", path, &[HOST]);
    }
    ask(&server, "POST", "/api/v1/sql", &[HOST]);
    ask(&server, "POST", "/api/v1/sql", &[HOST, ("authorization", &shown)]);
    let seen: Vec<u16> = seen.iter().map(StatusCode::as_u16).collect();
    assert_eq!(
        seen,
        [200, 304, 400, 401, 403, 404, 406, 414, 415, 421, 429, 503],
        "what else is described is not brought about here"
    );
    // Nothing is described that says anything of everything.
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert_eq!(operation["responses"]["default"], Value::Null);
        }
    }
}
