//! What is shown of a build before and after its marts are published.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use podledger_reports::http::{Snapshot, Snapshots, routes};
use podledger_sql::published::{Published, Publishing};

use super::{Server, needed};
use crate::harness::{World, rows, snapshots_of, unshared_snapshots_of};
use crate::simulated::{ledger_of, scenario};

fn publish(folder: &Path, snapshot: &Snapshot) {
    let published = Published::new(&folder.join("published"));
    let done = published.publish(&snapshot.connection().unwrap()).unwrap();
    assert!(matches!(done, Publishing::Done { .. }), "{done:?}");
}

/// Marts that are read from files.
fn read_from_files(snapshot: &Snapshot) -> usize {
    let query =
        "select view_name from duckdb_views() where schema_name = 'marts' and sql like '%read_parquet%'";
    rows(&snapshot.connection().unwrap(), query).len()
}

/// Every page, and every answer of the API.
fn answers(folder: &Path) -> BTreeMap<String, String> {
    let server = Server::of(folder);
    let needed = needed(&|url| server.get(url).json());
    let needed: Vec<String> = needed
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut answers: BTreeMap<String, String> = server.pages("/", 1).into_iter().collect();
    for route in routes() {
        if route.path.starts_with("/api/v1/") && !route.path.ends_with("/sql") {
            let url = format!("{}?{}", route.path, needed.join("&").replace(' ', "%20"));
            let answer = server.get(&url);
            let body = format!("{} {}", answer.status, answer.body);
            answers.insert(url, body);
        }
    }
    answers
}

#[test]
fn published_marts_are_shown_as_the_ledger_shows_its_own() {
    let (world, _) = ledger_of(scenario(7, 2, 6));
    let folder = world.folder.path();
    let before = answers(folder);
    assert!(before.len() > 50, "{}", before.len());
    let snapshots = snapshots_of(folder);
    assert!(snapshots.take().unwrap());
    let snapshot = snapshots.current().unwrap();
    assert_eq!(read_from_files(&snapshot), 0);
    publish(folder, &snapshot);
    assert!(!snapshots.take().unwrap(), "its content is the same");
    assert!(Arc::ptr_eq(&snapshot, &snapshots.current().unwrap()));
    let marts = rows(
        &snapshot.connection().unwrap(),
        "select view_name from duckdb_views() where database_name = current_database() and schema_name = 'marts'",
    );
    assert_eq!(read_from_files(&snapshot), marts.len());
    let after = answers(folder);
    for (url, body) in &before {
        assert_eq!(after.get(url), Some(body), "{url}");
    }
    assert_eq!(before.len(), after.len());
}

/// A ledger with one more pod of a build.
fn more(world: &World, uid: &str) {
    world.given_pod(uid, 500, 512, 0);
    world.build(false);
}

fn large(world: &World) -> Snapshots {
    unshared_snapshots_of(world.folder.path()).with_large_from(0)
}

#[test]
fn a_build_of_a_large_ledger_is_shown_once_it_is_published() {
    let world = World::new();
    let folder = world.folder.path();
    world.given_machine(4, 16, 0, "1");
    more(&world, "a");
    let snapshots = large(&world);
    assert!(snapshots.take().unwrap(), "there is nothing else to show");
    more(&world, "b");
    assert!(!snapshots.take().unwrap());
    assert_eq!(snapshots.current().unwrap().build_id, 1);
    more(&world, "c");
    assert!(!snapshots.take().unwrap());
    assert_eq!(snapshots.current().unwrap().build_id, 1);
    let newest = snapshots.newest().unwrap();
    assert_eq!(newest.build_id, 3);
    publish(folder, &newest);
    assert!(snapshots.take().unwrap());
    let shown = snapshots.current().unwrap();
    assert_eq!(shown.build_id, 3);
    assert!(read_from_files(&shown) > 30);
    assert!(!snapshots.take().unwrap());
}

/// The files of what is shown are read on when newer snapshots have taken their place.
#[test]
fn what_is_shown_outlives_the_snapshots_that_follow() {
    let world = World::new();
    let folder = world.folder.path();
    world.given_machine(4, 16, 0, "1");
    more(&world, "a");
    let first = large(&world);
    assert!(first.take().unwrap());
    let shown = first.current().unwrap();
    publish(folder, &shown);
    first.take().unwrap();
    for uid in ["b", "c", "d"] {
        more(&world, uid);
        let next = large(&world);
        assert!(next.take().unwrap());
        publish(folder, &next.current().unwrap());
    }
    assert!(read_from_files(&shown) > 30);
    let pods = rows(&shown.connection().unwrap(), "select pod_uid from marts.pods");
    assert_eq!(pods, ["a"]);
    drop((first, shown));
    let left: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".served-"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
