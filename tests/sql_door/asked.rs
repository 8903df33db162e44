//! What is asked is answered, in every format, by command line and over HTTP.

use std::process::Command;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use podledger_reports::http::{App, Role, create_token};
use tower::ServiceExt as _;

use super::{contents, podledger, publish, runtime, world};
use crate::harness::{World, snapshots_of, tool};

#[test]
fn the_command_line_writes_every_format() {
    let world = world();
    let folder = world.folder.path();
    let query = "select pod_uid, 0.25::decimal(18, 9) as cost, timestamp '2026-11-16 10:00:00' as at, null as nothing \
        from pods order by 1 desc";
    let told = |format: &str| {
        let output = podledger(folder, &["sql", "--format", format, query]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    assert_eq!(
        String::from_utf8(told("csv")).unwrap(),
        "pod_uid,cost,at,nothing\np,0.250000000,2026-11-16T10:00:00,\n\
         =cmd(),0.250000000,2026-11-16T10:00:00,\n"
    );
    let json: serde_json::Value = serde_json::from_slice(&told("json")).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({"pod_uid": "p", "cost": "0.250000000", "at": "2026-11-16T10:00:00Z", "nothing": null})
    );
    let arrow = StreamReader::try_new(std::io::Cursor::new(told("arrow")), None).unwrap();
    let rows: usize = arrow.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 2);
    let parquet = folder.join("rows.parquet");
    std::fs::write(&parquet, told("parquet")).unwrap();
    let reader = duckdb::Connection::open_in_memory().unwrap();
    let sum: String = reader
        .query_row(
            &format!("select cast(sum(cost) as varchar) from '{}'", parquet.display()),
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(sum, "0.500000000");
    assert!(String::from_utf8(told("table")).unwrap().contains("| pod_uid"));
    let cut = podledger(folder, &["sql", "--rows", "1", query]);
    assert!(String::from_utf8_lossy(&cut.stderr).contains("first 1 rows"));
}

#[test]
fn a_column_may_be_called_user() {
    let world = world();
    let output = podledger(
        world.folder.path(),
        &[
            "sql",
            "--format",
            "csv",
            "with asked as (select 'ann' as user) select user from asked",
        ],
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "user\nann\n");
}

#[test]
fn nested_and_repeated_columns_are_written_too() {
    let world = world();
    let query = "select 1 as n, 2 as n, [1, 2] as list, {'a': 1} as struct, map {'k': 'v'} as map, map {1: 2} as numbers, \
        interval 1 day as stretch, uuid() is null as flag, 170141183460469231731687303715884105727::hugeint as big";
    for format in ["csv", "json", "arrow", "parquet", "table"] {
        let output = podledger(world.folder.path(), &["sql", "--format", format, query]);
        assert!(
            output.status.success(),
            "{format}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if format == "json" {
            let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(told[0]["n_2"], 2);
            assert_eq!(told[0]["map"]["k"], "v");
            assert_eq!(told[0]["big"], "170141183460469231731687303715884105727");
        }
    }
}

#[test]
fn instants_of_all_kinds_and_decimals_within_lists_are_written() {
    let world = world();
    let query = "select timestamptz '2026-11-16 10:00:00+00' as instant, 'infinity'::timestamp as never, '-infinity'::date as ever, \
        {'cost': 0.1::decimal(18, 9), 'all': [1.5::decimal(4, 2), null]} as parts";
    let told = |format: &str| {
        let output = podledger(world.folder.path(), &["sql", "--format", format, query]);
        assert!(
            output.status.success(),
            "{format}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let json: serde_json::Value = serde_json::from_slice(&told("json")).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({
            "instant": "2026-11-16T10:00:00Z", "never": "infinity", "ever": "-infinity", "parts": {"cost": "0.100000000", "all": ["1.50", null]}
        })
    );
    let csv = String::from_utf8(told("csv")).unwrap();
    assert!(csv.contains("2026-11-16T10:00:00Z,infinity,-infinity,"), "{csv}");
    for format in ["arrow", "parquet", "table"] {
        assert!(!told(format).is_empty());
    }
}

#[test]
fn the_present_can_be_reckoned_with() {
    let world = world();
    for query in [
        "select now() - interval 7 days < current_timestamp",
        "select date_trunc('month', now()) <= now()",
        "select count(*) >= 0 from runs where created_at > now() - interval 1 day",
    ] {
        let output = podledger(world.folder.path(), &["sql", "--format", "csv", query]);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.ends_with("\ntrue\n"),
            "{query}: {told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_terminal_is_not_moved_by_names() {
    let world = world();
    let output = podledger(
        world.folder.path(),
        &[
            "sql",
            "select chr(27) || ']52;c;x' || chr(7) || '\u{202e}' as \"a\u{1b}[2J\"",
        ],
    );
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown:?}");
}

