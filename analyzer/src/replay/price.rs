//! What an hour of a pool's machines cost when.

use podledger_sql::units::{NanoUsd, prorate};

const HOUR_MS: i64 = 3_600_000;

/// Nano-dollars of a machine's hour, hour by hour, and their sum until each: the average over the machines that were up.
#[derive(Debug, Clone, Default)]
pub(super) struct Prices {
    first_hour_ms: i64,
    hourly: Vec<i64>,
    /// Sum of all hours before.
    before: Vec<i128>,
}

impl Prices {
    /// Of hours in order, each with the cost of all machines and for how long they were up. An hour without machines costs what the one before it
    /// did.
    pub(super) fn new(hours: &[(i64, i64, i64)]) -> Self {
        let mut made = Self::default();
        for (hour_ms, cost_nano, up_ms) in hours {
            if *up_ms <= 0 {
                continue;
            }
            let hourly = i64::try_from(i128::from(*cost_nano) * i128::from(HOUR_MS) / i128::from(*up_ms))
                .unwrap_or(i64::MAX);
            if made.hourly.is_empty() {
                made.first_hour_ms = *hour_ms;
            }
            let place = usize::try_from((hour_ms - made.first_hour_ms) / HOUR_MS).unwrap_or(0);
            let last = made.hourly.last().copied().unwrap_or(hourly);
            made.hourly.resize(place.max(made.hourly.len()), last);
            made.hourly.push(hourly);
        }
        let mut sum = 0;
        for hourly in &made.hourly {
            made.before.push(sum);
            sum += i128::from(*hourly);
        }
        made
    }

    /// Nano-dollars of a machine from the first hour until an instant; negative before it.
    fn until(&self, at_ms: i64) -> i128 {
        let (Some(first), Some(last)) = (self.hourly.first(), self.hourly.last()) else {
            return 0;
        };
        let since = at_ms - self.first_hour_ms;
        let part = |hourly: i64, ms: i64| {
            prorate(
                NanoUsd::from_nano(hourly),
                i128::from(ms % HOUR_MS),
                i128::from(HOUR_MS),
            )
            .map_or(0, |cost| i128::from(cost.get()))
                + i128::from(hourly) * i128::from(ms / HOUR_MS)
        };
        match usize::try_from(since / HOUR_MS) {
            Ok(hour) if since >= 0 => match (self.before.get(hour), self.hourly.get(hour)) {
                (Some(before), Some(hourly)) => before + part(*hourly, since % HOUR_MS),
                _ => {
                    let beyond = since - i64::try_from(self.hourly.len()).unwrap_or(i64::MAX) * HOUR_MS;
                    self.before.last().copied().unwrap_or(0) + i128::from(*last) + part(*last, beyond)
                }
            },
            _ => -part(*first, -since),
        }
    }

    /// Nano-dollars of one machine for a time.
    pub(super) fn cost(&self, from_ms: i64, to_ms: i64) -> i128 {
        if to_ms <= from_ms {
            return 0;
        }
        self.until(to_ms) - self.until(from_ms)
    }
}
