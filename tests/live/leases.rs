//! One collector per cluster.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use podledger_collector::live::{Ended, Settings, lease};
use podledger_simulator::ApiServer;

use super::{begin, client, collection, in_simulated_time, scenario, serve, settings, start};
use crate::harness::World;

fn held_by(world: &World, holder: &str) -> Settings {
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
        first.ended.abort();
        let second = begin(collection(&two, &server, held_by(&two, "second")));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(holder(&server).await, "first");
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(holder(&server).await, "second");
        second.stop().await;
        platform.abort();
    });
}