#[test]
fn the_catalogue_is_answered_on_every_way_in() {
    let world = world();
    let query = "select column_name, data_type from information_schema.columns where table_name = 'costs_daily' and column_name in ('cost', 'charge_date') order by 1";
    let output = podledger(world.folder.path(), &["sql", "--format", "csv", query]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "column_name,data_type\ncharge_date,date\ncost,numeric\n"
    );
    let (status, _, body) = Server::of(&world, 30_000).sql("text/csv", query);
    assert_eq!(
        (status, body.as_slice()),
        (
            StatusCode::OK,
            &b"column_name,data_type\ncharge_date,date\ncost,numeric\n"[..]
        )
    );
}

#[test]
fn without_a_snapshot_it_is_said_what_to_do() {
    let world = World::new();
    let output = podledger(world.folder.path(), &["sql", "select 1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("nothing is published") && said.contains("podledger build"),
        "{said}"
    );
}

#[test]
fn a_worker_follows_to_the_next_snapshot() {
    let world = world();
    let door = super::door(&world, std::time::Duration::from_secs(30));
    runtime().block_on(async {
        let mut worker = door.worker().await.unwrap();
        for pods in [2, 3] {
            if pods == 3 {
                world.given_pod("q", 1000, 1024, 0);
                world.build(false);
                publish(&world);
            }
            let mut answer = worker.ask("select count(*) from pods").await.unwrap();
            let batch = answer.next().await.unwrap().unwrap();
            assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), pods);
            assert!(answer.next().await.unwrap().is_none());
        }
    });
}

/// A server that asks through a door.
struct Server {
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
}

const HOST: (&str, &str) = ("host", "127.0.0.1:9480");

impl Server {
    fn of(world: &World, patience_ms: u64) -> Self {
        let folder = world.folder.path();
        let snapshots = snapshots_of(folder);
        snapshots.take().unwrap();
        let mut door = super::settings(folder);
        door.patience = std::time::Duration::from_millis(patience_ms);
        let mut settings = crate::web::settings(&folder.join("tokens.toml"));
        settings.door = Some(door);
        Self {
            router: App::new(snapshots, settings).unwrap().router(),
            runtime: runtime(),
        }
    }

    fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, String, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(url).header(HOST.0, HOST.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let kind = parts.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            (parts.status, kind, bytes.to_vec())
        })
    }

    fn sql(&self, accept: &str, query: &str) -> (StatusCode, String, Vec<u8>) {
        self.ask("POST", "/api/v1/sql", &[("accept", accept)], query)
    }
}

