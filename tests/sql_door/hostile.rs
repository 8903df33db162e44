//! Every known way out, tried; and queries that take all they can get.

use std::time::{Duration, Instant};

use podledger_reports::door::{DoorError, Why};

use super::{ask, contents, door, podledger, runtime, world};

/// Whether a session answers a text that the judge alone refuses: what is asked of PostgreSQL's catalogue is answered from the snapshot's description,
/// and of a query that may run the plan is told.
pub fn is_answered(text: &str) -> bool {
    [
        "explain select 1",
        "select * from pg_catalog.pg_class",
        "select * from information_schema.tables",
        "select * from pg_class",
        "select txid_current()",
        "select current_setting('threads')",
        "select pg_get_viewdef(1)",
    ]
    .contains(&text)
}

/// Queries that the judge's own tests know as ways out.
pub fn ways_out() -> Vec<String> {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../sql/src/judge_cases.json")).unwrap();
    let refused = cases["refuse"].as_array().unwrap();
    refused
        .iter()
        .map(|case| case["text"].as_str().unwrap().to_owned())
        .collect()
}

/// Ways out around a query, where `explain` is known, and `copy ... to stdout` to PostgreSQL's clients.
pub fn ways_around() -> Vec<String> {
    let shut = [
        "delete from pods",
        "create table x as select 1",
        "copy pods to '/tmp/x'",
        "pragma database_list",
        "execute p",
        "set threads = 1",
        "with a as (delete from pods returning *) select * from a",
        "select * from read_text('/etc/passwd')",
        "from '/etc/passwd'",
        "select * from duckdb_settings()",
        "select * from query('select 1')",
        "select 1; select 2",
        "explain select 1",
    ];
    let mut ways: Vec<String> = shut.iter().map(|text| format!("explain {text}")).collect();
    ways.extend(shut.iter().map(|text| format!("copy ({text}) to '/tmp/x'")));
    let others = [
        "explain",
        "explain analyze select 1",
        "explain (analyze) select 1",
        "explain (format json) select 1",
        "explain (select 1) analyze",
        "with a as (explain select 1) select * from a",
        "copy pods to '/tmp/x'",
        "copy pods to 'stdout'",
        "copy pods to '/dev/stdout'",
        "copy pods from stdin",
        "copy pods from '/etc/passwd'",
        "copy (select 1) to program 'touch /tmp/x'",
        "copy (select 1) to '/tmp/x' (format parquet)",
        "copy from database memory to x",
        "copy (select 1) from stdin",
    ];
    ways.extend(others.map(str::to_owned));
    ways
}

#[test]
fn every_way_out_is_shut_and_nothing_is_changed() {
    let world = world();
    let folder = world.folder.path();
    let before = contents(folder);
    let door = door(&world, Duration::from_secs(30));
    let ledger = folder.join("ledger.duckdb").display().to_string();
    let mut ways = ways_out();
    ways.retain(|text| !is_answered(text));
    ways.extend(ways_around());
    assert!(ways.len() > 150, "{}", ways.len());
    // What is there to be read, by all names that it has.
    for path in [
        format!(
            "read_parquet('{}/published/current/pods.parquet')",
            folder.display()
        ),
        format!("'{}/published/current/pods.parquet'", folder.display()),
        format!("read_blob('{ledger}')"),
        format!("'{ledger}'"),
        format!("glob('{}/*')", folder.display()),
        "read_text('/proc/self/environ')".to_owned(),
        "read_text('/dev/fd/0')".to_owned(),
        "read_text('/dev/stdin')".to_owned(),
        "parquet_scan('x')".to_owned(),
        "parquet_file_metadata('x')".to_owned(),
        "arrow_scan(1, 2, 3)".to_owned(),
        "arrow_scan_dumb(1, 2, 3)".to_owned(),
        "python_map_function(1)".to_owned(),
        "sql_auto_complete('x')".to_owned(),
        "summary(runs)".to_owned(),
        "storage_info('runs')".to_owned(),
        "pragma_user_agent()".to_owned(),
        "duckdb_log_contexts()".to_owned(),
        "truncate_duckdb_logs()".to_owned(),
        "force_checkpoint()".to_owned(),
        "repeat(1, 3000000000)".to_owned(),
        "temp.x".to_owned(),
        "main.x".to_owned(),
        "system.main.duckdb_settings".to_owned(),
        "temp.information_schema.tables".to_owned(),
    ] {
        ways.push(format!("select * from {path}"));
        ways.push(format!("with a as (select * from {path}) select * from a"));
    }
    let reached = runtime().block_on(async {
        let mut worker = door.worker().await.unwrap();
        let mut reached = Vec::new();
        for way in &ways {
            // All in one process: what one leaves behind, the next finds.
            let refused = match worker.ask(way).await {
                Err(DoorError::Failed(failed)) => failed.why == Why::Refused && !failed.message.is_empty(),
                Err(error) => panic!("{way}: {error}"),
                Ok(_) => false,
            };
            if !refused {
                reached.push(way.clone());
                worker = door.worker().await.unwrap();
            }
        }
        let left = worker
            .ask("select count(*) from pods")
            .await
            .unwrap()
            .next()
            .await;
        assert_eq!(left.unwrap().unwrap().num_rows(), 1, "it goes on answering");
        reached
    });
    assert_eq!(reached, Vec::<String>::new());
    // Again as a user would.
    for way in [
        "from '/etc/passwd'",
        "with a as (delete from pods returning *) from a",
        "from duckdb_settings()",
    ] {
        let output = podledger(folder, &["sql", way]);
        assert_eq!(output.status.code(), Some(1), "{way}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("not allowed") || said.contains("not the name of a table"),
            "{said}"
        );
    }
    for way in ways_around() {
        let output = podledger(folder, &["sql", &way]);
        assert_eq!(
            (output.status.code(), output.stdout.is_empty()),
            (Some(1), true),
            "{way}"
        );
    }
    assert_eq!(contents(folder), before);
}

