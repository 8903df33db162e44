//! Simulated time, as tokio's goes on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Reads simulated time off tokio's.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    start_ms: i64,
    speed: u32,
    /// Simulated time does not pass what is still to be told: whoever hears of a change reads exactly its time.
    latest_ms: AtomicI64,
}

impl Clock {
    pub(super) fn new(start: Timestamp, speed: u32) -> Self {
        Self {
            origin: Instant::now(),
            start_ms: start.as_millisecond(),
            speed: speed.max(1),
            latest_ms: AtomicI64::new(i64::MAX),
        }
    }

    /// Simulated milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = self
            .start_ms
            .saturating_add(elapsed.saturating_mul(i64::from(self.speed)));
        now.min(self.latest_ms.load(Ordering::Relaxed))
    }

    /// Holds simulated time at an instant until it is released, or held at another. It never goes back.
    pub(super) fn hold_at(&self, ms: i64) {
        let ms = ms.max(self.now_ms());
        self.latest_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) fn release(&self) {
        self.latest_ms.store(i64::MAX, Ordering::Relaxed);
    }

    /// The first whole millisecond of tokio's time at which it is that late.
    pub(super) fn instant(&self, ms: i64) -> Instant {
        let simulated = u64::try_from(ms.saturating_sub(self.start_ms)).unwrap_or(0);
        self.origin + Duration::from_millis(simulated.div_ceil(u64::from(self.speed)))
    }

    /// How long a simulated span takes.
    pub(super) fn lasts(&self, simulated: Duration) -> Duration {
        simulated / self.speed
    }
}

/// An instant as Kubernetes writes it: whole seconds.
pub(super) fn rfc3339(ms: i64) -> String {
    Timestamp::from_second(ms.div_euclid(1000))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}
