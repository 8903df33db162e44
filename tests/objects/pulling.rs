//! Pulls that fail at each of their requests, or in the middle of which others put and remove.

use std::sync::Arc;

use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::failing::{FAULTS, Failing};
use super::{begun, bucket, goes_on, s3, told};
use crate::harness::World;
use crate::harness::moto::Moto;

#[test]
fn whatever_fails_of_a_pull_there_is_all_of_an_origin_or_nothing_and_the_next_pull_goes_on() {
    let Some(moto) = Moto::start() else { return };
    let store = s3(&moto);
    let writer = begun();
    let healthy = bucket(&store, "lakes");
    healthy.push(&writer.lake(), Timestamp::now()).unwrap();
    let begun = World::new();
    healthy.pull(&begun.lake()).unwrap();
    let old = told(&begun);
    goes_on(&writer);
    healthy.push(&writer.lake(), Timestamp::now()).unwrap();
    writer.lake().compact(date(2026, 11, 17)).unwrap();
    healthy.push(&writer.lake(), Timestamp::now()).unwrap();
    let new = told(&writer);
    // One that knows the beginning, and one that knows nothing.
    for (begun, old) in [(begun, old), (World::new(), Vec::new())] {
        for fault in FAULTS {
            let mut requests = 0;
            loop {
                requests += 1;
                let after = format!("request {requests} {fault:?}");
                let reader = begun.copied();
                let failing = Failing::at(&store, requests, fault);
                let objects: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
                let pulled = bucket(&objects, "lakes").pull(&reader.lake());
                let has_failed = failing.has_happened();
                assert_eq!(pulled.is_err(), has_failed, "{after}: {pulled:?}");
                let found = told(&reader);
                assert!(found == old || found == new, "{after}: {found:#?}");
                healthy.pull(&reader.lake()).unwrap();
                assert_eq!(told(&reader), new, "{after}");
                if !has_failed {
                    break;
                }
            }
            assert!(requests > 4, "{requests} requests");
            eprintln!("{fault:?}: {requests} requests of a pull");
        }
    }
}

#[test]
fn a_reader_in_the_midst_of_which_segments_are_merged_and_removed_has_each_fact_once() {
    let begun = begun();
    let mut requests = 0;
    loop {
        requests += 1;
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let writer = begun.copied();
        let day = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
        bucket(&store, "lakes").push(&writer.lake(), day(0)).unwrap();
        goes_on(&writer);
        bucket(&store, "lakes").push(&writer.lake(), day(0)).unwrap();
        let whole = told(&writer);
        let (folder, behind) = (writer.folder.path().join("lake"), Arc::clone(&store));
        let failing = Failing::meanwhile(
            &store,
            requests,
            Arc::new(move || {
                let lake = podledger_sql::lake::Lake::open(&folder).unwrap();
                lake.compact(date(2026, 11, 17)).unwrap();
                let pushed: usize = [2, 4, 6]
                    .into_iter()
                    .map(|days| bucket(&behind, "lakes").push(&lake, day(days)).unwrap().removed)
                    .sum();
                assert!(pushed > 0);
            }),
        );
        let objects: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
        let reader = World::new();
        bucket(&objects, "lakes").pull(&reader.lake()).unwrap();
        assert_eq!(told(&reader), whole, "request {requests}");
        bucket(&store, "lakes").pull(&reader.lake()).unwrap();
        assert_eq!(told(&reader), told(&writer), "request {requests}");
        reader.build(true);
        assert_eq!(reader.rows("select count(*) from marts.pods"), ["4"]);
        if !failing.has_happened() {
            break;
        }
    }
    assert!(requests > 8, "{requests} requests");
}

#[test]
fn an_object_that_is_not_what_its_log_says_is_named_and_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let shared = format!("file://{}", folder.path().display());
    let shared = podledger_sql::bucket::Bucket::open(&shared).unwrap();
    let writer = begun();
    shared.push(&writer.lake(), Timestamp::now()).unwrap();
    let torn = find(folder.path(), "pod_states").unwrap();
    let whole = std::fs::read(&torn).unwrap();
    std::fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let reader = World::new();
    let error = with_causes(&shared.pull(&reader.lake()).unwrap_err());
    assert!(
        error.contains("is not what its log says") && error.contains("pod_states"),
        "{error}"
    );
    assert!(
        reader
            .lake()
            .segments()
            .unwrap()
            .iter()
            .all(|segment| segment.table != "pod_states")
    );
    // One that is gone, and not replaced by another.
    std::fs::remove_file(&torn).unwrap();
    let error = shared.pull(&reader.lake()).unwrap_err().to_string();
    assert!(error.contains("names objects that are not there"), "{error}");
    std::fs::write(&torn, whole).unwrap();
    shared.pull(&reader.lake()).unwrap();
    assert_eq!(told(&reader), told(&writer));
}

/// The first segment of a table.
fn find(folder: &std::path::Path, table: &str) -> Option<std::path::PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries.into_iter().find_map(|path| {
        if path.is_dir() {
            find(&path, table)
        } else {
            let is_one = path.to_string_lossy().contains(table) && path.extension()? == "parquet";
            is_one.then_some(path)
        }
    })
}

/// An error with its causes.
fn with_causes(error: &podledger_sql::Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        told = format!("{told}: {next}");
        cause = next.source();
    }
    told
}
