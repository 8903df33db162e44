//! Builds that are ended at every point, and at random ones: the next one makes the ledger, and publishes the snapshot, of an
//! undisturbed build.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use podledger_sql::crash::{Point, VARIABLE};
use podledger_sql::published::{Published, manifest};

use crate::harness::{World, contents};

/// Points that builds pass.
pub const POINTS: &[Point] = &[
    Point::Ingested,
    Point::Built,
    Point::BuildCommitted,
    Point::LedgerCopied,
    Point::LedgerReplaced,
    Point::MartHalfWritten,
    Point::SnapshotWritten,
    Point::SnapshotRenamed,
    Point::SnapshotCurrent,
];

/// How builds are asked for.
const BUILDS: &[&[&str]] = &[&["build"], &["build", "--full"]];

fn command(world: &World, arguments: &[&str], crash_at: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podledger"));
    command
        .arg("--data")
        .arg(world.folder.path())
        .args(arguments)
        .env_remove(VARIABLE);
    if let Some(point) = crash_at {
        command.env(VARIABLE, point);
    }
    command
}

/// The real command.
pub fn podledger(world: &World, arguments: &[&str], crash_at: Option<&str>) -> Output {
    command(world, arguments, crash_at).output().unwrap()
}

/// A ledger that is built and published once. Much of its file is free, so the next build copies the rest into a smaller one.
pub fn built() -> World {
    let world = World::new();
    let run = |statement: &str| world.ledger().connection().execute_batch(statement).unwrap();
    run(
        "create table main.ballast as select hash(i) as one, hash(i + 1) as other from range(1000000) as r(i); checkpoint",
    );
    world.given_machine(64, 256, 0, "1");
    given_pods(&world, 0, 20);
    world.build(true);
    run("drop table main.ballast; checkpoint");
    let published = Published::new(&world.folder.path().join("published"));
    published.publish(world.ledger().connection()).unwrap();
    world
}

/// So many pods, of which each asks for something else and ends at another time.
pub fn given_pods(world: &World, round: u32, pods: u32) {
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'p{round}-' || i as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, \
             'p{round}-' || i as pod_name, 'ns' as namespace, 'm' as machine, timestamp '2026-11-16 10:00:00' as created_at, \
             timestamp '2026-11-16 10:00:00' as bound_at, 'scheduled' as start_source, \
             timestamp '2026-11-16 10:00:00' as running_at, timestamp '2026-11-16 10:20:00' + to_seconds(i) as finished_at, \
             timestamp '2026-11-16 10:20:00' + to_seconds(i) as released_at, 'watch' as end_source, 'Succeeded' as phase, \
             700 + {round} + i as cpu_request_millicores, 536870912 as memory_request_bytes from range({pods}) as r(i)"
        ),
    );
}

/// The next build does what is left to do.
pub fn assert_done_by_the_next(world: &World, whole: &[String], shown: &[(String, String)], after: &str) {
    let ended = podledger(world, &["build"], None);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "after {after}: {said}");
    assert_eq!(contents(world), whole, "after {after}");
    assert_eq!(published(world), shown, "after {after}");
    let root = world.folder.path().join("published");
    let halves = names(&root).into_iter().filter(|name| name.ends_with(".partial"));
    assert_eq!(halves.collect::<Vec<_>>(), Vec::<String>::new(), "after {after}");
}

fn names(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// What the current snapshot holds: marts, and the hashes that its manifest tells. All of its files are there.
pub fn published(world: &World) -> Vec<(String, String)> {
    let folder = Published::new(&world.folder.path().join("published"))
        .current()
        .unwrap()
        .unwrap();
    let marts = manifest(&folder).unwrap().unwrap().marts;
    marts
        .into_iter()
        .map(|mart| {
            let bytes = std::fs::metadata(folder.join(&mart.file)).unwrap().len();
            assert_eq!(bytes, mart.bytes, "{}", mart.file);
            (mart.name, mart.sha256)
        })
        .collect()
}

/// What an undisturbed build makes of a world's facts, and publishes.
pub fn undisturbed(world: &World) -> (Vec<String>, Vec<(String, String)>) {
    let world = world.copied();
    let ended = podledger(&world, &["build"], None);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{said}");
    (contents(&world), published(&world))
}

#[test]
fn a_build_that_ends_at_any_point_is_done_by_the_next() {
    let begun = built();
    let before = published(&begun);
    given_pods(&begun, 1, 5);
    let (whole, shown) = undisturbed(&begun);
    assert_ne!(before, shown);
    for point in POINTS {
        for build in BUILDS {
            let after = format!("{build:?} at {}", point.name());
            let world = begun.copied();
            let ended = podledger(&world, build, Some(point.name()));
            assert!(!ended.status.success(), "{after} was never reached");
            // Whoever reads has the snapshot before until the new one is whole.
            let current = if *point == Point::SnapshotCurrent {
                &shown
            } else {
                &before
            };
            assert_eq!(published(&world), *current, "{after}");
            assert_done_by_the_next(&world, &whole, &shown, &after);
            let left = names(world.folder.path());
            let is_left = left.iter().any(|name| name.ends_with(".copy"));
            assert!(!is_left || *point == Point::LedgerCopied, "{after}: {left:?}");
        }
    }
}

#[test]
fn builds_that_are_ended_again_and_again_make_the_ledger_of_one_that_is_not() {
    let kills = if std::env::var_os("PODLEDGER_SOAK").is_some() {
        200
    } else {
        8
    };
    let begun = built();
    let (mut killed, mut at_points, mut seed) = (0, 0, 0);
    while killed < kills {
        seed += 1;
        let mut draws = oorandom::Rand32::new(seed);
        let (world, whole) = (begun.copied(), begun.copied());
        let mut took = Duration::from_secs(1);
        // Four builds that are ended, with more facts each time; the fifth is not.
        for round in 1..=4 {
            let pods = draws.rand_range(1..9);
            for world in [&world, &whole] {
                given_pods(world, round, pods);
            }
            let build = BUILDS[usize::from(draws.rand_range(0..4) == 0)];
            let begun_at = Instant::now();
            let is_at_point = round % 2 == 0;
            let was_killed = if is_at_point {
                let at = format!("any:{}", draws.rand_range(1..50));
                !podledger(&world, build, Some(&at)).status.success()
            } else {
                killed_within(command(&world, build, None), took, &mut draws)
            };
            if !was_killed {
                took = begun_at.elapsed();
            }
            killed += u32::from(was_killed);
            at_points += u32::from(was_killed && is_at_point);
            // There is always a whole snapshot, of this build or of one before.
            published(&world);
        }
        let (contents, shown) = undisturbed(&whole);
        assert_done_by_the_next(&world, &contents, &shown, &format!("seed {seed}"));
    }
    eprintln!("{killed} kills of builds, {at_points} of them at points, {seed} seeds");
}

/// Kills a process at some moment of the time that it would take, wherever it is then; whether it was there still.
fn killed_within(mut command: Command, takes: Duration, draws: &mut oorandom::Rand32) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Any moment is right: this waits for nothing.
    std::thread::sleep(takes.mul_f32(draws.rand_float()));
    let _ = child.kill();
    !child.wait().unwrap().success()
}