#[test]
fn hostile_queries_end_within_their_limits() {
    let world = world();
    let patient = door(&world, Duration::from_secs(60));
    let door = door(&world, Duration::from_secs(1));
    let brackets = format!("select {}1", "(".repeat(3_000));
    let many = "select * from range(100000000) as a(i), range(100000000) as b(j)";
    runtime().block_on(async {
        for query in [
            "select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7 or a.i * b.j = 8",
            "with recursive r as (select 1 as i union all select i + 1 from r) select max(i) from r",
            "select length(repeat('x', 3000000000))",
            "select sum(length(repeat('x', 300000000) || i)) from range(1000) as t(i)",
            "select list(i order by i desc) from range(3000000000) as t(i)",
            "select i, count(*) from range(3000000000) as t(i) group by i order by 2",
            brackets.as_str(),
            many,
        ] {
            let started = Instant::now();
            let outcome = ask_and_drop(&door, query).await;
            let shown = query.get(..60).unwrap_or(query);
            assert!(outcome.is_err(), "{shown}");
            assert!(started.elapsed() < Duration::from_secs(8), "{shown}: {:?}", started.elapsed());
            if let Err(DoorError::Pipe(_) | DoorError::Start(_) | DoorError::Answer(_) | DoorError::Busy) = outcome {
                panic!("{shown}: {outcome:?}");
            }
        }
        let rows = ask(&patient, "select count(*) from pods").await.unwrap();
        assert_eq!(rows.len(), 1, "others are answered");
    });
}

