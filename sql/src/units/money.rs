//! Money, and the one place where it is divided.

use std::fmt;

use super::quantity::{split_digits, unit_error};
use crate::Result;

/// Nano-dollars in one dollar: 10^9.
const NANO_PER_USD: u64 = 1_000_000_000;

/// Decimals that a nano-dollar has: log10 of 10^9.
const DECIMALS: usize = 9;

const EXPECTED: &str = "an amount of dollars";

/// An amount of money in nano-dollars (10^-9 US dollars); credits are negative.
///
/// Bounds: `i64`, which is plus and minus 9,223,372,036.854775807 dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(i64);

impl NanoUsd {
    /// Returns the nano-dollars of a decimal number of dollars (`1.536`, `-0.5`, `12`), exactly.
    ///
    /// At most nine decimals; zeros after the ninth change nothing and are allowed, because price lists write
    /// `0.0960000000`. No plus sign, exponent, currency sign, grouping or white space; digits on both sides
    /// of a point.
    ///
    /// # Errors
    /// [`crate::Error::Unit`] for any other text, for a tenth significant decimal, and for amounts outside
    /// `i64`.
    pub fn from_decimal_str(text: &str) -> Result<Self> {
        parse_nano(text)
            .map(Self)
            .map_err(|reason| unit_error(text, EXPECTED, reason))
    }

    /// Returns `nano` nano-dollars as they are.
    #[must_use]
    pub const fn from_nano(nano: i64) -> Self {
        Self(nano)
    }

    /// Returns the amount in nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns the sum in nano-dollars, or none when it does not fit `i64`.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }
}

/// Writes the amount in dollars with all nine decimals: `1.536000000`.
impl fmt::Display for NanoUsd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let digits = format!("{}.{:09}", magnitude / NANO_PER_USD, magnitude % NANO_PER_USD);
        formatter.pad_integral(self.0 >= 0, "", &digits)
    }
}

/// Written as text, since a number of JSON would be read as a floating one.
impl serde::Serialize for NanoUsd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn parse_nano(text: &str) -> Result<i64, &'static str> {
    const OUT_OF_RANGE: &str = "it is beyond 9223372036.854775807 dollars";
    const NOT_DECIMAL: &str = "it is not a plain decimal number such as 1.536";

    if text.is_empty() {
        return Err("it is empty");
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (integer, rest) = split_digits(unsigned);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("0", rest), split_digits);
    if integer.is_empty() || fraction.is_empty() || !rest.is_empty() {
        return Err(NOT_DECIMAL);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > DECIMALS {
        return Err("it has more than nine decimals; round it where it comes from");
    }

    let padding = std::iter::repeat_n(b'0', DECIMALS - fraction.len());
    let mut magnitude: i128 = 0;
    for byte in integer.bytes().chain(fraction.bytes()).chain(padding) {
        magnitude = magnitude
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(i128::from(byte - b'0')))
            .ok_or(OUT_OF_RANGE)?;
    }
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| OUT_OF_RANGE)
}

