//! Files that are gone or torn: what can be made anew is, and what cannot is named.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::Life;
use super::building::podledger;
use crate::harness::{World, contents};
use crate::live::known::{assert_known_or_unseen, gaps};

/// Cuts a file in the middle.
fn tear(path: &Path) {
    let length = std::fs::metadata(path).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file: File| file.set_len(length / 2))
        .unwrap();
}

fn live(life: &Life) {
    let ended = life.run(None);
    assert!(ended.status.success(), "{}", ended.said);
}

#[test]
fn a_lost_intake_is_made_anew_from_the_lake_and_the_time_between_is_a_gap() {
    let (world, whole) = (World::new(), World::new());
    live(&Life {
        minutes: 11 * 60,
        ..Life::new(whole.folder.path(), 31)
    });
    // The first life ends in the middle of work, and its intake with it; what was sealed is in the lake.
    let first = Life::new(world.folder.path(), 31);
    assert!(!first.run(Some("committed:90")).status.success());
    let intake = world.folder.path().join("intake.duckdb");
    for path in [intake.clone(), intake.with_extension("duckdb.wal")] {
        let _ = std::fs::remove_file(path);
    }
    // Without an intake, a life does not know when the last one ended: it begins after it.
    let second = Life {
        minutes: 11 * 60,
        begins_after_minutes: 9 * 60,
        compacts: false,
        ..first
    };
    let ended = second.run(None);
    assert!(ended.status.success(), "{}", ended.said);

    let found = gaps(&world);
    assert_eq!(found.len(), 2, "{found:?}");
    for (gap, resource) in found.iter().zip(["nodes", "pods"]) {
        assert!(gap.starts_with(&format!("{resource}|restart|")), "{gap}");
        let seconds: i64 = gap.rsplit('|').next().unwrap().parse().unwrap();
        // Facts are sealed every hour.
        assert!((3600..=3 * 3600).contains(&seconds), "{gap}");
    }
    // Nobody who was there when sight was lost is there for ever, and only who came and went unseen may be unknown.
    let seen = assert_known_or_unseen(&world, &whole, "a lost intake");
    eprintln!("a lost intake: {seen}");
}

#[test]
fn a_torn_intake_is_named_and_not_written_over() {
    let world = World::new();
    let life = Life::new(world.folder.path(), 32);
    live(&life);
    let intake = world.folder.path().join("intake.duckdb");
    tear(&intake);
    let before = std::fs::read(&intake).unwrap();
    let ended = life.run(None);
    assert!(!ended.status.success());
    assert!(ended.said.contains("intake.duckdb"), "{}", ended.said);
    assert_eq!(std::fs::read(&intake).unwrap(), before);
}

/// A ledger and its contents.
fn built() -> (World, Vec<String>) {
    let world = World::new();
    world.given_machine(16, 64, 0, "1");
    for pod in 0..10 {
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
    }
    world.build(true);
    let whole = contents(&world);
    (world, whole)
}

#[test]
fn a_lost_ledger_is_built_anew_and_a_torn_one_is_named() {
    let (world, whole) = built();
    let ledger = world.folder.path().join("ledger.duckdb");
    tear(&ledger);
    let ended = podledger(&world, &["build"], None);
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        said.contains("ledger.duckdb") && said.contains("move it away"),
        "{said}"
    );
    std::fs::remove_file(&ledger).unwrap();
    assert!(podledger(&world, &["build"], None).status.success());
    assert_eq!(contents(&world), whole);
}

fn segment(world: &World) -> PathBuf {
    let segments = world.lake().segments().unwrap();
    let of_pods = segments.into_iter().find(|segment| segment.table == "pod_states");
    of_pods.unwrap().path
}

#[test]
fn a_torn_or_missing_segment_is_named_and_the_ledger_stays_as_it_was() {
    let (world, whole) = built();
    let saved = std::fs::read(segment(&world)).unwrap();
    // A ledger that has it already does not need it any more.
    tear(&segment(&world));
    assert!(podledger(&world, &["build"], None).status.success());
    assert_eq!(contents(&world), whole);
    let name = segment(&world).file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::remove_file(world.folder.path().join("ledger.duckdb")).unwrap();
    let ended = podledger(&world, &["build"], None);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && said.contains(&name), "{said}");
    let path = segment(&world);
    std::fs::remove_file(&path).unwrap();
    let ended = podledger(&world, &["build"], None);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && said.contains("is missing"), "{said}");
    std::fs::write(&path, saved).unwrap();
    assert!(podledger(&world, &["build"], None).status.success());
    assert_eq!(contents(&world), whole);
}
