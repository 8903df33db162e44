//! Writes: what becomes of objects, and who comes too late.

use std::time::Duration;

use http::Method;
use podledger_simulator::ChangeKind::Added;
use podledger_simulator::api_server::ApiServer;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::*;

const PODS: &str = "/api/v1/namespaces/jobs/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/jobs/leases";
const MERGE: &str = "application/merge-patch+json";

async fn post(server: &ApiServer, path: &str, body: Value) -> (u16, Value) {
    send(server, Method::POST, path, JSON, body).await
}

async fn put(server: &ApiServer, path: &str, body: Value) -> (u16, Value) {
    send(server, Method::PUT, path, JSON, body).await
}

async fn patch(server: &ApiServer, path: &str, body: Value) -> (u16, Value) {
    send(server, Method::PATCH, path, MERGE, body).await
}

async fn delete(server: &ApiServer, path: &str) -> (u16, Value) {
    send(server, Method::DELETE, path, JSON, json!({})).await
}

fn new_pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "job-"},
        "spec": {"containers": [{"name": "main"}]}, "status": {"phase": "Running"},
    })
}

#[tokio::test(start_paused = true)]
async fn the_server_names_and_dates_what_is_made() {
    let server = server();
    sleep(Duration::from_millis(61_500)).await;
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true").await;
    let (code, made) = post(&server, PODS, new_pod()).await;
    assert_eq!(code, 201);
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("job-") && name.len() == 9);
    assert_eq!(made["metadata"]["namespace"], "jobs");
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-11-16T00:01:01Z");
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    // Nobody makes a pod that runs already.
    assert_eq!(made["status"], json!({"phase": "Pending"}));
    watch.expect("ADDED", name).await;
    let (code, status) = post(&server, PODS, made.clone()).await;
    assert_eq!((code, status["reason"].as_str()), (400, Some("BadRequest")));
    let mut again = new_pod();
    again["metadata"]["name"] = name.into();
    let (code, status) = post(&server, PODS, again).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("AlreadyExists")));
    let nameless = json!({"metadata": {}, "spec": {}});
    assert_eq!(post(&server, PODS, nameless).await.0, 422);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}});
    assert_eq!(post(&server, PODS, job).await.0, 400);
    assert_eq!(
        post(&server, &format!("{PODS}?dryRun=All"), new_pod()).await.0,
        201
    );
    assert_eq!(get(&server, PODS).await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_write_one_is_too_late() {
    let server = server();
    let lease = |holder: &str| json!({"metadata": {"name": "collector"}, "spec": {"holderIdentity": holder}});
    let (_, made) = post(&server, LEASES, lease("first")).await;
    let path = format!("{LEASES}/collector");
    let mut renewed = made.clone();
    renewed["spec"]["renewTime"] = "2026-11-16T00:00:10.000000Z".into();
    let (code, renewed) = put(&server, &path, renewed).await;
    assert_eq!((code, version(&renewed) > version(&made)), (200, true));
    let (code, status) = put(&server, &path, made.clone()).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("Operation cannot be fulfilled on leases.coordination.k8s.io \"collector\": ")
    );
    // Who does not say what was read is refused, but for patches.
    assert_eq!(put(&server, &path, lease("second")).await.0, 422);
    let stale =
        json!({"metadata": {"resourceVersion": version(&made)}, "spec": {"holderIdentity": "second"}});
    assert_eq!(patch(&server, &path, stale).await.0, 409);
    let (_, taken) = patch(&server, &path, json!({"spec": {"holderIdentity": "second"}})).await;
    assert_eq!(taken["spec"]["renewTime"], renewed["spec"]["renewTime"]);
    assert_eq!(taken["metadata"]["uid"], made["metadata"]["uid"]);
    // What changes nothing is no write.
    let (_, same) = patch(&server, &path, json!({"spec": {"holderIdentity": "second"}})).await;
    assert_eq!(version(&same), version(&taken));
    let (_, removed) = patch(&server, &path, json!({"spec": {"renewTime": null}})).await;
    assert_eq!(removed["spec"], json!({"holderIdentity": "second"}));
    let (code, status) = delete(&server, &path).await;
    assert_eq!((code, status["status"].as_str()), (200, Some("Success")));
    assert_eq!(put(&server, &path, lease("third")).await.0, 201);
}

