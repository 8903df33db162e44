//! The door: analysts' queries see the published snapshot, and nothing else; whatever they do, it ends.

mod asked;
mod hostile;
pub mod postgres;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use arrow::array::RecordBatch;
use podledger_reports::door::{Door, DoorError, Format, Rendering, Settings};
use podledger_sql::published::{Published, Publishing};
use sha2::{Digest, Sha256};

use crate::harness::World;

/// A ledger with two pods, published.
pub fn world() -> World {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 1024, 0);
    world.given_pod("=cmd()", 1000, 1024, 0);
    world.build(true);
    publish(&world);
    world
}

pub fn publish(world: &World) -> Publishing {
    let published = Published::new(&world.folder.path().join("published"));
    published.publish(world.ledger().connection()).unwrap()
}

pub fn settings(folder: &Path) -> Settings {
    let published = folder.canonicalize().unwrap().join("published");
    Settings::new(env!("CARGO_BIN_EXE_podledger").into(), published)
}

/// A door with what a test needs: queries are ended after so long.
pub fn door(world: &World, patience: Duration) -> Door {
    Door::new(Settings {
        patience,
        ..settings(world.folder.path())
    })
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// All rows of a query, asked in a worker of its own.
pub async fn ask(door: &Door, query: &str) -> Result<Vec<RecordBatch>, DoorError> {
    let mut worker = door.worker().await?;
    let mut answer = worker.ask(query).await?;
    let mut batches = Vec::new();
    while let Some(batch) = answer.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}

/// The cookbook's questions with their answers from a data directory, as CSV.
pub fn cookbook(folder: &Path) -> String {
    let text = fs::read_to_string("docs/cookbook.md").unwrap();
    let parts: Vec<&str> = text.split("```").collect();
    let door = Door::new(settings(folder));
    let mut told = String::new();
    for asked in parts.chunks_exact(2) {
        let query = asked[1].strip_prefix("sql\n").unwrap();
        let batches = runtime()
            .block_on(ask(&door, query))
            .map_err(|error| format!("{query}: {error}"))
            .unwrap();
        let mut rendering = Rendering::new(Format::Csv, &batches[0].schema()).unwrap();
        let mut answer = rendering.begin().unwrap();
        for batch in &batches {
            answer.extend(rendering.write(batch).unwrap());
        }
        told += asked[0].trim().lines().next_back().unwrap();
        told += &format!("\n\n{}\n", String::from_utf8(answer).unwrap());
    }
    told
}

pub fn podledger(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .arg("--data")
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// Every file and link below a folder, with a hash of what is in it.
pub fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().to_owned();
            if path.is_symlink() {
                all.insert(name, fs::read_link(&path).unwrap().to_str().unwrap().to_owned());
            } else if path.is_dir() {
                waiting.push(path);
            } else {
                let hash = Sha256::digest(fs::read(&path).unwrap());
                all.insert(name, hash.iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    all
}
