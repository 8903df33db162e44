//! A month of a large platform, with restarts of the collector and trouble with the API server all along: for `make soak`.

use std::time::Duration;

use podledger_collector::live::Settings;
use podledger_simulator::{Fault, Scenario};

use super::known::{assert_known_or_unseen, facts};
use super::{begin, collection, in_simulated_time, serve, settings, start};
use crate::harness::World;

/// Some 200,000 pods.
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

fn collect(world: &World, is_disturbed: bool) -> Vec<u64> {
    let mut memory = Vec::new();
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve(of_server, platform()).await;
        let settings = Settings {
            commit_every: Duration::from_secs(600),
            watch_timeout: Duration::from_secs(290),
            ..settings(world)
        };
        let mut running = begin(collection(world, &server, settings.clone()));
        let mut troubles = troubles().into_iter().cycle();
        let mut hours = 0;
        while !platform.is_finished() {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            hours += 1;
            if hours % 24 == 0 {
                memory.extend(resident());
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
            if hours % 23 == 0 {
                running.stop().await;
                // Every other time for longer than the server remembers.
                let away = if hours % 46 == 0 { 300 } else { 30 };
                tokio::time::sleep(Duration::from_secs(away)).await;
                running = begin(collection(world, &server, settings.clone()));
            }
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        running.stop().await;
    });
    memory
}

/// What this process holds in memory, in MiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_month_of_restarts_and_trouble_loses_and_doubles_nothing() {
    if std::env::var_os("PODLEDGER_SOAK").is_none() {
        eprintln!("SKIPPED: a month is collected by `make soak` only");
        return;
    }
    let (world, whole) = (World::new(), World::new());
    collect(&whole, false);
    let memory = collect(&world, true);
    assert_known_or_unseen(&world, &whole, "a month");
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
    eprintln!("MiB at the end of each day: {memory:?}");
    // The platform is as large on each day.
    let (first, last) = (&memory[2..9], &memory[memory.len() - 7..]);
    let sum = |days: &[u64]| days.iter().sum::<u64>();
    assert!(sum(last) * 4 <= sum(first) * 5, "{memory:?}");
}
