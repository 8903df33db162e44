//! Rows become facts: the columns, types and rules of [`crate::facts`] are checked before anything is written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;

use crate::error::{Error, Result};
use crate::facts::{Column, ColumnType, Fact, Rule};

/// The same rows as facts of `fact`: its columns in its order and types. Columns that may be NULL may be left out.
///
/// `first_row` is the number of the batch's first row, counted from 1, for messages.
///
/// # Errors
/// [`Error::Fact`] for unknown or missing columns and types that do not convert exactly, [`Error::Row`] for the first
/// value that breaks a rule.
pub fn validate(fact: &'static Fact, batch: &RecordBatch, first_row: u64) -> Result<RecordBatch> {
    for field in batch.schema().fields() {
        if fact.column(field.name()).is_none() {
            let known: Vec<&str> = fact.columns.iter().map(|column| column.name).collect();
            return Err(Error::Fact {
                table: fact.table,
                reason: format!(
                    "unknown column `{}`; the columns are {}",
                    field.name(),
                    known.join(", ")
                ),
            });
        }
    }
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fact.columns.len());
    let schema = fact.schema();
    for (column, field) in fact.columns.iter().zip(schema.fields()) {
        columns.push(match batch.column_by_name(column.name) {
            Some(array) => convert(fact, column, array, field.data_type(), first_row)?,
            None if required(column.rule) => {
                return Err(Error::Fact {
                    table: fact.table,
                    reason: format!(
                        "column `{}` ({}) is missing; add it to the query",
                        column.name,
                        column.kind.duckdb()
                    ),
                });
            }
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
    }
    let facts = RecordBatch::try_new(schema, columns).map_err(|error| Error::Fact {
        table: fact.table,
        reason: error.to_string(),
    })?;
    for column in fact.columns {
        check(fact, column, &facts, first_row)?;
    }
    Ok(facts)
}

fn required(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::Required | Rule::RequiredNotNegative | Rule::RequiredOneOf(_) | Rule::RequiredNotBefore(_)
    )
}

fn convert(
    fact: &'static Fact,
    column: &'static Column,
    array: &ArrayRef,
    to: &DataType,
    first_row: u64,
) -> Result<ArrayRef> {
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    if !converts(column.kind, from) {
        return Err(Error::Fact {
            table: fact.table,
            reason: format!(
                "column `{}` must be {}, the query yields {from}; cast it",
                column.name,
                column.kind.duckdb()
            ),
        });
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &strict).map_err(|error| {
        // The first value that does not convert is the one to name.
        let lenient = CastOptions {
            safe: true,
            ..CastOptions::default()
        };
        let index = cast_with_options(array, to, &lenient)
            .ok()
            .and_then(|cast| (0..cast.len()).find(|&index| cast.is_null(index) && !array.is_null(index)));
        match index {
            Some(index) => row_error(
                fact,
                column,
                array,
                index,
                first_row,
                &format!("it does not fit {}", column.kind.duckdb()),
            ),
            None => Error::Fact {
                table: fact.table,
                reason: format!("column `{}`: {error}", column.name),
            },
        }
    })
}

