//! A CSV of a bill as a table of texts.
//!
//! `csv` reads it, because it takes files as they come (mixed ends of lines, gzip while it streams) and knows the line of what is
//! wrong; only the columns that somebody asks for are handed to DuckDB.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use duckdb::Connection;
use flate2::read::MultiGzDecoder;
use podledger_sql::Doing;

use crate::error::{Error, Result};

fn input(path: &Path, reason: impl Into<String>) -> Error {
    Error::Input {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

/// Whether the file's name says that it is compressed.
pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// The header of a CSV, as far as rows have its columns.
///
/// # Errors
/// [`Error::Input`] for an empty or damaged file; [`Error::Io`].
pub(super) fn headers(path: &Path) -> Result<Vec<String>> {
    let mut reader = reader(path)?;
    let mut record = csv::StringRecord::new();
    let mut next = |record: &mut csv::StringRecord| {
        reader
            .read_record(record)
            .map_err(|error| input(path, fault(&error)))
    };
    if !next(&mut record)? {
        return Err(input(path, "is empty"));
    }
    let mut headers: Vec<String> = record
        .iter()
        .map(|header| header.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    // Some tools leave out the last cells of every row, because they are empty.
    if next(&mut record)? {
        headers.truncate(record.len());
    }
    Ok(headers)
}

fn reader(path: &Path) -> Result<csv::Reader<Box<dyn Read>>> {
    let file = File::open(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let reader: Box<dyn Read> = if is_compressed(path) {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    Ok(csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(reader))
}

fn fault(error: &csv::Error) -> String {
    let line = error.position().map(csv::Position::line);
    match (error.kind(), line) {
        (csv::ErrorKind::Utf8 { .. }, Some(line)) => format!("line {line}: is not UTF-8"),
        _ => format!("the file is damaged or breaks off: {error}"),
    }
}

/// Rows that are handed to DuckDB at a time.
const BATCH_ROWS: usize = 8192;

/// Makes the table `cells` of a CSV with so many `columns`: `row`, from 1, and `cN` for each of those that are `used`.
///
/// # Errors
/// [`Error::Input`] for a row of another length, or text that is not UTF-8, with its line.
pub(super) fn load(connection: &Connection, path: &Path, columns: usize, used: &[usize]) -> Result<()> {
    let doing = "take in the cells of a bill";
    let fields: Vec<Field> = std::iter::once(Field::new("row", DataType::Int64, false))
        .chain(
            used.iter()
                .map(|number| Field::new(format!("c{number}"), DataType::Utf8, true)),
        )
        .collect();
    let names: Vec<String> = used.iter().map(|number| format!(", c{number} varchar")).collect();
    connection
        .execute_batch(&format!(
            "create or replace table cells (row bigint{})",
            names.concat()
        ))
        .doing(doing)?;
    let schema = Arc::new(Schema::new(fields));
    let mut appender = connection.appender("cells").doing(doing)?;
    let mut reader = reader(path)?;
    let mut record = csv::StringRecord::new();
    let mut read = |record: &mut csv::StringRecord| {
        reader
            .read_record(record)
            .map_err(|error| input(path, fault(&error)))
    };
    read(&mut record)?;
    let (mut row, mut is_more) = (0_i64, true);
    while is_more {
        let mut rows = Vec::with_capacity(BATCH_ROWS);
        let mut cells: Vec<StringBuilder> = used.iter().map(|_| StringBuilder::new()).collect();
        while rows.len() < BATCH_ROWS {
            is_more = read(&mut record)?;
            if !is_more {
                break;
            }
            row += 1;
            if record.len() != columns {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(input(
                    path,
                    format!(
                        "line {line}: has {} cells instead of {}; the file is damaged or breaks off there",
                        record.len(),
                        columns
                    ),
                ));
            }
            rows.push(row);
            for (builder, number) in cells.iter_mut().zip(used) {
                builder.append_option(record.get(*number));
            }
        }
        let arrays: Vec<ArrayRef> = std::iter::once(Arc::new(Int64Array::from(rows)) as ArrayRef)
            .chain(
                cells
                    .iter_mut()
                    .map(|builder| Arc::new(builder.finish()) as ArrayRef),
            )
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|source| Error::Encode {
            table: "billed_charges",
            source,
        })?;
        appender.append_record_batch(batch).doing(doing)?;
    }
    appender.flush().doing(doing)?;
    Ok(())
}
