//! Lists, single objects, and what there is to list.

use std::time::Duration;

use podledger_simulator::ChangeKind::{Added, Deleted, Modified};
use podledger_simulator::api_server::{ApiServer, Fault, Settings};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::*;

fn with_pods(count: usize) -> ApiServer {
    let server = server();
    for number in 0..count {
        feed(&server, Added, pod(&format!("pod-{number}"), "a", "Running"));
    }
    server
}

async fn selected(server: &ApiServer, query: &str) -> Vec<String> {
    let (code, list) = get(server, &format!("/api/v1/pods?{query}")).await;
    assert_eq!(code, 200, "{list}");
    names(&list).into_iter().map(str::to_owned).collect()
}

fn next(list: &Value) -> String {
    let token = list["metadata"]["continue"].as_str().unwrap();
    token.replace('{', "%7B").replace('}', "%7D").replace('"', "%22")
}

#[tokio::test(start_paused = true)]
async fn pages_are_of_one_moment() {
    let server = with_pods(5);
    let (_, first) = get(&server, "/api/v1/pods?limit=2").await;
    assert_eq!(names(&first), ["pod-0", "pod-1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    feed(&server, Deleted, pod("pod-3", "a", "Running"));
    feed(&server, Added, pod("pod-9", "a", "Running"));
    let (_, second) = get(
        &server,
        &format!("/api/v1/pods?limit=2&continue={}", next(&first)),
    )
    .await;
    assert_eq!(names(&second), ["pod-2", "pod-3"]);
    let (_, third) = get(
        &server,
        &format!("/api/v1/pods?limit=2&continue={}", next(&second)),
    )
    .await;
    assert_eq!(names(&third), ["pod-4"]);
    assert_eq!(third["metadata"].get("continue"), None);
    for page in [&second, &third] {
        assert_eq!(version(page), version(&first));
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_expired_says_how_to_go_on() {
    let server = with_pods(5);
    let (_, first) = get(&server, "/api/v1/pods?limit=2").await;
    sleep(Duration::from_secs(299)).await;
    let second = format!("/api/v1/pods?limit=2&continue={}", next(&first));
    assert_eq!(get(&server, &second).await.0, 200);
    sleep(Duration::from_secs(1)).await;
    let (code, status) = get(&server, &second).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    feed(&server, Deleted, pod("pod-3", "a", "Running"));
    let (_, rest) = get(&server, &format!("/api/v1/pods?continue={}", next(&status))).await;
    assert_eq!(names(&rest), ["pod-2", "pod-4"]);
    let (_, first) = get(&server, "/api/v1/pods?limit=1").await;
    server.fault(Fault::ForgetHistory);
    let (code, _) = get(&server, &format!("/api/v1/pods?continue={}", next(&first))).await;
    assert_eq!(code, 410);
}

#[tokio::test(start_paused = true)]
async fn lists_are_of_the_version_that_is_asked_for() {
    let server = with_pods(2);
    let (_, before) = get(&server, "/api/v1/pods").await;
    feed(&server, Modified, pod("pod-0", "a", "Succeeded"));
    feed(&server, Deleted, pod("pod-1", "a", "Running"));
    feed(&server, Added, pod("pod-2", "a", "Running"));
    let path = format!("/api/v1/pods?resourceVersion={}", version(&before));
    let (_, exact) = get(&server, &format!("{path}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact, before);
    let (_, newer) = get(&server, &format!("{path}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(names(&newer), ["pod-0", "pod-2"]);
    // Whoever takes any version gets all of it.
    let (_, any) = get(&server, "/api/v1/pods?resourceVersion=0&limit=1").await;
    assert_eq!(names(&any), ["pod-0", "pod-2"]);
    let (code, status) = get(&server, "/api/v1/pods?resourceVersion=999999").await;
    assert_eq!((code, status["reason"].as_str()), (504, Some("Timeout")));
    server.fault(Fault::ForgetHistory);
    assert_eq!(
        get(&server, &format!("{path}&resourceVersionMatch=Exact"))
            .await
            .0,
        410
    );
    assert_eq!(
        get(&server, "/api/v1/pods?resourceVersionMatch=Exact").await.0,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn selectors_select() {
    let server = with_pods(3);
    feed(&server, Added, pod("other", "b", "Pending"));
    let mut elsewhere = pod("elsewhere", "b", "Running");
    elsewhere["metadata"]["namespace"] = "services".into();
    elsewhere["metadata"]["labels"] = Value::Null;
    feed(&server, Added, elsewhere);
    for (query, expected) in [
        ("labelSelector=app%3Dpod-1", vec!["pod-1"]),
        ("labelSelector=app%3D%3Dpod-1", vec!["pod-1"]),
        ("labelSelector=app!=pod-1,app", vec!["other", "pod-0", "pod-2"]),
        ("labelSelector=app+in+(pod-0,+other)", vec!["other", "pod-0"]),
        (
            "labelSelector=app+notin+(pod-0,other)",
            vec!["pod-1", "pod-2", "elsewhere"],
        ),
        ("labelSelector=!app", vec!["elsewhere"]),
        ("fieldSelector=spec.nodeName%3Db", vec!["other", "elsewhere"]),
        ("fieldSelector=status.phase!%3DRunning", vec!["other"]),
        (
            "fieldSelector=metadata.name%3Dpod-2,metadata.namespace%3Djobs",
            vec!["pod-2"],
        ),
        (
            "fieldSelector=status.phase%3DRunning&labelSelector=!app",
            vec!["elsewhere"],
        ),
    ] {
        assert_eq!(selected(&server, query).await, expected, "{query}");
    }
    let (_, list) = get(&server, "/api/v1/namespaces/services/pods").await;
    assert_eq!(names(&list), ["elsewhere"]);
    let (code, status) = get(&server, "/api/v1/pods?fieldSelector=spec.hostname%3Da").await;
    assert_eq!(code, 400);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .ends_with("field label not supported: spec.hostname")
    );
    assert_eq!(get(&server, "/api/v1/pods?labelSelector=a+b").await.0, 400);
    // What is selected is not counted.
    let (_, page) = get(&server, "/api/v1/pods?limit=1&labelSelector=app").await;
    assert!(page["metadata"]["continue"].is_string() && page["metadata"].get("remainingItemCount").is_none());
}

#[tokio::test(start_paused = true)]
async fn objects_have_the_forms_that_are_asked_for() {
    let server = with_pods(1);
    let (_, list) = get_as(
        &server,
        "/api/v1/pods",
        &METADATA.replace("Metadata;", "MetadataList;"),
    )
    .await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0].get("spec"), None);
    let (_, object) = get_as(&server, "/api/v1/namespaces/jobs/pods/pod-0", METADATA).await;
    assert_eq!(object["metadata"]["uid"], "uid-pod-0");
    // Items of Kubernetes' own lists do not say what they are; those of others do.
    let (_, list) = get(&server, "/api/v1/pods").await;
    assert_eq!(
        (list["kind"].as_str(), list["items"][0].get("kind")),
        (Some("PodList"), None)
    );
    let claim =
        json!({"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a", "uid": "a"}});
    feed(&server, Added, claim);
    let (_, list) = get(&server, "/apis/karpenter.sh/v1/nodeclaims").await;
    assert_eq!(list["items"][0]["kind"], "NodeClaim");
    let (code, _) = get_as(&server, "/api/v1/pods", "application/vnd.kubernetes.protobuf").await;
    assert_eq!(code, 406);
}

#[tokio::test(start_paused = true)]
async fn tables_say_what_kubectl_shows() {
    let server = server();
    let state = |state: Value, ready: bool| json!([{"name": "main", "ready": ready, "restartCount": 0, "state": state}]);
    for (name, phase, statuses, expected) in [
        ("pending", "Pending", json!([]), "Pending"),
        (
            "creating",
            "Pending",
            state(json!({"waiting": {"reason": "ContainerCreating"}}), false),
            "ContainerCreating",
        ),
        (
            "running",
            "Running",
            state(json!({"running": {}}), true),
            "Running",
        ),
        (
            "killed",
            "Failed",
            state(
                json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}}),
                false,
            ),
            "OOMKilled",
        ),
        (
            "done",
            "Succeeded",
            state(
                json!({"terminated": {"reason": "Completed", "exitCode": 0}}),
                false,
            ),
            "Completed",
        ),
        (
            "ending",
            "Running",
            state(json!({"running": {}}), true),
            "Terminating",
        ),
    ] {
        let mut pod = pod(name, "a", phase);
        pod["metadata"]["creationTimestamp"] = "2026-11-15T23:57:55Z".into();
        pod["status"]["containerStatuses"] = statuses;
        if expected == "Terminating" {
            pod["metadata"]["deletionTimestamp"] = "2026-11-16T00:00:30Z".into();
        }
        feed(&server, Added, pod);
        let (_, table) = get_as(&server, &format!("/api/v1/namespaces/jobs/pods/{name}"), TABLE).await;
        assert_eq!(table["kind"], "Table");
        let cells = &table["rows"][0]["cells"];
        assert_eq!((&cells[0], &cells[2]), (&name.into(), &expected.into()));
        let ready = if phase == "Running" { "1/1" } else { "0/1" };
        assert_eq!(
            (&cells[1], &cells[4], &cells[6]),
            (&ready.into(), &"2m5s".into(), &"a".into())
        );
    }
    let (_, table) = get_as(&server, "/api/v1/pods", TABLE).await;
    assert_eq!(table["rows"].as_array().unwrap().len(), 6);
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|column| column["priority"] == 0)
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Ready", "Status", "Restarts", "Age"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found() {
    let server = server();
    let (code, status) = get(&server, "/apis/batch/v1/namespaces/jobs/jobs/none").await;
    assert_eq!(code, 404);
    assert_eq!(status["message"], "jobs.batch \"none\" not found");
    assert_eq!(
        status["details"],
        json!({"name": "none", "group": "batch", "kind": "jobs"})
    );
    for path in [
        "/api/v1/nothings",
        "/api/v1/pods/none",
        "/apis/none/v1",
        "/api/v1/namespaces/a/pods/b/log",
        "/metrics",
    ] {
        assert_eq!(get(&server, path).await.0, 404, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_fed_is_discovered() {
    let server = server();
    let object = json!({
        "apiVersion": "example.com/v2", "kind": "Policy", "metadata": {"name": "a", "namespace": "jobs", "uid": "a"},
    });
    feed(&server, Added, object);
    let (_, groups) = get(&server, "/apis").await;
    let found = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["name"] == "example.com");
    assert_eq!(
        found.unwrap()["preferredVersion"]["groupVersion"],
        "example.com/v2"
    );
    let (_, resources) = get(&server, "/apis/example.com/v2").await;
    assert_eq!(resources["resources"][0]["name"], "policies");
    let (_, list) = get(&server, "/apis/example.com/v2/policies").await;
    assert_eq!(names(&list), ["a"]);
    let (_, core) = get(&server, "/api/v1").await;
    let pods = core["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|resource| resource["name"] == "pods");
    assert_eq!(pods.unwrap()["shortNames"], json!(["po"]));
    assert_eq!(get(&server, "/version").await.1["gitVersion"], "v1.37.0");
}

#[tokio::test(start_paused = true)]
async fn groups_are_discovered_at_once_where_the_server_can() {
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let (_, groups) = get_as(&server(), "/apis", accept).await;
    assert_eq!(groups["kind"], "APIGroupDiscoveryList");
    let batch = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["metadata"]["name"] == "batch");
    assert_eq!(batch.unwrap()["versions"][0]["resources"][1]["resource"], "jobs");
    let older = ApiServer::new(Settings {
        has_aggregated_discovery: false,
        ..settings()
    });
    assert_eq!(get_as(&older, "/apis", accept).await.1["kind"], "APIGroupList");
}
