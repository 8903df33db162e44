//! What is refused, and how: bad questions, foreign pages, addresses that nobody opened, and names that would be more than names.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use axum::http::{StatusCode, header};
use podledger_reports::display::HOSTILE_NAMES;
use podledger_reports::opencost::{OpenCost, OpenCostError, Settings};

use super::{Server, settings};
use crate::harness::{World, snapshots_of};

fn one_pod() -> World {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 1024, 0);
    world.build(true);
    world
}

#[test]
fn bad_questions_are_answered_with_what_is_wrong() {
    let world = one_pod();
    let server = Server::of(world.folder.path());
    for (url, status, wanted) in [
        ("/allocation", 400, "`window` is missing"),
        (
            "/allocation/compute?window=soon",
            400,
            "`window`: `soon` is no window",
        ),
        ("/allocation/summary?window=1d&step=-1h", 400, "`step`"),
        ("/allocation?window=7d&step=1s", 400, "take a longer step"),
        (
            "/allocation?window=1d&filter=namespace:ml",
            400,
            "`filter`: expected a value in double quotes at position 10",
        ),
        (
            "/allocation?window=1d&aggregate=namespace&accumulateBy=hour",
            400,
            "`accumulateBy`",
        ),
        (
            "/allocation?window=1d&shareNamespaces=a",
            400,
            "there is no parameter `shareNamespaces`",
        ),
        ("/assets", 400, "`window` is missing"),
        ("/assets?window=1d&filter=(((", 400, "`filter`"),
        (
            "/assets?window=1d&filter=namespace:%22ml%22",
            400,
            "there is no field `namespace` at position 0; there are name, assetType",
        ),
        (
            "/assets?window=1d&filterNamespaces=ml",
            400,
            "there is no parameter `filterNamespaces`",
        ),
        ("/allocation/autocomplete?window=1d", 400, "`field` is missing"),
        (
            "/allocation/autocomplete?window=1d&field=namespace:x",
            400,
            "`field`: `namespace:x` is none of cluster, node, namespace",
        ),
        (
            "/assets/autocomplete?window=1d&field=pod",
            400,
            "`field`: `pod` is none of name, type",
        ),
        (
            "/assets/autocomplete?window=1d&field=name&limit=1001",
            400,
            "`limit` is more than 1000",
        ),
        (
            "/assets/autocomplete?window=1d&field=name&step=1h",
            400,
            "there is no parameter `step`",
        ),
        ("/model", 404, "there is nothing here"),
        ("/prediction/speccost", 404, "there is nothing here"),
        ("/allocationx?window=1d", 404, "there is nothing here"),
        ("/modelallocation?window=1d", 404, "there is nothing here"),
    ] {
        let answer = server.get(url);
        assert_eq!(answer.status.as_u16(), status, "{url}: {}", answer.body);
        let envelope: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(envelope["code"], status, "{url}");
        assert_eq!(envelope["status"], "error", "{url}");
        assert!(envelope["data"].is_null(), "{url}");
        let message = envelope["message"].as_str().unwrap();
        assert!(message.contains(wanted), "{url}: {message}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{url}");
    }
    let long = format!("/allocation?window=1d&filter={}", "%28".repeat(3_000));
    assert_eq!(server.get(&long).status, StatusCode::URI_TOO_LONG);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = server.ask(method, "/allocation?window=1d", &[("host", "127.0.0.1:9003")]);
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers[header::ALLOW], "GET, HEAD");
    }
    let head = server.ask("HEAD", "/allocation?window=1d", &[("host", "127.0.0.1:9003")]);
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
}

