//! A build that is ended at every point: the next one makes the ledger, and publishes the snapshot, of an undisturbed build.

use std::process::{Command, Output};

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

/// Those of them that are passed when a build is done and its marts are published.
const PUBLISHING: &[Point] = &[
    Point::MartHalfWritten,
    Point::SnapshotWritten,
    Point::SnapshotRenamed,
    Point::SnapshotCurrent,
];

/// The real command.
pub fn podledger(world: &World, arguments: &[&str], crash_at: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podledger"));
    command
        .arg("--data")
        .arg(world.folder.path())
        .args(arguments)
        .env_remove(VARIABLE);
    if let Some(point) = crash_at {
        command.env(VARIABLE, point);
    }
    command.output().unwrap()
}

/// A ledger that is built once, and facts for another build.
fn world() -> World {
    let world = World::new();
    world.given_machine(64, 256, 0, "1");
    for pod in 0..20 {
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
    }
    world.build(true);
    for pod in 20..25 {
        world.given_pod(&format!("p{pod}"), 900, 512, 0);
    }
    world
}

#[test]
fn a_build_that_ends_at_any_point_is_done_by_the_next() {
    let undisturbed = world();
    undisturbed.build(true);
    let whole = contents(&undisturbed);
    let ended = podledger(&undisturbed, &["build"], None);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let shown = published(&undisturbed);
    for point in POINTS {
        let world = world();
        let publishes = PUBLISHING.contains(point);
        // A full build frees what the one before had made, and then copies the rest into a smaller file.
        let build: &[&str] = if publishes {
            &["build"]
        } else {
            &["build", "--full"]
        };
        let ended = podledger(&world, build, Some(point.name()));
        assert!(!ended.status.success(), "{} was never reached", point.name());
        let again: &[&str] = if publishes {
            &["build"]
        } else {
            &["build", "--no-publish"]
        };
        let ended = podledger(&world, again, None);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "after {}: {said}", point.name());
        assert_eq!(contents(&world), whole, "after {}", point.name());
        if publishes {
            assert_eq!(published(&world), shown, "after {}", point.name());
        }
        let left: Vec<_> = std::fs::read_dir(world.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".copy"))
            .collect();
        assert!(left.is_empty() || *point == Point::LedgerCopied, "{left:?}");
    }
}

/// What the current snapshot holds, and that no half of another is beside it.
fn published(world: &World) -> Vec<(String, String)> {
    let root = world.folder.path().join("published");
    let halves = std::fs::read_dir(&root).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".partial")
    });
    assert_eq!(halves.count(), 0);
    let folder = Published::new(&root).current().unwrap().unwrap();
    let marts = manifest(&folder).unwrap().unwrap().marts;
    marts.into_iter().map(|mart| (mart.name, mart.sha256)).collect()
}
