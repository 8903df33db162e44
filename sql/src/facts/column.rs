//! Columns of facts: their types, in the portable set, and what their values must be.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// The type of a fact's column, in the portable set that DuckDB and Spark read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTC instant in microseconds, without zone.
    Instant,
    /// Signed 64-bit integer.
    Integer,
    /// Signed integer of up to 38 digits: products of bytes and milliseconds.
    Wide,
    /// US dollars with nine decimals.
    Usd,
    /// Amounts of a bill, in dollars or in whatever unit is told beside, with eighteen decimals: as many as leave room for
    /// any sum of dollars.
    Amount,
    /// UTF-8 text.
    Text,
    /// Text to text.
    Map,
    /// Owner references from the nearest to the top of the chain: `kind`, `name`, `uid`.
    Owners,
    /// How long a rate was how high: `millicores`, `ms`.
    Rates,
}

impl ColumnType {
    /// The type in DuckDB's words, used in casts and in `create table`.
    #[must_use]
    pub fn duckdb(self) -> &'static str {
        match self {
            Self::Instant => "TIMESTAMP",
            Self::Integer => "BIGINT",
            Self::Wide => "DECIMAL(38,0)",
            Self::Usd => "DECIMAL(18,9)",
            Self::Amount => "DECIMAL(38,18)",
            Self::Text => "VARCHAR",
            Self::Map => "MAP(VARCHAR, VARCHAR)",
            Self::Owners => "STRUCT(kind VARCHAR, name VARCHAR, uid VARCHAR)[]",
            Self::Rates => "STRUCT(millicores BIGINT, ms BIGINT)[]",
        }
    }

    pub(super) fn arrow(self) -> DataType {
        match self {
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Integer => DataType::Int64,
            Self::Wide => DataType::Decimal128(38, 0),
            Self::Usd => DataType::Decimal128(18, 9),
            Self::Amount => DataType::Decimal128(38, 18),
            Self::Text => DataType::Utf8,
            Self::Map => DataType::Map(
                Arc::new(Field::new(
                    "entries",
                    DataType::Struct(Fields::from(vec![
                        Field::new("key", DataType::Utf8, false),
                        Field::new("value", DataType::Utf8, true),
                    ])),
                    false,
                )),
                false,
            ),
            Self::Owners => list_of(&[
                ("kind", DataType::Utf8),
                ("name", DataType::Utf8),
                ("uid", DataType::Utf8),
            ]),
            Self::Rates => list_of(&[("millicores", DataType::Int64), ("ms", DataType::Int64)]),
        }
    }
}

/// A list of structs, named as DuckDB names it.
fn list_of(fields: &[(&str, DataType)]) -> DataType {
    let fields: Vec<Field> = fields
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), true))
        .collect();
    let item = DataType::Struct(Fields::from(fields));
    DataType::List(Arc::new(Field::new("l", item, true)))
}

/// What a value of a column must be, beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing more.
    Any,
    /// Never NULL.
    Required,
    /// NULL or at least zero.
    NotNegative,
    /// Required and at least zero.
    RequiredNotNegative,
    /// Required and one of these.
    RequiredOneOf(&'static [&'static str]),
    /// NULL or one of these.
    OneOf(&'static [&'static str]),
    /// NULL, or an instant not before the named column of the same row.
    NotBefore(&'static str),
    /// Required and an instant not before the named column of the same row.
    RequiredNotBefore(&'static str),
}

/// One column of a fact.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    pub rule: Rule,
}

pub(super) const fn text(name: &'static str, rule: Rule) -> Column {
    Column {
        name,
        kind: ColumnType::Text,
        rule,
    }
}

pub(super) const fn instant(name: &'static str, rule: Rule) -> Column {
    Column {
        name,
        kind: ColumnType::Instant,
        rule,
    }
}

pub(super) const fn integer(name: &'static str, rule: Rule) -> Column {
    Column {
        name,
        kind: ColumnType::Integer,
        rule,
    }
}

pub(super) const fn wide(name: &'static str, rule: Rule) -> Column {
    Column {
        name,
        kind: ColumnType::Wide,
        rule,
    }
}

pub(super) const fn usd(name: &'static str, rule: Rule) -> Column {
    Column {
        name,
        kind: ColumnType::Usd,
        rule,
    }
}

pub(super) const fn amount(name: &'static str, rule: Rule) -> Column {
    Column {
        name,
        kind: ColumnType::Amount,
        rule,
    }
}

pub(super) const fn column(name: &'static str, kind: ColumnType) -> Column {
    Column {
        name,
        kind,
        rule: Rule::Any,
    }
}
