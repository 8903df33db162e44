//! Processes that are ended between two steps of a push, a pull or publishing: the next one goes on.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};
use podledger_sql::bucket::Bucket;
use podledger_sql::crash::Point;
use podledger_sql::published::{Manifest, manifest};

use super::{begun, told};
use crate::crashes::podledger;
use crate::harness::{World, contents};

/// Points that a push passes.
const OF_PUSHES: &[Point] = &[
    Point::BucketSegmentPut,
    Point::BucketPushNoted,
    Point::BucketEntryPut,
    Point::BucketEntryKept,
    Point::BucketStatePut,
    Point::BucketHalfSwept,
];

/// Points that a pull passes.
const OF_PULLS: &[Point] = &[Point::BucketSegmentTaken, Point::BucketPulled];

/// Points that publishing passes.
const OF_PUBLISHING: &[Point] = &[
    Point::BucketMartPut,
    Point::BucketSnapshotPut,
    Point::BucketSnapshotCurrent,
];

/// Points that only processes with a bucket pass.
pub fn points() -> Vec<Point> {
    [OF_PUSHES, OF_PULLS, OF_PUBLISHING].concat()
}

/// A folder beside a world's files that is its bucket.
fn url(world: &World) -> String {
    format!("file://{}", folder(world).display())
}

fn folder(world: &World) -> PathBuf {
    world.folder.path().join("bucket")
}

fn shared(world: &World) -> Bucket {
    Bucket::open(&url(world)).unwrap()
}

fn assert_well(output: &Output, after: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "after {after}: {said}");
}

/// Makes everything in a folder three days older.
fn age(folder: &Path) {
    let then = SystemTime::now() - Duration::from_secs(3 * 86_400);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

/// A lake of which merged segments were put three days ago, with those that they replaced.
fn pushed() -> World {
    let world = begun();
    let then = Timestamp::now() - SignedDuration::from_hours(3 * 24);
    shared(&world).push(&world.lake(), then).unwrap();
    world.lake().compact(date(2026, 11, 17)).unwrap();
    shared(&world).push(&world.lake(), then).unwrap();
    age(&folder(&world));
    world
}

#[test]
fn a_push_that_ends_at_any_point_is_gone_on_with_by_the_next() {
    let begun = pushed();
    for point in OF_PUSHES {
        let after = point.name();
        // The bucket has another address: what is known of it is read from it again.
        let world = begun.copied();
        let old = told(&world);
        let url = url(&world);
        let import = [
            "--bucket", &url, "import", "query", "--into", "machines", "--from",
        ];
        let facts = "select 'c' as cluster, 'm2' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n2' as node_name, \
                     'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source";
        let import = [&import[..], &[facts, "--recorded-date", "2026-11-16"]].concat();
        let ended = podledger(&world, &import, Some(after));
        assert!(!ended.status.success(), "{after} was never reached");
        let new = told(&world);
        assert_ne!(new, old);
        let reader = World::new();
        shared(&world).pull(&reader.lake()).unwrap();
        let found = told(&reader);
        assert!(found == old || found == new, "{after}: {found:#?}");
        assert_well(&podledger(&world, &import, None), after);
        for reader in [&reader, &World::new()] {
            shared(&world).pull(&reader.lake()).unwrap();
            assert_eq!(told(reader), new, "{after}");
        }
    }
}

#[test]
fn a_pull_that_ends_at_any_point_is_gone_on_with_by_the_next() {
    let writer = pushed();
    writer.build(true);
    let whole = contents(&writer);
    let url = url(&writer);
    let build = ["--bucket", &url, "build", "--no-publish"];
    for point in OF_PULLS {
        let after = point.name();
        let reader = World::new();
        let ended = podledger(&reader, &build, Some(after));
        assert!(!ended.status.success(), "{after} was never reached");
        assert_well(&podledger(&reader, &build, None), after);
        assert_eq!(contents(&reader), whole, "{after}");
    }
}

/// The snapshot that is current in a world's bucket, whole.
fn current(world: &World) -> Option<Manifest> {
    let root = folder(world).join("published");
    let current = std::fs::read(root.join("current.json")).ok()?;
    let current: serde_json::Value = serde_json::from_slice(&current).unwrap();
    let folder = root.join(current["snapshot"].as_str().unwrap());
    let manifest = manifest(&folder).unwrap().unwrap();
    for mart in &manifest.marts {
        let bytes = std::fs::metadata(folder.join(&mart.file)).unwrap().len();
        assert_eq!(bytes, mart.bytes, "{}", mart.file);
    }
    Some(manifest)
}

#[test]
fn publishing_that_ends_at_any_point_is_gone_on_with_by_the_next() {
    let begun = begun();
    assert_well(
        &podledger(&begun, &["--bucket", &url(&begun), "build"], None),
        "nothing",
    );
    begun.given_pod("p3", 700, 512, 0);
    let old = current(&begun).unwrap();
    for point in OF_PUBLISHING {
        let after = point.name();
        let world = begun.copied();
        let build = ["--bucket", &url(&world), "build"];
        let ended = podledger(&world, &build, Some(after));
        assert!(!ended.status.success(), "{after} was never reached");
        let shown = current(&world).unwrap();
        assert_eq!(shown == old, *point != Point::BucketSnapshotCurrent, "{after}");
        assert_well(&podledger(&world, &build, None), after);
        let local = manifest(&world.folder.path().join("published/current")).unwrap();
        assert_eq!(current(&world), local, "{after}");
        assert_ne!(local, Some(old.clone()), "{after}");
    }
}