/// Returns `amount x part / whole` in nano-dollars, truncated towards zero.
///
/// The one division of money. What truncation leaves goes to the row that absorbs it: parts never exceed the
/// amount. `part` and `whole` are in the same unit, any unit. The product is 128-bit; the result is never
/// further from zero than `amount`.
///
/// Source: the SQL macro `prorate`, which this mirrors row by row.
///
/// # Errors
/// [`crate::Error::Unit`] when `whole` is not above zero, `part` is negative or exceeds `whole`, or the
/// product does not fit 128 bits.
pub fn prorate(amount: NanoUsd, part: i128, whole: i128) -> Result<NanoUsd> {
    let error = |reason: &str| {
        unit_error(
            &format!("{amount} x {part} / {whole}"),
            "a share of an amount of dollars",
            reason,
        )
    };
    if whole <= 0 {
        return Err(error("the whole is not above zero"));
    }
    if part < 0 {
        return Err(error("the part is negative"));
    }
    if part > whole {
        return Err(error("the part exceeds the whole"));
    }
    let product = i128::from(amount.0)
        .checked_mul(part)
        .ok_or_else(|| error("the product does not fit 128 bits"))?;
    i64::try_from(product / whole)
        .map(NanoUsd)
        .map_err(|_| error("the share does not fit 64 bits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, nano) in [
            ("1.536", 1_536_000_000),
            ("0.0960000000", 96_000_000),
            ("-0.5", -500_000_000),
            ("-0", 0),
            ("12", 12_000_000_000),
            ("0012.000000001", 12_000_000_001),
            ("9223372036.854775807", i64::MAX),
            ("-9223372036.854775808", i64::MIN),
        ] {
            assert_eq!(NanoUsd::from_decimal_str(text).unwrap().get(), nano, "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_money_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "--1",
            "1e3",
            "1,536.00",
            "$1",
            "1 ",
            " 1",
            "NaN",
            "1.2.3",
            "0x10",
            "١",
            "0.0000000001",
            "1.5360000001",
            "9223372036.854775808",
            "-9223372036.854775809",
            "99999999999999999999999999999999999999999999",
        ] {
            assert!(NanoUsd::from_decimal_str(text).is_err(), "{text}");
        }
        let message = NanoUsd::from_decimal_str("0.0000166667").unwrap_err().to_string();
        assert!(
            message.starts_with("cannot read `0.0000166667` as an amount of dollars: it has more than nine")
        );
    }

    #[test]
    fn display_has_nine_decimals() {
        for (nano, expected) in [
            (1_536_000_000, "1.536000000"),
            (-500_000_000, "-0.500000000"),
            (0, "0.000000000"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(NanoUsd::from_nano(nano).to_string(), expected);
        }
    }

    #[test]
    fn sums_never_wrap() {
        let most = NanoUsd::from_nano(i64::MAX);
        assert_eq!(most.checked_add(NanoUsd::from_nano(1)), None);
        assert_eq!(
            most.checked_add(NanoUsd::from_nano(-1)),
            Some(NanoUsd::from_nano(i64::MAX - 1))
        );
    }

    #[test]
    fn prorating_truncates_towards_zero() {
        for (amount, part, whole, expected) in [
            (100, 1, 3, 33),
            (-100, 1, 3, -33),
            (100, 2, 3, 66),
            (100, 0, 3, 0),
            (100, 3, 3, 100),
            (i64::MIN, 1 << 63, 1 << 63, i64::MIN),
            (i64::MAX, i128::from(u64::MAX), i128::from(u64::MAX), i64::MAX),
            (1, i128::MAX, i128::MAX, 1),
        ] {
            let share = prorate(NanoUsd::from_nano(amount), part, whole).unwrap();
            assert_eq!(share.get(), expected, "{amount} x {part} / {whole}");
        }
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for (amount, part, whole, reason) in [
            (1, 0, 0, "whole is not above zero"),
            (1, 1, -1, "whole is not above zero"),
            (1, -1, 1, "part is negative"),
            (1, 2, 1, "part exceeds the whole"),
            (2, i128::MAX, i128::MAX, "128 bits"),
        ] {
            let message = prorate(NanoUsd::from_nano(amount), part, whole)
                .unwrap_err()
                .to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    proptest! {
        #[test]
        fn display_reads_back(nano: i64) {
            let amount = NanoUsd::from_nano(nano);
            prop_assert_eq!(NanoUsd::from_decimal_str(&amount.to_string()).unwrap(), amount);
        }

        #[test]
        fn no_text_panics(text in any::<String>(), near in "[+-]?[0-9]{0,45}[.]?[0-9]{0,15}") {
            let _ = NanoUsd::from_decimal_str(&text);
            let _ = NanoUsd::from_decimal_str(&near);
        }

        #[test]
        fn no_share_panics_or_exceeds_its_amount(amount: i64, part: i128, whole: i128) {
            if let Ok(share) = prorate(NanoUsd::from_nano(amount), part, whole) {
                prop_assert!(share.get().unsigned_abs() <= amount.unsigned_abs());
            }
        }

        #[test]
        fn parts_leave_less_than_one_nano_each(
            amount: i64,
            parts in prop::collection::vec(0i128..1 << 40, 1..20),
        ) {
            let whole: i128 = parts.iter().sum::<i128>().max(1);
            let mut left = i128::from(amount);
            for part in &parts {
                left -= i128::from(prorate(NanoUsd::from_nano(amount), *part, whole).unwrap().get());
            }
            if parts.iter().any(|part| *part > 0) {
                prop_assert!(left == 0 || left.signum() == i128::from(amount.signum()));
                prop_assert!(left.unsigned_abs() < parts.len() as u128);
            }
        }
    }
}
