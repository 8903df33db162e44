//! The lake: commits are whole, ingestion is idempotent, compaction changes no row.

use jiff::civil::date;
use podledger_collector::import::Imported;

use crate::harness::{World, contents};

#[test]
fn the_same_rows_twice_are_written_once() {
    let world = World::new();
    let watermark = "select 'c' as cluster, timestamp '2026-11-16 11:00:00' as observed_through_at";
    assert_eq!(
        world.given("collection_watermarks", watermark),
        Imported::Written(vec![("collection_watermarks", 1)])
    );
    assert_eq!(world.given("collection_watermarks", watermark), Imported::Already);
}

#[test]
fn compaction_and_a_lost_ledger_change_nothing() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    for pod in 0..5 {
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
        if pod == 2 {
            world.build(false);
        }
    }
    world.build(false);
    let before = contents(&world);
    assert_eq!(world.lake().compact(date(2026, 11, 17)).unwrap(), 5);
    assert_eq!(world.build(false).ingested_rows, 0);
    assert_eq!(contents(&world), before);
    std::fs::remove_file(world.folder.path().join("ledger.duckdb")).unwrap();
    world.build(false);
    assert_eq!(contents(&world), before);
}

#[test]
fn a_commit_that_was_killed_before_its_files_were_in_place_is_completed() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // As a process leaves it that was killed between the rename that commits and the moves into place.
    let root = world.folder.path().join("lake");
    let target = "pod_states/recorded_date=2026-11-16/query.000000000001.parquet";
    world.given_pod("p", 700, 512, 0);
    let pending = root.join(".pending/query/killed");
    std::fs::create_dir_all(&pending).unwrap();
    std::fs::rename(root.join(target), pending.join("segment.parquet")).unwrap();
    let journal = format!(r#"{{"note":"","rows":1,"adds":[["segment.parquet","{target}"]],"removes":[]}}"#);
    std::fs::write(pending.join("commit.json"), journal).unwrap();
    // And one that was killed before: it must vanish.
    let partial = root.join(".pending/query/half.partial");
    std::fs::create_dir_all(&partial).unwrap();

    world.build(false);
    assert_eq!(world.rows("select count(*) from marts.pods"), ["1"]);
    assert!(!pending.exists() && !partial.exists());
}

#[test]
fn a_missing_segment_is_named() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p0", 700, 512, 0);
    world.given_pod("p1", 700, 512, 0);
    let first = world
        .folder
        .path()
        .join("lake/pod_states/recorded_date=2026-11-16/query.000000000001.parquet");
    std::fs::remove_file(first).unwrap();
    let error =
        podledger_analyzer::build::build(world.ledger(), &world.lake(), &world.config, false).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("segment 1 of pod_states from query is missing"),
        "{error}"
    );
}
