//! A collector that is ended at every point, and at random ones.

use jiff::SignedDuration;
use podledger_sql::crash::Point;

use super::Life;
use super::life::Platform;
use crate::harness::World;
use crate::live::costs::{Costs, assert_costs};
use crate::live::known::{Seen, assert_all_known_once, assert_telling, facts, gaps};
use crate::live::start;

/// Points that collecting passes, and how often each is passed before the process is ended there: in `make soak` the first time
/// too.
const POINTS: &[(Point, &[u32])] = &[
    (Point::BeforeAppend, &[1, 40]),
    (Point::Appended, &[1, 40]),
    (Point::Committed, &[1, 40]),
    (Point::SealNoted, &[1, 4]),
    (Point::SegmentHalfWritten, &[1, 30]),
    (Point::CommitWritten, &[1, 4]),
    (Point::CommitRenamed, &[1, 4]),
    (Point::CommitHalfMoved, &[1, 25]),
    (Point::CommitMoved, &[1, 4]),
    (Point::CommitKept, &[1, 4]),
    (Point::SealPublished, &[1, 4]),
    (Point::SealHalfForgotten, &[1, 4]),
    (Point::SealForgotten, &[1, 4]),
    (Point::CompactionWritten, &[1, 5]),
    (Point::CompactionHalfRemoved, &[1, 20]),
];

fn is_soak() -> bool {
    std::env::var_os("PODLEDGER_SOAK").is_some()
}

/// A life that has time left, even after one that was ended in its last minute.
fn to_the_end(life: &Life) -> Life {
    Life {
        minutes: life.minutes + 20,
        ..life.clone()
    }
}

fn undisturbed(seed: u64) -> World {
    let world = World::new();
    let ended = to_the_end(&Life::new(world.folder.path(), seed)).run(None);
    assert!(ended.status.success(), "{}", ended.said);
    assert_eq!(gaps(&world), Vec::<String>::new());
    world
}

/// What everything costs, but in the last minutes.
fn costs_of(found: &World, whole: &World, after: &str) -> Costs {
    let until = start() + SignedDuration::from_hours(8);
    assert_costs(found, whole, until, SignedDuration::ZERO, after)
}

#[test]
fn a_collector_that_ends_at_any_point_loses_and_doubles_nothing() {
    let whole = undisturbed(21);
    assert_telling(&whole);
    let (mut seen, mut costs) = (Seen::default(), Costs::default());
    for (point, passes) in POINTS {
        let from = if is_soak() { 0 } else { passes.len() - 1 };
        for pass in &passes[from..] {
            let world = World::new();
            let life = Life::new(world.folder.path(), 21);
            let at = format!("{}:{pass}", point.name());
            let ended = life.run(Some(&at));
            assert!(!ended.status.success(), "{at} was never reached");
            let ended = to_the_end(&life).run(None);
            assert!(ended.status.success(), "after {at}: {}", ended.said);
            seen.add(&assert_all_known_once(&world, &whole, &at));
            costs.add(&costs_of(&world, &whole, &at));
        }
    }
    eprintln!("ended at points: {seen}; {costs}");
    assert!(costs.is_telling(), "{costs}");
}

#[test]
fn every_point_is_one_of_collecting_of_building_or_of_a_bucket() {
    let of_buckets = crate::objects::crashes::points();
    for point in Point::ALL {
        let passes = [
            POINTS.iter().any(|(of, _)| of == point),
            super::building::POINTS.contains(point),
            of_buckets.contains(point),
        ];
        let passes = passes.into_iter().filter(|passes| *passes).count();
        assert_eq!(passes, 1, "{}", point.name());
    }
}

#[test]
fn a_collector_that_is_ended_again_and_again_loses_and_doubles_nothing() {
    let kills = if is_soak() { 200 } else { 10 };
    let (mut seen, mut costs) = (Seen::default(), Costs::default());
    let mut killed = 0;
    let mut seed = 0;
    while killed < kills {
        seed += 1;
        let whole = undisturbed(100 + seed);
        // Small platforms need not have something of every kind, but the first has.
        if seed == 1 {
            assert_telling(&whole);
        }
        let world = World::new();
        let life = Life::new(world.folder.path(), 100 + seed);
        let mut draws = oorandom::Rand32::new(seed);
        // Five lives: ended at some point, or wherever they are; the sixth goes on to the end.
        for turn in 0..5 {
            let was_killed = if turn % 2 == 0 {
                let at = format!("any:{}", draws.rand_range(1..200));
                !life.run(Some(&at)).status.success()
            } else {
                let tellings = draws.rand_range(1..40) as usize;
                !life.kill_after(tellings).success()
            };
            killed += u32::from(was_killed);
        }
        let ended = to_the_end(&life).run(None);
        assert!(ended.status.success(), "seed {seed}: {}", ended.said);
        let after = format!("seed {seed}");
        seen.add(&assert_all_known_once(&world, &whole, &after));
        if is_soak() || seed == 1 {
            costs.add(&costs_of(&world, &whole, &after));
        }
    }
    eprintln!("{killed} kills: {seen}; {costs}");
    assert!(costs.is_telling(), "{costs}");
}

/// So many pods are there at any time, on so many machines; three times as many come and go.
const LARGE: Platform = Platform::Load {
    pods: 50_000,
    nodes: 500,
    changes_per_second: 100,
};

#[test]
fn two_hundred_thousand_pods_on_five_hundred_machines_are_known_after_kills() {
    if !is_soak() {
        eprintln!("SKIPPED: 200,000 pods are collected by `make soak` only");
        return;
    }
    let large = |folder: &std::path::Path| Life {
        platform: LARGE,
        // Each pod takes five changes.
        minutes: 150_000 * 5 / 100 / 60,
        // As long as nobody collects, since the last commit.
        history_seconds: 600,
        ..Life::new(folder, 1)
    };
    let whole = World::new();
    let undisturbed = {
        let life = large(whole.folder.path());
        std::thread::spawn(move || life.run(None))
    };
    let world = World::new();
    // Whoever is killed has lived less, so that the last life has time left.
    let last = large(world.folder.path());
    let life = Life {
        minutes: last.minutes - 10,
        ..last.clone()
    };
    // What is gone before there is a first list of everything is known to nobody, so the first life ends by itself.
    let first = Life {
        minutes: 10,
        ..last.clone()
    };
    let ended = first.run(None);
    assert!(ended.status.success(), "{}", ended.said);
    let mut draws = oorandom::Rand32::new(1);
    let mut killed = 0;
    for turn in 0..6 {
        let was_killed = if turn % 2 == 0 {
            let at = format!("any:{}", draws.rand_range(1..40));
            !life.run(Some(&at)).status.success()
        } else {
            !life.kill_after(draws.rand_range(1..5) as usize).success()
        };
        killed += u32::from(was_killed);
    }
    assert!(killed >= 4, "{killed} kills");
    let ended = last.run(None);
    assert!(ended.status.success(), "{}", ended.said);
    let ended = undisturbed.join().unwrap();
    assert!(ended.status.success(), "{}", ended.said);
    let pods = facts(
        &whole,
        "select count(distinct pod_uid), count(distinct machine) from {pod_states}",
    );
    assert_eq!(pods, ["200000|500"]);
    let seen = assert_all_known_once(&world, &whole, "200,000 pods");
    let until = start() + SignedDuration::from_hours(2);
    let costs = assert_costs(&world, &whole, until, SignedDuration::ZERO, "200,000 pods");
    eprintln!("200,000 pods on 500 machines, {killed} kills: {seen}; {costs}");
}
