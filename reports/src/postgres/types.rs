//! Rows of Arrow as rows of PostgreSQL, in text and in binary, and parameters as DuckDB reads them.
//!
//! Formats are those of PostgreSQL's own `*out` and `*send` functions (`src/backend/utils/adt`). The numbers of types that the catalogue tells
//! (`sql/src/catalogue.sql`) are these.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType as _, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type, i256,
};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut as _, Bytes, BytesMut};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::messages::data::DataRow;
use podledger_sql::parameters::{Kind, Parameter, Shape, list_of_text};

/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts: 30 years of 365 days and 7 leap days.
const DAYS_TO_2000: i32 = 30 * 365 + 7;

/// Microseconds of the same.
const MICROSECONDS_TO_2000: i64 = DAYS_TO_2000 as i64 * 86_400 * 1_000_000;

/// The type in which a column is told: JSON where PostgreSQL has none of its own.
pub fn type_of(kind: &DataType) -> Type {
    match kind {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Date32 => Type::DATE,
        DataType::Time64(TimeUnit::Microsecond) => Type::TIME,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Interval(IntervalUnit::MonthDayNano) => Type::INTERVAL,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::BYTEA,
        DataType::List(part) | DataType::LargeList(part) | DataType::FixedSizeList(part, _) => {
            array_of(&type_of(part.data_type())).unwrap_or(Type::JSON)
        }
        DataType::Struct(_) | DataType::Map(..) => Type::JSON,
        // Enumerations, times of other kinds and what DuckDB may add are told as its shell would show them.
        _ => Type::TEXT,
    }
}

fn array_of(part: &Type) -> Option<Type> {
    Some(match *part {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::TEXT => Type::TEXT_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        _ => return None,
    })
}

/// A column as it is described to a client.
pub fn described(field: &Field, format: FieldFormat) -> FieldInfo {
    let kind = type_of(field.data_type());
    let (size, modifier) = match (&kind, field.data_type()) {
        (&Type::BOOL, _) => (1, -1),
        (&Type::INT2, _) => (2, -1),
        (&Type::INT4 | &Type::FLOAT4 | &Type::DATE, _) => (4, -1),
        (&Type::INT8 | &Type::FLOAT8 | &Type::TIME | &Type::TIMESTAMP | &Type::TIMESTAMPTZ, _) => (8, -1),
        (&Type::INTERVAL, _) => (16, -1),
        // As `make_numeric_typmod` of `numeric.c` has it.
        (_, DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale)) => {
            (-1, (i32::from(*digits) << 16 | i32::from(*scale)) + 4)
        }
        _ => (-1, -1),
    };
    FieldInfo::new(field.name().clone(), None, None, kind, format)
        .with_type_size(size)
        .with_type_modifier(modifier)
}

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

/// The format of a column: one for all, or each its own.
pub fn format_at(format: &Format, index: usize) -> FieldFormat {
    match format {
        Format::Individual(codes) => codes
            .get(index)
            .map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
        format => format.format_for(index),
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

/// The type of which a type is the list.
fn part_of(kind: &Type) -> Option<Type> {
    Some(match *kind {
        Type::BOOL_ARRAY => Type::BOOL,
        Type::INT2_ARRAY => Type::INT2,
        Type::INT4_ARRAY => Type::INT4,
        Type::INT8_ARRAY => Type::INT8,
        Type::NUMERIC_ARRAY => Type::NUMERIC,
        Type::FLOAT4_ARRAY => Type::FLOAT4,
        Type::FLOAT8_ARRAY => Type::FLOAT8,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => Type::TEXT,
        Type::DATE_ARRAY => Type::DATE,
        Type::TIMESTAMP_ARRAY => Type::TIMESTAMP,
        Type::TIMESTAMPTZ_ARRAY => Type::TIMESTAMPTZ,
        Type::UUID_ARRAY => Type::UUID,
        _ => return None,
    })
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
fn instant(microseconds: i64) -> Result<String, ArrowError> {
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

/// The type of a parameter in DuckDB; none for texts and for what is not known, which take the type of what they are held against.
fn kind_of(kind: &Type) -> Option<Kind> {
    Some(match *kind {
        Type::BOOL | Type::BOOL_ARRAY => Kind::Boolean,
        Type::INT2 | Type::INT2_ARRAY => Kind::SmallInt,
        Type::INT4 | Type::INT4_ARRAY => Kind::Integer,
        Type::INT8 | Type::INT8_ARRAY | Type::OID => Kind::BigInt,
        Type::FLOAT4 | Type::FLOAT4_ARRAY => Kind::Real,
        Type::FLOAT8 | Type::FLOAT8_ARRAY => Kind::Double,
        Type::NUMERIC | Type::NUMERIC_ARRAY => Kind::Decimal,
        Type::DATE | Type::DATE_ARRAY => Kind::Date,
        Type::TIME => Kind::Time,
        Type::TIMESTAMP | Type::TIMESTAMP_ARRAY => Kind::Timestamp,
        Type::TIMESTAMPTZ | Type::TIMESTAMPTZ_ARRAY => Kind::TimestampWithTimeZone,
        Type::INTERVAL => Kind::Interval,
        Type::UUID | Type::UUID_ARRAY => Kind::Uuid,
        Type::JSON | Type::JSONB => Kind::Json,
        _ => return None,
    })
}

/// PostgreSQL's type of one of DuckDB's.
pub fn type_of_kind(kind: Kind) -> Type {
    match kind {
        Kind::Boolean => Type::BOOL,
        Kind::SmallInt => Type::INT2,
        Kind::Integer => Type::INT4,
        Kind::BigInt => Type::INT8,
        Kind::Real => Type::FLOAT4,
        Kind::Double => Type::FLOAT8,
        Kind::Decimal => Type::NUMERIC,
        Kind::Text => Type::TEXT,
        Kind::Date => Type::DATE,
        Kind::Time => Type::TIME,
        Kind::Timestamp => Type::TIMESTAMP,
        Kind::TimestampWithTimeZone => Type::TIMESTAMPTZ,
        Kind::Interval => Type::INTERVAL,
        Kind::Uuid => Type::UUID,
        Kind::Json => Type::JSON,
    }
}

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