#[test]
fn programs_ask_by_post_and_are_told_what_is_wrong() {
    let world = world();
    let server = Server::of(&world, 3_000);
    let before = contents(world.folder.path());
    let query = "select pod_uid, 0.25::decimal(18, 9) as cost from pods order by 1 desc";
    let (status, kind, body) = server.sql("*/*", query);
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        told["rows"][0],
        serde_json::json!({"pod_uid": "p", "cost": "0.250000000"})
    );
    assert_eq!(
        (&told["row_count"], &told["is_complete"], &told["build_id"]),
        (&2.into(), &true.into(), &1.into())
    );
    let asked = serde_json::json!({ "query": query, "limit": 1 }).to_string();
    let json = [("content-type", "application/json")];
    let (_, _, body) = server.ask("POST", "/api/v1/sql", &json, &asked);
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&told["row_count"], &told["is_complete"]),
        (&1.into(), &false.into())
    );
    for (format, kind, begins) in [
        ("csv", "text/csv; charset=utf-8", &b"pod_uid,cost\n"[..]),
        (
            "arrow",
            "application/vnd.apache.arrow.stream",
            &b"\xff\xff\xff\xff"[..],
        ),
        ("parquet", "application/vnd.apache.parquet", &b"PAR1"[..]),
    ] {
        let url = format!("/api/v1/sql?format={format}");
        let (status, told, body) = server.ask("POST", &url, &[], query);
        assert_eq!((status, told.as_str()), (StatusCode::OK, kind));
        assert!(body.starts_with(begins), "{format}");
        let (_, told, _) = server.sql(kind.split(';').next().unwrap(), query);
        assert_eq!(told, kind);
    }
    for (query, status, says) in [
        (
            "delete from pods",
            StatusCode::UNPROCESSABLE_ENTITY,
            "only SELECT",
        ),
        (
            "from '/etc/passwd'",
            StatusCode::UNPROCESSABLE_ENTITY,
            "not the name of a table",
        ),
        ("select nothing from pods", StatusCode::BAD_REQUEST, "nothing"),
        (
            "with recursive r as (select 1 as i union all select i + 1 from r) select max(i) from r",
            StatusCode::GATEWAY_TIMEOUT,
            "took longer",
        ),
    ] {
        let (found, kind, body) = server.sql("*/*", query);
        assert_eq!(
            (found, kind.as_str()),
            (status, "application/problem+json"),
            "{query}"
        );
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(told["detail"].as_str().unwrap().contains(says), "{told}");
    }
    let wrong = [
        ("/api/v1/sql?format=xml", &[][..], StatusCode::BAD_REQUEST),
        ("/api/v1/sql?rows=1", &[][..], StatusCode::BAD_REQUEST),
        (
            "/api/v1/sql",
            &[("accept", "image/png")][..],
            StatusCode::NOT_ACCEPTABLE,
        ),
        (
            "/api/v1/sql",
            &[("content-type", "image/png")][..],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "/api/v1/sql",
            &[("origin", "http://evil.example")][..],
            StatusCode::FORBIDDEN,
        ),
    ];
    for (url, headers, status) in wrong {
        assert_eq!(
            server.ask("POST", url, headers, query).0,
            status,
            "{url} {headers:?}"
        );
    }
    assert_eq!(
        server.ask("GET", "/api/v1/sql", &[], "").0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let long = "x".repeat(300 * 1024);
    assert_eq!(server.sql("*/*", &long).0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(contents(world.folder.path()), before);
}

#[cfg(unix)]
#[test]
fn the_shell_does_on_a_terminal_what_is_typed() {
    let world = world();
    let Some(python) = tool("python3") else { return };
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg("tests/sql_door/shell.py")
        .arg(env!("CARGO_BIN_EXE_podledger"))
        .args([world.folder.path(), state.path()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn plans_are_told_and_nothing_else_around_a_query() {
    let world = world();
    let server = Server::of(&world, 30_000);
    let before = contents(world.folder.path());
    let (status, _, plan) = server.sql(
        "text/csv",
        " EXPLAIN\nselect pod_uid from pods union all (select 'x')",
    );
    let plan = String::from_utf8(plan).unwrap();
    assert_eq!(status, StatusCode::OK, "{plan}");
    assert!(
        plan.starts_with("plan\n") && plan.contains("READ_PARQUET") && plan.contains("pod_uid"),
        "{plan}"
    );
    assert!(!plan.contains(".parquet"), "{plan}");
    for way in super::hostile::ways_around() {
        let (status, kind, body) = server.sql("*/*", &way);
        assert_eq!(
            (status, kind.as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, "application/problem+json"),
            "{way}: {}",
            String::from_utf8_lossy(&body)
        );
    }
    assert_eq!(contents(world.folder.path()), before);
}

#[test]
fn people_ask_on_a_page_that_needs_no_script() {
    let world = world();
    let server = Server::of(&world, 3_000);
    let (status, _, page) = server.ask("GET", "/sql", &[], "");
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("<form class=\"sql\" method=\"post\"") && page.contains("allocations_hourly"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let asked = "query=select+pod_uid+as+%22%3Cb%3E%22+from+pods+order+by+1&as=";
    let (status, _, page) = server.ask("POST", "/sql", &form, &format!("{asked}page"));
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("2 rows.") && page.contains("&lt;b&gt;") && !page.contains("<b>"),
        "{page}"
    );
    let (status, kind, csv) = server.ask("POST", "/sql", &form, &format!("{asked}csv"));
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "text/csv; charset=utf-8")
    );
    assert_eq!(String::from_utf8(csv).unwrap(), "<b>\n'=cmd()\np\n");
    let (status, _, page) = server.ask("POST", "/sql", &form, "query=from+duckdb_settings()&as=page");
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("duckdb_settings") && page.contains("not allowed") && page.contains("<textarea"));
}

#[test]
fn only_analysts_ask_in_sql() {
    let world = world();
    let tokens = world.folder.path().join("tokens.toml");
    let of = |name, role| {
        format!(
            "Bearer {}",
            create_token(&tokens, name, role, String::new()).unwrap()
        )
    };
    let (viewer, analyst) = (of("v", Role::Viewer), of("a", Role::Analyst));
    let server = Server::of(&world, 3_000);
    for (token, status) in [("", 401), (viewer.as_str(), 403), (analyst.as_str(), 200)] {
        for (method, url) in [("POST", "/api/v1/sql"), ("GET", "/sql")] {
            let (found, _, _) = server.ask(method, url, &[("authorization", token)], "select 1");
            assert_eq!(found.as_u16(), status, "{method} {url} {token}");
        }
    }
}
