//! PostgreSQL's types of Arrow's and of DuckDB's. The numbers that the catalogue tells (`sql/src/catalogue.sql`) are these.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use podledger_sql::parameters::Kind;

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

/// The type of which a type is the list.
pub fn part_of(kind: &Type) -> Option<Type> {
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

/// The format of a column: one for all, or each its own.
pub fn format_at(format: &Format, index: usize) -> FieldFormat {
    match format {
        Format::Individual(codes) => codes
            .get(index)
            .map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
        format => format.format_for(index),
    }
}

/// The type of a parameter in DuckDB; none for texts and for what is not known, which take the type of what they are held against.
pub fn kind_of(kind: &Type) -> Option<Kind> {
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
