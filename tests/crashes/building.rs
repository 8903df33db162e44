//! A build that is ended at every point: the next one makes the ledger that an undisturbed build makes.

use std::process::{Command, Output};

use podledger_sql::crash::{Point, VARIABLE};

use crate::harness::{World, contents};

/// Points that builds pass.
pub const POINTS: &[Point] = &[
    Point::Ingested,
    Point::Built,
    Point::BuildCommitted,
    Point::LedgerCopied,
    Point::LedgerReplaced,
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
    for point in POINTS {
        let world = world();
        // A full build frees what the one before had made, and then copies the rest into a smaller file.
        let ended = podledger(&world, &["build", "--full"], Some(point.name()));
        assert!(!ended.status.success(), "{} was never reached", point.name());
        let ended = podledger(&world, &["build"], None);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "after {}: {said}", point.name());
        assert_eq!(contents(&world), whole, "after {}", point.name());
        let left: Vec<_> = std::fs::read_dir(world.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".copy"))
            .collect();
        assert!(left.is_empty() || *point == Point::LedgerCopied, "{left:?}");
    }
}
