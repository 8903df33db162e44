//! What changed of a kind lately, so that watches can go on from where they were.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::version::Version;

/// A watch that is further behind is closed, as Kubernetes does with one that does not keep up.
const MOST_KEPT: usize = 100_000;

/// A change of one object.
#[derive(Debug)]
pub(super) struct Happened {
    pub revision: u64,
    pub at_ms: i64,
    pub is_deletion: bool,
    /// The new version, or what is shown last of what is deleted.
    pub version: Arc<Version>,
    pub previous: Option<Arc<Version>>,
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// Oldest first.
    changes: VecDeque<Happened>,
    /// How many at the front are kept only for watches that are behind.
    overdue: usize,
    /// No new watch can start before this version.
    forgotten: u64,
    /// The last change that is not held any more.
    dropped: u64,
    /// How far watches have come.
    readers: Vec<Weak<AtomicU64>>,
}

impl History {
    pub(super) fn push(&mut self, change: Happened) {
        self.changes.push_back(change);
    }

    /// A watch from a version on, by which it tells how far it has come; without one, the oldest version that is possible.
    pub(super) fn read_from(&mut self, revision: u64) -> Result<Arc<AtomicU64>, u64> {
        if revision < self.forgotten {
            return Err(self.forgotten);
        }
        let reader = Arc::new(AtomicU64::new(revision));
        self.readers.retain(|reader| reader.strong_count() > 0);
        self.readers.push(Arc::downgrade(&reader));
        Ok(reader)
    }

    /// What happened after a version, oldest first; nothing where some of it is gone.
    pub(super) fn since(&self, revision: u64) -> Option<impl DoubleEndedIterator<Item = &Happened>> {
        let from = self.changes.partition_point(|change| change.revision <= revision);
        (revision >= self.dropped).then(|| self.changes.range(from..))
    }

    /// The last so many changes up to a version, oldest first, as far as they are held.
    pub(super) fn last(&self, revision: u64, count: usize) -> impl Iterator<Item = &Happened> {
        let until = self.changes.partition_point(|change| change.revision <= revision);
        self.changes.range(until.saturating_sub(count)..until)
    }

    /// The oldest version that can be asked for.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Lets go of what is older, but for watches that have not read it yet.
    pub(super) fn forget(&mut self, before_ms: i64) {
        while let Some(change) = self.changes.get(self.overdue)
            && change.at_ms < before_ms
        {
            self.forgotten = change.revision;
            self.overdue += 1;
        }
        if self.overdue == 0 {
            return;
        }
        let read = self
            .readers
            .iter()
            .filter_map(Weak::upgrade)
            .map(|reader| reader.load(Ordering::Relaxed))
            .min()
            .unwrap_or(u64::MAX);
        while self.overdue > 0
            && (self.changes.len() > MOST_KEPT
                || self.changes.front().is_some_and(|oldest| oldest.revision <= read))
            && let Some(change) = self.changes.pop_front()
        {
            self.dropped = change.revision;
            self.overdue -= 1;
        }
    }

    /// Nothing before a version can be asked for any more; watches that are open still read what they have not.
    pub(super) fn forget_all(&mut self, revision: u64) {
        self.forgotten = revision;
        self.overdue = self.changes.len();
    }
}
