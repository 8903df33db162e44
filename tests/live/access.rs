//! What `deploy/rbac.yaml` allows is all that the collector asks for, and all that it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use podledger_collector::live::{Settings, lease, scrape};
use podledger_simulator::Access;
use serde::Deserialize;

use super::{begin, client, collection, in_simulated_time, scenario, serve, settings, start};
use crate::harness::World;

const ACCOUNT: &str = "system:serviceaccount:podledger:podledger-collector";

fn manifest() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rbac.yaml")).unwrap()
}

/// Everything that the manifest allows: verb, group, resource.
fn allowed() -> BTreeSet<(String, String, String)> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        rules: Vec<Rule>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rule {
        api_groups: Vec<String>,
        resources: Vec<String>,
        verbs: Vec<String>,
    }
    let mut allowed = BTreeSet::new();
    for document in yaml_serde::Deserializer::from_str(&manifest()) {
        let document = Document::deserialize(document).unwrap();
        for rule in document.rules {
            for group in &rule.api_groups {
                for resource in &rule.resources {
                    for verb in &rule.verbs {
                        allowed.insert((verb.clone(), group.clone(), resource.clone()));
                    }
                }
            }
        }
    }
    allowed
}

/// Everything that was asked for while a day was collected, twice interrupted, by an account with these rights.
fn asked(manifest: &str, is_new: bool) -> (BTreeSet<(String, String, String)>, bool) {
    let world = World::new();
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings {
            access: Some(Access::from_yaml(manifest).unwrap()),
            has_streaming_lists: is_new,
            has_kubelets: is_new,
            ..podledger_simulator::Settings::new(start())
        };
        let (server, platform) = serve(of_server, scenario(3, 1, 3, true)).await;
        let mut is_observed = true;
        for _ in 0..2 {
            let settings = Settings {
                lease: Some(lease::Settings {
                    namespace: "podledger".to_owned(),
                    name: "podledger-collector".to_owned(),
                    holder: "test".to_owned(),
                }),
                commit_every: Duration::from_secs(10),
                usage: Some(scrape::Settings {
                    every: Duration::from_secs(300),
                    ..scrape::Settings::default()
                }),
                ..settings(&world)
            };
            let mut collection = collection(&world, &server, settings);
            collection.client = client(&server, Some(ACCOUNT));
            collection.kubelets = Some(client(&server, Some(ACCOUNT)));
            let figures = collection.figures.clone();
            let running = begin(collection);
            tokio::time::sleep(Duration::from_secs(7200)).await;
            is_observed &= figures.is_observed("test");
            let _ = running.stop.send(true);
            let _ = running.ended.await;
            // Longer than the server remembers.
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        platform.abort();
        let uses = server.uses().into_iter();
        let uses = uses
            .map(|used| {
                let subresource = used.subresource.map(|name| format!("/{name}"));
                let resource = used.resource + &subresource.unwrap_or_default();
                (used.verb.to_owned(), used.group, resource)
            })
            .collect();
        (uses, is_observed)
    })
}

#[test]
fn the_role_is_sufficient_and_minimal() {
    let (mut uses, is_observed) = asked(&manifest(), true);
    assert!(is_observed, "the role does not suffice");
    uses.extend(asked(&manifest(), false).0);
    let served: BTreeSet<(String, String)> = uses
        .iter()
        .map(|(_, group, resource)| (group.clone(), resource.clone()))
        .collect();
    for used in &uses {
        assert!(
            allowed().contains(used),
            "{used:?} is not allowed and was asked for"
        );
    }
    for rule in allowed() {
        // Engines that this cluster does not have cannot be asked for; their rules have the same two verbs.
        let (verb, group, resource) = &rule;
        let is_built_in = ["", "apps", "batch", "coordination.k8s.io"].contains(&group.as_str());
        if is_built_in || served.contains(&(group.clone(), resource.clone())) {
            assert!(uses.contains(&rule), "{rule:?} is allowed and never asked for");
        } else {
            assert!(verb == "list" || verb == "watch", "{rule:?}");
        }
    }
}

#[test]
fn without_pods_nothing_is_collected_and_the_rest_goes_on() {
    let manifest = manifest().replace("pods, services", "services");
    let (uses, is_observed) = asked(&manifest, true);
    assert!(!is_observed);
    assert!(uses.contains(&("watch".to_owned(), String::new(), "nodes".to_owned())));
}
