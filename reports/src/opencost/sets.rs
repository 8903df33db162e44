//! Sets of allocations, and how they are added up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::item::Item;
use super::sums::Amounts;
use super::window::Window;

/// Storage of one volume: bytes times milliseconds, and nano-dollars.
pub(super) type Volumes = BTreeMap<(String, String), (i128, i128)>;

/// A cluster and a node of it; the node is empty where it does not matter.
pub(super) type Place = (String, String);

/// CPU, memory and accelerators, nano-dollars.
pub(super) type Costs = [i128; 3];

/// One allocation of a set.
#[derive(Debug, Clone, Default)]
pub(super) struct Allocation {
    pub item: Item,
    pub amounts: Amounts,
    /// When the first of its members began and the last ended, within the set's window.
    pub start_ms: i64,
    pub end_ms: i64,
    pub volumes: Volumes,
    /// What it paid of each node, and what the node cost, where that is asked for.
    pub nodes: BTreeMap<Place, (Costs, Costs)>,
}

/// The allocations of a stretch of time, by name.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub window: Window,
    pub allocations: BTreeMap<String, Allocation>,
}

impl Allocation {
    /// Adds another to it.
    pub fn merge(&mut self, other: Self) {
        self.amounts.add(&other.amounts);
        if self.end_ms == 0 {
            (self.start_ms, self.end_ms) = (other.start_ms, other.end_ms);
        } else {
            self.start_ms = self.start_ms.min(other.start_ms);
            self.end_ms = self.end_ms.max(other.end_ms);
        }
        for (name, (byte_ms, nano)) in other.volumes {
            let sums = self.volumes.entry(name).or_default();
            sums.0 += byte_ms;
            sums.1 += nano;
        }
        for (place, (part, whole)) in other.nodes {
            let sums = self.nodes.entry(place).or_default();
            for (sum, cost) in sums.0.iter_mut().zip(part) {
                *sum += cost;
            }
            for (sum, cost) in sums.1.iter_mut().zip(whole) {
                *sum += cost;
            }
        }
    }
}

/// Sets of the same unit, put together.
pub(super) fn accumulated(sets: Vec<Set>, has_both: impl Fn(i64, i64) -> bool) -> Vec<Set> {
    let mut whole: Vec<Set> = Vec::new();
    for set in sets {
        match whole.last_mut() {
            Some(last) if has_both(last.window.start_ms, set.window.start_ms) => {
                last.window.end_ms = set.window.end_ms;
                for (name, allocation) in set.allocations {
                    match last.allocations.entry(name) {
                        Entry::Occupied(mut known) => {
                            known.get_mut().merge(allocation);
                        }
                        Entry::Vacant(place) => {
                            place.insert(allocation);
                        }
                    }
                }
            }
            _ => whole.push(set),
        }
    }
    whole
}
