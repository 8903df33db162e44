//! When things were there, as scrapes show: the first and the last that had them, and the next that had not.

use std::collections::{BTreeMap, BTreeSet};

/// A stretch in which scrapes failed, or nobody scraped.
pub type Hole = (i64, i64);

/// The instants at which each scraper of a kind of objects looked.
#[derive(Debug, Default)]
pub struct Scrapes {
    of: BTreeMap<String, Looks>,
}

/// When one of them looked, in milliseconds.
#[derive(Debug)]
struct Looks {
    first_ms: i64,
    recent: BTreeSet<i64>,
}

/// Who saw a thing last, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub at_ms: i64,
    pub by: String,
}

impl Scrapes {
    /// Notes that somebody looked.
    pub fn add(&mut self, by: &str, at_ms: i64) {
        if !self.of.contains_key(by) {
            let looks = Looks {
                first_ms: at_ms,
                recent: BTreeSet::new(),
            };
            self.of.insert(by.to_owned(), looks);
        }
        if let Some(looks) = self.of.get_mut(by) {
            looks.first_ms = looks.first_ms.min(at_ms);
            looks.recent.insert(at_ms);
        }
    }

    /// The first look after `seen` that would have shown the thing, had it been there still: by who saw it last, or else by
    /// somebody who had not looked before, as that one came in its place. `None` while nobody did.
    #[must_use]
    pub fn missed(&self, seen: &Seen) -> Option<i64> {
        let after = |looks: &Looks| looks.recent.range(seen.at_ms + 1..).next().copied();
        if let Some(at_ms) = self.of.get(&seen.by).and_then(after) {
            return Some(at_ms);
        }
        let successors = self.of.values().filter(|looks| looks.first_ms > seen.at_ms);
        successors.filter_map(after).min()
    }

    /// The newest look of all.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.of
            .values()
            .filter_map(|looks| looks.recent.last().copied())
            .max()
    }

    /// Forgets looks before an instant.
    pub fn forget_before(&mut self, at_ms: i64) {
        for looks in self.of.values_mut() {
            looks.recent = looks.recent.split_off(&at_ms);
        }
        self.of.retain(|_, looks| !looks.recent.is_empty());
    }

    /// Stretches longer than `longest_ms` in which nobody looked, from `since_ms` on.
    #[must_use]
    pub fn holes(&self, since_ms: i64, longest_ms: i64) -> Vec<Hole> {
        let all: BTreeSet<i64> = self
            .of
            .values()
            .flat_map(|looks| looks.recent.iter().copied())
            .collect();
        let mut last = since_ms;
        let mut holes = Vec::new();
        for at_ms in all.range(since_ms..) {
            if at_ms - last > longest_ms {
                holes.push((last, *at_ms));
            }
            last = *at_ms;
        }
        holes
    }
}

/// What lies between samples in most cases: their median distance, in milliseconds. `None` of fewer than two.
#[must_use]
pub fn interval<'a>(samples: impl Iterator<Item = &'a [(i64, f64)]>) -> Option<i64> {
    let mut distances: Vec<i64> = samples
        .flat_map(|samples| samples.windows(2))
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at_ms: i64, by: &str) -> Seen {
        Seen {
            at_ms,
            by: by.to_owned(),
        }
    }

    #[test]
    fn a_thing_is_missed_by_who_saw_it_last_or_by_who_came_in_its_place() {
        let mut scrapes = Scrapes::default();
        for at_ms in [0, 30, 60] {
            scrapes.add("a", at_ms);
            scrapes.add("b", at_ms + 10);
        }
        for at_ms in [95, 125] {
            scrapes.add("c", at_ms);
        }
        for (last, missed) in [
            // Another that looks too may never have seen it: it has a part of its own.
            (seen(30, "a"), Some(60)),
            (seen(10, "b"), Some(40)),
            (seen(60, "a"), Some(95)),
            (seen(70, "b"), Some(95)),
            (seen(95, "c"), Some(125)),
            (seen(125, "c"), None),
        ] {
            assert_eq!(scrapes.missed(&last), missed, "{last:?}");
        }
    }

    #[test]
    fn holes_lie_where_nobody_looked_for_long() {
        let mut scrapes = Scrapes::default();
        for at_ms in [100, 130, 400, 430] {
            scrapes.add("a", at_ms);
        }
        scrapes.add("b", 200);
        assert_eq!(scrapes.holes(100, 90), [(200, 400)]);
        assert_eq!(scrapes.holes(0, 90), [(0, 100), (200, 400)]);
        assert_eq!(scrapes.holes(0, 300), []);
    }

    #[test]
    fn the_interval_is_what_lies_between_most_samples() {
        let samples: Vec<(i64, f64)> = [0, 30, 60, 90, 200].map(|at| (at, 0.0)).to_vec();
        assert_eq!(interval(std::iter::once(samples.as_slice())), Some(30));
        assert_eq!(interval(std::iter::empty()), None);
    }
}
