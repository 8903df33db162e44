//! What is collected live is what is imported from the recording of the same watch, fact by fact.

use std::time::Duration;

use duckdb::Connection;
use podledger_collector::live::Settings;
use podledger_sql::facts::FACTS;

use super::{collect, import, scenario, settings, start};
use crate::harness::{World, contents, rows};

/// Facts that tell of the watching itself.
const OF_WATCHING: &[&str] = &["collection_watermarks", "collection_gaps"];

/// Rows of a table that one of two lakes has and the other has not.
pub fn differences(one: &World, other: &World, table: &str) -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    let facts = |world: &World| {
        let folder = world.folder.path().join("lake").join(table);
        format!(
            "select * exclude (segment_seq, recorded_date) from read_parquet('{}/*/*.parquet', hive_partitioning = true, union_by_name = true)",
            folder.display()
        )
    };
    let query = format!(
        "select 'only the first' as side, * from (({one}) except ({other})) union all \
         select 'only the second', * from (({other}) except ({one})) limit 6",
        one = facts(one),
        other = facts(other)
    );
    rows(&connection, &query)
}

pub fn assert_equal(seed: u64, collected: &World, imported: &World) {
    for fact in FACTS {
        if OF_WATCHING.contains(&fact.table) {
            continue;
        }
        let differences = differences(collected, imported, fact.table);
        assert!(
            differences.is_empty(),
            "seed {seed}: {}: {differences:#?}",
            fact.table
        );
    }
}

fn collected_equals_imported(seed: u64, has_noise: bool, pipelines: usize) -> (World, World) {
    let scenario = scenario(seed, 1, pipelines, has_noise);
    let (collected, imported) = (World::new(), World::new());
    import(&imported, scenario.clone());
    let server = podledger_simulator::Settings {
        seed,
        // Every other server is older.
        has_streaming_lists: seed.is_multiple_of(2),
        has_aggregated_discovery: !seed.is_multiple_of(3),
        ..podledger_simulator::Settings::new(start())
    };
    let settings = Settings {
        // Small queues block, small batches cut instants apart.
        queue: 1 + 50 * usize::try_from(seed % 4).unwrap(),
        commit_changes: 200 + 1000 * usize::try_from(seed % 5).unwrap(),
        watch_timeout: Duration::from_secs(290 + 600 * (seed % 3)),
        seed,
        ..settings(&collected)
    };
    collect(&collected, scenario, server, settings);
    assert_equal(seed, &collected, &imported);
    (collected, imported)
}

#[test]
fn collected_live_equals_imported_from_the_recording() {
    let seeds = if std::env::var_os("PODLEDGER_SOAK").is_some() {
        40
    } else {
        20
    };
    for seed in 1..=seeds {
        collected_equals_imported(seed, seed % 2 == 1, 4);
    }
}

#[test]
fn a_ledger_of_what_is_collected_equals_that_of_the_recording() {
    let (collected, imported) = collected_equals_imported(77, true, 12);
    collected.build(true);
    // When somebody looked first a recording does not tell.
    let first = "select cluster, epoch_us(observed_from_at) from raw.collection_watermarks where observed_from_at is not null";
    let [first] = &collected.rows(first)[..] else {
        panic!("the first look is told once")
    };
    let (cluster, first_us) = first.split_once('|').unwrap();
    let first = format!("make_timestamp({first_us})");
    imported.given(
        "collection_watermarks",
        &format!(
            "select '{cluster}' as cluster, {first} as observed_through_at, {first} as observed_from_at"
        ),
    );
    imported.build(true);
    let through = "select cluster, max(observed_through_at) from raw.collection_watermarks group by all";
    assert_eq!(collected.rows(through), imported.rows(through));
    assert_eq!(contents(&collected), contents(&imported));
}
