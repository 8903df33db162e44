//! Spans of time, half-open, in UTC milliseconds.

use super::quantity::unit_error;
use crate::Result;

/// Milliseconds of an hour: 60 x 60 x 1000.
pub const MS_PER_HOUR: i64 = 60 * 60 * 1_000;

/// Milliseconds of a day: 24 hours.
const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;

/// The furthest instant from 1970, in milliseconds: the whole days that a 64-bit count of microseconds holds,
/// because that is `DuckDB`'s TIMESTAMP. 2^63 / 1000 / 86,400,000 = 106,751,991 days, about 292,000 years.
const FURTHEST_MS: i64 = i64::MAX / 1_000 / MS_PER_DAY * MS_PER_DAY;

const EXPECTED: &str = "a period in milliseconds";

/// A span of time `[start, end)` in milliseconds since 1970-01-01T00:00:00Z; may be empty, never reversed.
///
/// Bounds: both ends within 106,751,991 days of 1970, which a `DuckDB` TIMESTAMP holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    start_ms: i64,
    end_ms: i64,
}

impl Period {
    /// Returns the period from `start_ms` up to but without `end_ms`, in milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// [`crate::Error::Unit`] when the end is before the start or an instant is outside the bounds.
    pub fn new(start_ms: i64, end_ms: i64) -> Result<Self> {
        let error = |reason: &str| unit_error(&format!("[{start_ms}, {end_ms})"), EXPECTED, reason);
        if end_ms < start_ms {
            return Err(error("the end is before the start"));
        }
        if start_ms < -FURTHEST_MS || end_ms > FURTHEST_MS {
            return Err(error(
                "an instant is more than 106751991 days from 1970; is it in microseconds?",
            ));
        }
        Ok(Self { start_ms, end_ms })
    }

    /// Returns the first instant of the period, in milliseconds since 1970 UTC.
    #[must_use]
    pub const fn start_ms(self) -> i64 {
        self.start_ms
    }

    /// Returns the first instant after the period, in milliseconds since 1970 UTC.
    #[must_use]
    pub const fn end_ms(self) -> i64 {
        self.end_ms
    }

    /// Returns the length of the period in milliseconds; never negative.
    #[must_use]
    pub const fn duration_ms(self) -> i64 {
        self.end_ms - self.start_ms
    }

    /// Returns whether the period has no instant: its end is its start.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start_ms == self.end_ms
    }

    /// Returns the time that both periods share, or none when they share no instant; never an empty period.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Self> {
        let start_ms = self.start_ms.max(other.start_ms);
        let end_ms = self.end_ms.min(other.end_ms);
        (start_ms < end_ms).then_some(Self { start_ms, end_ms })
    }

    /// Returns each UTC hour that the period touches, in order: the start of the hour in milliseconds since
    /// 1970, and the part of the period in it.
    ///
    /// The parts follow one another without gap and make up the period; none is empty. An empty period has no
    /// hours.
    pub fn hours(self) -> impl Iterator<Item = (i64, Self)> {
        let mut start_ms = self.start_ms;
        std::iter::from_fn(move || {
            if start_ms >= self.end_ms {
                return None;
            }
            // The Euclidean remainder is never negative, so an hour before 1970 also begins before its
            // instants. The bounds of a period are whole days, so no hour passes them and nothing overflows.
            let hour_start_ms = start_ms - start_ms.rem_euclid(MS_PER_HOUR);
            let part = Self {
                start_ms,
                end_ms: self.end_ms.min(hour_start_ms + MS_PER_HOUR),
            };
            start_ms = part.end_ms;
            Some((hour_start_ms, part))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn period(start_ms: i64, end_ms: i64) -> Period {
        Period::new(start_ms, end_ms).unwrap()
    }

    fn any_period() -> impl Strategy<Value = Period> {
        (-1_000_000_000_i64..1_000_000_000, 0i64..500_000_000)
            .prop_map(|(start, length)| period(start, start + length))
    }

    #[test]
    fn reversed_or_absurd_periods_are_refused() {
        let message = Period::new(2, 1).unwrap_err().to_string();
        assert_eq!(
            message,
            "cannot read `[2, 1)` as a period in milliseconds: the end is before the start"
        );
        for (start_ms, end_ms) in [(i64::MIN, i64::MAX), (0, FURTHEST_MS + 1), (-FURTHEST_MS - 1, 0)] {
            assert!(Period::new(start_ms, end_ms).is_err());
        }
        let longest = period(-FURTHEST_MS, FURTHEST_MS);
        assert_eq!(longest.duration_ms(), 2 * 106_751_991 * MS_PER_DAY);
        assert_eq!(longest.hours().next().unwrap().0, -FURTHEST_MS);
        assert_eq!(period(FURTHEST_MS - 1, FURTHEST_MS).hours().count(), 1);
    }

    #[test]
    fn overlap_is_what_both_share() {
        for (other, expected) in [
            (period(0, 10), None),
            (period(5, 15), Some(period(10, 15))),
            (period(12, 13), Some(period(12, 13))),
            (period(0, 30), Some(period(10, 20))),
            (period(20, 30), None),
            (period(15, 15), None),
        ] {
            assert_eq!(period(10, 20).overlap(&other), expected, "{other:?}");
        }
    }

    #[test]
    fn hours_are_clipped_and_floored() {
        const HOUR: i64 = MS_PER_HOUR;
        for (whole, expected) in [
            (period(0, 0), vec![]),
            (period(7, 7), vec![]),
            (period(0, HOUR), vec![(0, period(0, HOUR))]),
            (
                period(HOUR - 1, HOUR + 1),
                vec![(0, period(HOUR - 1, HOUR)), (HOUR, period(HOUR, HOUR + 1))],
            ),
            (period(-1, 1), vec![(-HOUR, period(-1, 0)), (0, period(0, 1))]),
            (period(-HOUR, 0), vec![(-HOUR, period(-HOUR, 0))]),
        ] {
            assert_eq!(whole.hours().collect::<Vec<_>>(), expected, "{whole:?}");
        }
    }

    proptest! {
        #[test]
        fn no_instants_panic(start_ms: i64, end_ms: i64) {
            if let Ok(period) = Period::new(start_ms, end_ms) {
                prop_assert!(period.duration_ms() >= 0);
                prop_assert_eq!(period.is_empty(), period.hours().next().is_none());
            }
        }

        #[test]
        fn hours_make_up_the_period(whole in any_period()) {
            let mut reached_ms = whole.start_ms();
            for (hour_start_ms, part) in whole.hours() {
                prop_assert_eq!(part.start_ms(), reached_ms);
                prop_assert_eq!(hour_start_ms.rem_euclid(MS_PER_HOUR), 0);
                let hour = period(hour_start_ms, hour_start_ms + MS_PER_HOUR);
                prop_assert_eq!(whole.overlap(&hour), Some(part));
                reached_ms = part.end_ms();
            }
            prop_assert_eq!(reached_ms, whole.end_ms());
        }

        #[test]
        fn overlap_is_symmetric_and_within_both(one in any_period(), other in any_period()) {
            prop_assert_eq!(one.overlap(&other), other.overlap(&one));
            if let Some(shared) = one.overlap(&other) {
                prop_assert!(!shared.is_empty());
                prop_assert_eq!(shared.overlap(&one), Some(shared));
                prop_assert_eq!(shared.overlap(&other), Some(shared));
            }
        }
    }
}
