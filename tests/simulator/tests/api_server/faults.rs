//! What goes wrong, one by one.

use axum::body::Body;
use http::Request;
use podledger_simulator::ChangeKind::{Added, Modified};
use podledger_simulator::api_server::Fault;
use tokio::time::Duration;

use crate::harness::*;

const PODS: &str = "/api/v1/pods";

#[tokio::test(start_paused = true)]
async fn forgotten_history_cannot_be_resumed_but_open_watches_go_on() {
    let server = server();
    let (_, list) = get(&server, PODS).await;
    let path = format!("{PODS}?watch=true&resourceVersion={}", version(&list));
    let mut open = Watch::open(&server, &path).await;
    feed(&server, Added, pod("first", "a", "Running"));
    server.fault(Fault::ForgetHistory);
    open.expect("ADDED", "first").await;
    let error = Watch::open(&server, &path).await.next().await.unwrap();
    assert_eq!(error["object"]["code"], 410);
    let (_, list) = get(&server, PODS).await;
    let path = format!("{PODS}?watch=true&resourceVersion={}", version(&list));
    let mut again = Watch::open(&server, &path).await;
    feed(&server, Added, pod("second", "a", "Running"));
    again.expect("ADDED", "second").await;
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_are_refused() {
    let server = server();
    server.fault(Fault::Throttle {
        requests: 2,
        retry_after_secs: 3,
    });
    for _ in 0..2 {
        let response = ask(&server, Request::get(PODS).body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["retry-after"], "3");
        let (code, status) = read(response).await;
        assert_eq!((code, status["reason"].as_str()), (429, Some("TooManyRequests")));
    }
    assert_eq!(get(&server, PODS).await.0, 200);
    server.fault(Fault::Unavailable { requests: 1 });
    // Whoever asks whether it lives is not turned away.
    assert_eq!(get(&server, "/healthz").await.0, 200);
    assert_eq!(get(&server, "/version").await.0, 503);
    assert_eq!(get(&server, PODS).await.0, 200);
    server.fault(Fault::Unavailable { requests: 100 });
    server.lift();
    assert_eq!(get(&server, PODS).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn watches_are_closed_without_a_word() {
    let server = server();
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true").await;
    feed(&server, Added, pod("first", "a", "Running"));
    watch.expect("ADDED", "first").await;
    server.fault(Fault::CloseWatches);
    assert_eq!((watch.next().await, watch.is_broken), (None, false));
    Watch::open(&server, "/api/v1/pods?watch=true")
        .await
        .expect("ADDED", "first")
        .await;
}

#[tokio::test(start_paused = true)]
async fn versions_run_backwards_and_watches_from_the_future_hear_nothing() {
    let server = server();
    for number in 0..10 {
        feed(&server, Added, pod(&format!("pod-{number}"), "a", "Running"));
    }
    let (_, before) = get(&server, PODS).await;
    let number = |list| version(list).parse::<u64>().unwrap();
    let path = format!(
        "{PODS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=100&resourceVersion={}",
        version(&before)
    );
    let mut watch = Watch::open(&server, &path).await;
    server.fault(Fault::RunBackwards);
    assert_eq!(watch.next().await, None);
    let (_, after) = get(&server, PODS).await;
    assert_eq!(names(&after), names(&before));
    assert_eq!(number(&after), number(&before) / 2);
    assert!(
        after["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| number(item) <= number(&after))
    );
    // As with Kubernetes: what happens has happened already, as far as this watch can tell.
    let mut future = Watch::open(&server, &path).await;
    feed(&server, Modified, pod("pod-0", "a", "Failed"));
    assert_eq!(future.next().await, None);
    let (code, _) = get(
        &server,
        &format!(
            "{PODS}?resourceVersionMatch=NotOlderThan&resourceVersion={}",
            version(&before)
        ),
    )
    .await;
    assert_eq!(code, 504);
    // From before the restore there is no history.
    let error = Watch::open(&server, &format!("{PODS}?watch=true&resourceVersion=400"))
        .await
        .next()
        .await;
    assert_eq!(error.unwrap()["object"]["code"], 410);
}

#[tokio::test(start_paused = true)]
async fn one_object_is_malformed_for_all_until_it_is_written_again() {
    let server = server();
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true").await;
    server.fault(Fault::Malformed {
        resource: "pods".to_owned(),
    });
    feed(&server, Added, pod("first", "a", "Running"));
    feed(&server, Added, pod("second", "a", "Running"));
    let told = watch.next().await.unwrap();
    assert_eq!(told["object"]["metadata"]["labels"], 7);
    assert_eq!(
        watch.next().await.unwrap()["object"]["metadata"]["labels"]["app"],
        "second"
    );
    let (_, list) = get(&server, PODS).await;
    assert_eq!(list["items"][0]["metadata"]["labels"], 7);
    // The server itself knows better.
    assert_eq!(
        names(&get(&server, "/api/v1/pods?labelSelector=app%3Dfirst").await.1),
        ["first"]
    );
    feed(&server, Modified, pod("first", "a", "Failed"));
    let (_, list) = get(&server, PODS).await;
    assert_eq!(list["items"][0]["metadata"]["labels"]["app"], "first");
}

#[tokio::test(start_paused = true)]
async fn a_watch_breaks_in_the_middle_of_a_line() {
    let server = server();
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true&resourceVersion=1000").await;
    feed(&server, Added, pod("first", "a", "Running"));
    feed(&server, Added, pod("second", "a", "Running"));
    server.fault(Fault::CutLine);
    watch.expect("ADDED", "first").await;
    assert_eq!((watch.next().await, watch.is_broken), (None, true));
    assert!(
        watch
            .rest()
            .starts_with(b"{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\"")
    );
    assert!(serde_json::from_slice::<serde_json::Value>(watch.rest()).is_err());
    // Only once.
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true&resourceVersion=1000").await;
    watch.expect("ADDED", "first").await;
    watch.expect("ADDED", "second").await;
}

#[tokio::test(start_paused = true)]
async fn silence_lasts_until_it_is_lifted() {
    let server = server();
    let path = "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=1000";
    let mut watch = Watch::open(&server, path).await;
    server.fault(Fault::Silence);
    feed(&server, Added, pod("first", "a", "Running"));
    let mut later = Watch::open(&server, "/api/v1/pods?watch=true").await;
    for watch in [&mut watch, &mut later] {
        let silent = tokio::time::timeout(Duration::from_secs(3600), watch.next()).await;
        assert!(silent.is_err());
    }
    server.lift();
    later.expect("ADDED", "first").await;
    watch.expect("ADDED", "first").await;
}
