//! The worker: a process that answers queries over the published snapshot, and can do nothing else.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use podledger_sql::Error;
use podledger_sql::published::Published;
use podledger_sql::session::{Limits, Question, Session};

use super::shut_in::ShutIn;
use super::wire::{BUILD, Done, Failed, Kind, LONGEST, Ready, SNAPSHOT, Why, receive, send};
use crate::display::cut;

/// Answers queries from `from` on `out` until the pipe ends, each in at most `cpu_seconds` of processor time, in a session that was opened before
/// the process shut itself in.
///
/// # Errors
/// Those of the pipes: the door is gone. A limit that the system refuses.
pub fn work(
    shut_in: &mut ShutIn,
    mut session: Session,
    published: &Published,
    limits: Limits,
    cpu_seconds: u64,
    from: &mut impl Read,
    out: &mut impl Write,
) -> io::Result<()> {
    let ready = Ready {
        kernel: shut_in.kernel,
    };
    send(out, Kind::Ready, &json(&ready)?)?;
    let mut is_shut = false;
    while let Some((kind, content)) = receive(from)? {
        let question: Question = match kind {
            Kind::Query => serde_json::from_slice(&content)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no query")),
        };
        shut_in.allow_seconds(cpu_seconds)?;
        if !is_shut {
            session
                .shut(published, limits)
                .map_err(|error| io::Error::other(in_words(&error)))?;
            is_shut = true;
        }
        // A new build is seen by the next query.
        let answered = match session.follow(published, question.snapshot.as_deref()) {
            Ok(()) => {
                // All threads are there that it needs.
                shut_in.start_nothing_more()?;
                answer(&mut session, &question, out)?
            }
            Err(error) => Err(Failed {
                why: Why::Snapshot,
                message: in_words(&error),
            }),
        };
        match answered {
            Ok(done) => send(out, Kind::Done, &json(&done)?)?,
            Err(mut failed) => {
                failed.message = cut(&failed.message, LONGEST_MESSAGE);
                send(out, Kind::Failed, &json(&failed)?)?;
            }
        }
    }
    Ok(())
}

/// Characters of a message that are told: a query can make one of any length.
const LONGEST_MESSAGE: usize = 4_000;

/// Bytes of rows that are told at once, if they are not one row, and that one row may have: whoever asked holds them, and as text they are more.
const MOST_AT_ONCE: usize = 4 << 20;

fn json(of: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(of)?)
}

/// The error with its causes.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

/// What DuckDB says of a query that it cannot plan or run. What it advises where memory ran out are settings that nobody who asks may change.
fn of_duckdb(message: String) -> Failed {
    if !message.contains("Out of Memory Error") {
        return Failed {
            why: Why::Query,
            message,
        };
    }
    let what = message.lines().next().unwrap_or_default();
    Failed {
        why: Why::TooMuch,
        message: format!(
            "{what}: ask for fewer rows, columns or groups, or let whoever serves raise the limit (`--sql-memory`)"
        ),
    }
}

fn answer(
    session: &mut Session,
    question: &Question,
    out: &mut impl Write,
) -> io::Result<Result<Done, Failed>> {
    let build = session.manifest().map(|manifest| manifest.build_id.to_string());
    let about: HashMap<_, _> = [(BUILD, build), (SNAPSHOT, session.snapshot().map(str::to_owned))]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let failed = |error: &Error| match error {
        Error::Refused { .. } => Failed {
            why: Why::Refused,
            message: in_words(error),
        },
        error => of_duckdb(in_words(error)),
    };
    let mut asked = match session.prepare(question) {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(failed(&error))),
    };
    let parameters = std::mem::take(&mut asked.parameters);
    let (columns, stream) = match asked.run() {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(failed(&error))),
    };
    let broken = |error: ArrowError| io::Error::other(error);
    let fields: Fields = columns
        .fields()
        .iter()
        .map(|field| {
            field
                .as_ref()
                .clone()
                .with_data_type(with_offset(field.data_type()))
        })
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, about));
    let mut writer = StreamWriter::try_new(Pieces(out), &schema).map_err(broken)?;
    let mut rows = 0;
    for batch in stream {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                return Ok(Err(of_duckdb(format!("cannot run the query: {error}"))));
            }
        };
        rows += batch.num_rows() as u64;
        let columns: Result<Vec<_>, ArrowError> = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => cast(column, field.data_type()),
            })
            .collect();
        let batch = columns
            .and_then(|columns| RecordBatch::try_new(Arc::clone(&schema), columns))
            .map_err(broken)?;
        for part in parts(batch).map_err(broken)? {
            if part.num_rows() == 1 && part.get_array_memory_size() > MOST_AT_ONCE {
                return Ok(Err(Failed {
                    why: Why::TooMuch,
                    message: format!(
                        "a row of the answer has more than {} MiB; ask for fewer columns, or shorter lists and texts",
                        MOST_AT_ONCE >> 20
                    ),
                }));
            }
            writer.write(&part).map_err(broken)?;
        }
    }
    writer.finish().map_err(broken)?;
    Ok(Ok(Done { rows, parameters }))
}

/// A type whose instants are told as of an offset: DuckDB says `UTC`, and names of zones are looked up nowhere else here.
fn with_offset(kind: &DataType) -> DataType {
    let part = |field: &FieldRef| {
        let kind = with_offset(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(kind))
    };
    match kind {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(field) => DataType::List(part(field)),
        DataType::LargeList(field) => DataType::LargeList(part(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(part(field), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(part(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(part).collect()),
        kind => kind.clone(),
    }
}

/// The rows in parts that are small enough to be told, or are one row. Parts are copies: a slice of a list holds the whole of it.
fn parts(batch: RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
    if batch.num_rows() <= 1 || batch.get_array_memory_size() <= MOST_AT_ONCE {
        return Ok(vec![batch]);
    }
    let rows =
        u32::try_from(batch.num_rows()).map_err(|error| ArrowError::ComputeError(error.to_string()))?;
    let mut all = Vec::new();
    for part in [0..rows / 2, rows / 2..rows] {
        all.extend(parts(take_record_batch(
            &batch,
            &UInt32Array::from_iter_values(part),
        )?)?);
    }
    Ok(all)
}

/// Writes bytes as frames.
struct Pieces<'a, W>(&'a mut W);

impl<W: Write> Write for Pieces<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(LONGEST);
        send(self.0, Kind::Rows, bytes.get(..length).unwrap_or_default())?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
