//! Pushes into moto's S3 that fail at each of their requests, carried out or not.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use podledger_sql::bucket::{Pulled, Pushed};

use super::failing::{FAULTS, Failing};
use super::{begun, bucket, goes_on, s3, told};
use crate::harness::World;
use crate::harness::moto::Moto;

/// When what is in the bucket now is more than a day old.
fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(3 * 24)
}

#[test]
fn whatever_fails_of_a_push_a_reader_has_all_of_it_or_nothing_and_the_next_push_goes_on() {
    let Some(moto) = Moto::start() else { return };
    let store = s3(&moto);
    let begun = begun();
    for fault in FAULTS {
        let mut requests = 0;
        loop {
            requests += 1;
            let after = format!("request {requests} {fault:?}");
            let healthy = bucket(&store, &format!("{fault:?}-{requests}"));
            let writer = begun.copied();
            healthy.push(&writer.lake(), Timestamp::now()).unwrap();
            let old = told(&writer);
            let reader = World::new();
            healthy.pull(&reader.lake()).unwrap();
            assert_eq!(told(&reader), old);

            // New facts, merged segments, and what those replaced before: everything that a push does.
            goes_on(&writer);
            writer.lake().compact(date(2026, 11, 17)).unwrap();
            let new = told(&writer);
            let failing = Failing::at(&store, requests, fault);
            let objects: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
            let pushed = bucket(&objects, &format!("{fault:?}-{requests}")).push(&writer.lake(), later());
            let has_failed = failing.has_happened();
            assert_eq!(pushed.is_err(), has_failed, "{after}: {pushed:?}");
            for reader in [&reader, &World::new()] {
                healthy.pull(&reader.lake()).unwrap();
                let found = told(reader);
                assert!(
                    found == old || found == new,
                    "{after}: {found:#?} is neither {old:#?} nor {new:#?}"
                );
            }

            healthy.push(&writer.lake(), later()).unwrap();
            for reader in [&reader, &World::new()] {
                healthy.pull(&reader.lake()).unwrap();
                assert_eq!(told(reader), new, "{after}");
                assert_eq!(
                    healthy.pull(&reader.lake()).unwrap(),
                    Pulled::default(),
                    "{after}"
                );
            }
            assert_eq!(
                healthy.push(&writer.lake(), later()).unwrap(),
                Pushed::default(),
                "{after}"
            );
            if !has_failed {
                break;
            }
        }
        assert!(requests > 7, "{requests} requests");
        eprintln!("{fault:?}: {requests} requests of a push");
    }
}

