//! Kubernetes quantities, read exactly.

use std::fmt;

use crate::{Error, Result};

/// Nano-units in one unit: 10^9, because `n` is the smallest suffix.
const NANO_PER_UNIT: u128 = 1_000_000_000;

/// Nano-units in one milli-unit: 10^9 / 10^3.
const NANO_PER_MILLI: u128 = 1_000_000;

/// Digits before the point beyond which a number cannot fit: `i128::MAX` is 1.7 x 10^38, which has 39 digits.
const MAX_INTEGER_DIGITS: i64 = 39;

/// Zeros after the point beyond which a number is less than one nano under every suffix: the largest
/// multiplier is `Ei`, 2^60 x 10^9 = 1.2 x 10^27 nano-units, which is below 10^28.
const MAX_LEADING_ZEROS: i64 = 28;

const EXPECTED: &str = "a Kubernetes quantity";

/// A Kubernetes quantity as an exact number of nano-units (10^-9 of the unit: core, byte, device).
///
/// Bounds: plus and minus `i128::MAX` nano-units, about 1.7 x 10^29 units.
///
/// Source: `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go` and `suffix.go` in Kubernetes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

impl Quantity {
    /// Returns the quantity that `text` writes, in nano-units.
    ///
    /// The grammar is Kubernetes': a number (`1`, `1.5`, `1.`, `.5`, with an optional sign), then nothing, a
    /// decimal suffix (`n u m k M G T P E`), a binary suffix (`Ki Mi Gi Ti Pi Ei`) or an exponent (`e3`,
    /// `E-3`). `1E` is one exa, `1E3` one thousand. A value finer than a nano is rounded away from zero to
    /// the next nano, as Kubernetes does: who asks for some gets some.
    ///
    /// Stricter than Kubernetes' parser, on text that the API server never writes: a number without digits
    /// (`.`, `k`) is refused, where Kubernetes reads 0; an exponent that needs more than 32 bits is refused,
    /// where it wraps; a binary quantity above 2^63 - 1 keeps its value, where Kubernetes caps it (converting
    /// it to `i64` then fails).
    ///
    /// # Errors
    /// [`Error::Unit`] for text outside the grammar, white space included, and for values outside the bounds.
    pub fn parse(text: &str) -> Result<Self> {
        parse_nano(text)
            .map(Self)
            .map_err(|reason| unit_error(text, EXPECTED, reason))
    }

    /// Returns the quantity in nano-units (10^-9 of the unit).
    #[must_use]
    pub const fn nano(self) -> i128 {
        self.0
    }

    /// Returns the quantity in whole units, rounded away from zero, as Kubernetes' `Quantity.Value()`.
    ///
    /// # Errors
    /// [`Error::Unit`] when it does not fit `i64`, where Kubernetes overflows silently.
    pub fn value(self) -> Result<i64> {
        self.value_or_none()
            .ok_or_else(|| unit_error(&self.to_string(), "a 64-bit integer", TOO_LARGE_FOR_I64))
    }

    /// Returns the quantity in thousandths of the unit, rounded away from zero, as Kubernetes'
    /// `Quantity.MilliValue()`.
    ///
    /// # Errors
    /// [`Error::Unit`] when it does not fit `i64`, where Kubernetes overflows silently.
    pub fn milli_value(self) -> Result<i64> {
        self.milli_value_or_none().ok_or_else(|| {
            unit_error(
                &self.to_string(),
                "a 64-bit integer of thousandths",
                TOO_LARGE_FOR_I64,
            )
        })
    }

    pub(super) fn value_or_none(self) -> Option<i64> {
        self.divide_away_from_zero(NANO_PER_UNIT)
    }

    pub(super) fn milli_value_or_none(self) -> Option<i64> {
        self.divide_away_from_zero(NANO_PER_MILLI)
    }

    fn divide_away_from_zero(self, divisor: u128) -> Option<i64> {
        let magnitude = i128::try_from(self.0.unsigned_abs().div_ceil(divisor)).ok()?;
        i64::try_from(if self.0 < 0 { -magnitude } else { magnitude }).ok()
    }
}

