//! The worker: a process that answers queries over the published snapshot, and can do nothing else.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use arrow::datatypes::Schema;
use arrow::ipc::writer::StreamWriter;
use podledger_sql::Error;
use podledger_sql::published::Published;
use podledger_sql::session::{Limits, Session};

use super::shut_in::ShutIn;
use super::wire::{BUILD, Done, Failed, Kind, LONGEST, Ready, Why, receive, send};

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
        let query = match (kind, String::from_utf8(content)) {
            (Kind::Query, Ok(query)) => query,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no query")),
        };
        shut_in.allow_seconds(cpu_seconds)?;
        // A new build is seen by the next query.
        let opened = if is_shut {
            session.follow(published)
        } else {
            session.shut(published, limits).and_then(|()| {
                is_shut = true;
                session.follow(published)
            })
        };
        let answered = match opened {
            Ok(()) => {
                // All threads are there that it needs.
                shut_in.start_nothing_more()?;
                answer(&session, &query, out)?
            }
            Err(error) => Err(Failed {
                why: Why::Snapshot,
                message: in_words(&error),
            }),
        };
        match answered {
            Ok(done) => send(out, Kind::Done, &json(&done)?)?,
            Err(failed) => send(out, Kind::Failed, &json(&failed)?)?,
        }
    }
    Ok(())
}

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

/// What DuckDB says of a query that it cannot plan or run.
fn of_duckdb(message: String) -> Failed {
    let is_too_much = message.contains("Out of Memory Error");
    Failed {
        why: if is_too_much { Why::TooMuch } else { Why::Query },
        message,
    }
}

fn answer(session: &Session, query: &str, out: &mut impl Write) -> io::Result<Result<Done, Failed>> {
    let failed = |error: &Error| match error {
        Error::Refused { .. } => Failed {
            why: Why::Refused,
            message: in_words(error),
        },
        error => of_duckdb(in_words(error)),
    };
    let mut asked = match session.prepare(query) {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(failed(&error))),
    };
    let stream = match asked.run() {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(failed(&error))),
    };
    let broken = |error: arrow::error::ArrowError| io::Error::other(error);
    let about: HashMap<_, _> = session
        .manifest()
        .map(|manifest| (BUILD.to_owned(), manifest.build_id.to_string()))
        .into_iter()
        .collect();
    let schema = Schema::new_with_metadata(stream.get_schema().fields().clone(), about);
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
        writer.write(&batch).map_err(broken)?;
    }
    writer.finish().map_err(broken)?;
    Ok(Ok(Done { rows }))
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