/// What a folder of a bucket has.
fn objects(store: &Arc<dyn ObjectStore>, folder: &str) -> Vec<String> {
    let prefix = object_store::path::Path::from(folder);
    let found: Vec<_> = futures::executor::block_on(futures::StreamExt::collect(store.list(Some(&prefix))));
    let mut names: Vec<String> = found
        .into_iter()
        .map(|object| object.unwrap().location.to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_replaced_goes_a_day_later_and_no_fact_does() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shared = bucket(&store, "lakes");
    let writer = begun();
    let day = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
    shared.push(&writer.lake(), day(0)).unwrap();
    goes_on(&writer);
    shared.push(&writer.lake(), day(0)).unwrap();
    writer.lake().compact(date(2026, 11, 17)).unwrap();
    shared.push(&writer.lake(), day(0)).unwrap();
    let pods = |store: &Arc<dyn ObjectStore>| -> usize {
        let names = objects(store, "lakes");
        names.iter().filter(|name| name.contains("/pod_states/")).count()
    };
    assert_eq!(pods(&store), 5, "four segments, and the merged one");
    // The state that was written on the first day names the first three. One that names none of them comes with the next day's push,
    // and is a day old another day later.
    shared.push(&writer.lake(), day(2)).unwrap();
    assert_eq!(pods(&store), 5);
    let pushed = shared.push(&writer.lake(), day(4)).unwrap();
    assert!(pushed.removed > 0, "{pushed:?}");
    assert_eq!(pods(&store), 1);
    let logs: Vec<String> = objects(&store, "lakes")
        .into_iter()
        .filter(|name| name.contains("/log/"))
        .collect();
    assert_eq!(logs.len(), 1, "a state alone: {logs:#?}");
    assert!(logs[0].ends_with("000000000003.state.json"), "{logs:#?}");
    // Who never read the log, and who read the first entries alone, come to the same.
    let reader = World::new();
    shared.pull(&reader.lake()).unwrap();
    assert_eq!(told(&reader), told(&writer));
    assert_eq!(told(&reader).len(), 4 + 2 + 1);
}

#[test]
fn a_copy_of_a_data_directory_writes_over_nothing_and_goes_on_under_a_name_of_its_own() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shared = bucket(&store, "lakes");
    let one = begun();
    shared.push(&one.lake(), Timestamp::now()).unwrap();
    let two = one.copied();
    one.given_pod("of-one", 700, 512, 0);
    two.given_pod("of-two", 700, 512, 0);
    shared.push(&one.lake(), Timestamp::now()).unwrap();
    let error = shared
        .push(&two.lake(), Timestamp::now())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("s3://metering/lakes/lake/query.") && error.contains("nothing was written over"),
        "{error}"
    );
    let reader = World::new();
    shared.pull(&reader.lake()).unwrap();
    assert_eq!(told(&reader), told(&one));
    // As the message says.
    std::fs::remove_dir_all(two.folder.path().join("lake/.bucket")).unwrap();
    shared.push(&two.lake(), Timestamp::now()).unwrap();
    for reader in [&reader, &one, &two] {
        shared.pull(&reader.lake()).unwrap();
        reader.build(true);
        assert_eq!(
            reader.rows("select pod_name from marts.pods order by all"),
            ["of-one", "of-two", "p0", "p1", "p2"]
        );
    }
}

#[test]
fn a_lake_that_lost_a_segment_takes_nothing_from_the_bucket() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shared = bucket(&store, "lakes");
    let writer = begun();
    shared.push(&writer.lake(), Timestamp::now()).unwrap();
    let whole = told(&writer);
    let segments = writer.lake().segments().unwrap();
    let lost = segments.iter().find(|segment| segment.table == "pod_states");
    std::fs::remove_file(&lost.unwrap().path).unwrap();
    let error = shared
        .push(&writer.lake(), Timestamp::now())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("pod_states/recorded_date=2026-11-16/000000000001")
            && error.contains("restore the lake"),
        "{error}"
    );
    let reader = World::new();
    shared.pull(&reader.lake()).unwrap();
    assert_eq!(told(&reader), whole);
}

#[test]
fn a_bucket_under_another_address_is_known_again() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let writer = begun();
    let objects =
        |folder: &str| podledger_sql::bucket::Bucket::over(folder, Arc::clone(&store), "lakes".into());
    objects("s3://one")
        .push(&writer.lake(), Timestamp::now())
        .unwrap();
    let pushed = objects("s3://other")
        .push(&writer.lake(), Timestamp::now())
        .unwrap();
    assert_eq!(pushed, Pushed::default());
    goes_on(&writer);
    objects("s3://other")
        .push(&writer.lake(), Timestamp::now())
        .unwrap();
    let reader = World::new();
    objects("s3://other").pull(&reader.lake()).unwrap();
    assert_eq!(told(&reader), told(&writer));
}

/// Removes all objects below a folder.
fn emptied(store: &Arc<dyn ObjectStore>, folder: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let all = store
            .list(Some(&Path::from(folder)))
            .map_ok(|object| object.location);
        let gone: Vec<_> = store.delete_stream(all.boxed()).try_collect().await.unwrap();
        assert!(!gone.is_empty());
    });
}

/// Whether a lake was about to put an entry.
fn is_about_to_put(world: &World) -> bool {
    let kept = world.folder.path().join("lake/.bucket");
    let folders = |path: std::path::PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    folders(kept)
        .flat_map(|bucket| folders(bucket.path()))
        .any(|origin| origin.path().join("putting.json").exists())
}

