//! The PostgreSQL wire, spoken by those who speak it: psql, psycopg, SQLAlchemy, pgJDBC; and by nobody who may not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use podledger_reports::door::Door;
use podledger_reports::http::{Role, Tls, create_token};
use podledger_reports::postgres::{Listener, PostgresError, Settings};
use tokio::sync::watch;

use super::hostile::{is_answered, ways_around, ways_out};
use super::{contents, runtime, world};
use crate::harness::{World, system_tool, tool};

/// A server before the door, until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

fn settings(folder: &Path) -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tokens: folder.join("tokens.toml"),
        tls: None,
        connections: 4,
        idle: Duration::from_secs(60),
    }
}

impl Served {
    pub fn of(world: &World) -> Self {
        Self::with(world, settings(world.folder.path()), 60_000)
    }

    fn with(world: &World, settings: Settings, patience_ms: u64) -> Self {
        let runtime = runtime();
        let mut door = super::settings(world.folder.path());
        door.patience = Duration::from_millis(patience_ms);
        let listener = runtime
            .block_on(Listener::bind(&settings, Arc::new(Door::new(door))))
            .unwrap();
        let address = listener.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(listener.serve(stopped));
        Self {
            address,
            stop,
            runtime: Some(runtime),
        }
    }

    /// What psql prints of some commands, columns parted by `|`; what goes wrong with its SQLSTATE.
    fn psql(&self, user: &str, password: &str, commands: &[&str]) -> Option<Output> {
        let mut command = Command::new(system_tool("psql")?);
        command
            .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"])
            .args(["--host", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--username", user, "--dbname", "podledger"])
            .args(["--set", "VERBOSITY=verbose"])
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "20")
            .env("LC_ALL", "C.UTF-8");
        for text in commands {
            command.args(["--command", text]);
        }
        Some(command.output().unwrap())
    }

    pub fn told(&self, commands: &[&str]) -> Option<String> {
        let output = self.psql("anybody", "", commands)?;
        Some(String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sql_door")
        .join(name)
}

#[test]
fn psql_asks_and_browses() {
    let world = world();
    let served = Served::of(&world);
    let Some(told) = served.told(&[
        "select pod_uid, 0.25::decimal(18, 9) as cost, timestamp '2026-11-16 10:00:00.5' as at, null, true, [1, 2], {'a': 1} from pods order by 1 desc",
    ]) else {
        return;
    };
    assert_eq!(
        told,
        "p|0.250000000|2026-11-16 10:00:00.5||t|{1,2}|{\"a\":1}\n=cmd()|0.250000000|2026-11-16 10:00:00.5||t|{1,2}|{\"a\":1}\n"
    );
    let tables = served.told(&["\\dt"]).unwrap();
    assert!(
        tables.contains("marts|pods|table|podledger\n") && tables.contains("marts|findings|table"),
        "{tables}"
    );
    assert!(!tables.contains("pg_class"), "{tables}");
    let columns = served.told(&["\\d+ costs_daily"]).unwrap();
    assert!(
        columns.contains("charge_date|date|") && columns.contains("cost|numeric(18,9)|"),
        "{columns}"
    );
    // What a mart is stands beside it.
    let described = served.told(&["\\dt+ pods"]).unwrap();
    assert!(
        described.contains("|permanent|") && described.len() > 60,
        "{described}"
    );
    for (command, shows) in [
        ("\\dn", "marts|podledger\n"),
        ("\\l", "podledger|podledger|UTF8|"),
        ("\\du", "podledger|"),
        ("\\df", ""),
        ("\\dv", ""),
        ("\\di", ""),
        ("\\dT", ""),
        ("\\dp", "marts|pods|table"),
        ("select version()", "PostgreSQL 15.0 (podledger)\n"),
        (
            "select current_user, current_database(), current_schema()",
            "podledger|podledger|marts\n",
        ),
        ("show transaction isolation level", "repeatable read\n"),
        (
            "select 'pods'::regclass::oid = oid from pg_class where relname = 'pods'",
            "t\n",
        ),
        (
            "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'costs_daily'::regclass and attname = 'cost'",
            "numeric(18,9)\n",
        ),
        (
            "select count(*) > 10 from information_schema.tables where table_schema = 'marts'",
            "t\n",
        ),
        (
            "set application_name = 'x'; show application_name; reset all; show application_name",
            "x\n\n",
        ),
        ("select 1; select 2", "1\n2\n"),
        ("-- nothing", ""),
    ] {
        let told = served.told(&[command]).unwrap();
        assert!(
            told.contains(shows) && !told.contains("ERROR"),
            "{command}: {told}"
        );
    }
}

#[test]
fn psql_is_told_what_is_wrong_as_postgresql_tells_it() {
    let world = world();
    let served = Served::with(&world, settings(world.folder.path()), 2_000);
    let before = contents(world.folder.path());
    for (text, code) in [
        ("select nothing from pods", "42703"),
        ("select * from nothing", "42P01"),
        ("select nothing(1)", "42501"),
        ("selec 1", "42601"),
        ("select 'x'::int", "22P02"),
        ("delete from pods", "42501"),
        ("copy pods to '/tmp/x'", "42501"),
        ("copy pods from stdin", "42501"),
        ("copy pods to stdout (format parquet)", "42601"),
        ("copy nothing to stdout", "42P01"),
        ("explain delete from pods", "42501"),
        ("explain select nothing from pods", "42703"),
        ("set nothing = 1", "42704"),
        ("set client_encoding = 'latin1'", "22023"),
        ("fetch 1 from nothing", "34000"),
        ("declare c cursor for select 1", "25P01"),
        ("select length(repeat('x', 3000000000))", "53200"),
        (
            "select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7",
            "57014",
        ),
        (
            "set statement_timeout = 100; select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7",
            "57014",
        ),
    ] {
        let Some(told) = served.told(&[text]) else { return };
        assert!(told.contains(&format!("ERROR:  {code}:")), "{text}: {told}");
    }
    let told = served
        .told(&["begin", "select nothing", "select 1", "rollback", "select 2"])
        .unwrap();
    assert!(
        told.starts_with("2\n") && told.contains("42703") && told.contains("25P02"),
        "{told}"
    );
    assert_eq!(contents(world.folder.path()), before);
}

/// What `copy ... to stdout` must not do.
const WAYS_OF_COPYING: [&str; 9] = [
    "copy (delete from pods returning *) to stdout",
    "copy (with a as (delete from pods returning *) select * from a) to stdout csv",
    "copy (select * from read_text('/etc/passwd')) to stdout",
    "copy '/etc/passwd' to stdout",
    "copy (from '/etc/passwd') to stdout",
    "copy duckdb_settings to stdout",
    "copy pods (pod_uid from read_text('/etc/passwd') --) to stdout",
    "copy main.pods to stdout",
    "copy (copy pods to '/tmp/x') to stdout",
];

#[test]
fn every_way_out_is_shut_on_the_wire_too() {
    let world = world();
    let served = Served::of(&world);
    let before = contents(world.folder.path());
    let Some(python) = tool("python3") else { return };
    let asked = world.folder.path().join("ways.json");
    let (answered, mut refused): (Vec<String>, Vec<String>) = ways_out()
        .into_iter()
        .chain(ways_around())
        .chain(WAYS_OF_COPYING.map(str::to_owned))
        .partition(|text| is_answered(text));
    // What a session answers itself changes nothing, and two statements are two.
    let around = [
        "deallocate p",
        "begin",
        "commit",
        "select 1; select 2",
        "-- nothing but a comment",
        ";",
    ];
    // The first of two is answered before the second is refused.
    refused.retain(|text| !around.contains(&text.as_str()) && text != "explain select 1; select 2");
    assert!(refused.len() > 150 && !answered.is_empty());
    let ways = serde_json::json!({ "refused": refused, "answered": answered });
    std::fs::write(&asked, ways.to_string()).unwrap();
    let output = Command::new(python)
        .arg(source("postgres_ways_out.py"))
        .arg(format!(
            "host=127.0.0.1 port={} user=x dbname=x",
            served.address.port()
        ))
        .arg(&asked)
        .output()
        .unwrap();
    std::fs::remove_file(&asked).unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(contents(world.folder.path()), before);
}

#[test]
fn psycopg_and_sqlalchemy_run_a_session() {
    let world = world();
    let served = Served::of(&world);
    let Some(python) = tool("python3") else { return };
    let output = Command::new(python)
        .arg(source("postgres_clients.py"))
        .arg(served.address.port().to_string())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn rows_are_copied_and_queries_are_explained() {
    let world = world();
    let served = Served::of(&world);
    let file = world.folder.path().join("rows.csv");
    let copied = format!(
        "\\copy (select pod_uid, null as nothing, 'a,\"b\"' as text, '' as empty from pods order by 1 desc) to '{}' csv header",
        file.display()
    );
    let Some(told) = served.told(&[&copied]) else {
        return;
    };
    assert_eq!(told, "");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "pod_uid,nothing,text,empty\np,,\"a,\"\"b\"\"\",\"\"\n=cmd(),,\"a,\"\"b\"\"\",\"\"\n"
    );
    for (command, told) in [
        ("copy pods (pod_uid) to stdout", "p\n=cmd()\n"),
        (
            "copy (select [1, 2], 'a' || chr(9) || 'b', null, 0.1::decimal(18, 9)) to stdout",
            "{1,2}\ta\\tb\t\\N\t0.100000000\n",
        ),
        (
            "copy (select 1 as one limit 0) to stdout (format csv, header)",
            "one\n",
        ),
        (
            "begin; copy (select 1) to stdout; copy (select 2) to stdout; commit",
            "1\n2\n",
        ),
    ] {
        let mut found: Vec<String> = served
            .told(&[command])
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        let mut wanted: Vec<&str> = told.lines().collect();
        // A table has no order.
        found.sort();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{command}");
    }
    // What breaks off is no whole answer.
    let broken = served
        .told(&[
            "copy (select case when i < 3000000 then i else error('enough') end from range(4000000) as t(i)) to stdout",
            "select 'on'",
        ])
        .unwrap();
    let end = broken.lines().rev().take(5).collect::<Vec<_>>();
    assert!(
        end.contains(&"on") && end.iter().any(|line| line.starts_with("ERROR:  22000:")),
        "{end:?}"
    );
    let plan = served
        .told(&["explain select pod_uid, count(*) from pods group by all"])
        .unwrap();
    assert!(
        plan.contains("READ_PARQUET") && plan.contains("pod_uid") && !plan.contains(".parquet"),
        "{plan}"
    );
}

#[test]
fn a_transaction_sees_one_snapshot() {
    let world = world();
    let current = world.folder.path().join("published/current");
    let before = std::fs::read_link(&current).unwrap();
    world.given_pod("q", 1000, 1024, 0);
    world.build(false);
    super::publish(&world);
    let after = std::fs::read_link(&current).unwrap();
    assert_ne!(before, after);
    let show = |snapshot: &Path| format!("\\! ln -sfn {} {}", snapshot.display(), current.display());
    let (show_before, show_after) = (show(&before), show(&after));
    let served = Served::of(&world);
    let count = "select count(*) from pods";
    // The cursor holds one process, and what is asked beside it takes another.
    let Some(told) = served.told(&[
        show_before.as_str(),
        count,
        "begin",
        "declare c cursor for select 7 from range(1000000) as t(i)",
        "fetch 1 from c",
        show_after.as_str(),
        count,
        "copy (select count(*) from pods) to stdout",
        "commit",
        count,
        "begin",
        count,
        "rollback",
    ]) else {
        return;
    };
    assert_eq!(told, "2\n7\n2\n2\n3\n3\n");
}

#[test]
fn jdbc_runs_a_session() {
    let world = world();
    let served = Served::of(&world);
    let Some(java) = system_tool("java") else { return };
    let Some(driver) = tool_file("jdbc/postgresql-42.7.7.jar") else {
        return;
    };
    let output = Command::new(java)
        .arg("-cp")
        .arg(driver)
        .arg(source("PostgresJdbc.java"))
        .arg(format!(
            "jdbc:postgresql://127.0.0.1:{}/podledger?user=x",
            served.address.port()
        ))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A file that `make test` puts beside the build.
fn tool_file(name: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_BIN_EXE_podledger"))
        .ancestors()
        .nth(2)
        .unwrap()
        .join(name);
    if file.exists() {
        return Some(file);
    }
    assert!(
        std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
        "{} is missing: run `make jdbc`",
        file.display()
    );
    eprintln!("SKIPPED: {} is not there; run `make jdbc`", file.display());
    None
}

#[test]
fn only_analysts_with_their_token_are_let_in() {
    let world = world();
    let folder = world.folder.path();
    let open = Served::of(&world);
    let tokens = folder.join("tokens.toml");
    let of = |name, role| create_token(&tokens, name, role, String::new()).unwrap();
    let (viewer, analyst) = (of("v", Role::Viewer), of("ann", Role::Analyst));
    let closed = Served::of(&world);
    // The first token closes a server that runs.
    for served in [&open, &closed] {
        for (user, password, says) in [
            ("ann", analyst.as_str(), "1\n"),
            ("ann", viewer.as_str(), "password is wrong"),
            ("ann", "", "no password supplied"),
            ("v", viewer.as_str(), "role analyst"),
            ("nobody", analyst.as_str(), "password is wrong"),
        ] {
            let Some(output) = served.psql(user, password, &["select 1"]) else {
                return;
            };
            let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
            assert!(told.contains(says), "{user}: {told}");
            assert_eq!(output.status.success(), says == "1\n", "{user}: {told}");
        }
    }
    podledger_reports::http::revoke_token(&tokens, "ann").unwrap();
    let output = closed.psql("ann", &analyst, &["select 1"]).unwrap();
    assert!(!output.status.success());
    let text = std::fs::read_to_string(&tokens).unwrap();
    assert!(
        !text.contains(&viewer) && text.contains("SCRAM-SHA-256$4096:"),
        "{text}"
    );
}

#[test]
fn nobody_listens_to_others_without_a_token_or_answers_without_tls_that_is_there() {
    let world = world();
    let folder = world.folder.path();
    let door = || Arc::new(Door::new(super::settings(folder)));
    let mut asked = settings(folder);
    asked.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = runtime().block_on(Listener::bind(&asked, door()));
    assert!(matches!(refused, Err(PostgresError::Open { .. })));

    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate_file, key.cert.pem()).unwrap();
    std::fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
    let mut asked = settings(folder);
    asked.tls = Some(Tls {
        certificate: certificate_file,
        key: key_file,
    });
    let served = Served::with(&world, asked, 60_000);
    let Some(psql) = system_tool("psql") else { return };
    for (mode, is_let_in) in [("require", true), ("disable", false)] {
        let output = Command::new(&psql)
            .args(["--no-psqlrc", "-At", "-c", "select 1"])
            .arg(format!(
                "host=127.0.0.1 port={} user=x dbname=x sslmode={mode}",
                served.address.port()
            ))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_let_in, "{mode}: {told}");
        assert!(is_let_in || told.contains("asks for TLS"), "{told}");
    }
}

#[test]
fn there_are_as_many_clients_as_there_may_be_and_long_messages_are_not_read() {
    use std::io::{Read as _, Write as _};
    let world = world();
    let mut asked = settings(world.folder.path());
    asked.connections = 1;
    let served = Served::with(&world, asked, 60_000);
    let startup = |user: &str| {
        let mut body = b"\0\x03\0\0user\0".to_vec();
        body.extend_from_slice(user.as_bytes());
        body.extend_from_slice(b"\0\0");
        let mut message = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        message.extend(body);
        message
    };
    let connect = || {
        let stream = std::net::TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let mut first = connect();
    first.write_all(&startup("x")).unwrap();
    let mut answer = [0; 9];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"R\0\0\0\x08\0\0\0\0", "it is let in");
    let mut second = connect();
    second.write_all(&startup("x")).unwrap();
    let mut told = Vec::new();
    second.read_to_end(&mut told).unwrap();
    assert!(String::from_utf8_lossy(&told).contains("53300"), "{told:?}");
    // A message of a GiB that is never sent, and one before it is known who sends it.
    first.write_all(b"Q\x40\0\0\0").unwrap();
    let piece = vec![b'x'; 1 << 16];
    let mut sent = 0;
    while sent < (64 << 20) && first.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(sent < (32 << 20), "{sent} bytes of one message were read");
}
