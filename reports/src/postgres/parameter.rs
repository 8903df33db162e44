//! Parameters as clients send them, in text and in binary, as DuckDB reads them.

use std::fmt::Write as _;

use bytes::Bytes;
use pgwire::api::Type;
use podledger_sql::parameters::{Parameter, Shape, list_of_text};

use super::rows::{MICROSECONDS_TO_2000, instant};
use super::types::{kind_of, part_of};

/// A parameter as it was sent, as DuckDB reads it.
///
/// # Errors
/// In words, where it is not of its type.
pub fn parameter(
    value: Option<&Bytes>,
    declared: Option<&Type>,
    is_binary: bool,
) -> Result<Parameter, String> {
    let unknown = Type::UNKNOWN;
    let declared = declared.unwrap_or(&unknown);
    let part = part_of(declared);
    let shape = match (value, &part) {
        (None, _) => None,
        (Some(bytes), Some(part)) if is_binary => Some(Shape::List(binary_list(bytes, part)?)),
        (Some(bytes), Some(_)) => Some(Shape::List(list_of_text(utf8(bytes)?)?)),
        (Some(bytes), None) if is_binary => Some(Shape::One(binary_parameter(bytes, declared)?)),
        (Some(bytes), None) => {
            let text = utf8(bytes)?;
            Some(Shape::One(date_without_offset(text).to_owned()))
        }
    };
    Ok(Parameter {
        kind: kind_of(declared),
        value: shape,
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a parameter is not UTF-8".to_owned())
}

/// pgJDBC writes days as `2026-01-01 +00`, which PostgreSQL reads as one.
fn date_without_offset(text: &str) -> &str {
    match text.split_once(' ') {
        Some((day, offset))
            if day.len() == 10
                && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
                && offset.starts_with(['+', '-'])
                && offset.len() <= 6 =>
        {
            day
        }
        _ => text,
    }
}

/// Takes bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    let (first, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or_else(|| "a parameter in binary is too short".to_owned())?;
    *bytes = rest;
    Ok(*first)
}

fn binary_list(bytes: &[u8], part: &Type) -> Result<Vec<Option<String>>, String> {
    let mut rest = bytes;
    let dimensions = i32::from_be_bytes(take(&mut rest)?);
    let _has_nulls: [u8; 4] = take(&mut rest)?;
    let _part: [u8; 4] = take(&mut rest)?;
    let mut length = match dimensions {
        0 => return Ok(Vec::new()),
        1 => i32::from_be_bytes(take(&mut rest)?),
        _ => return Err("a parameter is a list of more than one dimension".to_owned()),
    };
    let _first: [u8; 4] = take(&mut rest)?;
    let mut parts = Vec::new();
    while length > 0 {
        length -= 1;
        let size = i32::from_be_bytes(take(&mut rest)?);
        parts.push(match usize::try_from(size) {
            Err(_) => None,
            Ok(size) => {
                let one = rest
                    .get(..size)
                    .ok_or_else(|| "a parameter in binary is too short".to_owned())?;
                rest = &rest[size..];
                Some(binary_parameter(one, part)?)
            }
        });
    }
    Ok(parts)
}

fn binary_parameter(bytes: &[u8], kind: &Type) -> Result<String, String> {
    let mut rest = bytes;
    let out_of_range = |_| "a parameter is out of range".to_owned();
    Ok(match *kind {
        Type::BOOL => (take::<1>(&mut rest)? != [0]).to_string(),
        Type::INT2 => i16::from_be_bytes(take(&mut rest)?).to_string(),
        Type::INT4 => i32::from_be_bytes(take(&mut rest)?).to_string(),
        Type::INT8 => i64::from_be_bytes(take(&mut rest)?).to_string(),
        Type::OID => u32::from_be_bytes(take(&mut rest)?).to_string(),
        Type::FLOAT4 => f32::from_be_bytes(take(&mut rest)?).to_string(),
        Type::FLOAT8 => f64::from_be_bytes(take(&mut rest)?).to_string(),
        Type::NUMERIC => numeric_parameter(rest)?,
        Type::DATE => {
            let days = i32::from_be_bytes(take(&mut rest)?);
            let first = jiff::civil::date(2000, 1, 1);
            let span = jiff::Span::new()
                .try_days(days)
                .map_err(|_| "a day is out of range".to_owned())?;
            first
                .checked_add(span)
                .map_err(|_| "a day is out of range".to_owned())?
                .to_string()
        }
        Type::TIME => {
            let time = i64::from_be_bytes(take(&mut rest)?);
            let seconds = time.div_euclid(1_000_000);
            format!(
                "{:02}:{:02}:{:02}.{:06}",
                seconds / 3_600,
                seconds / 60 % 60,
                seconds % 60,
                time.rem_euclid(1_000_000)
            )
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let at = i64::from_be_bytes(take(&mut rest)?)
                .checked_add(MICROSECONDS_TO_2000)
                .ok_or_else(|| "an instant is out of range".to_owned())?;
            let shown = instant(at).map_err(|_| "an instant is out of range".to_owned())?;
            if *kind == Type::TIMESTAMPTZ {
                shown + "+00"
            } else {
                shown
            }
        }
        Type::INTERVAL => {
            let microseconds = i64::from_be_bytes(take(&mut rest)?);
            let days = i32::from_be_bytes(take(&mut rest)?);
            let months = i32::from_be_bytes(take(&mut rest)?);
            format!("{months} months {days} days {microseconds} microseconds")
        }
        Type::UUID => {
            let number = u128::from_be_bytes(take(&mut rest)?);
            let digits = format!("{number:032x}");
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]);
            parts.join("-")
        }
        Type::JSONB => utf8(bytes.get(1..).unwrap_or_default())?.to_owned(),
        Type::BYTEA => return Err("bytes as a parameter are not known here".to_owned()),
        _ => String::from_utf8(bytes.to_vec()).map_err(|_| out_of_range(()))?,
    })
}

/// A decimal from `numeric_send`'s form.
fn numeric_parameter(bytes: &[u8]) -> Result<String, String> {
    let mut rest = bytes;
    let count = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let weight = i32::from(i16::from_be_bytes(take(&mut rest)?));
    let sign = u16::from_be_bytes(take(&mut rest)?);
    let scale = usize::from(u16::from_be_bytes(take(&mut rest)?));
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Ok("NaN".to_owned()),
        _ => return Err("a number is infinite".to_owned()),
    }
    // `numeric` itself allows 131,072 digits before the point; what DuckDB holds are 38.
    if weight > 32 || scale > 128 || count > 64 {
        return Err("a number has more digits than 38".to_owned());
    }
    let mut groups = Vec::new();
    for _ in 0..count {
        groups.push(i16::from_be_bytes(take(&mut rest)?));
    }
    let group = |at: i32| -> i16 {
        // Groups before the first and after the last are zeroes.
        usize::try_from(weight - at)
            .ok()
            .and_then(|index| groups.get(index).copied())
            .unwrap_or(0)
    };
    let mut shown = String::new();
    for at in (0..=weight.max(0)).rev() {
        let _ = write!(shown, "{:04}", group(at));
    }
    let whole = shown.trim_start_matches('0');
    let mut shown = if whole.is_empty() {
        "0".to_owned()
    } else {
        whole.to_owned()
    };
    if scale > 0 {
        let mut part = String::new();
        for at in 1..=i32::try_from(scale.div_ceil(4)).unwrap_or(0) {
            let _ = write!(part, "{:04}", group(-at));
        }
        part.truncate(scale);
        let _ = write!(shown, ".{part}");
    }
    Ok(if sign == 0 { shown } else { format!("-{shown}") })
}