/// One whose push ended when it had put segments, and not what says that they are there.
fn interrupted(begun: &World, store: &Arc<dyn ObjectStore>) -> World {
    for request in 1.. {
        let writer = begun.copied();
        writer.given_pod("interrupted", 700, 512, 0);
        let failing = Failing::at(store, request, FAULTS[0]);
        let objects: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
        let pushed = bucket(&objects, "lakes").push(&writer.lake(), Timestamp::now());
        assert!(pushed.is_err());
        if is_about_to_put(&writer) {
            return writer;
        }
    }
    unreachable!()
}

#[test]
fn a_bucket_that_was_emptied_is_filled_again_whatever_fails_of_it() {
    for (is_interrupted, fault) in [(false, FAULTS[0]), (false, FAULTS[1]), (true, FAULTS[0])] {
        let mut requests = 0;
        loop {
            requests += 1;
            let after = format!("request {requests} {fault:?}, interrupted: {is_interrupted}");
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let healthy = bucket(&store, "lakes");
            let mut writer = begun();
            healthy.push(&writer.lake(), Timestamp::now()).unwrap();
            let old = told(&writer);
            let (reader, forgetful) = (World::new(), World::new());
            healthy.pull(&reader.lake()).unwrap();
            healthy.pull(&forgetful.lake()).unwrap();
            std::fs::remove_dir_all(forgetful.folder.path().join("lake/.bucket")).unwrap();
            if is_interrupted {
                writer = interrupted(&writer, &store);
            }
            emptied(&store, "lakes");

            goes_on(&writer);
            writer.lake().compact(date(2026, 11, 17)).unwrap();
            let new = told(&writer);
            let failing = Failing::at(&store, requests, fault);
            let objects: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
            let pushed = bucket(&objects, "lakes").push(&writer.lake(), Timestamp::now());
            let has_failed = failing.has_happened();
            assert_eq!(pushed.is_err(), has_failed, "{after}: {pushed:?}");
            // Who has it keeps it, also who does not remember from where; who reads it for the first time has all of it or nothing.
            let first = World::new();
            for (reader, old) in [(&reader, &old), (&forgetful, &old), (&first, &Vec::new())] {
                healthy.pull(&reader.lake()).unwrap();
                let found = told(reader);
                assert!(found == *old || found == new, "{after}: {found:#?}");
            }

            // It goes on, is merged again, and is swept as if nothing had been.
            writer.given_pod("later", 700, 512, 0);
            writer.lake().compact(date(2026, 11, 17)).unwrap();
            let new = told(&writer);
            for days in [0, 2, 4] {
                let day = Timestamp::now() + SignedDuration::from_hours(24 * days);
                healthy.push(&writer.lake(), day).unwrap();
                for reader in [&reader, &forgetful, &first, &World::new()] {
                    healthy.pull(&reader.lake()).unwrap();
                    assert_eq!(told(reader), new, "{after}, {days} days later");
                    let again = healthy.pull(&reader.lake()).unwrap();
                    assert_eq!(again, Pulled::default(), "{after}, {days} days later");
                }
            }
            if !has_failed {
                break;
            }
        }
        assert!(requests > 8, "{requests} requests");
    }
}

#[test]
fn an_older_state_of_a_data_directory_is_refused_also_where_what_it_wrote_was_swept() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shared = bucket(&store, "lakes");
    let writer = begun();
    let day = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
    shared.push(&writer.lake(), day(0)).unwrap();
    let older = writer.copied();
    goes_on(&writer);
    for days in [0, 2, 4] {
        shared.push(&writer.lake(), day(days)).unwrap();
    }
    older.given_pod("of-older", 700, 512, 0);
    let error = shared.push(&older.lake(), day(4)).unwrap_err().to_string();
    assert!(
        error.contains("older state of it was restored") && error.contains("nothing was written over"),
        "{error}"
    );
    let reader = World::new();
    shared.pull(&reader.lake()).unwrap();
    assert_eq!(told(&reader), told(&writer));
}
