//! Parquet files of marts: one snapshot per build, the same marts as the ledger's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use duckdb::Connection;
use podledger_sql::published::{Manifest, Published, Publishing, manifest};

use crate::harness::{World, rows};

fn publish(world: &World) -> Publishing {
    published(world).publish(world.ledger().connection()).unwrap()
}

fn published(world: &World) -> Published {
    Published::new(&world.folder.path().join("published"))
}

fn current(world: &World) -> Manifest {
    let folder = published(world).current().unwrap().unwrap();
    manifest(&folder).unwrap().unwrap()
}

fn world(pods: u32) -> World {
    let world = World::new();
    world.given_machine(64, 256, 0, "1");
    for pod in 0..pods {
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
    }
    world.build(true);
    world
}

#[test]
fn every_mart_is_published_as_it_is_and_described() {
    let world = world(20);
    assert!(matches!(publish(&world), Publishing::Done { .. }));
    let folder = published(&world).current().unwrap().unwrap();
    let manifest = current(&world);
    let ledger = world.ledger();
    let marts = rows(
        ledger.connection(),
        "select table_name from information_schema.tables where table_schema = 'marts' order by 1",
    );
    let names: Vec<&String> = manifest.marts.iter().map(|mart| &mart.name).collect();
    assert_eq!(names, marts.iter().collect::<Vec<_>>());
    let reader = Connection::open_in_memory().unwrap();
    let mut filled = 0;
    for mart in &manifest.marts {
        assert!(!mart.description.is_empty(), "{} is not described", mart.name);
        for column in &mart.columns {
            assert!(
                !column.description.is_empty(),
                "{}.{} is not described",
                mart.name,
                column.name
            );
        }
        let file = folder.join(&mart.file);
        let found = rows(
            &reader,
            &format!(
                "select cast(found as varchar) from '{}' as found order by 1",
                file.display()
            ),
        );
        let wanted = rows(
            ledger.connection(),
            &format!(
                "select cast(found as varchar) from marts.{} as found order by 1",
                mart.name
            ),
        );
        assert_eq!(found, wanted, "{}", mart.name);
        assert_eq!(mart.rows, wanted.len() as u64, "{}", mart.name);
        let types = rows(
            &reader,
            &format!(
                "select concat(column_name, ' ', column_type) from (describe from '{}')",
                file.display()
            ),
        );
        let wanted: Vec<String> = mart
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.kind))
            .collect();
        assert_eq!(types, wanted, "{}", mart.name);
        filled += usize::from(mart.rows > 0);
    }
    assert!(filled > 10, "{filled}");
    for entry in walk(&world.folder.path().join("published")) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is open to others", entry.display());
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![folder.to_path_buf()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_same_facts_are_the_same_bytes_whatever_was_built_between() {
    let straight = world(25);
    publish(&straight);
    let world = world(20);
    publish(&world);
    for pod in 20..25 {
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
    }
    world.build(false);
    publish(&world);
    let of = |world: &World| -> Vec<(String, String)> {
        let marts = current(world).marts;
        marts.into_iter().map(|mart| (mart.name, mart.sha256)).collect()
    };
    assert_eq!(of(&world), of(&straight));
}

#[test]
fn a_new_snapshot_replaces_the_one_before_which_is_kept_for_its_readers() {
    let world = world(1);
    let mut folders = Vec::new();
    for pod in 1..4 {
        let Publishing::Done { folder, .. } = publish(&world) else {
            panic!("nothing was published");
        };
        assert_eq!(
            publish(&world),
            Publishing::Unchanged {
                folder: folder.clone()
            }
        );
        folders.push(folder);
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
        world.build(false);
    }
    let there: Vec<bool> = folders.iter().map(|folder| folder.exists()).collect();
    assert_eq!(there, [false, true, true]);
    assert_eq!(published(&world).current().unwrap().as_ref(), folders.last());
}

#[test]
fn nothing_is_published_before_something_is_built() {
    let world = World::new();
    let error = published(&world)
        .publish(world.ledger().connection())
        .unwrap_err();
    assert!(
        error.to_string().contains("run `podledger build` first"),
        "{error}"
    );
    assert_eq!(published(&world).current().unwrap(), None);
}

/// The marts as they are described, for readers: `docs/marts.md`.
fn reference(manifest: &Manifest) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "# Marts\n\nEvery mart and column, by contract {} ([what that promises](published.md#what-stays-as-it-is)). This page is made of the descriptions in `sql/models/marts/marts.yml`.\n",
        manifest.contract
    );
    for mart in &manifest.marts {
        write!(
            text,
            "\n## `{}`\n\n{}\n\n| column | type | meaning |\n|---|---|---|\n",
            mart.name, mart.description
        )
        .unwrap();
        for column in &mart.columns {
            let meaning = column.description.replace('|', "\\|");
            writeln!(text, "| `{}` | {} | {meaning} |", column.name, column.kind).unwrap();
        }
    }
    text
}

fn contract(manifest: &Manifest) -> Vec<String> {
    let columns = manifest
        .marts
        .iter()
        .flat_map(|mart| mart.columns.iter().map(move |column| (mart, column)));
    columns
        .map(|(mart, column)| format!("{},{},\"{}\"", mart.name, column.name, column.kind))
        .collect()
}

/// A file of the project that follows from its marts; `PODLEDGER_WRITE_REFERENCE=1` writes it.
fn follows(path: &str, wanted: &str) {
    if std::env::var_os("PODLEDGER_WRITE_REFERENCE").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{path} is not what follows from the marts: run this test with PODLEDGER_WRITE_REFERENCE=1, and read the difference"
    );
}

#[test]
fn the_marts_keep_their_contract_and_have_a_reference() {
    let world = world(1);
    publish(&world);
    let manifest = current(&world);
    assert_eq!(manifest.contract, podledger_sql::published::CONTRACT);
    let told = contract(&manifest);
    let path = "sql/contract.csv";
    let kept = fs::read_to_string(path).unwrap_or_default();
    let mut lines = kept.lines();
    // What was promised under this version is there as it was; under another one it is promised anew.
    if lines.next() == Some(&format!("version {}", manifest.contract)) {
        let gone: Vec<&str> = lines
            .skip(1)
            .filter(|line| !told.iter().any(|column| column == line))
            .collect();
        assert_eq!(
            gone,
            Vec::<&str>::new(),
            "these columns are promised: if they have to go or to change, raise `CONTRACT` and say so in CHANGELOG.md"
        );
    }
    let header = format!("version {}\nmart,column,type\n", manifest.contract);
    follows(path, &(header + &told.join("\n") + "\n"));
    follows("docs/marts.md", &reference(&manifest));
}