/// Writes the quantity in units as a plain decimal, exact to the nano: `1.5`, `-0.000000001`, `2048`.
impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (units, nano) = (magnitude / NANO_PER_UNIT, magnitude % NANO_PER_UNIT);
        let mut digits = units.to_string();
        if nano != 0 {
            digits.push_str(format!(".{nano:09}").trim_end_matches('0'));
        }
        formatter.pad_integral(self.0 >= 0, "", &digits)
    }
}

pub(super) const TOO_LARGE_FOR_I64: &str = "it does not fit 64 bits";

/// The one way in which this folder makes an error.
pub(super) fn unit_error(text: &str, expected: &'static str, reason: impl Into<String>) -> Error {
    Error::Unit {
        text: text.to_owned(),
        expected,
        reason: reason.into(),
    }
}

/// What a suffix does to the number before it.
struct Suffix {
    /// Nano-units in one of the suffixed unit.
    multiplier: u128,
    /// Places by which the decimal point moves to the right.
    exponent: i64,
}

fn parse_nano(text: &str) -> Result<i128, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(char::is_whitespace) {
        return Err("it has white space; write number and suffix together".to_owned());
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (integer, rest) = split_digits(unsigned);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    if integer.is_empty() && fraction.is_empty() {
        return Err("it does not begin with a number".to_owned());
    }
    let Suffix { multiplier, exponent } = parse_suffix(suffix)?;

    let digits: Vec<u8> = integer
        .bytes()
        .chain(fraction.bytes())
        .map(|byte| byte - b'0')
        .collect();
    let Some(first) = digits.iter().position(|digit| *digit != 0) else {
        return Ok(0);
    };
    let significant = digits.get(first..).unwrap_or_default();
    // Where the decimal point falls, counted from the first significant digit.
    let point = digit_count(integer.len())? - digit_count(first)? + exponent;

    let magnitude = nano_rounded_up(significant, point, multiplier)
        .and_then(|nano| i128::try_from(nano).ok())
        .ok_or_else(|| "it is beyond 1.7e29, the largest that is kept exactly".to_owned())?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// Multiplies 0.d1d2d3... x 10^point by `multiplier`, rounded up; none on overflow. `digits` begin with a
/// non-zero one.
fn nano_rounded_up(digits: &[u8], point: i64, multiplier: u128) -> Option<u128> {
    if point > MAX_INTEGER_DIGITS {
        return None;
    }
    if point < -MAX_LEADING_ZEROS {
        return Some(1);
    }
    let integer_digits = usize::try_from(point).unwrap_or(0);
    let mut integer: u128 = 0;
    for index in 0..integer_digits {
        let digit = digits.get(index).copied().unwrap_or(0);
        integer = integer.checked_mul(10)?.checked_add(u128::from(digit))?;
    }

    // Long multiplication from the last digit: what each division by ten drops only decides the rounding, so
    // a fraction of any length is exact in 128 bits.
    let leading_zeros = usize::try_from(-point).unwrap_or(0);
    let fraction = digits
        .get(integer_digits..)
        .unwrap_or_default()
        .iter()
        .rev()
        .copied();
    let mut product: u128 = 0;
    let mut inexact = false;
    for digit in fraction.chain(std::iter::repeat_n(0, leading_zeros)) {
        product += u128::from(digit) * multiplier;
        inexact |= !product.is_multiple_of(10);
        product /= 10;
    }
    integer
        .checked_mul(multiplier)?
        .checked_add(product)?
        .checked_add(u128::from(inexact))
}

fn parse_suffix(suffix: &str) -> Result<Suffix, String> {
    let multiplier = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => NANO_PER_MILLI,
        "" => NANO_PER_UNIT,
        "k" => NANO_PER_UNIT * 1_000,
        "M" => NANO_PER_UNIT * 1_000_000,
        "G" => NANO_PER_UNIT * 1_000_000_000,
        "T" => NANO_PER_UNIT * 1_000_000_000_000,
        "P" => NANO_PER_UNIT * 1_000_000_000_000_000,
        "E" => NANO_PER_UNIT * 1_000_000_000_000_000_000,
        "Ki" => NANO_PER_UNIT << 10,
        "Mi" => NANO_PER_UNIT << 20,
        "Gi" => NANO_PER_UNIT << 30,
        "Ti" => NANO_PER_UNIT << 40,
        "Pi" => NANO_PER_UNIT << 50,
        "Ei" => NANO_PER_UNIT << 60,
        _ => return parse_exponent(suffix),
    };
    Ok(Suffix {
        multiplier,
        exponent: 0,
    })
}

