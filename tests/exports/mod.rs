//! What other programs read: FOCUS, marts as files, gauges for a Prometheus, a dashboard for Grafana.

mod focus;
mod gauges;
mod grafana;
mod marts;
mod validator;

use std::path::Path;
use std::process::{Command, Output};

use duckdb::Connection;
use podledger_analyzer::close::Request;
use podledger_collector::import::bills::Format;

use crate::bills::closing::{NOVEMBER, of_ended_clusters, try_to_close};
use crate::bills::{deliver, given_a_busy_machine, hours_of};
use crate::harness::{World, rows};
use crate::simulated::{ledger_of, scenario};

/// Two days of a platform with spot machines, volumes and load balancers, built.
pub fn platform(seed: u64) -> World {
    ledger_of(scenario(seed, 2, 4)).0
}

/// Runs the binary in the folder of a world, on its data.
pub fn podledger(world: &World, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .current_dir(world.folder.path())
        .env_remove("PODLEDGER_DATA")
        .env_remove("PODLEDGER_CONFIG")
        .args(["--data", "."])
        .args(arguments)
        .output()
        .unwrap()
}

/// What it says when it is done.
pub fn done(world: &World, arguments: &[&str]) -> String {
    let output = podledger(world, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Why it is not done.
pub fn refused(world: &World, arguments: &[&str]) -> String {
    let output = podledger(world, arguments);
    assert!(!output.status.success(), "{arguments:?} was done");
    String::from_utf8(output.stderr).unwrap()
}

/// Rows of a query over a file in the folder of a world: the file is the table `charges`; of a CSV all is text.
pub fn of_file(world: &World, file: &str, query: &str) -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    let path = world.folder.path().join(file);
    let path = path.display();
    let read = if file.ends_with(".csv") {
        format!("read_csv('{path}', all_varchar = true)")
    } else {
        format!("read_parquet('{path}')")
    };
    connection
        .execute_batch(&format!("create view charges as from {read}"))
        .unwrap();
    rows(&connection, query)
}

/// Names of the files in the folder of a world, but those of its data.
pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["lake", "published", "recorded", "ledger.duckdb"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// A month that was closed at list price, and a bill of it that came later.
fn closed_and_adjusted() -> World {
    let world = World::new();
    given_a_busy_machine(&world);
    world.build(true);
    let at_list_price = Request {
        at_list_price: true,
        ..of_ended_clusters(&world, NOVEMBER)
    };
    try_to_close(&world, &at_list_price).unwrap();
    deliver(
        &world,
        "bill.csv",
        &hours_of(&[("i-1", "1.25")]),
        Format::Cur,
        "2026-12-20T00:00:00Z",
    );
    world.build(false);
    world
}
