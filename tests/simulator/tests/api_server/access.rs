//! Who may do what.

use axum::body::Body;
use http::Request;
use podledger_simulator::ChangeKind::Added;
use podledger_simulator::api_server::{Access, ApiServer, Settings};
use serde_json::Value;

use crate::harness::*;

const MANIFEST: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: collector, namespace: podledger}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: collector}
rules:
  - {apiGroups: [""], resources: [pods, nodes/proxy], verbs: [get, list, watch]}
  - {apiGroups: [batch], resources: ["*"], verbs: [list]}
  - {apiGroups: [""], resources: [namespaces], verbs: [get, list], resourceNames: [kube-system]}
  - {nonResourceURLs: [/metrics, /logs/*], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: collector}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: collector}
subjects: [{kind: ServiceAccount, name: collector, namespace: podledger}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: collector, namespace: podledger}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: collector, namespace: podledger}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: collector}
subjects: [{kind: ServiceAccount, name: collector, namespace: podledger}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: collector, namespace: podledger}
"#;

fn guarded() -> ApiServer {
    ApiServer::new(Settings {
        access: Some(Access::from_yaml(MANIFEST).unwrap()),
        ..settings()
    })
}

async fn asked(server: &ApiServer, token: Option<&str>, path: &str) -> (u16, Value) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    read(ask(server, request.body(Body::empty()).unwrap()).await).await
}

#[tokio::test(start_paused = true)]
async fn only_what_is_granted_is_done() {
    let server = guarded();
    feed(&server, Added, pod("first", "a", "Running"));
    for (path, expected) in [
        ("/api/v1/pods", 200),
        ("/api/v1/namespaces/jobs/pods/first", 200),
        ("/api/v1/namespaces/jobs/pods/first/status", 403),
        ("/api/v1/nodes", 403),
        ("/api/v1/nodes/a/proxy", 404),
        ("/apis/batch/v1/jobs", 200),
        ("/apis/batch/v1/namespaces/jobs/jobs/first", 403),
        ("/api/v1/namespaces", 403),
        (
            "/api/v1/namespaces?fieldSelector=metadata.name%3Dkube-system",
            200,
        ),
        ("/api/v1/namespaces/kube-system", 404),
        ("/api/v1/namespaces/default", 403),
        ("/apis/coordination.k8s.io/v1/namespaces/podledger/leases", 200),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", 403),
        ("/apis/coordination.k8s.io/v1/leases", 403),
        ("/version", 200),
        ("/apis", 200),
        ("/healthz", 200),
        ("/metrics", 404),
        ("/logs/kubelet", 404),
        ("/debug", 403),
    ] {
        let (code, answer) = asked(&server, Some("system:serviceaccount:podledger:collector"), path).await;
        assert_eq!(code, expected, "{path}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_was_asked_by_whom() {
    let server = guarded();
    let token = Some("system:serviceaccount:podledger:collector");
    let (_, status) = asked(&server, token, "/api/v1/nodes").await;
    assert_eq!(
        status["message"],
        "nodes is forbidden: User \"system:serviceaccount:podledger:collector\" cannot list resource \"nodes\" in API group \
         \"\" at the cluster scope"
    );
    assert_eq!(
        (&status["reason"], &status["code"]),
        (&"Forbidden".into(), &403.into())
    );
    let (_, status) = asked(&server, token, "/apis/batch/v1/namespaces/jobs/jobs/first").await;
    assert_eq!(
        status["message"],
        "jobs.batch \"first\" is forbidden: User \"system:serviceaccount:podledger:collector\" cannot get resource \"jobs\" \
         in API group \"batch\" in the namespace \"jobs\""
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_not_known_gets_nothing() {
    let server = guarded();
    for token in [
        None,
        Some("secret"),
        Some("system:serviceaccount:podledger:other"),
    ] {
        for path in ["/api/v1/pods", "/version"] {
            let (code, status) = asked(&server, token, path).await;
            assert_eq!(
                (code, status["reason"].as_str()),
                (401, Some("Unauthorized")),
                "{token:?} {path}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_is_known_afterwards() {
    let server = server();
    for path in [
        "/api/v1/pods",
        "/api/v1/pods?watch=true&timeoutSeconds=1",
        "/api/v1/namespaces/jobs/pods/a/status",
    ] {
        get(&server, path).await;
    }
    let uses: Vec<String> = server
        .uses()
        .into_iter()
        .map(|used| {
            let (namespace, name) = (used.namespace.unwrap_or_default(), used.name.unwrap_or_default());
            format!(
                "{} {} {} {namespace}/{name}",
                used.verb,
                used.resource,
                used.subresource.unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(uses, ["get pods status jobs/a", "list pods  /", "watch pods  /"]);
}

#[test]
fn a_manifest_that_does_not_hold_together_is_refused() {
    let missing = MANIFEST.replace(
        "kind: ClusterRole, name: collector",
        "kind: ClusterRole, name: other",
    );
    let error = Access::from_yaml(&missing).unwrap_err();
    assert_eq!(
        error,
        "binding collector is of ClusterRole other, which is not in the manifest"
    );
    assert!(
        Access::from_yaml("a: [")
            .unwrap_err()
            .starts_with("cannot read the manifest")
    );
}
