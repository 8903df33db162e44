//! `import kubernetes` and `rules`, as a user runs them.

use std::fs;
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;

fn podledger(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .current_dir(folder.path())
        .args(["--data", "data"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn node() -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n", "uid": "n", "creationTimestamp": "2026-11-16T09:00:00Z", "labels": {
            "node.kubernetes.io/instance-type": "m5.large", "topology.kubernetes.io/region": "us-east-1"}},
        "spec": {"providerID": "aws:///us-east-1a/i-1"},
        "status": {"capacity": {"cpu": "2", "memory": "8Gi"}, "allocatable": {"cpu": "2", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-16T09:00:00Z"}]}})
}

fn pod(name: &str, labels: &serde_json::Value) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "etl", "uid": name, "creationTimestamp": "2026-11-16T09:59:59Z", "labels": labels},
        "spec": {"nodeName": "n", "restartPolicy": "Never", "containers": [
            {"name": "main", "resources": {"requests": {"cpu": "1", "memory": "4Gi"}}}]},
        "status": {"phase": "Succeeded",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-16T10:00:00Z"}],
            "containerStatuses": [{"name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                "state": {"terminated": {"exitCode": 0, "reason": "Completed",
                    "startedAt": "2026-11-16T10:00:00Z", "finishedAt": "2026-11-16T11:00:00Z"}}}]}})
}

#[test]
fn a_list_of_pods_and_nodes_becomes_costs_and_rules_say_whose() {
    let folder = tempfile::tempdir().unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "cluster-1"}},
        node(),
        pod("a", &json!({"app": "loader", "team": "growth"})),
        pod("b", &json!({"app": "loader"})),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "broken", "namespace": "etl", "uid": "x",
            "creationTimestamp": "2026-11-16T09:59:59Z"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "plenty"}}}]}},
    ]});
    fs::write(folder.path().join("cluster.json"), list.to_string()).unwrap();
    let imported = podledger(&folder, &["import", "kubernetes", "cluster.json"]);
    let said = text(&imported);
    assert!(imported.status.success(), "{said}");
    assert!(
        said.contains("cluster cluster-1: 1 Namespace, 1 Node, 2 Pod"),
        "{said}"
    );
    assert!(
        said.contains("left out: object 5 (Pod etl/broken)") && said.contains("resources.cpu"),
        "{said}"
    );
    let again = text(&podledger(&folder, &["import", "kubernetes", "cluster.json"]));
    assert!(again.contains("nothing to do"), "{again}");

    assert!(podledger(&folder, &["build"]).status.success());
    // Half of an m5.large (0.096 USD an hour) each, for an hour.
    let costs = podledger(
        &folder,
        &[
            "sql",
            "--format",
            "csv",
            "select pod_uid, sum(total_cost) from allocations_hourly \
        where pod_uid is not null group by all order by 1",
        ],
    );
    assert_eq!(
        text(&costs).lines().skip(1).collect::<Vec<_>>(),
        ["a,0.048000000", "b,0.048000000"]
    );

    let decided = text(&podledger(&folder, &["rules", "test", "--pod", "a"]));
    assert!(
        decided.contains("growth") && decided.contains("any: label team"),
        "{decided}"
    );
    let covered = text(&podledger(&folder, &["rules", "coverage"]));
    assert!(
        covered.contains("no rule found anything") && covered.contains("key = \"app\""),
        "{covered}"
    );

    // What coverage proposes is a configuration that closes the gap.
    let rules = covered.split_once("podledger.toml:").unwrap().1;
    fs::write(folder.path().join("podledger.toml"), rules).unwrap();
    assert!(text(&podledger(&folder, &["rules", "check"])).contains("ok: 2 rules"));
    assert!(podledger(&folder, &["build"]).status.success());
    let pipelines = text(&podledger(
        &folder,
        &[
            "sql",
            "--format",
            "csv",
            "select distinct pipeline from pods order by 1",
        ],
    ));
    assert_eq!(pipelines.lines().skip(1).collect::<Vec<_>>(), ["loader"]);

    fs::write(
        folder.path().join("podledger.toml"),
        rules.replacen("\"label\"", "\"lable\"", 1),
    )
    .unwrap();
    let wrong = podledger(&folder, &["rules", "check"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("no source `lable`"), "{}", text(&wrong));
}

#[test]
fn a_recorded_watch_ends_pods_and_broken_input_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = pod("a", &json!({}));
    running["status"]["phase"] = json!("Running");
    running["status"]["containerStatuses"][0]["state"] =
        json!({"running": {"startedAt": "2026-11-16T10:00:00Z"}});
    let event = |kind: &str, object: &serde_json::Value| json!({"type": kind, "object": object}).to_string();
    let recording = [
        event("ADDED", &node()),
        event("ADDED", &running),
        event(
            "BOOKMARK",
            &json!({"kind": "Pod", "metadata": {"resourceVersion": "5"}}),
        ),
        event("DELETED", &pod("a", &json!({}))),
    ];
    fs::write(folder.path().join("watch.json"), recording.join("\n")).unwrap();
    assert!(
        podledger(&folder, &["import", "kubernetes", "watch.json"])
            .status
            .success()
    );
    assert!(podledger(&folder, &["build"]).status.success());
    let ends = podledger(
        &folder,
        &[
            "sql",
            "--format",
            "csv",
            "select released_at, end_source, outcome from attempt_pods",
        ],
    );
    assert_eq!(
        text(&ends).lines().nth(1),
        Some("2026-11-16T11:00:00,container,succeeded")
    );

    for (input, expected) in [
        ("{\"kind\": \"List\", \"items\": [", "no whole JSON"),
        ("{\"kind\": \"Status\"}", "no Kubernetes object"),
        (
            "{\"kind\": \"List\", \"items\": []}",
            "shows no Kubernetes object",
        ),
        (
            "{\"type\": \"ERROR\", \"object\": {\"message\": \"too old resource version\"}}",
            "too old resource version",
        ),
        ("\u{1}\u{2}", "no"),
    ] {
        fs::write(folder.path().join("broken.json"), input).unwrap();
        let refused = podledger(&folder, &["import", "kubernetes", "broken.json"]);
        assert_eq!(refused.status.code(), Some(1), "{input}");
        let said = text(&refused);
        assert!(
            said.contains("nothing was written") && said.contains(expected),
            "{input}: {said}"
        );
    }
}
