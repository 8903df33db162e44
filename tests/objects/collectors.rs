//! Two collectors that put into one bucket, one of which loses its disk, and a ledger of what they put.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use podledger_collector::import::prices;
use podledger_collector::live::Settings;
use podledger_simulator::{Change, Object, Scenario};
use podledger_sql::bucket::Bucket;
use podledger_sql::intake::Intake;
use podledger_sql::lake::Lake;

use super::{bucket, s3};
use crate::harness::moto::Moto;
use crate::harness::{World, contents};
use crate::live::{begin, changes, collection_into, in_simulated_time, scenario, serve_changes, start};

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
