//! What time it is in a cluster: that of whoever starts a collection, set right by what the API server says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// The API server tells whole seconds, and its answer takes its time: less than this is no difference.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// A source of the present instant. Nothing in this crate asks the system for it.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// By how many microseconds the cluster is ahead of the source.
    skew: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that asks `now`. Clones are set right together.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(now),
            skew: Arc::default(),
        }
    }

    /// The present instant in the cluster, in whole microseconds, as facts keep it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = (self.source)();
        let micros = now
            .as_microsecond()
            .saturating_add(self.skew.load(Ordering::Relaxed));
        Timestamp::from_microsecond(micros).unwrap_or(now)
    }

    /// By how much the cluster is ahead of the source.
    pub(super) fn skew(&self) -> SignedDuration {
        SignedDuration::from_micros(self.skew.load(Ordering::Relaxed))
    }

    /// The API server has just answered, and says that it is `date`; returns whether the clock had to be set.
    pub(super) fn set_right(&self, date: Timestamp) -> bool {
        let now = self.now();
        // The date is cut to the second.
        let latest = date + SignedDuration::from_secs(1);
        let is_right = now >= date - TOLERANCE && now <= latest + TOLERANCE;
        if !is_right {
            let by = (date + SignedDuration::from_millis(500)).duration_since(now);
            let micros = i64::try_from(by.as_micros()).unwrap_or(0);
            self.skew.fetch_add(micros, Ordering::Relaxed);
        }
        !is_right
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Clock")
            .field("skew", &self.skew())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_right_to_the_second_is_left_alone_and_one_that_is_not_is_set() {
        let at = |millis: i64| Timestamp::from_millisecond(1_790_000_000_000 + millis).unwrap();
        let clock = Clock::new(move || at(300));
        for date in [0, -1000, 1000] {
            assert!(!clock.set_right(at(date)), "{date}");
        }
        assert_eq!(clock.now(), at(300));
        assert!(clock.set_right(at(60_000)));
        assert_eq!(clock.now(), at(60_500));
        assert!(!clock.clone().set_right(at(60_000)));
        assert!(clock.set_right(at(-5000)));
        assert_eq!(clock.now(), at(-4500));
    }
}
