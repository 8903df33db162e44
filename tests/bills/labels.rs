//! What a total is called: an estimate, billed in part, or billed.

use std::process::Command;

use podledger_collector::import::bills::Format;
use podledger_reports::weekly::{self, Request, Week, Weekly};

use super::{deliver, given_a_busy_machine, hours_of};
use crate::harness::World;

fn report(world: &World) -> Weekly {
    let request = Request {
        week: Week::parse("2026-W47", "UTC").unwrap(),
        team: None,
    };
    weekly::weekly(world.ledger().connection(), &request).unwrap()
}

/// Every format of the report, and what the command line says.
fn everywhere(world: &World) -> Vec<(&'static str, String)> {
    let report = report(world);
    let tables = weekly::tables(&report);
    let said = |command: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_podledger"))
            .current_dir(world.folder.path())
            .args(["--data", world.folder.path().to_str().unwrap()])
            .args(command)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    vec![
        ("HTML", weekly::html(&report).unwrap()),
        ("Markdown", weekly::markdown(&report)),
        ("terminal", weekly::terminal(&report)),
        ("JSON", weekly::json(&report).unwrap()),
        ("CSV", weekly::csv(&tables[0]).unwrap()),
        ("summary", said(&["summary"])),
        ("findings", said(&["findings", "--week", "2026-W47"])),
    ]
}

fn called(world: &World, label: &str, others: &[&str]) {
    for (format, text) in everywhere(world) {
        assert!(text.contains(label), "{format} does not say `{label}`:\n{text}");
        for other in others {
            assert!(!text.contains(other), "{format} says `{other}`");
        }
    }
}

#[test]
fn a_total_is_an_estimate_until_bills_say_what_it_was() {
    let world = World::new();
    given_a_busy_machine(&world);
    world.build(true);
    called(&world, "estimate at list price", &["as billed"]);
    assert_eq!(report(&world).trust.billed.get(), 0);

    // One of two machines, at a quarter more: 1.25 of 2.25.
    let (one, both) = (
        hours_of(&[("i-1", "1.25")]),
        hours_of(&[("i-1", "1.25"), ("i-2", "0.5")]),
    );
    deliver(&world, "one.csv", &one, Format::Cur, "2026-12-01T00:00:00Z");
    world.build(false);
    called(
        &world,
        "55.5% as billed, the rest estimated at list price",
        &["estimate at list price"],
    );
    let trust = report(&world).trust;
    assert_eq!(
        (trust.billed.get(), trust.estimated.get()),
        (1_250_000_000, 1_000_000_000)
    );
    let team = world.rows("select team from marts.pods").remove(0);
    let request = Request {
        week: Week::parse("2026-W47", "UTC").unwrap(),
        team: Some(team),
    };
    let of_team = weekly::weekly(world.ledger().connection(), &request).unwrap();
    assert_eq!(
        of_team.basis, "as billed",
        "the team had the machine that was billed"
    );

    deliver(&world, "both.csv", &both, Format::Cur, "2026-12-02T00:00:00Z");
    world.build(false);
    called(
        &world,
        "as billed",
        &["estimate at list price", "the rest estimated"],
    );
    assert_eq!(
        world.rows("select team, pipeline, job, namespace, cost_category, cost from marts.billed_costs_hourly order by all"),
        world.rows("select team, pipeline, job, namespace, cost_category, cost from marts.costs_hourly where cost <> 0 order by all")
    );
}
