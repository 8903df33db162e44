//! A world and a recording of it, as a client sees them.

use std::collections::BTreeMap;

use podledger_simulator::api_server::{ApiServer, Settings};
use podledger_simulator::{Change, ChangeKind, Object, Scenario, Told, World, record, recording};
use serde_json::{Value, json};

use crate::harness::*;

fn scenario(has_pod_events: bool) -> Scenario {
    Scenario {
        seed: 5,
        start_ms: START_MS,
        days: 1,
        teams: 2,
        pipelines: 8,
        has_noise: true,
        has_pod_events,
        has_flaws: true,
        slower_from_ms: None,
        request_percent: None,
        heavier_from_ms: None,
        has_branches: false,
    }
}

fn changes(has_pod_events: bool) -> Vec<Change> {
    let told = World::new(scenario(has_pod_events));
    told.filter_map(|told| match told {
        Told::Change(change) => Some(change),
        _ => None,
    })
    .collect()
}

fn value(object: &Object) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    value["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    value
}

/// What a watch of a resource should tell of changes: kind, time, object.
fn expected(changes: &[Change], kind: &str) -> Vec<(String, i64, Value)> {
    let mut there = BTreeMap::new();
    let mut expected = Vec::new();
    for change in changes {
        if change.kind == ChangeKind::Bookmark {
            continue;
        }
        let object = value(&change.object);
        if object["kind"] != kind {
            continue;
        }
        let key = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let told = match (change.kind, there.contains_key(&key)) {
            (ChangeKind::Deleted, true) => "DELETED",
            (ChangeKind::Deleted, false) => continue,
            (_, true) => "MODIFIED",
            (_, false) => "ADDED",
        };
        match told {
            "DELETED" => there.remove(&key),
            _ => there.insert(key, ()),
        };
        expected.push((told.to_owned(), change.at_ms, object));
    }
    expected
}

#[tokio::test(start_paused = true)]
async fn watches_tell_what_the_world_tells_when_it_does() {
    let told = changes(false);
    for (kind, path) in [
        ("Pod", "/api/v1/pods"),
        ("Node", "/api/v1/nodes"),
        ("NodeClaim", "/apis/karpenter.sh/v1/nodeclaims"),
        ("Job", "/apis/batch/v1/jobs"),
        ("Event", "/api/v1/events"),
    ] {
        let server = ApiServer::new(Settings {
            event_ttl: std::time::Duration::from_secs(48 * 3600),
            ..settings()
        });
        let query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=100000";
        let mut watch = Watch::open(&server, &format!("{path}?{query}")).await;
        let running = {
            let (server, told) = (server.clone(), told.clone());
            tokio::spawn(async move { server.run(told.into_iter()).await })
        };
        let wanted = expected(&told, kind);
        assert!(wanted.len() > 20, "{kind}");
        for (number, wanted) in wanted.into_iter().enumerate() {
            let mut event = watch.next().await.unwrap();
            while event["type"] == "BOOKMARK" {
                event = watch.next().await.unwrap();
            }
            let mut object = event["object"].take();
            object["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("resourceVersion");
            let at_ms = server.now().as_millisecond();
            assert_eq!(
                (event["type"].as_str().unwrap().to_owned(), at_ms, object),
                wanted,
                "{kind} {number}"
            );
        }
        running.await.unwrap();
        assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_is_replayed_as_it_was() {
    let folder = std::env::temp_dir().join(format!("podledger-recording-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    record(scenario(false), &folder, |_| {}).unwrap();
    let read: Vec<Change> = recording::changes(&folder).map(Result::unwrap).collect();
    let told = changes(false);
    assert_eq!(read.len(), told.len());
    for (read, told) in read.iter().zip(&told) {
        assert_eq!((read.at_ms, read.kind), (told.at_ms, told.kind));
        assert_eq!(
            serde_json::to_value(&read.object).unwrap(),
            serde_json::to_value(&told.object).unwrap()
        );
    }
    std::fs::write(folder.join("recording-0001.jsonl"), "{\"at\": 7}\n").unwrap();
    let error = recording::changes(&folder).find_map(Result::err).unwrap();
    assert!(error.to_string().starts_with("line 1 of "), "{error}");
    std::fs::write(folder.join("recording-0002.jsonl.gz"), "").unwrap();
    let error = recording::changes(&folder).find_map(Result::err).unwrap();
    assert!(error.to_string().ends_with("is gzip: unpack it first"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(recording::changes(&folder).next().unwrap().is_err());
}

#[test]
fn events_of_pods_are_told_beside_and_change_nothing() {
    let reason = |object: &Value| object["reason"].as_str().unwrap_or_default().to_owned();
    let (without, with) = (changes(false), changes(true));
    let (mut started, mut refused) = (0, 0);
    let mut without = without.iter().peekable();
    for change in &with {
        let object = value(&change.object);
        if reason(&object) == "Started" {
            started += 1;
            assert_eq!(object["source"]["component"], "kubelet");
            assert_eq!(object["source"]["host"], object["reportingInstance"]);
            assert!(
                object["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("Started container ")
            );
            assert!(object["involvedObject"]["uid"].is_string());
            continue;
        }
        let is_told_without = without
            .peek()
            .is_some_and(|same| value(&same.object)["metadata"]["uid"] == object["metadata"]["uid"]);
        if reason(&object) == "FailedScheduling" && !is_told_without {
            refused += 1;
            continue;
        }
        let same = without.next().unwrap();
        let mut told_without = value(&same.object);
        if reason(&object) == "Killing" {
            assert!(object["source"]["host"].is_string());
            assert_eq!(told_without["source"], json!({"component": "kubelet"}));
            for field in ["source", "message", "reportingInstance", "involvedObject"] {
                told_without[field] = object[field].clone();
            }
        }
        assert_eq!(
            (change.at_ms, change.kind, object),
            (same.at_ms, same.kind, told_without)
        );
    }
    assert!(without.next().is_none());
    assert!(started > 500, "{started}");
    assert!(refused > 50, "{refused}");
}
