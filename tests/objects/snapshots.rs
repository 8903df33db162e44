//! Snapshots in a bucket: there is always a whole one.

use std::path::PathBuf;
use std::sync::Arc;

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use podledger_sql::bucket::Upload;
use podledger_sql::published::{Manifest, Published, Publishing};

use super::bucket;
use super::failing::{FAULTS, Failing};
use crate::harness::World;

fn get(store: &Arc<dyn ObjectStore>, path: &str) -> Vec<u8> {
    let found = block_on(async { store.get(&path.into()).await?.bytes().await });
    found.unwrap().to_vec()
}

/// The snapshot that is current in a bucket; all of its files are there, as its manifest tells.
fn current(store: &Arc<dyn ObjectStore>, folder: &str) -> String {
    let current: serde_json::Value =
        serde_json::from_slice(&get(store, &format!("{folder}/published/current.json"))).unwrap();
    let name = current["snapshot"].as_str().unwrap().to_owned();
    let at = |file: &str| format!("{folder}/published/{name}/{file}");
    let manifest: Manifest = serde_json::from_slice(&get(store, &at("snapshot.json"))).unwrap();
    assert!(manifest.marts.len() > 30);
    for mart in &manifest.marts {
        assert_eq!(
            get(store, &at(&mart.file)).len() as u64,
            mart.bytes,
            "{}",
            mart.file
        );
    }
    name
}

/// Publishes a world's marts; returns the folder.
fn published(world: &World) -> PathBuf {
    world.build(false);
    let published = Published::new(&world.folder.path().join("published"));
    match published.publish(world.ledger().connection()).unwrap() {
        Publishing::Done { folder, .. } | Publishing::Unchanged { folder } => folder,
        Publishing::Busy => unreachable!("nobody else publishes"),
    }
}

fn name(folder: &std::path::Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn whatever_fails_of_publishing_there_is_a_whole_snapshot_and_the_next_goes_on() {
    let world = super::begun();
    let first = published(&world);
    super::goes_on(&world);
    let second = published(&world);
    let now = Timestamp::now();
    for fault in FAULTS {
        let mut requests = 0;
        loop {
            requests += 1;
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let healthy = bucket(&store, "b");
            healthy.publish(&first, now).unwrap();
            let failing = Failing::at(&store, requests, fault);
            let objects: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
            let done = bucket(&objects, "b").publish(&second, now);
            let has_failed = failing.has_happened();
            assert_eq!(done.is_err(), has_failed, "{requests} {fault:?}: {done:?}");
            let shown = current(&store, "b");
            assert!(shown == name(&first) || shown == name(&second));
            healthy.publish(&second, now).unwrap();
            assert_eq!(current(&store, "b"), name(&second), "{requests} {fault:?}");
            if !has_failed {
                break;
            }
        }
        assert!(requests > 30, "{requests} requests");
        eprintln!("{fault:?}: {requests} requests of publishing");
    }
}

#[test]
fn a_snapshot_is_published_once_and_the_one_before_is_kept_and_older_ones_for_an_hour() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shared = bucket(&store, "b");
    let world = super::begun();
    let now = Timestamp::now();
    let hours = |hours: i64| now + SignedDuration::from_hours(hours);
    let mut names = Vec::new();
    let there = || -> Vec<String> {
        let listed = block_on(store.list_with_delimiter(Some(&"b/published".into()))).unwrap();
        let folders = listed.common_prefixes.iter();
        folders
            .map(|folder| folder.filename().unwrap().to_owned())
            .collect()
    };
    for round in 0..4 {
        world.given_pod(&format!("round-{round}"), 700, 512, 0);
        let folder = published(&world);
        names.push(name(&folder));
        // Until the last, all are of this hour.
        let at = if round < 3 { hours(0) } else { hours(2) };
        assert!(matches!(
            shared.publish(&folder, at).unwrap(),
            Upload::Done { .. }
        ));
        assert_eq!(shared.publish(&folder, at).unwrap(), Upload::Unchanged);
        assert_eq!(current(&store, "b"), names[round]);
        if round < 3 {
            assert_eq!(there(), names);
        }
    }
    assert_eq!(there(), names[2..]);
}
