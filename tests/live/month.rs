//! A month of a large platform, with restarts of the collector and trouble with the API server all along: for `make soak`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use podledger_collector::live::{Settings, cluster_of};
use podledger_simulator::{Fault, Scenario};
use podledger_sql::intake::Intake;
use serde::{Deserialize, Serialize};

use super::known::{assert_known_or_unseen, facts};
use super::{begin, client, collection_into, in_simulated_time, serve, settings, start};
use crate::harness::World;

const NAME: &str = "live::month::a_month_of_restarts_and_trouble_loses_and_doubles_nothing";

/// Some 300,000 pods.
fn platform() -> Scenario {
    Scenario {
        has_pod_events: true,
        ..super::scenario(1, DAYS, PIPELINES, false)
    }
}

const DAYS: u32 = 30;
const PIPELINES: usize = 44;

/// What goes wrong, one thing every five hours, and how long it does.
fn troubles() -> Vec<(Fault, u64)> {
    vec![
        (Fault::CloseWatches, 1),
        (Fault::CutLine, 20),
        (Fault::Restart, 10),
        (Fault::Silence, 40),
        (
            Fault::Throttle {
                requests: 30,
                retry_after_secs: 2,
            },
            60,
        ),
        (Fault::Broken { requests: 30 }, 60),
        (
            Fault::Trickle {
                bytes: 4000,
                every: Duration::from_millis(200),
            },
            30,
        ),
        (Fault::RunBackwards, 1),
    ]
}

/// Tells the tests' binary to be a process that lives through the month, and where it collects.
const VARIABLE: &str = "PODLEDGER_TEST_MONTH";

/// What a process held.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    /// In memory at the end of each day, in MiB.
    memory: Vec<u64>,
    /// In the intake's files at the end of each day, in KiB.
    intake: Vec<u64>,
    /// Pieces of what the collector knew whenever it was stopped, and their bytes.
    entries: Vec<(usize, usize)>,
}

/// Lives through the month; collects it into a folder, if there is one.
fn live(folder: Option<&Path>, is_disturbed: bool) -> Held {
    let mut held = Held {
        memory: Vec::new(),
        intake: Vec::new(),
        entries: Vec::new(),
    };
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve(of_server, platform()).await;
        let settings = Settings {
            commit_every: Duration::from_secs(600),
            watch_timeout: Duration::from_secs(290),
            ..settings(&World::new())
        };
        let begin_again = || {
            folder.map(|folder| {
                let store = Intake::open(&folder.join("intake.duckdb"), server.now()).unwrap();
                begin(collection_into(folder, &server, store, settings.clone()))
            })
        };
        let mut running = begin_again();
        let mut troubles = troubles().into_iter().cycle();
        let mut hours = 0;
        while !platform.is_finished() {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            hours += 1;
            if hours % 24 == 0 {
                held.memory.extend(resident());
                held.intake.extend(folder.map(intake_kib));
            }
            if !is_disturbed {
                continue;
            }
            if hours % 5 == 0
                && let Some((fault, seconds)) = troubles.next()
            {
                server.fault(fault);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                server.lift();
            }
            if hours % 23 == 0
                && let Some(stopped) = running.take()
            {
                stopped.stop().await;
                if let Some(folder) = folder {
                    let cluster = cluster_of(&client(&server, None), "test").await.unwrap();
                    held.entries.push(entries(folder, &cluster, server.now()));
                }
                // Every other time for longer than the server remembers.
                let away = if hours % 46 == 0 { 300 } else { 30 };
                tokio::time::sleep(Duration::from_secs(away)).await;
                running = begin_again();
            }
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        if let Some(stopped) = running {
            stopped.stop().await;
        }
    });
    held
}

/// What the files of an intake take, in KiB.
fn intake_kib(folder: &Path) -> u64 {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len() / 1024);
    size("intake.duckdb") + size("intake.duckdb.wal")
}

