//! Two collectors that put into one bucket, one of which loses its disk, and a ledger of what they put.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use podledger_collector::import::prices;
use podledger_collector::live::Settings;
use podledger_simulator::{Change, Object, Scenario};
use podledger_sql::bucket::Bucket;
use podledger_sql::intake::Intake;
use podledger_sql::lake::Lake;

use super::{bucket, s3};
use crate::harness::moto::Moto;
use crate::harness::{World, contents};
use crate::live::known::{assert_known_or_unseen, gaps};
use crate::live::leases::held_by;
use crate::live::{
    begin, changes, collection, collection_into, in_simulated_time, scenario, serve_changes, start,
};

fn platform(seed: u64) -> Scenario {
    scenario(seed, 1, 12, false)
}

/// What happens in a cluster of that name.
fn changes_of(cluster: &'static str, seed: u64) -> impl Iterator<Item = Change> + Send {
    changes(platform(seed)).map(move |mut change| {
        if let Object::Namespace(namespace) = &mut change.object
            && namespace.metadata.name.as_deref() == Some("kube-system")
        {
            namespace.metadata.uid = Some(cluster.to_owned());
        }
        change
    })
}

/// Where a collector's life goes on when its disk, or only its intake, was lost.
struct Disks<'a> {
    first: &'a Path,
    second: &'a Path,
}

/// Collects a cluster for half a day, ends, and goes on with the other disk ten minutes later. What was collected is put at both ends.
fn collected(cluster: &'static str, seed: u64, disks: &Disks<'_>, shared: Option<&Bucket>) {
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve_changes(of_server, changes_of(cluster, seed)).await;
        let collect = async |folder: &Path, hours: u64| {
            let store = Intake::open(&folder.join("intake.duckdb"), server.now()).unwrap();
            let settings = Settings {
                commit_every: Duration::from_secs(300),
                seal_every: Duration::from_secs(3600),
                watch_timeout: Duration::from_secs(3600),
                ..Settings::default()
            };
            let mut collection = collection_into(folder, &server, store, settings);
            collection.bucket = shared.cloned();
            let running = begin(collection);
            tokio::time::sleep(Duration::from_secs(hours * 3600)).await;
            running.stop().await;
            put(folder, shared);
        };
        collect(disks.first, 10).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        if disks.first == disks.second {
            let intake = disks.first.join("intake.duckdb");
            std::fs::remove_file(&intake).unwrap();
            let _ = std::fs::remove_file(intake.with_extension("duckdb.wal"));
        }
        collect(disks.second, 13).await;
        platform.abort();
    });
}

fn put(folder: &Path, shared: Option<&Bucket>) {
    if let Some(shared) = shared {
        let lake = Lake::open(&folder.join("lake")).unwrap();
        shared.push(&lake, Timestamp::now()).unwrap();
    }
}

/// Prices of both clusters' machines.
fn given_prices(world: &World) {
    let out = world.folder.path().join("prices");
    std::fs::create_dir(&out).unwrap();
    podledger_simulator::observe(platform(1), &out)
        .unwrap()
        .for_each(drop);
    let day = jiff::civil::date(2026, 11, 2);
    prices::import(&world.lake(), &out.join("prices.csv"), day).unwrap();
}

