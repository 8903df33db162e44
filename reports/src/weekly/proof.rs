//! What advice on requests would have come to, had it been followed.

use podledger_sql::units::NanoUsd;
use serde::Serialize;

use crate::display::cut;

/// What a strategy's advice would have come to on runs that it had not seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// What was learned from; `None` for the sum of all windows.
    pub learned_from: Option<String>,
    pub strategy: String,
    pub templates: u64,
    pub templates_advised: u64,
    pub attempts: u64,
    pub runs: u64,
    pub failed_attempts: u64,
    pub failed_runs: u64,
    pub requested_byte_ms: u128,
    pub wasted_byte_ms: u128,
    pub requested_millicore_ms: u128,
    pub wasted_millicore_ms: u128,
    pub short_millicore_ms: u128,
    pub retry_cost: NanoUsd,
    pub total_cost: NanoUsd,
}

/// What is advised of the time before the week, judged on the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The first day (UTC) that was learned from.
    pub learned_from_date: String,
    /// Ours first, what was asked for last; empty where it is withheld.
    pub outcomes: Vec<Judged>,
    /// Why there is none.
    pub withheld: Option<String>,
}

impl Proof {
    /// What ours came to, and what was asked for; `None` where it is withheld.
    fn ours_and_current(&self) -> Option<(&Judged, &Judged)> {
        let of = |name: &str| self.outcomes.iter().find(|row| row.strategy == name);
        of("podledger").zip(of("current"))
    }

    fn why_not(&self) -> String {
        format!(
            "not judged: {}",
            self.withheld.as_deref().unwrap_or("nothing was measured")
        )
    }

    /// What it says of ours against what was asked for, in words that follow "advice".
    pub(super) fn sentence(&self) -> String {
        self.ours_and_current().map_or_else(
            || self.why_not(),
            |(ours, current)| {
                format!(
                    "made of what was known before the week, judged on its {} tries: {} would have failed for memory \
                     ({} as they asked), and {} GiB-hours been wasted ({})",
                    ours.attempts,
                    ours.failed_attempts,
                    current.failed_attempts,
                    gib_hours(ours.wasted_byte_ms),
                    gib_hours(current.wasted_byte_ms)
                )
            },
        )
    }

    /// The same, in a line of a terminal.
    pub(super) fn short(&self) -> String {
        self.ours_and_current().map_or_else(
            || cut(&self.why_not(), 90),
            |(ours, current)| {
                format!(
                    "{} of {} tries had failed ({} as asked), {} GiB-h been wasted ({})",
                    ours.failed_attempts,
                    ours.attempts,
                    current.failed_attempts,
                    gib_hours(ours.wasted_byte_ms),
                    gib_hours(current.wasted_byte_ms)
                )
            },
        )
    }
}

/// Byte-milliseconds as GiB-hours with one decimal, rounded toward zero.
pub(super) fn gib_hours(byte_ms: u128) -> String {
    tenths(byte_ms * 10 / ((1 << 30) * 3_600_000))
}

/// Millicore-milliseconds as core-hours with one decimal, rounded toward zero.
pub(super) fn core_hours(millicore_ms: u128) -> String {
    tenths(millicore_ms * 10 / (1000 * 3_600_000))
}

fn tenths(tenths: u128) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_told_with_one_decimal() {
        assert_eq!(gib_hours(3 * (1 << 30) * 1_800_000), "1.5");
        assert_eq!(gib_hours((1 << 30) * 3_600_000 - 1), "0.9");
        assert_eq!(core_hours(12_340 * 3_600_000), "12.3");
    }
}
