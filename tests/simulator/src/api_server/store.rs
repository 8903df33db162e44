//! What the server holds: objects, and for a while what changed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::fault::Faults;
use super::history::{Happened, History};
use super::list::Snapshots;
use super::resources::{Resource, Resources};
use super::version::{Identity, Key, Version};
use super::{Settings, Use};
use crate::draw::Draw;
use crate::world::{ChangeKind, Object};

/// Clusters are never so young that their first version is 1.
const FIRST_REVISION: u64 = 1000;

/// All of a kind.
#[derive(Debug)]
pub(super) struct Kept {
    pub objects: BTreeMap<Key, Arc<Version>>,
    pub history: History,
    /// Wakes watches; carries the last version of the kind.
    pub news: watch::Sender<u64>,
}

/// Everything, under one lock.
#[derive(Debug)]
pub(super) struct Store {
    pub revision: u64,
    pub resources: Resources,
    pub kept: Vec<Kept>,
    pub snapshots: Snapshots,
    pub faults: Faults,
    pub uses: BTreeSet<Use>,
    pub draw: Draw,
    /// Bookmarks for all watches so far.
    pub bookmarks: u64,
    history_ms: i64,
    event_ttl_ms: i64,
    /// Events and when they vanish.
    vanishing: BinaryHeap<Reverse<(i64, Key, u64)>>,
    touched: BTreeSet<usize>,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Events of about a minute share one lease, and vanish together.
const LEASE_MS: i64 = 60_000;

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut store = Self {
            revision: FIRST_REVISION,
            resources: Resources::new(),
            kept: Vec::new(),
            snapshots: Snapshots::default(),
            faults: Faults::default(),
            uses: BTreeSet::new(),
            draw: Draw::new(settings.seed),
            bookmarks: 0,
            history_ms: milliseconds(settings.history),
            event_ttl_ms: milliseconds(settings.event_ttl),
            vanishing: BinaryHeap::new(),
            touched: BTreeSet::new(),
        };
        store.make_room();
        store
    }

    fn make_room(&mut self) {
        while self.kept.len() < self.resources.all().len() {
            self.kept.push(Kept {
                objects: BTreeMap::new(),
                history: History::default(),
                news: watch::Sender::new(self.revision),
            });
        }
    }

    /// A resource with what is kept of it.
    pub(super) fn of(&self, number: usize) -> Option<(&Resource, &Kept)> {
        Some((self.resources.get(number)?, self.kept.get(number)?))
    }

    /// Tells all watches how far they have come.
    pub(super) fn bookmark(&mut self) {
        self.bookmarks += 1;
        self.touched.extend(0..self.kept.len());
    }

    /// Applies what a watch has shown: whether the object is there decides what it is.
    pub(super) fn apply(&mut self, kind: ChangeKind, object: Object, now_ms: i64) {
        if kind == ChangeKind::Bookmark {
            self.bookmark();
            return;
        }
        let identity = Identity::of(&object);
        let key = identity.key();
        if identity.kind.is_empty() || identity.api_version.is_empty() || key.name.is_empty() {
            tracing::warn!(
                kind = identity.kind,
                "cannot keep an object that does not say what it is"
            );
            return;
        }
        let is_namespaced = !key.namespace.is_empty();
        let number = self
            .resources
            .of_kind(identity.api_version, identity.kind, is_namespaced);
        self.make_room();
        let there = self.kept.get(number).and_then(|kept| kept.objects.get(&key));
        let is_other = there.is_some_and(|there| !identity.uid.is_empty() && identity.uid != there.uid);
        let is_there = there.is_some();
        match kind {
            ChangeKind::Deleted if is_there && !is_other => {
                self.remove(number, &key, Some(object), now_ms);
            }
            ChangeKind::Deleted => {}
            _ => {
                if is_other {
                    // A name that came again: what had it before is gone, though nobody saw it go.
                    self.remove(number, &key, None, now_ms);
                }
                self.put(number, object, now_ms);
            }
        }
    }

    /// Writes an object, as it is given but for its version; returns what is there now.
    pub(super) fn put(&mut self, number: usize, object: Object, now_ms: i64) -> Option<Arc<Version>> {
        let revision = self.next_revision();
        let resource = self.resources.get(number)?;
        let kept = self.kept.get_mut(number)?;
        let mut version = Version::new(resource, object, revision);
        if self.faults.take_malformed(&resource.plural) {
            version = version.malformed(resource);
        }
        let version = Arc::new(version);
        if resource.kind == "Event" && resource.group.is_empty() {
            let due = now_ms.saturating_add(self.event_ttl_ms);
            let due = due
                .saturating_sub(due.rem_euclid(LEASE_MS))
                .saturating_add(LEASE_MS);
            self.vanishing.push(Reverse((due, version.key.clone(), revision)));
        }
        let previous = kept.objects.insert(version.key.clone(), Arc::clone(&version));
        kept.history.push(Happened {
            revision,
            at_ms: now_ms,
            is_deletion: false,
            version: Arc::clone(&version),
            previous,
        });
        kept.history.forget(now_ms.saturating_sub(self.history_ms));
        self.touched.insert(number);
        Some(version)
    }

    /// Deletes an object; `last` is what is shown of it, else what was there.
    pub(super) fn remove(
        &mut self,
        number: usize,
        key: &Key,
        last: Option<Object>,
        now_ms: i64,
    ) -> Option<Arc<Version>> {
        let previous = self.kept.get_mut(number)?.objects.remove(key)?;
        let revision = self.next_revision();
        let resource = self.resources.get(number)?;
        let kept = self.kept.get_mut(number)?;
        let version = match last {
            Some(last) => Version::new(resource, last, revision),
            None => previous.renumbered(resource, revision),
        };
        let version = Arc::new(version);
        kept.history.push(Happened {
            revision,
            at_ms: now_ms,
            is_deletion: true,
            version: Arc::clone(&version),
            previous: Some(previous),
        });
        kept.history.forget(now_ms.saturating_sub(self.history_ms));
        self.touched.insert(number);
        Some(version)
    }

    fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// Lets go of what is too old to be asked for.
    pub(super) fn age(&mut self, now_ms: i64) {
        for kept in &mut self.kept {
            kept.history.forget(now_ms.saturating_sub(self.history_ms));
        }
        self.snapshots.age(now_ms);
        while self.vanishes_ms().is_some_and(|due| due <= now_ms) {
            self.vanish(now_ms);
        }
    }

    /// When the next Event vanishes.
    pub(super) fn vanishes_ms(&self) -> Option<i64> {
        self.vanishing.peek().map(|Reverse((due, _, _))| *due)
    }

    fn vanish(&mut self, now_ms: i64) {
        let Some(Reverse((_, key, revision))) = self.vanishing.pop() else {
            return;
        };
        let number = self.resources.of_kind("v1", "Event", true);
        // One that was written again has another time.
        let is_same = self
            .kept
            .get(number)
            .and_then(|kept| kept.objects.get(&key))
            .is_some_and(|there| there.revision == revision);
        if is_same {
            self.remove(number, &key, None, now_ms);
        }
    }

    /// Wakes the watches of all that has changed since.
    pub(super) fn wake(&mut self) {
        for number in std::mem::take(&mut self.touched) {
            if let Some(kept) = self.kept.get(number) {
                kept.news.send_replace(self.revision);
            }
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.touched.extend(0..self.kept.len());
        self.wake();
    }

    /// Forgets all that happened; only what is there can be asked for.
    pub(super) fn forget_history(&mut self) {
        for kept in &mut self.kept {
            kept.history.forget_all(self.revision);
        }
        self.snapshots.clear();
    }

    /// As after a restore of an older backup: versions count on from half of what they had reached.
    pub(super) fn run_backwards(&mut self) {
        let earlier = |revision: u64| (revision / 2).max(1);
        self.revision = earlier(self.revision);
        self.vanishing = std::mem::take(&mut self.vanishing)
            .into_iter()
            .map(|Reverse((due, key, revision))| Reverse((due, key, earlier(revision))))
            .collect();
        for (resource, kept) in self.resources.all().iter().zip(&mut self.kept) {
            for version in kept.objects.values_mut() {
                *version = Arc::new(version.renumbered(resource, earlier(version.revision)));
            }
            kept.history = History::default();
            kept.history.forget_all(self.revision);
        }
        self.snapshots.clear();
    }
}