/// Whether values of `from` become `kind` without rounding or guessing.
fn converts(kind: ColumnType, from: &DataType) -> bool {
    match (kind, from) {
        (_, DataType::Null) => true,
        (ColumnType::Text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => true,
        (ColumnType::Text, DataType::Dictionary(_, value)) => **value == DataType::Utf8,
        (ColumnType::Integer | ColumnType::Wide, from) if from.is_integer() => true,
        (ColumnType::Integer | ColumnType::Wide, DataType::Decimal128(_, 0)) => true,
        (ColumnType::Usd, from) if from.is_integer() => true,
        (ColumnType::Usd, DataType::Decimal128(_, scale)) => *scale <= 9,
        (ColumnType::Amount, from) if from.is_integer() => true,
        (ColumnType::Amount, DataType::Decimal128(_, scale)) => *scale <= 18,
        // Coarser instants are exact; nanoseconds would be cut off. A zone is only a way of showing an instant.
        (ColumnType::Instant, DataType::Timestamp(unit, zone)) => {
            *unit != TimeUnit::Nanosecond && zone.as_deref().is_none_or(|zone| zone == "UTC")
        }
        (ColumnType::Map, DataType::Map(..))
        | (ColumnType::Owners | ColumnType::Rates, DataType::List(_)) => true,
        _ => false,
    }
}

fn check(fact: &'static Fact, column: &'static Column, facts: &RecordBatch, first_row: u64) -> Result<()> {
    let Some(array) = facts.column_by_name(column.name) else {
        return Ok(());
    };
    let broken = |index: usize, reason: &str| Err(row_error(fact, column, array, index, first_row, reason));
    if required(column.rule) && array.null_count() > 0 {
        let index = (0..array.len())
            .find(|&index| array.is_null(index))
            .unwrap_or_default();
        return broken(index, "it must not be NULL");
    }
    match column.rule {
        Rule::NotNegative | Rule::RequiredNotNegative => {
            let negative = match column.kind {
                ColumnType::Integer => first(array.as_primitive::<Int64Type>().iter(), |value| value < 0),
                ColumnType::Wide | ColumnType::Usd | ColumnType::Amount => {
                    first(array.as_primitive::<Decimal128Type>().iter(), |value| value < 0)
                }
                _ => None,
            };
            if let Some(index) = negative {
                return broken(index, "it must not be negative");
            }
        }
        Rule::OneOf(allowed) | Rule::RequiredOneOf(allowed) => {
            if let Some(index) = first(array.as_string::<i32>().iter(), |value| !allowed.contains(&value)) {
                return broken(index, &format!("it must be one of {}", allowed.join(", ")));
            }
        }
        Rule::NotBefore(other) | Rule::RequiredNotBefore(other) => {
            let Some(floor) = facts.column_by_name(other) else {
                return Ok(());
            };
            let (values, floors) = (
                array.as_primitive::<TimestampMicrosecondType>(),
                floor.as_primitive::<TimestampMicrosecondType>(),
            );
            let early = values.iter().zip(floors.iter()).position(
                |(value, floor)| matches!((value, floor), (Some(value), Some(floor)) if value < floor),
            );
            if let Some(index) = early {
                let floor = array_value_to_string(floor, index).unwrap_or_default();
                return broken(index, &format!("it must not be before `{other}` ({floor})"));
            }
        }
        Rule::Any | Rule::Required => {}
    }
    Ok(())
}

fn first<T>(values: impl Iterator<Item = Option<T>>, breaks: impl Fn(T) -> bool) -> Option<usize> {
    let mut values = values;
    values.position(|value| value.is_some_and(&breaks))
}

fn row_error(
    fact: &'static Fact,
    column: &'static Column,
    array: &ArrayRef,
    index: usize,
    first_row: u64,
    reason: &str,
) -> Error {
    let value = match array_value_to_string(array, index) {
        Ok(value) if !array.is_null(index) => format!(" (it is `{value}`)"),
        _ => String::new(),
    };
    Error::Row {
        table: fact.table,
        row: first_row + index as u64,
        column: column.name,
        reason: format!("{reason}{value}"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns.into_iter().map(|(_, array)| array).collect(),
        )
        .unwrap()
    }

    fn node(cpu: ArrayRef) -> Vec<(&'static str, ArrayRef)> {
        let one: ArrayRef = Arc::new(Int32Array::from(vec![1, 1]));
        vec![
            ("cluster", Arc::new(StringArray::from(vec!["c", "c"])) as ArrayRef),
            ("machine", Arc::new(StringArray::from(vec!["m", "n"]))),
            (
                "observed_at",
                Arc::new(TimestampMicrosecondArray::from(vec![0, 1])),
            ),
            ("cpu_capacity_millicores", cpu),
            ("cpu_allocatable_millicores", Arc::clone(&one)),
            ("memory_capacity_bytes", Arc::clone(&one)),
            ("memory_allocatable_bytes", one),
        ]
    }

    fn refused(columns: Vec<(&str, ArrayRef)>) -> String {
        let fact = Fact::named("node_states").unwrap();
        validate(fact, &batch(columns), 1).unwrap_err().to_string()
    }

    #[test]
    fn narrower_integers_are_widened_and_optional_columns_may_be_missing() {
        let fact = Fact::named("node_states").unwrap();
        let facts = validate(
            fact,
            &batch(node(Arc::new(Int32Array::from(vec![4000, 8000])))),
            1,
        )
        .unwrap();
        assert_eq!(facts.schema(), fact.schema());
        assert_eq!(
            facts
                .column_by_name("gpu_capacity_milligpus")
                .unwrap()
                .null_count(),
            2
        );
    }

    #[test]
    fn the_first_bad_value_is_named_with_its_row() {
        let text = refused(node(Arc::new(Int32Array::from(vec![4, -5]))));
        assert_eq!(
            text,
            "node_states, row 2, column `cpu_capacity_millicores`: it must not be negative (it is `-5`)"
        );
        let text = refused(node(Arc::new(Int32Array::from(vec![None, Some(4)]))));
        assert_eq!(
            text,
            "node_states, row 1, column `cpu_capacity_millicores`: it must not be NULL"
        );
    }

    #[test]
    fn floats_unknown_and_missing_columns_are_refused() {
        assert!(refused(node(Arc::new(Float64Array::from(vec![4.0, 4.0])))).contains("cast it"));
        let mut columns = node(Arc::new(Int32Array::from(vec![4, 4])));
        columns.push(("cpus", Arc::new(Int32Array::from(vec![1, 1]))));
        assert!(refused(columns).contains("unknown column `cpus`"));
        let columns = node(Arc::new(Int32Array::from(vec![4, 4]))).split_off(1);
        assert!(refused(columns).contains("column `cluster` (VARCHAR) is missing"));
    }
}
