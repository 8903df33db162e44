//! One collector per cluster.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use podledger_collector::live::{Ended, Settings, lease};
use podledger_simulator::ApiServer;

use super::known::{assert_known_or_unseen, gaps};
use super::platform::told_more;
use super::{
    Running, begin, client, collection, collection_into, in_simulated_time, scenario, serve, serve_changes,
    settings, start,
};
use crate::harness::World;

pub fn held_by(world: &World, holder: &str) -> Settings {
    Settings {
        lease: Some(lease::Settings {
            namespace: "podledger".to_owned(),
            name: "podledger-collector".to_owned(),
            holder: holder.to_owned(),
        }),
        commit_every: Duration::from_secs(1),
        ..settings(world)
    }
}

async fn holder(server: &ApiServer) -> String {
    let leases: Api<Lease> = Api::namespaced(client(server, None), "podledger");
    let lease = leases.get("podledger-collector").await.unwrap();
    lease.spec.unwrap().holder_identity.unwrap()
}

#[test]
fn a_second_collector_waits_until_the_first_is_stopped() {
    let (one, two) = (World::new(), World::new());
    in_simulated_time(async {
        let settings = podledger_simulator::Settings::new(start());
        let (server, platform) = serve(settings, scenario(1, 1, 2, false)).await;
        let first = begin(collection(&one, &server, held_by(&one, "first")));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let second = begin(collection(&two, &server, held_by(&two, "second")));
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(holder(&server).await, "first");
        assert_eq!(first.stop().await, Ended::Stopped);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(holder(&server).await, "second");
        second.stop().await;
        assert_eq!(holder(&server).await, "", "it was not given back");
        platform.abort();
    });
}

#[test]
fn a_collector_that_was_killed_is_followed_once_its_lease_has_run_out() {
    let (one, two) = (World::new(), World::new());
    in_simulated_time(async {
        let settings = podledger_simulator::Settings::new(start());
        let (server, platform) = serve(settings, scenario(1, 1, 2, false)).await;
        let first = begin(collection(&one, &server, held_by(&one, "first")));
        tokio::time::sleep(Duration::from_secs(60)).await;
        first.kill();
        let second = begin(collection(&two, &server, held_by(&two, "second")));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(holder(&server).await, "first");
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(holder(&server).await, "second");
        second.stop().await;
        platform.abort();
    });
}

/// How many hours the platform goes on, and after how many minutes the first collector leaves.
const HOURS: u64 = 4;
const LEAVES_AFTER_MINUTES: u64 = 107;

/// A collector with an intake of its own, into the lake of all.
fn beside(world: &World, server: &ApiServer, holder: &str) -> Running {
    let path = world.folder.path().join(format!("{holder}.duckdb"));
    let store = podledger_sql::intake::Intake::open(&path, server.now()).unwrap();
    let settings = Settings {
        commit_every: Duration::from_secs(10),
        seal_every: Duration::from_secs(60),
        ..held_by(world, holder)
    };
    begin(collection_into(world.folder.path(), server, store, settings))
}

/// Collects some hours; after `leaves`, another collector goes on.
fn handed_over<F: Future<Output = ()>>(leaves: Option<impl FnOnce(Running) -> F>) -> World {
    let world = World::new();
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve_changes(of_server, told_more(scenario(5, 1, 8, false))).await;
        let mut running = beside(&world, &server, "first");
        let minutes = |minutes: u64| tokio::time::sleep(Duration::from_secs(60 * minutes));
        minutes(LEAVES_AFTER_MINUTES).await;
        if let Some(leaves) = leaves {
            let second = beside(&world, &server, "second");
            // It waits.
            minutes(10).await;
            assert_eq!(holder(&server).await, "first");
            leaves(running).await;
            minutes(HOURS * 60 - LEAVES_AFTER_MINUTES - 10).await;
            assert_eq!(holder(&server).await, "second");
            running = second;
        } else {
            minutes(HOURS * 60 - LEAVES_AFTER_MINUTES).await;
        }
        running.stop().await;
        platform.abort();
    });
    world
}

#[test]
fn nothing_is_lost_or_doubled_when_one_collector_follows_another() {
    let nobody = None::<fn(Running) -> std::future::Ready<()>>;
    let whole = handed_over(nobody);
    assert_eq!(gaps(&whole), Vec::<String>::new());
    let stopped = handed_over(Some(|first: Running| async {
        first.stop().await;
    }));
    let killed = handed_over(Some(|first: Running| async move {
        first.kill();
    }));
    // The next one looks every ten seconds; of one that was killed, the Lease runs out and what was not sealed is unknown.
    for (world, name, most) in [(&stopped, "given back", 15), (&killed, "run out", 120)] {
        let seen = assert_known_or_unseen(world, &whole, name);
        eprintln!("a Lease that was {name}: {seen}");
        let found = gaps(world);
        assert_eq!(found.len(), 2, "{name}: {found:?}");
        for gap in &found {
            let seconds: i64 = gap.rsplit('|').next().unwrap().parse().unwrap();
            assert!(seconds <= most, "{name}: {gap}");
        }
    }
}
