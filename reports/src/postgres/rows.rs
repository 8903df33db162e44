//! Rows of Arrow as rows of PostgreSQL, in text and in binary.
//!
//! Formats are those of PostgreSQL's own `*out` and `*send` functions (`src/backend/utils/adt`).

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType as _, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, TimeUnit, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type, i256,
};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut as _, BytesMut};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldFormat;
use pgwire::messages::data::DataRow;

use super::types::{format_at, part_of, type_of};

/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts: 30 years of 365 days and 7 leap days.
const DAYS_TO_2000: i32 = 30 * 365 + 7;

/// Microseconds of the same.
pub const MICROSECONDS_TO_2000: i64 = DAYS_TO_2000 as i64 * 86_400 * 1_000_000;

/// Columns of some rows, ready to be told row by row.
pub struct Rows {
    batch: RecordBatch,
    types: Vec<Type>,
    next: usize,
}

impl Rows {
    pub fn new(batch: RecordBatch) -> Self {
        let fields = batch.schema();
        Self {
            types: fields
                .fields()
                .iter()
                .map(|field| type_of(field.data_type()))
                .collect(),
            batch,
            next: 0,
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// Where a value cannot be told in its type.
    pub fn next(&mut self, format: &Format) -> Result<Option<DataRow>, ArrowError> {
        let at = self.next;
        if at >= self.batch.num_rows() {
            return Ok(None);
        }
        self.next += 1;
        let mut out = BytesMut::new();
        for (index, (column, kind)) in self.batch.columns().iter().zip(&self.types).enumerate() {
            let is_binary = format_at(format, index) == FieldFormat::Binary;
            value(column, at, kind, is_binary, &mut out)?;
        }
        let count = i16::try_from(self.types.len()).unwrap_or(i16::MAX);
        Ok(Some(DataRow::new(out, count)))
    }
}

/// Writes one value with its length before it; -1 is NULL.
fn value(
    column: &ArrayRef,
    at: usize,
    kind: &Type,
    is_binary: bool,
    out: &mut BytesMut,
) -> Result<(), ArrowError> {
    // What is NULL in every row has no bits that say so.
    if column.is_null(at) || *column.data_type() == DataType::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    if is_binary {
        binary(column, at, kind, out)?;
    } else {
        text(column, at, kind, out)?;
    }
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| ArrowError::ComputeError("a value is longer than 2 GiB".to_owned()))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn text(column: &ArrayRef, at: usize, kind: &Type, out: &mut BytesMut) -> Result<(), ArrowError> {
    if let Some(part) = part_of(kind) {
        let parts = list_at(column, at)?;
        out.put_u8(b'{');
        for index in 0..parts.len() {
            if index > 0 {
                out.put_u8(b',');
            }
            if parts.is_null(index) {
                out.put_slice(b"NULL");
                continue;
            }
            let mut one = BytesMut::new();
            text(&parts, index, &part, &mut one)?;
            quoted(&one, out);
        }
        out.put_u8(b'}');
        return Ok(());
    }
    match *kind {
        Type::BOOL => out.put_slice(if column.as_boolean().value(at) { b"t" } else { b"f" }),
        Type::JSON => out.put_slice(&json_of(column, at)?),
        Type::BYTEA => {
            out.put_slice(b"\\x");
            for byte in bytes_of(column, at) {
                write!(out, "{byte:02x}").map_err(|_| cannot_write())?;
            }
        }
        Type::DATE | Type::TIMESTAMP | Type::TIMESTAMPTZ if infinite(column, at).is_some() => {
            out.put_slice(infinite(column, at).unwrap_or_default().as_bytes());
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let shown = instant(microseconds(column, at)?)?;
            out.put_slice(shown.as_bytes());
            if *kind == Type::TIMESTAMPTZ {
                out.put_slice(b"+00");
            }
        }
        Type::INTERVAL => {
            let stretch = column.as_primitive::<IntervalMonthDayNanoType>().value(at);
            out.put_slice(interval(stretch.months, stretch.days, stretch.nanoseconds / 1_000).as_bytes());
        }
        _ => {
            let formatter = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())?;
            write!(out, "{}", formatter.value(at).try_to_string()?).map_err(|_| cannot_write())?;
        }
    }
    Ok(())
}

fn binary(column: &ArrayRef, at: usize, kind: &Type, out: &mut BytesMut) -> Result<(), ArrowError> {
    if let Some(part) = part_of(kind) {
        let parts = list_at(column, at)?;
        let length = i32::try_from(parts.len()).map_err(|_| cannot_write())?;
        // Dimensions, whether there are NULLs, the type; of the one dimension its length and its first index. An empty one has no dimension.
        out.put_i32((length > 0).into());
        out.put_i32((parts.null_count() > 0).into());
        out.put_u32(part.oid());
        if length > 0 {
            out.put_i32(length);
            out.put_i32(1);
        }
        for index in 0..parts.len() {
            value(&parts, index, &part, true, out)?;
        }
        return Ok(());
    }
    match *kind {
        Type::BOOL => out.put_u8(column.as_boolean().value(at).into()),
        Type::INT2 | Type::INT4 | Type::INT8 => {
            let number = whole(column, at)?;
            match *kind {
                Type::INT2 => out.put_i16(i16::try_from(number).map_err(|_| cannot_write())?),
                Type::INT4 => out.put_i32(i32::try_from(number).map_err(|_| cannot_write())?),
                _ => out.put_i64(number),
            }
        }
        Type::FLOAT4 => out.put_f32(column.as_primitive::<Float32Type>().value(at)),
        Type::FLOAT8 => out.put_f64(column.as_primitive::<Float64Type>().value(at)),
        Type::NUMERIC => {
            let (shown, scale) = numeric_text(column, at)?;
            numeric(&shown, scale, out)?;
        }
        Type::DATE => {
            let days = column.as_primitive::<Date32Type>().value(at);
            out.put_i32(match infinite(column, at) {
                Some("infinity") => i32::MAX,
                Some(_) => i32::MIN,
                None => days.checked_sub(DAYS_TO_2000).ok_or_else(cannot_write)?,
            });
        }
        Type::TIME => out.put_i64(
            column
                .as_primitive::<arrow::datatypes::Time64MicrosecondType>()
                .value(at),
        ),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => out.put_i64(match infinite(column, at) {
            Some("infinity") => i64::MAX,
            Some(_) => i64::MIN,
            None => microseconds(column, at)?
                .checked_sub(MICROSECONDS_TO_2000)
                .ok_or_else(cannot_write)?,
        }),
        Type::INTERVAL => {
            let stretch = column.as_primitive::<IntervalMonthDayNanoType>().value(at);
            out.put_i64(stretch.nanoseconds / 1_000);
            out.put_i32(stretch.days);
            out.put_i32(stretch.months);
        }
        Type::BYTEA => out.put_slice(bytes_of(column, at)),
        Type::JSON => out.put_slice(&json_of(column, at)?),
        // Texts are the same in both.
        _ => text(column, at, kind, out)?,
    }
    Ok(())
}

fn cannot_write() -> ArrowError {
    ArrowError::ComputeError("a value is outside the range of its type in PostgreSQL".to_owned())
}

fn list_at(column: &ArrayRef, at: usize) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::List(_) => Ok(column.as_list::<i32>().value(at)),
        DataType::LargeList(_) => Ok(column.as_list::<i64>().value(at)),
        DataType::FixedSizeList(..) => Ok(column.as_fixed_size_list().value(at)),
        other => Err(ArrowError::NotYetImplemented(format!("a list as {other}"))),
    }
}

