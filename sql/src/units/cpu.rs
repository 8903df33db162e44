//! Processor time per time, in thousandths of a core.

use std::fmt;

use super::quantity::{Quantity, TOO_LARGE_FOR_I64, unit_error};
use crate::Result;

const EXPECTED: &str = "an amount of CPU";

/// An amount of CPU in millicores (1/1000 of a core).
///
/// Bounds: 0 to `i64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millicores(i64);

impl Millicores {
    /// Returns the millicores of a Kubernetes quantity of cores (`500m`, `2`, `0.1`), rounded up to a whole
    /// one.
    ///
    /// Source: the scheduler and the kubelet read CPU with `Quantity.MilliValue()`, which rounds up.
    ///
    /// # Errors
    /// [`crate::Error::Unit`] when `text` is no quantity, is negative, or exceeds `i64::MAX` millicores.
    pub fn from_quantity(text: &str) -> Result<Self> {
        let quantity = Quantity::parse(text)?;
        if quantity.nano() < 0 {
            return Err(unit_error(text, EXPECTED, "it is negative"));
        }
        quantity
            .milli_value_or_none()
            .map(Self)
            .ok_or_else(|| unit_error(text, EXPECTED, TOO_LARGE_FOR_I64))
    }

    /// Returns `millicores` as they are.
    ///
    /// # Errors
    /// [`crate::Error::Unit`] when `millicores` is negative.
    pub fn from_millicores(millicores: i64) -> Result<Self> {
        if millicores < 0 {
            return Err(unit_error(&format!("{millicores}m"), EXPECTED, "it is negative"));
        }
        Ok(Self(millicores))
    }

    /// Returns the amount in millicores; never negative.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Writes the amount in cores as Kubernetes does, with the largest suffix that leaves a whole number: `500m`,
/// `2`, `1k`.
///
/// Source: "canonical form" in `apimachinery/pkg/api/resource/quantity.go`.
impl fmt::Display for Millicores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return formatter.pad_integral(true, "", "0");
        }
        let mut number = self.0;
        // An i64 holds less than 10^19 millicores, so six divisions by a thousand (to peta) are the most.
        let mut suffixes = ["m", "", "k", "M", "G", "T", "P"].into_iter();
        let mut suffix = suffixes.next().unwrap_or_default();
        while number % 1_000 == 0 {
            let Some(larger) = suffixes.next() else { break };
            suffix = larger;
            number /= 1_000;
        }
        formatter.pad_integral(true, "", &format!("{number}{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_of_cores_become_millicores() {
        for (text, expected) in [
            ("500m", 500),
            ("2", 2_000),
            ("0.1", 100),
            ("0.0001", 1),
            ("1500001u", 1_501),
            ("250000000n", 250),
            ("1k", 1_000_000),
            ("0", 0),
            ("-0", 0),
        ] {
            assert_eq!(Millicores::from_quantity(text).unwrap().get(), expected, "{text}");
        }
    }

    #[test]
    fn negative_or_endless_cpu_is_refused() {
        for text in ["-1", "-1n", "-0.5m", "9223372036854775808m", "1E", "", "two"] {
            assert!(Millicores::from_quantity(text).is_err(), "{text}");
        }
        let message = Millicores::from_millicores(-5).unwrap_err().to_string();
        assert_eq!(message, "cannot read `-5m` as an amount of CPU: it is negative");
        let message = Millicores::from_quantity("1E").unwrap_err().to_string();
        assert_eq!(
            message,
            "cannot read `1E` as an amount of CPU: it does not fit 64 bits"
        );
    }

    #[test]
    fn display_is_kubernetes_canonical_form() {
        for (millicores, expected) in [
            (0, "0"),
            (1, "1m"),
            (500, "500m"),
            (1_500, "1500m"),
            (2_000, "2"),
            (96_000, "96"),
            (1_000_000, "1k"),
            (1_000_000_000_000_000_000, "1P"),
            (i64::MAX, "9223372036854775807m"),
        ] {
            assert_eq!(
                Millicores::from_millicores(millicores).unwrap().to_string(),
                expected
            );
        }
    }

    proptest! {
        #[test]
        fn display_reads_back(millicores in 0..=i64::MAX, thousands in 0u32..6) {
            for amount in [millicores, (millicores % 1_000) * 1_000_i64.pow(thousands)] {
                let amount = Millicores::from_millicores(amount).unwrap();
                prop_assert_eq!(Millicores::from_quantity(&amount.to_string()).unwrap(), amount);
            }
        }
    }
}