/// Reads an answer to its end, and keeps nothing of it.
async fn ask_and_drop(door: &podledger_reports::door::Door, query: &str) -> Result<u64, DoorError> {
    let mut worker = door.worker().await?;
    let mut answer = worker.ask(query).await?;
    let mut rows = 0;
    while let Some(batch) = answer.next().await? {
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

#[test]
fn as_many_are_asked_at_once_as_there_are_places() {
    let world = world();
    let mut settings = super::settings(world.folder.path());
    settings.places = 1;
    settings.queueing = Duration::from_millis(50);
    let door = podledger_reports::door::Door::new(settings);
    runtime().block_on(async {
        let worker = door.worker().await.unwrap();
        assert!(matches!(door.worker().await, Err(DoorError::Busy)));
        drop(worker);
        assert!(door.worker().await.is_ok());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_has_its_pipes_and_no_environment() {
    let world = world();
    let door = door(&world, Duration::from_secs(30));
    runtime().block_on(async {
        let worker = door.worker().await.unwrap();
        let process = std::path::PathBuf::from(format!("/proc/{}", worker.id().unwrap()));
        assert_eq!(std::fs::read(process.join("environ")).unwrap(), b"");
        let limits = std::fs::read_to_string(process.join("limits")).unwrap();
        let limit = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(limit("Max file size"), "0");
        assert_eq!(limit("Max core file size"), "0");
        assert_eq!(limit("Max open files"), "256");
        // Beside what it had when it was limited.
        let space: u64 = limit("Max address space").parse().unwrap();
        assert!(((2 << 30)..(4 << 30)).contains(&space), "{space}");
        for entry in std::fs::read_dir(process.join("fd")).unwrap() {
            let file = std::fs::read_link(entry.unwrap().path()).unwrap();
            let file = file.to_string_lossy().into_owned();
            let is_own = ["pipe:", "/dev/null", "anon_inode:"]
                .iter()
                .any(|own| file.starts_with(own))
                || file.ends_with("/stat");
            assert!(is_own, "{file} is open");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn every_thread_of_a_worker_has_given_up_its_rights() {
    let world = world();
    let door = door(&world, Duration::from_secs(30));
    runtime().block_on(async {
        let mut worker = door.worker().await.unwrap();
        let tasks = format!("/proc/{}/task", worker.id().unwrap());
        for asked in 0..2 {
            if asked == 1 {
                // DuckDB has its threads from the first query on.
                let mut answer = worker
                    .ask("select count(*) from range(10000000) as t(i)")
                    .await
                    .unwrap();
                while answer.next().await.unwrap().is_some() {}
            }
            let mut threads = 0;
            for task in std::fs::read_dir(&tasks).unwrap() {
                let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
                threads += 1;
            }
            assert_eq!(threads, if asked == 0 { 1 } else { 2 });
        }
    });
}

#[test]
fn a_server_is_not_made_to_hold_what_a_query_can_make() {
    let world = world();
    let door = door(&world, Duration::from_secs(30));
    runtime().block_on(async {
        for query in [
            // One row that is larger than what is told at once.
            "select repeat(chr(1), 20000000)",
            "select list(i) from range(2000000) as t(i)",
        ] {
            let refused = ask(&door, query).await;
            assert!(
                matches!(refused, Err(DoorError::Failed(ref failed)) if failed.why == Why::TooMuch),
                "{query}: {refused:?}"
            );
        }
        // Many rows that are larger together come in parts.
        let parts = ask(&door, "select repeat('x', 100000) from range(200) as t(i)")
            .await
            .unwrap();
        assert_eq!(
            parts
                .iter()
                .map(arrow::array::RecordBatch::num_rows)
                .sum::<usize>(),
            200
        );
        assert!(parts.len() > 3, "{}", parts.len());
        // A message of any length is told in part.
        let told = ask(&door, "select error(repeat('x', 2000000))").await;
        assert!(
            matches!(told, Err(DoorError::Failed(ref failed)) if failed.message.len() < 10_000),
            "{told:?}"
        );
        let long = "x".repeat(70_000);
        assert!(matches!(ask(&door, &long).await, Err(DoorError::TooLong)));
    });
}

#[test]
fn the_least_memory_that_can_be_asked_for_is_enough() {
    let world = world();
    for memory in ["64", "256"] {
        let output = podledger(
            world.folder.path(),
            &[
                "sql",
                "--sql-memory",
                memory,
                "--format",
                "csv",
                "select count(*) from pods",
            ],
        );
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "count_star()\n2\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_worker_that_cannot_start_says_why() {
    let world = world();
    let mut settings = super::settings(world.folder.path());
    // Less than the program itself takes.
    settings.program = "/bin/false".into();
    let door = podledger_reports::door::Door::new(settings);
    let refused = runtime().block_on(async { door.worker().await.map(|_| ()) });
    assert!(
        matches!(refused, Err(DoorError::NotStarted { .. })),
        "{refused:?}"
    );
}

#[test]
fn who_does_not_read_on_does_not_keep_a_place() {
    let world = world();
    let mut settings = super::settings(world.folder.path());
    settings.places = 1;
    settings.patience = Duration::from_millis(500);
    settings.queueing = Duration::from_secs(20);
    let door = podledger_reports::door::Door::new(settings);
    runtime().block_on(async {
        let mut first = door.worker().await.unwrap();
        let answer = first
            .ask("select * from range(1000000000) as t(i)")
            .await
            .unwrap();
        // Nobody reads it, and another has its place when its time is over; what it leaves in the pipe is not taken for the whole.
        drop(door.worker().await.unwrap());
        let mut answer = answer;
        let end = loop {
            match answer.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(end, Err(DoorError::TooSlow(_))), "{end:?}");
    });
}
