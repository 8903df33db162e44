//! A collector that is ended at every point, and at random ones.

use podledger_sql::crash::Point;

use super::Life;
use crate::harness::World;
use crate::live::known::{assert_all_known_once, gaps};

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

#[test]
fn a_collector_that_ends_at_any_point_loses_and_doubles_nothing() {
    let whole = undisturbed(21);
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
            assert_all_known_once(&world, &whole, &at);
        }
    }
}

#[test]
fn every_point_is_one_of_collecting_or_of_building() {
    for point in Point::ALL {
        let collects = POINTS.iter().any(|(of, _)| of == point);
        assert_ne!(
            collects,
            super::building::POINTS.contains(point),
            "{}",
            point.name()
        );
    }
}

#[test]
fn a_collector_that_is_ended_again_and_again_loses_and_doubles_nothing() {
    let kills = if is_soak() { 200 } else { 10 };
    let mut killed = 0;
    let mut seed = 0;
    while killed < kills {
        seed += 1;
        let whole = undisturbed(100 + seed);
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
        assert_all_known_once(&world, &whole, &format!("seed {seed}"));
    }
    eprintln!("{killed} kills");
}