#[tokio::test(start_paused = true)]
async fn status_and_the_rest_are_written_apart() {
    let server = server();
    feed(&server, Added, pod("first", "a", "Running"));
    let path = format!("{PODS}/first");
    let both = json!({"metadata": {"labels": {"new": "yes"}}, "status": {"phase": "Failed"}});
    let (_, changed) = patch(&server, &path, both.clone()).await;
    assert_eq!(
        (&changed["metadata"]["labels"]["new"], &changed["status"]["phase"]),
        (&"yes".into(), &"Running".into())
    );
    let mut other = both;
    other["metadata"]["labels"]["new"] = "no".into();
    let (code, changed) = patch(&server, &format!("{path}/status"), other).await;
    assert_eq!(code, 200);
    assert_eq!(
        (&changed["metadata"]["labels"]["new"], &changed["status"]["phase"]),
        (&"yes".into(), &"Failed".into())
    );
    let mut sent = changed.clone();
    sent["status"]["phase"] = "Succeeded".into();
    sent["spec"]["nodeName"] = "b".into();
    let (_, changed) = put(&server, &format!("{path}/status"), sent).await;
    assert_eq!(
        (&changed["spec"]["nodeName"], &changed["status"]["phase"]),
        (&"a".into(), &"Succeeded".into())
    );
    let steps = json!([{"op": "test", "path": "/spec/nodeName", "value": "a"}, {"op": "remove", "path": "/metadata/labels/new"}]);
    let (_, changed) = send(
        &server,
        Method::PATCH,
        &path,
        "application/json-patch+json",
        steps,
    )
    .await;
    assert_eq!(changed["metadata"]["labels"], json!({"app": "first"}));
    assert_eq!(send(&server, Method::PATCH, &path, JSON, json!({})).await.0, 415);
    assert_eq!(patch(&server, &format!("{PODS}/none"), json!({})).await.0, 404);
    assert_eq!(send(&server, Method::POST, &path, JSON, json!({})).await.0, 405);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let server = server();
    let (_, made) = post(&server, PODS, new_pod()).await;
    let name = made["metadata"]["name"].as_str().unwrap();
    let binding = |node: &str| json!({"target": {"kind": "Node", "name": node}});
    let path = format!("{PODS}/{name}/binding");
    assert_eq!(post(&server, &path, binding("a")).await.0, 201);
    let (_, bound) = get(&server, &format!("{PODS}/{name}")).await;
    assert_eq!(bound["spec"]["nodeName"], "a");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(
        bound["status"]["conditions"][0]["lastTransitionTime"],
        "2026-11-16T00:00:00Z"
    );
    let (code, status) = post(&server, &path, binding("b")).await;
    assert_eq!(code, 409);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .ends_with("is already assigned to node \"a\"")
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_has_time_to_end() {
    let server = server();
    feed(&server, Added, pod("bound", "a", "Running"));
    feed(&server, Added, pod("waiting", "", "Pending"));
    feed(&server, Added, pod("over", "a", "Succeeded"));
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true&resourceVersion=1003").await;
    let (code, ending) = delete(&server, &format!("{PODS}/bound")).await;
    assert_eq!(
        (code, &ending["metadata"]["deletionTimestamp"]),
        (200, &"2026-11-16T00:00:30Z".into())
    );
    watch.expect("MODIFIED", "bound").await;
    for name in ["waiting", "over"] {
        delete(&server, &format!("{PODS}/{name}")).await;
        watch.expect("DELETED", name).await;
    }
    // The end comes sooner, not later.
    let (_, ending) = delete(&server, &format!("{PODS}/bound?gracePeriodSeconds=60")).await;
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    let (_, ending) = delete(&server, &format!("{PODS}/bound?gracePeriodSeconds=5")).await;
    assert_eq!(ending["metadata"]["deletionTimestamp"], "2026-11-16T00:00:05Z");
    watch.expect("MODIFIED", "bound").await;
    delete(&server, &format!("{PODS}/bound?gracePeriodSeconds=0")).await;
    watch.expect("DELETED", "bound").await;
    assert_eq!(delete(&server, &format!("{PODS}/bound")).await.0, 404);
    let other = json!({"preconditions": {"uid": "another"}});
    feed(&server, Added, pod("named", "a", "Running"));
    let refused = send(&server, Method::DELETE, &format!("{PODS}/named"), JSON, other).await;
    assert_eq!(refused.0, 409);
}

#[tokio::test(start_paused = true)]
async fn what_has_finalizers_stays_until_they_are_gone() {
    let server = server();
    let path = "/apis/batch/v1/namespaces/jobs/jobs";
    let job = json!({"metadata": {"name": "first", "finalizers": ["example.com/done"]}, "spec": {}});
    post(&server, path, job).await;
    let job = format!("{path}/first");
    let (_, ending) = delete(&server, &job).await;
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(get(&server, &job).await.0, 200);
    patch(&server, &job, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(get(&server, &job).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_selected_is_deleted_at_once() {
    let server = server();
    for name in ["first", "second", "third"] {
        feed(&server, Added, pod(name, "", "Pending"));
    }
    delete(&server, &format!("{PODS}?labelSelector=app!=second")).await;
    assert_eq!(names(&get(&server, PODS).await.1), ["second"]);
}
