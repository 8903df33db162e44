//! How long a rate was how high: a histogram with buckets that grow, so that percentiles are right to one percent.
//!
//! Bucket 0 holds nothing but zero, bucket i > 0 the rates above γ^(i-1) up to γ^i, with γ = 1.01 / 0.99: the logarithmic
//! mapping of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", VLDB 2019). Histograms are merged by adding buckets, here as in SQL. A library's sketch keeps every bucket
//! between the smallest and the largest; a container has few, and there are very many containers.

use std::collections::BTreeMap;

/// By how much a percentile may be off, relative to its value.
pub const RELATIVE_ERROR: f64 = 0.01;

const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// Time by rate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates(Vec<(u16, u32)>);

impl Rates {
    /// A rate was so high for so many milliseconds.
    pub fn add(&mut self, rate: u64, ms: i64) {
        let Ok(ms) = u32::try_from(ms) else { return };
        if ms > 0 {
            self.add_to(bucket(rate), ms);
        }
    }

    fn add_to(&mut self, bucket: u16, ms: u32) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(ms),
            Err(place) => self.0.insert(place, (bucket, ms)),
        }
    }

    /// Takes in what another holds.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, ms) in &other.0 {
            self.add_to(*bucket, *ms);
        }
    }

    /// The rate that was not exceeded for so many permille of the time; `None` where no time is known.
    #[must_use]
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        let whole: u64 = self.0.iter().map(|(_, ms)| u64::from(*ms)).sum();
        let wanted = (u128::from(whole) * u128::from(permille)).div_ceil(1000).max(1);
        let mut passed = 0_u128;
        let found = self.0.iter().find(|(_, ms)| {
            passed += u128::from(*ms);
            passed >= wanted
        });
        found.map(|(bucket, _)| value(*bucket))
    }

    /// Milliseconds by rate: that in the middle of each bucket, so that buckets of one rate fall together.
    #[must_use]
    pub fn times(&self) -> BTreeMap<u64, u64> {
        let mut times = BTreeMap::new();
        for (bucket, ms) in &self.0 {
            *times.entry(value(*bucket)).or_default() += u64::from(*ms);
        }
        times
    }
}

fn bucket(rate: u64) -> u16 {
    match rate {
        0 => 0,
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "logarithms of 64 bits are small"
        )]
        rate => 1 + ((rate as f64).ln() / GAMMA.ln()).ceil() as u16,
    }
}

/// The value in the middle of a bucket, by ratio: it is off by one percent at most.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are 64 bits"
)]
fn value(bucket: u16) -> u64 {
    match bucket {
        0 => 0,
        bucket => (2.0 * GAMMA.powi(i32::from(bucket) - 1) / (GAMMA + 1.0)).round() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_percent_and_merging_adds_time() {
        let mut all = Rates::default();
        for part in 0..10 {
            let mut some = Rates::default();
            for rate in (part..100_000).step_by(10) {
                some.add(rate, 7);
            }
            all.merge(&some);
        }
        for permille in [1, 100, 500, 950, 999, 1000] {
            let (found, truth) = (all.quantile(permille).unwrap() as f64, permille as f64 * 100.0);
            assert!(
                (found - truth).abs() <= truth * 0.0101 + 1.0,
                "{permille}: {found}"
            );
        }
        assert_eq!(all.times().values().sum::<u64>(), 700_000);
        assert_eq!(Rates::default().quantile(500), None);
    }

    #[test]
    fn doing_nothing_is_a_rate_of_its_own() {
        let mut rates = Rates::default();
        rates.add(0, 600);
        rates.add(250, 400);
        assert_eq!((rates.quantile(600), rates.quantile(601)), (Some(0), Some(252)));
    }
}
