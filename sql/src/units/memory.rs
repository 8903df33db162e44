//! Memory and storage, in bytes.

use std::fmt;

use super::quantity::{Quantity, TOO_LARGE_FOR_I64, unit_error};
use crate::Result;

const EXPECTED: &str = "an amount of bytes";

/// An amount of memory or storage in bytes.
///
/// Bounds: 0 to `i64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(i64);

impl Bytes {
    /// Returns the bytes of a Kubernetes quantity (`512Mi`, `1.5Gi`, `1e9`), rounded up to a whole one.
    ///
    /// Source: the scheduler and the kubelet read memory with `Quantity.Value()`, which rounds up.
    ///
    /// # Errors
    /// [`crate::Error::Unit`] when `text` is no quantity, is negative, or exceeds `i64::MAX` bytes.
    pub fn from_quantity(text: &str) -> Result<Self> {
        let quantity = Quantity::parse(text)?;
        if quantity.nano() < 0 {
            return Err(unit_error(text, EXPECTED, "it is negative"));
        }
        quantity
            .value_or_none()
            .map(Self)
            .ok_or_else(|| unit_error(text, EXPECTED, TOO_LARGE_FOR_I64))
    }

    /// Returns `bytes` as they are.
    ///
    /// # Errors
    /// [`crate::Error::Unit`] when `bytes` is negative.
    pub fn from_bytes(bytes: i64) -> Result<Self> {
        if bytes < 0 {
            return Err(unit_error(&bytes.to_string(), EXPECTED, "it is negative"));
        }
        Ok(Self(bytes))
    }

    /// Returns the amount in bytes; never negative.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Writes the amount for people, in the largest IEC unit that it fills, to one decimal, halves up: `1.5 GiB`,
/// `2 MiB`.
///
/// Source: IEC 80000-13, binary prefixes (powers of 1024).
impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = i128::from(self.0);
        let mut unit_bytes: i128 = 1;
        let mut name = "B";
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            // Compared after rounding, so that 1023.99 KiB becomes 1 MiB and not 1024 KiB.
            if tenths(bytes, unit_bytes) < 10_240 {
                break;
            }
            unit_bytes *= 1_024;
            name = larger;
        }
        let tenths = tenths(bytes, unit_bytes);
        let shown = match tenths % 10 {
            0 => format!("{} {name}", tenths / 10),
            tenth => format!("{}.{tenth} {name}", tenths / 10),
        };
        formatter.pad_integral(true, "", &shown)
    }
}

fn tenths(bytes: i128, unit_bytes: i128) -> i128 {
    (bytes * 10 + unit_bytes / 2) / unit_bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_become_bytes() {
        for (text, expected) in [
            ("0", 0),
            ("128974848", 128_974_848),
            ("129M", 129_000_000),
            ("1.5Gi", 1_610_612_736),
            ("0.1Ki", 103),
            ("100m", 1),
            ("1e9", 1_000_000_000),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(Bytes::from_quantity(text).unwrap().get(), expected, "{text}");
        }
    }

    #[test]
    fn negative_or_endless_memory_is_refused() {
        for text in ["-1", "-1Gi", "-1n", "8Ei", "10E", "1GB", "1 Gi"] {
            assert!(Bytes::from_quantity(text).is_err(), "{text}");
        }
        let message = Bytes::from_bytes(-1).unwrap_err().to_string();
        assert_eq!(message, "cannot read `-1` as an amount of bytes: it is negative");
    }

    #[test]
    fn display_is_iec_to_one_decimal() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (549_755_813_888, "512 GiB"),
            (i64::MAX, "8 EiB"),
        ] {
            assert_eq!(Bytes::from_bytes(bytes).unwrap().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn whole_bytes_read_back(bytes in 0..=i64::MAX) {
            let amount = Bytes::from_bytes(bytes).unwrap();
            prop_assert_eq!(Bytes::from_quantity(&bytes.to_string()).unwrap(), amount);
        }

        #[test]
        fn display_shows_less_than_1024_of_a_unit(bytes in 0..=i64::MAX) {
            let shown = Bytes::from_bytes(bytes).unwrap().to_string();
            let whole: i64 = shown.split(['.', ' ']).next().unwrap().parse().unwrap();
            prop_assert!(whole < 1_024, "{}", shown);
        }
    }
}
