//! The rules of a pool, read off its machines.

use super::{Amounts, Machine, Ordering, Pool, Rules, Score};

/// The ways in which pods are bound and machines ordered that are tried.
pub(super) const WAYS: [(Score, Ordering); 6] = [
    (Score::Oldest, Ordering::BySum),
    (Score::Oldest, Ordering::ByPod),
    (Score::MostAllocated, Ordering::BySum),
    (Score::MostAllocated, Ordering::ByPod),
    (Score::LeastAllocated, Ordering::BySum),
    (Score::LeastAllocated, Ordering::ByPod),
];

fn median(mut found: Vec<i64>) -> Option<i64> {
    found.sort_unstable();
    found.get(found.len() / 2).copied()
}

/// What the pool's machines show of its rules.
pub(super) fn observed(pool: &Pool) -> Rules {
    let in_window = |at_ms: i64| at_ms >= pool.from_ms && at_ms < pool.to_ms;
    let boots = pool
        .machines
        .iter()
        .filter(|machine| in_window(machine.start_ms) && machine.registered_ms < machine.up_to_ms)
        .map(|machine| machine.registered_ms - machine.start_ms);
    let ended = |machine: &&Machine| machine.is_ended && in_window(machine.up_to_ms);
    let tails = pool.machines.iter().filter(ended).filter_map(|machine| {
        machine
            .last_workload_ms
            .map(|last| (machine.up_to_ms - last).max(0))
    });
    let newest = pool.machines.iter().max_by_key(|machine| machine.start_ms);
    let (least_machines, most_machines) = sizes(pool);
    Rules {
        boot_ms: median(boots.collect()).unwrap_or(0).max(0),
        idle_ms: median(tails.collect()),
        least_machines,
        most_machines,
        minimum_ms: newest.map_or(0, |machine| machine.minimum_ms),
        rounding_ms: newest.map_or(0, |machine| machine.rounding_ms),
        score: Score::Oldest,
        ordering: Ordering::BySum,
    }
}

/// The fewest and the most machines that were up at a time, from when the first one was.
fn sizes(pool: &Pool) -> (u32, u32) {
    let first = pool
        .machines
        .iter()
        .map(|machine| machine.start_ms)
        .min()
        .unwrap_or(pool.to_ms);
    let from_ms = first.max(pool.from_ms);
    let mut changes: Vec<(i64, i64)> = Vec::new();
    let mut up = 0_i64;
    for machine in &pool.machines {
        if machine.is_ended && machine.up_to_ms <= from_ms {
            continue;
        }
        if machine.start_ms <= from_ms {
            up += 1;
        } else {
            // One that comes in the instant in which another goes follows it without a break.
            changes.push((machine.start_ms, 1));
        }
        if machine.is_ended && machine.up_to_ms < pool.to_ms {
            changes.push((machine.up_to_ms, -1));
        }
    }
    changes.sort_by_key(|(at, change)| (*at, -change));
    let (mut fewest, mut most) = (up, up);
    for (_, change) in changes {
        up += change;
        fewest = fewest.min(up);
        most = most.max(up);
    }
    let whole = |machines: i64| u32::try_from(machines).unwrap_or(0);
    (whole(fewest), whole(most))
}

/// The commonest of several shapes, less what the cluster's own pods hold of a machine on average.
pub(super) fn room(shapes: &mut [Amounts], own: [i128; 3], machine_ms: i128) -> Amounts {
    shapes.sort_unstable();
    let commonest = shapes
        .chunk_by(|a, b| a == b)
        .max_by_key(|same| same.len())
        .and_then(|same| same.first().copied())
        .unwrap_or_default();
    let mut room = commonest;
    for (room, own) in room.iter_mut().zip(own) {
        let held = i64::try_from(own / machine_ms.max(1)).unwrap_or(i64::MAX);
        *room = (*room - held).max(0);
    }
    room
}
