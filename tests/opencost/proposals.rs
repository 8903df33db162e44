//! What is proposed to who types a filter.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{HOUR, Server, platform, window};
use crate::simulated::START_MS;

/// Most that may be asked for.
const MOST: usize = 1_000;

/// What fields have is proposed to who types a filter: what allocations and assets of the same time have, no more and no less.
#[test]
fn proposals_are_what_the_answers_have() {
    let world = platform();
    let server = Server::of(world.folder.path());
    let hours = window(3 * 3_600, 30 * 3_600);
    let proposed = |path: &str, parameters: &str| -> Vec<String> {
        let url = format!("/model{path}/autocomplete?{hours}&{parameters}").replace('"', "%22");
        let answer: Value = serde_json::from_str(&server.text(&url)).unwrap();
        serde_json::from_value(answer["data"]["data"].clone()).unwrap()
    };
    let answer: Value = serde_json::from_str(&server.text(&format!(
        "/allocation?{hours}&includeIdle=true&includeAggregatedMetadata=true"
    )))
    .unwrap();
    let allocations: Vec<&Value> = answer["data"][0].as_object().unwrap().values().collect();
    let values = |of: &dyn Fn(&Value) -> Vec<String>| -> Vec<String> {
        let all = allocations
            .iter()
            .flat_map(|allocation| of(&allocation["properties"]));
        let all: BTreeSet<String> = all.filter(|value| !value.is_empty()).collect();
        all.into_iter().take(MOST).collect()
    };
    for (field, name) in [
        ("cluster", "cluster"),
        ("node", "node"),
        ("namespace", "namespace"),
        ("controllerKind", "controllerKind"),
        ("controllerName", "controller"),
        ("container", "container"),
        ("pod", "pod"),
    ] {
        let expected = values(&|properties| {
            let value = properties[name].as_str().unwrap_or_default();
            // The rest of a pod beside its containers, and capacity that nobody held, are no names.
            vec![value.replace("(pod)", "").replace("__idle__", "")]
        });
        let found = proposed("/allocation", &format!("field={field}&limit=1000"));
        assert!(!expected.is_empty(), "{field}");
        assert_eq!(found, expected, "{field}");
    }
    assert_eq!(proposed("/allocation", "field=service"), ["ingress"]);
    let keys = values(&|properties| {
        let labels = properties["labels"].as_object();
        labels.map_or(Vec::new(), |labels| labels.keys().cloned().collect())
    });
    assert_eq!(proposed("/allocation", "field=label"), keys);
    for key in &keys {
        let of_key = values(&|properties| {
            let value = properties["labels"][key].as_str().unwrap_or_default();
            vec![value.to_owned()]
        });
        assert!(!of_key.is_empty(), "{key}");
        let found = proposed("/allocation", &format!("field=label:{key}&limit=1000"));
        assert_eq!(found, of_key, "{key}");
    }
    let of_marts = |column: &str| -> Vec<String> {
        world.rows(&format!(
            "select distinct {column} from marts.pods where {column} <> 'unattributed' and bound_ms < {end} \
             and coalesce(released_ms, {end}) > {start} order by 1 limit {MOST}",
            start = START_MS + 3 * HOUR,
            end = START_MS + 30 * HOUR,
        ))
    };
    for field in ["team", "pipeline", "run"] {
        let found = proposed("/allocation", &format!("field={field}&limit=1000"));
        assert!(!found.is_empty());
        assert_eq!(found, of_marts(field), "{field}");
    }

    // What is typed, how many, and what else is asked for.
    let pods = proposed("/allocation", "field=pod&limit=1000");
    let typed: String = pods[0].chars().take(4).collect();
    let expected: Vec<&String> = pods.iter().filter(|pod| pod.contains(&typed)).take(2).collect();
    let found = proposed(
        "/allocation",
        &format!("field=POD&limit=2&search={}", typed.to_uppercase()),
    );
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    assert_eq!(
        proposed("/allocation", "field=namespace&filter=namespace:\"kube-system\""),
        ["kube-system"]
    );
    assert!(proposed("/allocation", "field=account").is_empty());

    assert_eq!(
        proposed("/assets", "field=type"),
        ["clustermanagement", "disk", "loadbalancer", "node"]
    );
    assert_eq!(
        proposed("/assets", "field=category&tenantId=opencost&search=st"),
        ["storage"]
    );
    assert_eq!(
        proposed("/assets", "field=label&filter=assetType:\"node\""),
        [
            "node_kubernetes_io_instance_type",
            "topology_kubernetes_io_region"
        ]
    );
    let nodes = proposed("/assets", "field=name&filter=assetType:\"node\"&limit=1000");
    assert_eq!(nodes, proposed("/allocation", "field=node&limit=1000"));
    assert!(proposed("/cloudCost", "field=service").is_empty());
}
