//! The same steps against the simulated API server and, where `PODLEDGER_TEST_KUBECONFIG` names one, against a real one: nodes and
//! pods are made as objects, their status is written as a kubelet would, they are deleted, and what was collected is held
//! against what was done. No kubelet is needed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use podledger_collector::live::{Clock, Collection, Figures, Settings};
use podledger_simulator::{ApiServer, Change, ChangeKind, Object};
use podledger_sql::intake::Intake;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{begin, client, in_simulated_time, settings, start};
use crate::harness::World;

/// Pods of the suite.
const PODS: usize = 6;

/// What was done to a pod.
struct Done {
    uid: String,
    millicores: i64,
    outcome: &'static str,
    created_at: Timestamp,
    deleted_at: Timestamp,
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Makes, runs and deletes nodes and pods; waits `pause` between steps, so that times of whole seconds differ.
async fn work(
    client: &Client,
    name: &str,
    now: &(dyn Fn() -> Timestamp + Sync),
    pause: Duration,
) -> Vec<Done> {
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    let (post, patch) = (PostParams::default(), PatchParams::default());
    let node: Node = object(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "node.kubernetes.io/instance-type": "m5.xlarge", "topology.kubernetes.io/region": "us-east-1"}},
        "spec": {"unschedulable": true},
    }));
    nodes.create(&post, &node).await.unwrap();
    let status = json!({"status": {
        "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
        "allocatable": {"cpu": "3900m", "memory": "15Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastTransitionTime": now(), "lastHeartbeatTime": now()}],
    }});
    nodes
        .patch_status(name, &patch, &Patch::Merge(&status))
        .await
        .unwrap();
    let mut done = Vec::new();
    for number in 0..PODS {
        let millicores = 100 * (i64::try_from(number).unwrap() + 1);
        let pod_name = format!("pod-{number}");
        let pod: Pod = object(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod_name, "labels": {"app": "podledger-test"}},
            "spec": {
                "nodeName": name, "restartPolicy": "Never", "automountServiceAccountToken": false,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "main", "image": "example.invalid/none",
                    "resources": {"requests": {"cpu": format!("{millicores}m"), "memory": "64Mi"}}}],
            },
        }));
        let created = pods.create(&post, &pod).await.unwrap();
        let created_at = created.metadata.creation_timestamp.clone().unwrap().0;
        tokio::time::sleep(pause).await;
        let fails = number % 3 == 2;
        let started_at = now();
        let running = json!({"status": {"phase": "Running", "startTime": created_at, "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": started_at}}}]}});
        pods.patch_status(&pod_name, &patch, &Patch::Merge(&running))
            .await
            .unwrap();
        tokio::time::sleep(pause).await;
        let exit = i32::from(fails);
        let over = json!({"status": {"phase": if fails { "Failed" } else { "Succeeded" }, "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit, "startedAt": started_at, "finishedAt": now(), "reason":
                if fails { "Error" } else { "Completed" }}}}]}});
        // Every other pod is deleted while it runs.
        let is_cut = number % 2 == 1;
        if !is_cut {
            pods.patch_status(&pod_name, &patch, &Patch::Merge(&over))
                .await
                .unwrap();
            tokio::time::sleep(pause).await;
        }
        pods.delete(&pod_name, &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
        done.push(Done {
            uid: created.metadata.uid.unwrap(),
            millicores,
            outcome: match (is_cut, fails) {
                (true, _) => "unknown",
                (false, true) => "failed",
                (false, false) => "succeeded",
            },
            created_at,
            deleted_at: now(),
        });
    }
    nodes
        .delete(name, &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    done
}

/// Collects while the work is done, and holds what was collected against it.
async fn suite(
    world: &World,
    client: Client,
    now: fn(&ApiServer) -> Timestamp,
    server: ApiServer,
    pause: Duration,
) {
    let name = format!("podledger-test-{}", now(&server).as_millisecond());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace =
        object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let figures = Figures::default();
    let clock = server.clone();
    let running = begin(Collection {
        kubelets: None,
        client: client.clone(),
        name: "test".to_owned(),
        settings: Arc::new(Settings {
            commit_every: Duration::from_secs(1),
            ..settings(world)
        }),
        store: Arc::new(Intake::open(&world.folder.path().join("intake.duckdb"), now(&server)).unwrap()),
        lake: world.lake(),
        bucket: None,
        clock: Clock::new(move || now(&clock)),
        figures: figures.clone(),
    });
    while !figures.is_observed("test") {
        assert!(!running.ended.is_finished(), "{:?}", running.ended.await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let done = work(&client, &name, &|| now(&server), pause).await;
    let worked_until = now(&server);
    // Bookmarks come every minute or so.
    while figures
        .observed_through("test")
        .is_none_or(|through| through < worked_until)
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    running.stop().await;
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();

    world.build(true);
    for done in done {
        let rows = world.rows(&format!(
            "select cpu_request_millicores, outcome, bound_ms // 1000, released_ms // 1000, machine is not null \
             from marts.pods where pod_uid = '{}'",
            done.uid
        ));
        assert_eq!(rows.len(), 1, "{}: {rows:?}", done.uid);
        let row = &rows[0];
        let row: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(row[0], done.millicores.to_string());
        assert!(row[1] == done.outcome || done.outcome == "unknown", "{row:?}");
        let (bound, released): (i64, i64) = (row[2].parse().unwrap(), row[3].parse().unwrap());
        // A clock of another machine may differ by seconds.
        assert!((bound - done.created_at.as_second()).abs() <= 3, "{row:?}");
        assert!(
            released >= bound && released <= done.deleted_at.as_second() + 3,
            "{row:?}"
        );
        assert_eq!(row[4], "true");
    }
}

#[test]
fn what_is_done_to_the_simulated_cluster_is_what_is_collected() {
    let world = World::new();
    in_simulated_time(async {
        let server = ApiServer::new(podledger_simulator::Settings::new(start()));
        let kube_system = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "kube-system", "uid": "00000000-0000-4000-8000-000000000001", "creationTimestamp": start()}});
        server.feed(&Change {
            at_ms: start().as_millisecond(),
            kind: ChangeKind::Added,
            object: Object::Other(Box::new(kube_system)),
        });
        suite(
            &world,
            client(&server, None),
            ApiServer::now,
            server.clone(),
            Duration::from_secs(2),
        )
        .await;
    });
}

#[test]
fn what_is_done_to_a_real_cluster_is_what_is_collected() {
    let Some(path) = std::env::var_os("PODLEDGER_TEST_KUBECONFIG") else {
        eprintln!("SKIPPED: PODLEDGER_TEST_KUBECONFIG names no kubeconfig of a cluster to test with");
        return;
    };
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        // The simulated server lends its type only: time is the system's.
        let unused = ApiServer::new(podledger_simulator::Settings::new(start()));
        suite(
            &world,
            client,
            |_| Timestamp::now(),
            unused,
            Duration::from_secs(2),
        )
        .await;
    });
}
