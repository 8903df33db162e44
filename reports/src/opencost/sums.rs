//! Amounts and how they are divided: money in nano-dollars, resources in units times milliseconds, all of them integers. Parts are differences of
//! running parts, so that the parts of whatever is divided add up to it.

use podledger_sql::units::{NanoUsd, prorate};

use super::window::{Steps, Window};
use crate::http::problem::Problem;

/// Kinds of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Money {
    Cpu,
    Memory,
    Gpu,
    Volume,
    LoadBalancer,
    /// Control planes.
    External,
    /// Load balancers of others.
    Shared,
    /// Idle capacity that is shared.
    CpuIdle,
    MemoryIdle,
    GpuIdle,
}

/// Kinds of resource-time: of CPU in millicores, of accelerators in thousandths, of memory and volumes in bytes, times milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    Cpu,
    Memory,
    Gpu,
    CpuRequest,
    MemoryRequest,
    CpuUsage,
    MemoryUsage,
    /// What was asked for while usage is known.
    CpuMeasured,
    MemoryMeasured,
    Volume,
}

const MONEY: usize = 10;
const TIME: usize = 10;

/// The resource by which an amount is divided among containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Resource(usize),
    Evenly,
}

const MONEY_BY: [By; MONEY] = [
    By::Resource(0),
    By::Resource(1),
    By::Resource(2),
    By::Evenly,
    By::Evenly,
    By::Evenly,
    By::Evenly,
    By::Resource(0),
    By::Resource(1),
    By::Resource(2),
];
const TIME_BY: [By; TIME] = [
    By::Resource(0),
    By::Resource(1),
    By::Resource(2),
    By::Resource(0),
    By::Resource(1),
    By::Resource(0),
    By::Resource(1),
    By::Resource(0),
    By::Resource(1),
    By::Evenly,
];

/// What something cost and held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    money: [i128; MONEY],
    time: [i128; TIME],
}

impl Amounts {
    pub fn with(money: &[(Money, i128)], time: &[(Time, i128)]) -> Self {
        let mut amounts = Self::default();
        for (kind, nano) in money {
            amounts.money[*kind as usize] += nano;
        }
        for (kind, amount) in time {
            amounts.time[*kind as usize] += amount;
        }
        amounts
    }

    pub fn money(&self, kind: Money) -> i128 {
        self.money[kind as usize]
    }

    pub fn time(&self, kind: Time) -> i128 {
        self.time[kind as usize]
    }

    /// All money, nano-dollars.
    pub fn total(&self) -> i128 {
        self.money.iter().sum()
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.money.iter_mut().zip(other.money) {
            *mine += theirs;
        }
        for (mine, theirs) in self.time.iter_mut().zip(other.time) {
            *mine += theirs;
        }
    }

    /// Money of a kind, given away.
    pub fn take(&mut self, kind: Money) -> i128 {
        std::mem::take(&mut self.money[kind as usize])
    }

    pub fn give(&mut self, kind: Money, nano: i128) {
        self.money[kind as usize] += nano;
    }

    fn each(&self, other: &Self, combine: impl Fn(i128, i128) -> i128) -> Self {
        let mut all = *self;
        for (mine, theirs) in all.money.iter_mut().zip(other.money) {
            *mine = combine(*mine, theirs);
        }
        for (mine, theirs) in all.time.iter_mut().zip(other.time) {
            *mine = combine(*mine, theirs);
        }
        all
    }

    /// A part of it all, cut off.
    fn part(&self, part: i64, whole: i64) -> Result<Self, Problem> {
        let (part, whole) = (i128::from(part), i128::from(whole));
        let mut all = Self::default();
        for (mine, nano) in all.money.iter_mut().zip(self.money) {
            *mine = money_part(nano, part, whole)?;
        }
        for (mine, amount) in all.time.iter_mut().zip(self.time) {
            *mine = amount * part / whole;
        }
        Ok(all)
    }

    /// Divides what an hour has among the steps that it touches, by how long its holder held it in each. What lies outside the steps' window is left out.
    ///
    /// # Errors
    /// A [`Problem`] where an amount does not fit.
    pub fn by_step(&self, hour: Window, holder: Window, steps: Steps) -> Result<Vec<(i64, Self)>, Problem> {
        // Whoever was not there at all paid for the hour as such.
        let held = holder.overlap(hour).unwrap_or(hour);
        let until = |at_ms: i64| {
            self.part(
                (at_ms - held.start_ms).clamp(0, held.duration_ms()),
                held.duration_ms(),
            )
        };
        let mut parts = Vec::new();
        for (number, step) in steps.of_hour(hour.start_ms) {
            let before = until(step.start_ms.max(hour.start_ms))?;
            let part = until(step.end_ms.min(hour.end_ms))?.each(&before, |upto, before| upto - before);
            if part != Self::default() {
                parts.push((number, part));
            }
        }
        Ok(parts)
    }

    /// Divides it among containers, by what each asks for of CPU, memory and accelerators, and evenly where none asks.
    ///
    /// # Errors
    /// A [`Problem`] where an amount does not fit.
    pub fn by_container(&self, requests: &[[i128; 3]]) -> Result<Vec<Self>, Problem> {
        let mut parts = vec![Self::default(); requests.len()];
        let weights = |by: By| -> Vec<i128> {
            requests
                .iter()
                .map(|request| match by {
                    By::Resource(resource) => request[resource],
                    By::Evenly => 1,
                })
                .collect()
        };
        for (kind, by) in MONEY_BY.into_iter().enumerate() {
            for (part, nano) in parts.iter_mut().zip(spread(self.money[kind], &weights(by))?) {
                part.money[kind] = nano;
            }
        }
        for (kind, by) in TIME_BY.into_iter().enumerate() {
            let running = running(&weights(by), |part, whole| Ok(self.time[kind] * part / whole))?;
            for (part, amount) in parts.iter_mut().zip(running) {
                part.time[kind] = amount;
            }
        }
        Ok(parts)
    }
}