/// How many pieces the index kept in an intake, and their bytes.
fn entries(folder: &Path, cluster: &str, now: Timestamp) -> (usize, usize) {
    let intake = Intake::open(&folder.join("intake.duckdb"), now).unwrap();
    let (mut pieces, mut bytes) = (0, 0);
    let counted = intake.of(cluster).unwrap().entries(|entry| {
        pieces += 1;
        bytes += entry.state.map_or(0, |state| state.len());
        Ok::<_, podledger_sql::Error>(())
    });
    counted.unwrap();
    (pieces, bytes)
}

/// A process of its own that lives through the month with its troubles, so that its memory is nobody else's.
fn process(folder: Option<&Path>) -> Child {
    let told = folder.map_or_else(String::new, |folder| folder.display().to_string());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(VARIABLE, told)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What such a process held.
fn held(process: Child) -> Held {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().find_map(|line| line.strip_prefix(HELD));
    assert!(told.is_some(), "the process ended with {}: {text}", output.status);
    serde_json::from_str(told.unwrap()).unwrap()
}

/// What a line begins with that tells what a process held.
const HELD: &str = "held: ";

/// What this process holds in memory, in MiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_month_of_restarts_and_trouble_loses_and_doubles_nothing() {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        let folder = Some(Path::new(&folder)).filter(|folder| folder.is_absolute());
        println!("\n{HELD}{}", serde_json::to_string(&live(folder, true)).unwrap());
        return;
    }
    if std::env::var_os("PODLEDGER_SOAK").is_none() {
        eprintln!("SKIPPED: a month is collected by `make soak` only");
        return;
    }
    let (world, whole) = (World::new(), World::new());
    let alone = process(None);
    let collecting = process(Some(world.folder.path()));
    let alone = held(alone);
    let all = held(collecting);
    live(Some(whole.folder.path()), false);
    let seen = assert_known_or_unseen(&world, &whole, "a month");
    eprintln!("a month: {seen}");
    let gaps = facts(
        &world,
        "select count(*), sum(epoch(gap_end_at - gap_start_at))::bigint, sum(recovered_pods)::bigint \
         from {collection_gaps} where resource = 'pods'",
    );
    let pods = facts(
        &whole,
        "select count(distinct pod_uid), count(distinct machine) from {pod_states}",
    );
    eprintln!("pods and machines: {pods:?}; gaps, their seconds, pods recovered: {gaps:?}");
    eprintln!("MiB of the platform and its server alone: {:?}", alone.memory);
    eprintln!("MiB with the collector: {:?}", all.memory);
    eprintln!("KiB of the intake: {:?}", all.intake);
    eprintln!(
        "pieces that the collector knew when it was stopped, and their bytes: {:?}",
        all.entries
    );
    // As much runs on each day, but finished Workflows and Spark applications, and claims that nobody needs, stay, as they do where nobody sets a
    // time to live: what is known of each may take 2 KiB.
    let memory: Vec<u64> = all
        .memory
        .iter()
        .zip(&alone.memory)
        .map(|(all, alone)| all - alone)
        .collect();
    let last = memory.len() - 7;
    let known = |day: usize| all.entries[day].0 as u64 * 2 / 1024;
    let sum = |days: std::ops::Range<usize>| {
        days.map(|day| memory[day] - known(day).min(memory[day]))
            .sum::<u64>()
    };
    assert!(
        sum(last..memory.len()) * 4 <= sum(2..9) * 5,
        "{memory:?}, of it for objects {:?}",
        all.entries
    );
    assert!(memory.iter().all(|held| *held < 300), "{memory:?}");
    // Of the file the same is asked: beside what is known it holds what was committed since the last seal, day after day as much.
    let known_kib = |day: usize| all.entries[day].1 as u64 / 1024;
    let most = |days: std::ops::Range<usize>| {
        let beside = days.map(|day| all.intake[day].saturating_sub(known_kib(day)));
        beside.max().unwrap()
    };
    assert!(
        most(last..memory.len()) * 4 <= most(2..9) * 5,
        "KiB of the intake {:?}, of it for objects {:?}",
        all.intake,
        all.entries
    );
}
