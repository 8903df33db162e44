//! Watches: where they start, what they tell, how they end.

use std::time::Duration;

use podledger_simulator::ChangeKind::{Added, Bookmark, Deleted, Modified};
use podledger_simulator::api_server::{ApiServer, Settings};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::*;

const PODS: &str = "/api/v1/pods";

async fn watch_from(server: &ApiServer, version: &str) -> Watch {
    Watch::open(server, &format!("{PODS}?watch=true&resourceVersion={version}")).await
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_a_list_ended() {
    let server = server();
    feed(&server, Added, pod("first", "a", "Running"));
    let (_, list) = get(&server, PODS).await;
    feed(&server, Added, pod("second", "a", "Running"));
    let mut watch = watch_from(&server, version(&list)).await;
    watch.expect("ADDED", "second").await;
    feed(&server, Modified, pod("first", "a", "Succeeded"));
    watch.expect("MODIFIED", "first").await;
    feed(&server, Deleted, pod("first", "a", "Succeeded"));
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    // It bears the version of its deletion.
    let (_, list) = get(&server, PODS).await;
    assert_eq!(version(&deleted["object"]), version(&list));
    assert_eq!(names(&list), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_decides_whether_something_is_added() {
    let server = server();
    let mut watch = Watch::open(&server, "/api/v1/pods?watch=true").await;
    feed(&server, Modified, pod("unseen", "a", "Running"));
    watch.expect("ADDED", "unseen").await;
    feed(&server, Added, pod("unseen", "a", "Running"));
    watch.expect("MODIFIED", "unseen").await;
    feed(&server, Deleted, pod("never", "a", "Running"));
    feed(&server, Deleted, pod("unseen", "a", "Running"));
    watch.expect("DELETED", "unseen").await;
    // A name that came again is another object.
    feed(&server, Added, pod("again", "a", "Running"));
    let mut another = pod("again", "a", "Pending");
    another["metadata"]["uid"] = "uid-other".into();
    feed(&server, Added, another);
    watch.expect("ADDED", "again").await;
    watch.expect("DELETED", "again").await;
    watch.expect("ADDED", "again").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_before_the_history_is_told_that_it_expired() {
    let server = server();
    feed(&server, Added, pod("first", "a", "Running"));
    let (_, list) = get(&server, PODS).await;
    feed(&server, Added, pod("second", "a", "Running"));
    sleep(Duration::from_secs(75)).await;
    watch_from(&server, version(&list))
        .await
        .expect("ADDED", "second")
        .await;
    sleep(Duration::from_millis(1)).await;
    let mut watch = watch_from(&server, version(&list)).await;
    let error = watch.next().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    assert_eq!(error["object"]["code"], 410);
    assert_eq!(error["object"]["reason"], "Expired");
    let message = error["object"]["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("too old resource version: {} (", version(&list))));
    assert_eq!(watch.next().await, None);
    // Other kinds have lost nothing.
    let nodes = format!(
        "/api/v1/nodes?watch=true&timeoutSeconds=5&resourceVersion={}",
        version(&list)
    );
    assert_eq!(Watch::open(&server, &nodes).await.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_open_watch_loses_nothing_however_late_it_is_read() {
    let server = server();
    let (_, list) = get(&server, PODS).await;
    let mut watch = watch_from(&server, version(&list)).await;
    for number in 0..50 {
        feed(&server, Added, pod(&format!("pod-{number}"), "a", "Running"));
        sleep(Duration::from_secs(20)).await;
    }
    for number in 0..50 {
        watch.expect("ADDED", &format!("pod-{number}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_and_before_the_end() {
    let server = server();
    feed(&server, Added, pod("first", "a", "Running"));
    let (_, list) = get(&server, PODS).await;
    let path = format!(
        "{PODS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=150&resourceVersion={}",
        version(&list)
    );
    let (mut watch, start) = (Watch::open(&server, &path).await, Instant::now());
    for seconds in [60, 120, 148] {
        let bookmark = watch.next().await.unwrap();
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["kind"], "Pod");
        assert_eq!(version(&bookmark["object"]), version(&list));
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
    assert_eq!(watch.next().await, None);
    assert_eq!(start.elapsed().as_secs(), 150);
    // Nobody who did not ask gets one.
    let path = format!(
        "{PODS}?watch=true&timeoutSeconds=150&resourceVersion={}",
        version(&list)
    );
    assert_eq!(Watch::open(&server, &path).await.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_lets_a_quiet_watch_resume_after_the_history_is_gone() {
    let server = server();
    let (_, list) = get(&server, PODS).await;
    let path = format!(
        "{PODS}?watch=true&allowWatchBookmarks=true&resourceVersion={}",
        version(&list)
    );
    let mut watch = Watch::open(&server, &path).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "uid": "a"}});
    feed(&server, Added, node);
    let bookmark = watch.next().await.unwrap();
    assert!(version(&bookmark["object"]) > version(&list));
    feed(&server, Added, pod("late", "a", "Running"));
    drop(watch);
    let mut watch = watch_from(&server, version(&bookmark["object"])).await;
    watch.expect("ADDED", "late").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_timeout_ends_after_half_an_hour_to_an_hour() {
    let server = server();
    let mut ends = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(watch_from(&server, "1000").await.next().await, None);
        ends.push(start.elapsed());
    }
    assert!(ends.iter().all(|end| (1800..=3600).contains(&end.as_secs())));
    assert!(ends.windows(2).any(|pair| pair[0] != pair[1]));
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_tells_what_is_there_then_that_this_was_all() {
    let server = server();
    feed(&server, Added, pod("first", "a", "Running"));
    feed(&server, Added, pod("second", "b", "Running"));
    let streaming =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&server, &format!("{PODS}?{streaming}")).await;
    watch.expect("ADDED", "first").await;
    watch.expect("ADDED", "second").await;
    let end = watch.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let (_, list) = get(&server, PODS).await;
    assert_eq!(version(&end["object"]), version(&list));
    feed(&server, Deleted, pod("first", "a", "Running"));
    watch.expect("DELETED", "first").await;
    let (code, status) = get(&server, &format!("{PODS}?watch=true&sendInitialEvents=true")).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streaming_lists_says_so() {
    let server = ApiServer::new(Settings {
        has_streaming_lists: false,
        ..settings()
    });
    let path = format!("{PODS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    let (code, status) = get(&server, &path).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
    assert_eq!(status["details"]["causes"][0]["field"], "sendInitialEvents");
}

#[tokio::test(start_paused = true)]
async fn objects_enter_and_leave_what_a_watch_selects() {
    let server = server();
    let mut running = Watch::open(
        &server,
        &format!("{PODS}?watch=true&fieldSelector=status.phase%3DRunning"),
    )
    .await;
    let mut reviewed = Watch::open(&server, &format!("{PODS}?watch=true&labelSelector=reviewed")).await;
    feed(&server, Added, pod("first", "a", "Pending"));
    feed(&server, Modified, pod("first", "a", "Running"));
    running.expect("ADDED", "first").await;
    let mut labelled = pod("first", "a", "Running");
    labelled["metadata"]["labels"]["reviewed"] = "yes".into();
    feed(&server, Modified, labelled);
    running.expect("MODIFIED", "first").await;
    reviewed.expect("ADDED", "first").await;
    feed(&server, Modified, pod("first", "a", "Succeeded"));
    for watch in [&mut running, &mut reviewed] {
        let event = watch.next().await.unwrap();
        assert_eq!(event["type"], "DELETED");
        // As it was when it was last selected, with the version at which it was no more.
        assert_eq!(event["object"]["status"]["phase"], "Running");
        let (_, list) = get(&server, PODS).await;
        assert_eq!(version(&event["object"]), version(&list));
    }
    feed(&server, Deleted, pod("first", "a", "Succeeded"));
    feed(&server, Added, pod("second", "a", "Running"));
    running.expect("ADDED", "second").await;
}

#[tokio::test(start_paused = true)]
async fn metadata_is_all_that_is_told_to_who_asks_for_no_more() {
    let server = server();
    feed(&server, Added, pod("first", "a", "Running"));
    let mut watch = Watch::open_as(&server, &format!("{PODS}?watch=true"), METADATA).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(event["object"]["metadata"]["labels"]["app"], "first");
    assert_eq!(event["object"].get("spec"), None);
}

#[tokio::test(start_paused = true)]
async fn time_is_that_of_the_change_while_it_is_told() {
    for speed in [1, 7, 1000] {
        let server = ApiServer::new(Settings { speed, ..settings() });
        let mut watch = Watch::open(
            &server,
            &format!("{PODS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=9000"),
        )
        .await;
        let times = [1_i64, 5, 5, 60_000, 60_001, 3_599_999];
        let changes = times.map(|time| {
            let name = format!("pod-{time}");
            change(START_MS + time, Added, pod(&name, "a", "Running"))
        });
        let running = {
            let server = server.clone();
            tokio::spawn(async move { server.run(changes.into_iter()).await })
        };
        for time in times {
            let mut event = watch.next().await.unwrap();
            while event["type"] == "BOOKMARK" {
                event = watch.next().await.unwrap();
            }
            assert_eq!(event["object"]["metadata"]["name"], format!("pod-{time}"));
            if speed == 1 {
                assert_eq!(server.now().as_millisecond(), START_MS + time);
            }
        }
        running.await.unwrap();
        assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_among_the_changes_goes_to_all_watches() {
    let server = server();
    let query = "watch=true&allowWatchBookmarks=true";
    let mut pods = Watch::open(&server, &format!("{PODS}?{query}")).await;
    let mut nodes = Watch::open(&server, &format!("/api/v1/nodes?{query}")).await;
    let start = Instant::now();
    feed(&server, Bookmark, json!({}));
    assert_eq!(pods.next().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(nodes.next().await.unwrap()["object"]["kind"], "Node");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn events_vanish_after_an_hour() {
    let server = server();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "first", "namespace": "jobs", "uid": "e"},
        "involvedObject": {"kind": "Pod", "name": "first"}, "reason": "Started",
    });
    let mut watch = Watch::open(&server, "/api/v1/events?watch=true&timeoutSeconds=9000").await;
    let late = pod("late", "a", "Running");
    let changes = [
        change(START_MS, Added, event),
        change(START_MS + 7_200_000, Added, late),
    ];
    let running = {
        let server = server.clone();
        tokio::spawn(async move { server.run(changes.into_iter()).await })
    };
    watch.expect("ADDED", "first").await;
    watch.expect("DELETED", "first").await;
    let age_ms = server.now().as_millisecond() - START_MS;
    assert!((3_600_000..=3_660_000).contains(&age_ms));
    running.await.unwrap();
    assert_eq!(names(&get(&server, "/api/v1/events").await.1).len(), 0);
}