/// `prorate`, of a sum.
fn money_part(nano: i128, part: i128, whole: i128) -> Result<i128, Problem> {
    let amount = i64::try_from(nano).map_err(|error| Problem::failed(&error))?;
    prorate(NanoUsd::from_nano(amount), part, whole)
        .map(|part| i128::from(part.get()))
        .map_err(|error| Problem::failed(&error))
}

/// Differences of running parts; weights that are all zero count the same.
fn running(
    weights: &[i128],
    part: impl Fn(i128, i128) -> Result<i128, Problem>,
) -> Result<Vec<i128>, Problem> {
    let sum: i128 = weights.iter().sum();
    let whole = if sum > 0 { sum } else { weights.len() as i128 };
    let (mut upto, mut before) = (0, 0);
    weights
        .iter()
        .map(|weight| {
            upto += if sum > 0 { *weight } else { 1 };
            let now = part(upto, whole)?;
            Ok(now - std::mem::replace(&mut before, now))
        })
        .collect()
}

/// Divides money by weights from zero; the parts add up to it.
///
/// # Errors
/// A [`Problem`] where an amount does not fit.
pub(super) fn spread(nano: i128, weights: &[i128]) -> Result<Vec<i128>, Problem> {
    running(weights, |part, whole| money_part(nano, part, whole))
}

/// A quotient with five decimals, the nearest; 0 without a divisor. It is where integers end.
pub(super) fn rounded(dividend: i128, divisor: i128) -> f64 {
    const DECIMALS: i128 = 100_000;
    if divisor <= 0 {
        return 0.0;
    }
    let (whole, rest) = (dividend / divisor, dividend % divisor);
    // What is left is smaller than the divisor; half of a unit goes away from zero, as OpenCost's does.
    let twice = 2 * rest * DECIMALS;
    let nearest = (twice + twice.signum() * divisor) / (2 * divisor);
    (whole * DECIMALS + nearest) as f64 / 100_000.0
}

/// Dollars with five decimals of nano-dollars.
pub(super) fn dollars(nano: i128) -> f64 {
    rounded(nano, 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn window(start_ms: i64, end_ms: i64) -> Window {
        Window { start_ms, end_ms }
    }

    #[test]
    fn parts_of_an_hour_add_up_to_it_and_lie_where_it_was_held() {
        let amounts = Amounts::with(
            &[(Money::Cpu, 1_000_000_007), (Money::Memory, -13)],
            &[(Time::Memory, 77_777_777_777_777_777_777)],
        );
        for step_ms in [1_000_000, 700_001, HOUR, 60_000] {
            for holder in [
                window(0, 2 * HOUR),
                window(HOUR + 7, HOUR + 8),
                window(HOUR + 600_000, HOUR + 1_500_000),
                // It was not there in this hour.
                window(5 * HOUR, 6 * HOUR),
            ] {
                let steps = Steps::new(window(0, 3 * HOUR), Some(step_ms));
                let parts = amounts.by_step(window(HOUR, 2 * HOUR), holder, steps).unwrap();
                let mut sum = Amounts::default();
                for (number, part) in &parts {
                    let step = steps.at(*number);
                    let held = holder
                        .overlap(window(HOUR, 2 * HOUR))
                        .unwrap_or(window(HOUR, 2 * HOUR));
                    assert!(step.overlap(held).is_some(), "{step:?} {holder:?}");
                    sum.add(part);
                }
                assert_eq!(sum, amounts, "{step_ms} {holder:?}");
            }
        }
        let steps = Steps::new(window(HOUR + HOUR / 2, 2 * HOUR), None);
        let half = amounts
            .by_step(window(HOUR, 2 * HOUR), window(0, 9 * HOUR), steps)
            .unwrap();
        assert_eq!(half.len(), 1);
        assert_eq!(half[0].1.money(Money::Cpu), 500_000_004);
        assert_eq!(half[0].1.money(Money::Memory), -7);
    }

    #[test]
    fn containers_share_by_what_they_ask_for() {
        let amounts = Amounts::with(
            &[(Money::Cpu, 100), (Money::Memory, 100), (Money::Volume, 101)],
            &[(Time::Cpu, 9)],
        );
        let parts = amounts.by_container(&[[2, 0, 0], [1, 0, 0], [0, 0, 0]]).unwrap();
        let of = |kind| parts.iter().map(|part| part.money(kind)).collect::<Vec<_>>();
        assert_eq!(of(Money::Cpu), [66, 34, 0]);
        assert_eq!(of(Money::Memory), [33, 33, 34]);
        assert_eq!(of(Money::Volume), [33, 34, 34]);
        let times: Vec<i128> = parts.iter().map(|part| part.time(Time::Cpu)).collect();
        assert_eq!(times, [6, 3, 0]);
    }

    #[test]
    fn roundings_are_the_nearest_of_five_decimals() {
        for (nano, wanted) in [
            (0, 0.0),
            (5_000, 0.00001),
            (4_999, 0.0),
            (-5_000, -0.00001),
            (1_234_564_999, 1.23456),
            (1_234_565_000, 1.23457),
            (123_456_789_012_345_678, 123_456_789.012_35),
        ] {
            assert_eq!(dollars(nano), wanted, "{nano}");
        }
        assert_eq!(rounded(1, 3), 0.33333);
        assert_eq!(rounded(1, 0), 0.0);
        // Bytes of a cluster in a year.
        assert_eq!(
            rounded(i128::from(i64::MAX) * 31_536_000_000, 31_536_000_000),
            i64::MAX as f64
        );
    }
}
