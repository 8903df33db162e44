//! The intake holds more than it may have in memory: what a large cluster's collector knows, and what it told since the last seal.

use jiff::civil::date;
use podledger_collector::facts::batch;
use podledger_sql::Error;
use podledger_sql::facts::FACTS;
use podledger_sql::intake::{Intake, KeptEntry};
use serde_json::json;

use crate::harness::World;
use crate::live::known::facts;

/// Bytes that do not compress, as text.
fn noise(seed: u64, letters: usize) -> String {
    let mut draws = oorandom::Rand64::new(seed.into());
    (0..letters / 16)
        .map(|_| format!("{:016x}", draws.rand_u64()))
        .collect()
}

#[test]
fn a_collector_knows_again_and_seals_more_than_its_intake_may_hold_in_memory() {
    const PIECES: u64 = 48_000;
    let world = World::new();
    let path = world.folder.path().join("intake.duckdb");
    let now = "2026-11-16T10:00:00Z".parse().unwrap();
    let objects = FACTS.iter().find(|fact| fact.table == "owner_objects").unwrap();
    {
        let mut intake = Intake::open(&path, now).unwrap().of("c").unwrap();
        for first in (0..PIECES).step_by(2_000) {
            let pieces = first..first + 2_000;
            let entries: Vec<KeptEntry> = pieces
                .clone()
                .map(|piece| KeptEntry {
                    kind: "pod".to_owned(),
                    key: format!("pod-{piece}"),
                    state: Some(noise(piece, 2_048)),
                })
                .collect();
            let told: Vec<_> = pieces
                .map(|piece| {
                    json!({
                        "cluster": "c", "owner_uid": format!("owner-{piece}"), "kind": "Job", "name": noise(piece, 2_048),
                        "valid_from_at": "2026-11-16T10:00:00Z",
                    })
                })
                .collect();
            intake
                .commit(&[(objects, batch(objects, &told).unwrap())], &[], &entries)
                .unwrap();
        }
        // One changes, and one is not known any more.
        let later = [("pod-7", Some("newer".to_owned())), ("pod-8", None)].map(|(key, state)| KeptEntry {
            kind: "pod".to_owned(),
            key: key.to_owned(),
            state,
        });
        intake.commit(&[], &[], &later).unwrap();
    }
    let mut intake = Intake::open(&path, now).unwrap().of("c").unwrap();
    let mut known = std::collections::BTreeMap::new();
    intake
        .entries(|entry| {
            assert!(
                known.insert(entry.key.clone(), entry.state.unwrap()).is_none(),
                "{}",
                entry.key
            );
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(known.len() as u64, PIECES - 1);
    assert_eq!(known["pod-7"], "newer");
    assert!(!known.contains_key("pod-8"));
    assert_eq!(known["pod-9"], noise(9, 2_048));
    let sealed = intake.seal(&world.lake(), date(2026, 11, 16), |_| Ok::<_, Error>(()));
    assert_eq!(sealed.unwrap(), PIECES);
    let lake = "select count(*), sum(length(name)) from {owner_objects}";
    assert_eq!(facts(&world, lake), [format!("{PIECES}|{}", PIECES * 2_048)]);
}