#[test]
fn only_own_names_and_pages_are_answered() {
    let world = one_pod();
    let server = Server::of(world.folder.path());
    for (host, origin, status) in [
        ("localhost:9003", None, 200),
        ("model", None, 200),
        ("evil.example", None, 421),
        ("127.0.0.1:9003", Some("http://evil.example"), 403),
        ("127.0.0.1:9003", Some("http://127.0.0.1:9003"), 200),
    ] {
        let mut headers = vec![("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let answer = server.ask("GET", "/allocation?window=1d", &headers);
        assert_eq!(answer.status.as_u16(), status, "{host} {origin:?}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    // A kubelet asks by whatever address.
    assert_eq!(
        server.ask("GET", "/healthz", &[("host", "10.0.0.7")]).body,
        "ok\n"
    );
}

#[test]
fn answers_are_kept_for_the_window_that_the_clock_makes() {
    let world = one_pod();
    let snapshots = snapshots_of(world.folder.path());
    snapshots.take().unwrap();
    let hour = 3_600_000;
    // 2026-11-16 10:30, and an hour more with every question.
    let clock = std::sync::atomic::AtomicI64::new(1_794_825_000_000);
    let settings = Settings {
        clock: Box::new(move || clock.fetch_add(hour, std::sync::atomic::Ordering::Relaxed)),
        ..settings()
    };
    let server = Server {
        router: OpenCost::new(snapshots, settings).unwrap().router(),
        runtime: tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(1)
            .build()
            .unwrap(),
    };
    let first = server.get("/allocation?window=1h&aggregate=pod&includeIdle=true");
    let second = server.get("/allocation?window=1h&aggregate=pod&includeIdle=true");
    assert!(first.body.contains("\"p\""), "{}", first.body);
    let data: serde_json::Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!(data["data"], serde_json::json!([{}]));
    assert_ne!(first.headers[header::ETAG], second.headers[header::ETAG]);
    // A window that does not move is what it was, and who has it is not sent it again.
    let fixed = "/allocation?window=1794823200,1794826800";
    let etag = server.get(fixed).headers[header::ETAG].clone();
    let again = server.ask(
        "GET",
        fixed,
        &[
            ("host", "127.0.0.1:9003"),
            ("if-none-match", etag.to_str().unwrap()),
        ],
    );
    assert_eq!(
        (again.status, again.body.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
}

#[test]
fn before_the_first_build_there_is_nothing_to_tell() {
    let world = World::new();
    let snapshots = snapshots_of(world.folder.path());
    let server = Server {
        router: OpenCost::new(snapshots, settings()).unwrap().router(),
        runtime: tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(1)
            .build()
            .unwrap(),
    };
    for url in [
        "/allocation?window=1d",
        "/metrics",
        "/assets?window=1d",
        "/clusterInfo",
    ] {
        let answer = server.get(url);
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{url}");
        assert!(answer.body.contains("podledger build"), "{}", answer.body);
    }
    assert_eq!(server.get("/healthz").status, StatusCode::OK);
}

#[test]
fn hostile_names_are_names() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    let names: Vec<String> = HOSTILE_NAMES.iter().map(|name| name.replace('\0', "")).collect();
    for (number, name) in names.iter().enumerate() {
        let name = name.replace('\'', "''");
        world.given(
            "pod_states",
            &format!(
                "select 'c' as cluster, 'u{number}' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, \
                 '{name}' as pod_name, '{name}' as namespace, 'm' as machine, \
                 timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 10:00:00' as bound_at, \
                 'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, \
                 'watch' as end_source, 'Running' as phase, 100 as cpu_request_millicores, \
                 1048576::bigint as memory_request_bytes, 0 as gpu_request_milligpus"
            ),
        );
        world.given(
            "pod_identities",
            &format!(
                "select 'c' as cluster, 'u{number}' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
                 map {{'app': '{name}', '{name}': 'x'}} as labels, map([], [])::map(varchar, varchar) as annotations, \
                 []::struct(kind varchar, name varchar, uid varchar)[] as owners"
            ),
        );
        world.given(
            "container_requests",
            &format!(
                "select 'c' as cluster, 'u{number}' as pod_uid, '{name}' as container_name, timestamp '2026-11-16 10:00:00' as observed_at, \
                 'container' as container_kind, 100 as cpu_request_millicores, 1048576::bigint as memory_request_bytes"
            ),
        );
    }
    world.build(true);
    let server = Server::of(world.folder.path());
    let fixed = "window=1794823200,1794826800";
    let told: serde_json::Value =
        serde_json::from_str(&server.text(&format!("/allocation?{fixed}"))).unwrap();
    let allocations = told["data"][0].as_object().unwrap();
    for name in &names {
        let found = allocations
            .values()
            .find(|told| told["properties"]["pod"] == name.as_str());
        let found = found.unwrap_or_else(|| panic!("{name:?} is missing"));
        assert_eq!(found["properties"]["container"], name.as_str());
        assert_eq!(found["properties"]["labels"]["app"], name.as_str());
        assert!(found["totalCost"].as_f64().unwrap() > 0.0);
        // Asked for as a filter it finds itself alone, whatever is in it; a quote ends a value, as in OpenCost.
        if name.contains('"') {
            continue;
        }
        let filter: String = form(&format!("pod:\"{name}\""));
        let one: serde_json::Value =
            serde_json::from_str(&server.text(&format!("/allocation?{fixed}&aggregate=pod&filter={filter}")))
                .unwrap();
        assert_eq!(
            one["data"][0].as_object().unwrap().keys().collect::<Vec<_>>(),
            [name]
        );
        let missing = server.get(&format!("/allocation?{fixed}&aggregate={}", form(name)));
        assert_eq!(missing.status, StatusCode::OK, "{name:?}");
    }
    let metrics = server.text("/metrics");
    for line in metrics
        .lines()
        .filter(|line| line.starts_with("container_cpu_allocation{"))
    {
        assert!(line.ends_with(" 0.100"), "{line:?}");
    }
    let samples = metrics
        .lines()
        .filter(|line| line.starts_with("container_cpu_allocation{"))
        .count();
    assert_eq!(samples, names.len());
}

/// A value of a query, with everything but letters and digits encoded.
fn form(value: &str) -> String {
    value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[test]
fn who_can_be_reached_from_elsewhere_has_to_be_opened_by_name() {
    let snapshots = || snapshots_of(std::path::Path::new("nothing"));
    for (listen, is_open, is_served) in [
        ("127.0.0.1:9003", false, true),
        ("[::1]:9003", false, true),
        ("0.0.0.0:9003", false, false),
        ("192.0.2.1:9003", false, false),
        ("0.0.0.0:9003", true, true),
    ] {
        let made = OpenCost::new(
            snapshots(),
            Settings {
                listen: listen.parse().unwrap(),
                is_open,
                ..settings()
            },
        );
        match made {
            Ok(_) => assert!(is_served, "{listen} {is_open}"),
            Err(OpenCostError::Open { address }) => {
                assert!(!is_served, "{listen} {is_open}");
                assert_eq!(address.to_string(), listen);
            }
        }
    }
}

fn serve(world: &World, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podledger"));
    command
        .current_dir(world.folder.path())
        .env_remove("PODLEDGER_CONFIG")
        .arg("--data")
        .arg(world.folder.path())
        .args([
            "serve",
            "--no-collect",
            "--listen",
            "127.0.0.1:0",
            "--postgres-listen",
            "off",
        ])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn serve_answers_opencosts_clients_beside_the_dashboard() {
    let world = one_pod();
    let refused = serve(&world, &["--opencost", "0.0.0.0:0"]).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--compat-anonymous"), "{said}");

    for (more, is_local) in [
        (&["--opencost", "127.0.0.1:0"][..], true),
        (&["--opencost", "0.0.0.0:0", "--compat-anonymous"][..], false),
    ] {
        let mut child = serve(&world, more).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.find_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("opencost   ").map(str::to_owned)
        });
        let told = told.unwrap();
        let address = told.as_str();
        assert_eq!(address.starts_with("127.0.0.1:"), is_local, "{told}");
        let port = address.rsplit(':').next().unwrap();
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let request = format!(
            "GET /allocation?window=1794823200,1794826800&aggregate=pod HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\"name\":\"p\""), "{answer}");
    }
}