fn parse_exponent(suffix: &str) -> Result<Suffix, String> {
    let unknown = || {
        format!(
            "`{suffix}` is no suffix; there are n u m k M G T P E, Ki Mi Gi Ti Pi Ei and exponents such as e3"
        )
    };
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or_else(unknown)?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unknown());
    }
    let exponent: i32 = exponent
        .parse()
        .map_err(|_| format!("the exponent {exponent} does not fit 32 bits"))?;
    Ok(Suffix {
        multiplier: NANO_PER_UNIT,
        exponent: i64::from(exponent),
    })
}

/// A length as a signed number; text in memory is never longer than `isize::MAX`.
fn digit_count(length: usize) -> Result<i64, String> {
    i64::try_from(length).map_err(|_| "it is too long".to_owned())
}

/// Splits off the ASCII digits at the beginning.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUFFIXES: [(&str, i128); 16] = [
        ("n", 1),
        ("u", 1_000),
        ("m", 1_000_000),
        ("", 1_000_000_000),
        ("k", 1_000_000_000_000),
        ("M", 1_000_000_000_000_000),
        ("G", 1_000_000_000_000_000_000),
        ("T", 1_000_000_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000_000_000_000),
        ("Ki", 1_024_000_000_000),
        ("Mi", 1_048_576_000_000_000),
        ("Gi", 1_073_741_824_000_000_000),
        ("Ti", 1_099_511_627_776_000_000_000),
        ("Pi", 1_125_899_906_842_624_000_000_000),
        ("Ei", 1_152_921_504_606_846_976_000_000_000),
    ];

    fn nano(text: &str) -> i128 {
        Quantity::parse(text).unwrap().nano()
    }

    fn reason(text: &str) -> String {
        match Quantity::parse(text) {
            Err(Error::Unit {
                text: shown,
                expected,
                reason,
            }) => {
                assert_eq!((shown.as_str(), expected), (text, EXPECTED));
                reason
            }
            other => panic!("`{text}` gave {other:?}"),
        }
    }

    #[test]
    fn what_kubernetes_writes_is_read_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("500m", 500_000_000),
            ("0.1", 100_000_000),
            ("+1.5", 1_500_000_000),
            ("-1.5", -1_500_000_000),
            ("1.", 1_000_000_000),
            (".5", 500_000_000),
            ("00012", 12_000_000_000),
            ("1E", 1_000_000_000_000_000_000_000_000_000),
            ("1E3", 1_000_000_000_000),
            ("1e3", 1_000_000_000_000),
            ("1E+3", 1_000_000_000_000),
            ("1500e-3", 1_500_000_000),
            ("0.000001e6", 1_000_000_000),
            ("1.5Gi", 1_610_612_736_000_000_000),
            ("128974848", 128_974_848_000_000_000),
            ("129e6", 129_000_000_000_000_000),
            ("123Mi", 128_974_848_000_000_000),
            ("0e999999999", 0),
            ("170141183460469231731687303715884105727n", i128::MAX),
            ("-170141183460469231731687303715884105727n", -i128::MAX),
        ] {
            assert_eq!(nano(text), expected, "{text}");
        }
    }

    #[test]
    fn finer_than_nano_rounds_away_from_zero() {
        for (text, expected) in [
            ("0.9n", 1),
            ("1.1n", 2),
            ("-1.1n", -2),
            ("0.0000000001", 1),
            ("1e-10", 1),
            ("-1e-10", -1),
            ("1e-999999999", 1),
            ("-0.1e-2147483648", -1),
            ("0.0000000000000000000000000001Ei", 1),
            ("0.000000000000000000000000001Ei", 2),
            (
                "1.00000000000000000000000000000000000000000000000000000001",
                1_000_000_001,
            ),
            (
                "1.00000000000000000000000000000000000000000000000000000000",
                1_000_000_000,
            ),
        ] {
            assert_eq!(nano(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            " ",
            "1 ",
            " 1",
            "1 Gi",
            "1\u{a0}Gi",
            "1.2.3",
            "1Kii",
            "NaN",
            "inf",
            "0x10",
            "1e",
            "1e+",
            "1e1.5",
            "1E3Ki",
            "1e3m",
            "--1",
            "+-1",
            "-",
            "+",
            ".",
            "-.",
            "k",
            "Gi",
            "1K",
            "1g",
            "1gi",
            "1mi",
            "1_000",
            "1,5",
            "١",
            "１",
            "1µ",
            "1Gі",
            "½",
            "1\0",
            "💸",
            "1e٣",
        ] {
            assert!(!reason(text).is_empty(), "{text}");
        }
        assert!(reason("1 Gi").contains("white space"));
        assert!(reason("1Kii").contains("`Kii` is no suffix"));
        assert!(reason("x").contains("number"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            "1e999999999",
            "-1e2147483647",
            "1e30",
            "170141183460469231731687303715884105728n",
            "999999999999999999999999999999999999999n",
            "1000000000000E",
            "1000000000000Ei",
        ] {
            assert!(reason(text).contains("beyond"), "{text}");
        }
        assert!(reason("1e2147483648").contains("32 bits"));
        assert!(reason("0e-99999999999999999999").contains("32 bits"));
    }

    #[test]
    fn integers_round_away_from_zero_and_never_wrap() {
        for (text, value, milli_value) in [
            ("1", 1, 1_000),
            ("1n", 1, 1),
            ("1.0001", 2, 1_001),
            ("-1.0001", -2, -1_001),
            ("1500m", 2, 1_500),
            ("1Ki", 1_024, 1_024_000),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!(
                (quantity.value().unwrap(), quantity.milli_value().unwrap()),
                (value, milli_value),
                "{text}"
            );
        }
        assert_eq!(
            Quantity::parse("9223372036854775807").unwrap().value().unwrap(),
            i64::MAX
        );
        assert_eq!(
            Quantity::parse("-9223372036854775808").unwrap().value().unwrap(),
            i64::MIN
        );
        assert!(Quantity::parse("9223372036854775807.1").unwrap().value().is_err());
        let message = Quantity::parse("8Ei").unwrap().value().unwrap_err().to_string();
        assert_eq!(
            message,
            "cannot read `9223372036854775808` as a 64-bit integer: it does not fit 64 bits"
        );
        assert!(
            Quantity::parse("9223372036854775808m")
                .unwrap()
                .milli_value()
                .is_err()
        );
    }

    #[test]
    fn display_is_a_plain_decimal() {
        for (text, expected) in [
            ("1500m", "1.5"),
            ("-1n", "-0.000000001"),
            ("2Ki", "2048"),
            ("0", "0"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Ok(quantity) = Quantity::parse(&text) {
                let _ = (quantity.value(), quantity.milli_value(), quantity.to_string());
            }
        }

        #[test]
        fn no_text_near_the_grammar_panics(
            text in "[+-]?[0-9]{0,45}[.]?[0-9]{0,60}[eEinumkKMGTP]{0,2}[+-]?[0-9]{0,11}",
        ) {
            if let Ok(quantity) = Quantity::parse(&text) {
                let _ = (quantity.value(), quantity.milli_value());
                prop_assert_eq!(Quantity::parse(&quantity.to_string()).unwrap(), quantity);
            }
        }

        #[test]
        fn a_decimal_is_its_digits_times_its_suffix(
            integer in 0i128..100_000_000,
            thousandths in 0i128..1_000,
            (suffix, multiplier) in prop::sample::select(&SUFFIXES[..]),
        ) {
            let exact = (integer * 1_000 + thousandths) * multiplier;
            let rounded_up = (exact + 999) / 1_000;
            prop_assert_eq!(nano(&format!("{integer}.{thousandths:03}{suffix}")), rounded_up);
            prop_assert_eq!(nano(&format!("-{integer}.{thousandths:03}{suffix}")), -rounded_up);
        }

        #[test]
        fn an_exponent_moves_the_point(digits in 1i128..1_000_000_000_000, places in 0usize..9) {
            let moved = format!("{digits}{}", "0".repeat(places));
            prop_assert_eq!(nano(&format!("{digits}e{places}")), nano(&moved));
            prop_assert_eq!(nano(&format!("{moved}E-{places}")), nano(&digits.to_string()));
        }
    }
}