fn bytes_of(column: &ArrayRef, at: usize) -> &[u8] {
    match column.data_type() {
        DataType::LargeBinary => column.as_binary::<i64>().value(at),
        DataType::BinaryView => column.as_binary_view().value(at),
        _ => column.as_binary::<i32>().value(at),
    }
}

fn whole(column: &ArrayRef, at: usize) -> Result<i64, ArrowError> {
    Ok(match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().value(at).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(at).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(at).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(at),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(at).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(at).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(at).into(),
        other => {
            return Err(ArrowError::NotYetImplemented(format!(
                "a whole number as {other}"
            )));
        }
    })
}

/// What `infinity` is in DuckDB: the largest and the smallest but one of the numbers.
fn infinite(column: &ArrayRef, at: usize) -> Option<&'static str> {
    let (value, most) = match column.data_type() {
        DataType::Date32 => (
            i64::from(column.as_primitive::<Date32Type>().value(at)),
            i64::from(i32::MAX),
        ),
        DataType::Timestamp(..) => (raw_instant(column, at)?, i64::MAX),
        _ => return None,
    };
    if value == most {
        Some("infinity")
    } else if value == -most {
        Some("-infinity")
    } else {
        None
    }
}

fn raw_instant(column: &ArrayRef, at: usize) -> Option<i64> {
    use arrow::datatypes::{
        TimestampMicrosecondType as Micro, TimestampMillisecondType as Milli,
        TimestampNanosecondType as Nano, TimestampSecondType as Second,
    };
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => Some(column.as_primitive::<Second>().value(at)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(column.as_primitive::<Milli>().value(at)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(column.as_primitive::<Micro>().value(at)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(column.as_primitive::<Nano>().value(at)),
        _ => None,
    }
}

/// Microseconds since 1970.
fn microseconds(column: &ArrayRef, at: usize) -> Result<i64, ArrowError> {
    let raw = raw_instant(column, at).ok_or_else(cannot_write)?;
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => raw.checked_mul(1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => raw.checked_mul(1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(raw.div_euclid(1_000)),
        _ => Some(raw),
    }
    .ok_or_else(cannot_write)
}

/// An instant as PostgreSQL writes it in ISO style: `2026-11-16 10:00:00.25`.
pub fn instant(microseconds: i64) -> Result<String, ArrowError> {
    let at = jiff::Timestamp::from_microsecond(microseconds).map_err(|_| cannot_write())?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let date = at.date();
    let mut shown = if date.year() > 0 {
        format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    } else {
        // There is no year 0: the one before 1 is 1 BC.
        format!("{:04}-{:02}-{:02}", 1 - date.year(), date.month(), date.day())
    };
    let _ = write!(shown, " {:02}:{:02}:{:02}", at.hour(), at.minute(), at.second());
    let part = at.subsec_nanosecond() / 1_000;
    if part > 0 {
        let digits = format!("{part:06}");
        let _ = write!(shown, ".{}", digits.trim_end_matches('0'));
    }
    if date.year() <= 0 {
        shown.push_str(" BC");
    }
    Ok(shown)
}

/// An interval in PostgreSQL's own style: `1 year 2 mons 3 days 04:05:06.5`.
fn interval(months: i32, days: i32, microseconds: i64) -> String {
    let mut shown = String::new();
    let mut is_before_negative = false;
    for (number, one, many) in [
        (months / 12, "year", "years"),
        (months % 12, "mon", "mons"),
        (days, "day", "days"),
    ] {
        if number == 0 {
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        let sign = if is_before_negative && number > 0 { "+" } else { "" };
        let _ = write!(shown, "{sign}{number} {}", if number == 1 { one } else { many });
        is_before_negative = number < 0;
    }
    if microseconds != 0 || shown.is_empty() {
        if !shown.is_empty() {
            shown.push(' ');
        }
        let sign = match (microseconds < 0, is_before_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        let all = microseconds.unsigned_abs();
        let (seconds, part) = (all / 1_000_000, all % 1_000_000);
        let _ = write!(
            shown,
            "{sign}{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        );
        if part > 0 {
            let digits = format!("{part:06}");
            let _ = write!(shown, ".{}", digits.trim_end_matches('0'));
        }
    }
    shown
}

/// One part of a list, in quotes where it could be taken for something else.
fn quoted(part: &[u8], out: &mut BytesMut) {
    let is_plain = !part.is_empty()
        && !part.eq_ignore_ascii_case(b"null")
        && !part
            .iter()
            .any(|byte| b"{},\"\\".contains(byte) || byte.is_ascii_whitespace());
    if is_plain {
        out.put_slice(part);
        return;
    }
    out.put_u8(b'"');
    for byte in part {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// A value as JSON: nested ones, and lists of what PostgreSQL has no list for.
fn json_of(column: &ArrayRef, at: usize) -> Result<Vec<u8>, ArrowError> {
    let one = column.slice(at, 1);
    let field = Field::new("value", one.data_type().clone(), true);
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![one])?;
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let written = writer.into_inner();
    let value = written
        .strip_prefix(b"[{\"value\":")
        .and_then(|rest| rest.strip_suffix(b"}]"));
    value.map(<[u8]>::to_vec).ok_or_else(cannot_write)
}

/// Digits of a decimal with their point, and how many follow it.
fn numeric_text(column: &ArrayRef, at: usize) -> Result<(String, u16), ArrowError> {
    Ok(match column.data_type() {
        DataType::Decimal128(digits, scale) => {
            let value: i128 = column.as_primitive::<Decimal128Type>().value(at);
            let scale_shown = u16::try_from(*scale).unwrap_or(0);
            (
                Decimal128Type::format_decimal(value, *digits, *scale),
                scale_shown,
            )
        }
        DataType::Decimal256(digits, scale) => {
            let value: i256 = column.as_primitive::<Decimal256Type>().value(at);
            let scale_shown = u16::try_from(*scale).unwrap_or(0);
            (
                Decimal256Type::format_decimal(value, *digits, *scale),
                scale_shown,
            )
        }
        DataType::UInt64 => (column.as_primitive::<UInt64Type>().value(at).to_string(), 0),
        other => return Err(ArrowError::NotYetImplemented(format!("a decimal as {other}"))),
    })
}

/// A decimal in binary (`numeric_send`): how many digits of base 10,000, the weight of the first, the sign, the digits after the point, the digits.
fn numeric(shown: &str, scale: u16, out: &mut BytesMut) -> Result<(), ArrowError> {
    let (is_negative, digits) = match shown.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, shown),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    // Groups of four from the point on, to both sides.
    let padded = format!(
        "{:0>width$}{:0<part_width$}",
        whole,
        part,
        width = whole.len().next_multiple_of(4),
        part_width = part.len().next_multiple_of(4)
    );
    let mut groups: Vec<i16> = Vec::with_capacity(padded.len() / 4);
    for group in padded.as_bytes().chunks(4) {
        let group = std::str::from_utf8(group).map_err(|_| cannot_write())?;
        groups.push(group.parse().map_err(|_| cannot_write())?);
    }
    let mut weight = i16::try_from(whole.len().div_ceil(4)).map_err(|_| cannot_write())? - 1;
    let zeroes = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeroes);
    weight -= i16::try_from(zeroes).map_err(|_| cannot_write())?;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_i16(i16::try_from(groups.len()).map_err(|_| cannot_write())?);
    out.put_i16(weight);
    out.put_u16(if is_negative && !groups.is_empty() {
        0x4000
    } else {
        0
    });
    out.put_u16(scale);
    for group in groups {
        out.put_i16(group);
    }
    Ok(())
}