#[test]
fn two_collectors_and_a_lost_disk_are_one_truth_in_the_bucket() {
    let Some(moto) = Moto::start() else { return };
    let shared = bucket(&s3(&moto), "lakes");
    // One lake on one disk, of which only the intake is lost.
    let whole = World::new();
    given_prices(&whole);
    for (cluster, seed) in [("cluster-one", 1), ("cluster-two", 2)] {
        let folder = whole.folder.path();
        let disks = Disks {
            first: folder,
            second: folder,
        };
        collected(cluster, seed, &disks, None);
        std::fs::remove_file(folder.join("intake.duckdb")).unwrap();
    }
    whole.build(true);

    // Four disks, that know of each other by the bucket alone, and one that has the prices.
    let disks: Vec<World> = (0..4).map(|_| World::new()).collect();
    for (pair, (cluster, seed)) in disks.chunks(2).zip([("cluster-one", 1), ("cluster-two", 2)]) {
        let disks = Disks {
            first: pair[0].folder.path(),
            second: pair[1].folder.path(),
        };
        collected(cluster, seed, &disks, Some(&shared));
    }
    let importer = World::new();
    given_prices(&importer);
    put(importer.folder.path(), Some(&shared));

    let central = World::new();
    let pulled = shared.pull(&central.lake()).unwrap();
    assert_eq!(pulled.origins, 5, "{pulled:?}");
    central.build(true);
    let found = central.rows("select cluster, count(*) > 100 from marts.pods group by all order by all");
    assert_eq!(found, ["cluster-one|true", "cluster-two|true"]);
    assert_eq!(contents(&central), contents(&whole));
    // Who has lost its disk took only what its own cluster had.
    let clusters = |world: &World| -> Vec<String> {
        let segments = world.lake().segments().unwrap();
        let mut origins: Vec<String> = segments
            .into_iter()
            .map(|segment| {
                segment
                    .origin
                    .split_once('.')
                    .map_or(segment.origin.clone(), |(of, _)| of.to_owned())
            })
            .collect();
        origins.sort();
        origins.dedup();
        origins
    };
    assert_eq!(clusters(&disks[1]), ["cluster-one"]);
    assert_eq!(clusters(&disks[3]), ["cluster-two"]);
}

/// How many hours the platform goes on, after how many minutes the first collector leaves, and for how many before that it puts nothing.
const HOURS: u64 = 6;
const LEAVES_AFTER_MINUTES: u64 = 187;
const UNPUT_MINUTES: u64 = 8;

/// A cluster's two collectors, of which the second waits for the Lease with a disk of its own: what both put. The first is killed a while after its last
/// push, or ends as it should.
fn followed(is_killed: bool) -> World {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shared = bucket(&store, "lakes");
    let (one, two) = (World::new(), World::new());
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve_changes(of_server, changes_of("cluster", 3)).await;
        let beside = |world: &World, holder: &str| {
            let folder = world.folder.path();
            let store = Intake::open(&folder.join("intake.duckdb"), server.now()).unwrap();
            let settings = Settings {
                seal_every: Duration::from_secs(60),
                ..held_by(world, holder)
            };
            let mut collection = collection_into(folder, &server, store, settings);
            collection.bucket = Some(shared.clone());
            begin(collection)
        };
        let minutes = |minutes: u64| tokio::time::sleep(Duration::from_secs(60 * minutes));
        let first = beside(&one, "first");
        minutes(LEAVES_AFTER_MINUTES - UNPUT_MINUTES).await;
        let second = beside(&two, "second");
        put(one.folder.path(), Some(&shared));
        minutes(UNPUT_MINUTES).await;
        if is_killed {
            first.kill();
        } else {
            first.stop().await;
        }
        minutes(HOURS * 60 - LEAVES_AFTER_MINUTES).await;
        second.stop().await;
        put(two.folder.path(), Some(&shared));
        platform.abort();
    });
    let central = World::new();
    shared.pull(&central.lake()).unwrap();
    central
}

#[test]
fn a_collector_that_follows_another_with_a_disk_of_its_own_goes_on_from_the_bucket() {
    let whole = World::new();
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve_changes(of_server, changes_of("cluster", 3)).await;
        let running = begin(collection(&whole, &server, held_by(&whole, "alone")));
        tokio::time::sleep(Duration::from_secs(HOURS * 3600)).await;
        running.stop().await;
        platform.abort();
    });
    assert_eq!(gaps(&whole), Vec::<String>::new());
    // The Lease is looked at every ten seconds, and runs out within two minutes; what was not put when the first was killed is unknown.
    for (is_killed, least, most) in [
        (false, 0, 15),
        (true, UNPUT_MINUTES * 60, UNPUT_MINUTES * 60 + 180),
    ] {
        let name = if is_killed { "killed" } else { "stopped" };
        let central = followed(is_killed);
        let seen = assert_known_or_unseen(&central, &whole, name);
        eprintln!("{name}: {seen}");
        let found = gaps(&central);
        assert!(!found.is_empty(), "{name}");
        for gap in &found {
            let seconds: u64 = gap.rsplit('|').next().unwrap().parse().unwrap();
            assert!((least..=most).contains(&seconds), "{name}: {gap}");
        }
    }
}
