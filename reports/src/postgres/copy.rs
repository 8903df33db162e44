//! `copy ... to stdout`: rows of a query, judged like any other, as PostgreSQL's text, CSV or binary format has them (`copyto.c`).
//!
//! Everything else of `copy` is no statement of this server, and the judge refuses it.

use std::fmt::Debug;

use bytes::{Buf as _, BufMut as _, BytesMut};
use futures::{Sink, SinkExt as _};
use pgwire::api::portal::Format;
use pgwire::api::query::send_execution_response;
use pgwire::api::results::Tag;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::DataRow;

use super::session::Running;
use super::statement::{Lexer, Statement, unquoted};

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    kind: Kind,
    delimiter: u8,
    null: String,
    has_header: bool,
    quote: u8,
    escape: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Csv,
    Binary,
}

/// What a file in the binary format begins with: its signature, no flags, nothing more. It ends with a row of -1 columns.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const BINARY_END: &[u8] = b"\xff\xff";

/// Reads what follows the word `copy`; `None` where rows are not sent to the client.
///
/// # Errors
/// In words, where it is not said how as it should be.
pub fn read(lexer: &mut Lexer<'_>) -> Option<Result<Statement, String>> {
    let query = source(lexer)?;
    let is_to_client = is_next(lexer, "to") && is_next(lexer, "stdout");
    is_to_client.then(|| {
        Ok(Statement::Copy {
            query,
            writing: Writing::read(lexer)?,
        })
    })
}

/// The query in brackets, or the one for a table and some of its columns.
fn source(lexer: &mut Lexer<'_>) -> Option<String> {
    if lexer.peek() == Some("(") {
        return Some(in_brackets(lexer)?.to_owned());
    }
    let mut table = lexer.next()?.1.to_owned();
    while lexer.peek() == Some(".") {
        lexer.next();
        table = format!("{table}.{}", lexer.next()?.1);
    }
    let columns = match lexer.peek() {
        Some("(") => in_brackets(lexer)?,
        _ => "*",
    };
    Some(format!("select {columns} from {table}"))
}

/// What is between the next bracket and the one that closes it.
fn in_brackets<'a>(lexer: &mut Lexer<'a>) -> Option<&'a str> {
    lexer.next()?;
    let rest = lexer.rest();
    let (start, mut depth) = (lexer.at(), 1_usize);
    while let Some((at, token)) = lexer.next() {
        match token {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest.get(..at - start);
        }
    }
    None
}

/// Takes the next token if it is this word.
fn is_next(lexer: &mut Lexer<'_>, word: &str) -> bool {
    let is_it = lexer.peek().is_some_and(|token| token.eq_ignore_ascii_case(word));
    if is_it {
        lexer.next();
    }
    is_it
}

impl Writing {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            delimiter: if kind == Kind::Csv { b',' } else { b'\t' },
            null: if kind == Kind::Csv { "" } else { "\\N" }.to_owned(),
            has_header: false,
            quote: b'"',
            escape: b'"',
        }
    }

    /// `[with] (format csv, header, ...)`, or as it was before PostgreSQL 9: `[with] csv header ...`.
    fn read(lexer: &mut Lexer<'_>) -> Result<Self, String> {
        is_next(lexer, "with");
        is_next(lexer, "(");
        let mut options = Vec::new();
        while let Some((_, token)) = lexer.next() {
            let name = token.to_ascii_lowercase();
            match name.as_str() {
                "," | ")" => {}
                "csv" | "text" | "binary" => options.push(("format".to_owned(), name)),
                "header" => {
                    let is_off = ["false", "off", "0"].iter().any(|word| is_next(lexer, word));
                    if !is_off {
                        let _ = ["true", "on", "1"].iter().any(|word| is_next(lexer, word));
                    }
                    options.push((name, (!is_off).to_string()));
                }
                "format" | "delimiter" | "delimiters" | "null" | "quote" | "escape" | "encoding" => {
                    is_next(lexer, "as");
                    let value = lexer.next().map(|(_, token)| value(token));
                    options.push((name, value.unwrap_or_default()));
                }
                _ => {
                    return Err(format!(
                        "`copy` does not know `{}` here",
                        crate::display::short(token)
                    ));
                }
            }
        }
        let of_name = |wanted: &str| {
            let mut found = options.iter().filter(|(name, _)| name == wanted);
            found.next_back().map(|(_, value)| value.as_str())
        };
        let kind = match of_name("format").unwrap_or("text").to_ascii_lowercase().as_str() {
            "text" => Kind::Text,
            "csv" => Kind::Csv,
            "binary" => Kind::Binary,
            other => return Err(format!("there is no format `{}`", crate::display::short(other))),
        };
        let mut writing = Self::of(kind);
        for (name, value) in &options {
            match name.as_str() {
                "header" => writing.has_header = value == "true",
                "null" => writing.null.clone_from(value),
                "delimiter" | "delimiters" => writing.delimiter = one(name, value)?,
                "quote" => writing.quote = one(name, value)?,
                "escape" => writing.escape = one(name, value)?,
                "encoding" if !["utf8", "utf-8"].contains(&value.to_ascii_lowercase().as_str()) => {
                    return Err("texts are told in UTF-8 alone".to_owned());
                }
                _ => {}
            }
        }
        // What escapes is what quotes, unless it is said.
        if of_name("escape").is_none() {
            writing.escape = writing.quote;
        }
        let is_ambiguous = writing.null.contains(['\n', '\r'])
            || writing.null.as_bytes().contains(&writing.delimiter)
            || (kind == Kind::Csv && writing.delimiter == writing.quote)
            || (kind == Kind::Text
                && (writing.delimiter.is_ascii_alphanumeric() || b"\\.".contains(&writing.delimiter)));
        if is_ambiguous || (kind == Kind::Binary && writing.has_header) {
            return Err("what `copy` writes so could not be read".to_owned());
        }
        Ok(writing)
    }

    /// Writes a row, whose columns stand one after the other with their lengths before them; -1 is NULL.
    fn row(&self, row: &DataRow, out: &mut BytesMut) {
        if self.kind == Kind::Binary {
            out.put_i16(row.field_count);
            out.put_slice(&row.data);
            return;
        }
        let mut rest: &[u8] = &row.data;
        let values = std::iter::from_fn(|| {
            let length = rest.try_get_i32().ok()?;
            Some(usize::try_from(length).ok().and_then(|length| {
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(value)
            }))
        });
        self.line(values, out);
    }

    fn line<'a>(&self, values: impl Iterator<Item = Option<&'a [u8]>>, out: &mut BytesMut) {
        for (index, value) in values.enumerate() {
            if index > 0 {
                out.put_u8(self.delimiter);
            }
            match value {
                None => out.put_slice(self.null.as_bytes()),
                Some(value) if self.kind == Kind::Csv => self.quoted(value, out),
                Some(value) => self.escaped(value, out),
            }
        }
        out.put_u8(b'\n');
    }

    fn quoted(&self, value: &[u8], out: &mut BytesMut) {
        // `\.` alone in its line would end the file.
        let is_plain = value != self.null.as_bytes()
            && value != b"\\."
            && !value
                .iter()
                .any(|byte| [self.delimiter, self.quote, b'\n', b'\r'].contains(byte));
        if is_plain {
            out.put_slice(value);
            return;
        }
        out.put_u8(self.quote);
        for byte in value {
            if *byte == self.quote || *byte == self.escape {
                out.put_u8(self.escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(self.quote);
    }

    fn escaped(&self, value: &[u8], out: &mut BytesMut) {
        for byte in value {
            let letter = match *byte {
                b'\x08' => b'b',
                b'\x0c' => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                b'\x0b' => b'v',
                byte if byte == b'\\' || byte == self.delimiter => byte,
                byte => {
                    out.put_u8(byte);
                    continue;
                }
            };
            out.put_slice(&[b'\\', letter]);
        }
    }
}

/// The value of an option: a word, or what is quoted; of what is quoted with escapes (`E'\t'`), one of them.
fn value(token: &str) -> String {
    match token
        .strip_prefix(['e', 'E'])
        .filter(|rest| rest.starts_with('\''))
    {
        Some(escaped) => match unquoted(escaped).as_str() {
            "\\t" => "\t".to_owned(),
            other => other.replace("\\\\", "\\"),
        },
        None => unquoted(token),
    }
}

fn one(name: &str, value: &str) -> Result<u8, String> {
    match value.as_bytes() {
        [byte] if byte.is_ascii() && !b"\n\r\0".contains(byte) => Ok(*byte),
        _ => Err(format!("the {name} of `copy` is one character of ASCII")),
    }
}

/// Sends the rows of a query.
///
/// # Errors
/// As they are told to the client; rows may have gone before.
pub async fn send<C>(client: &mut C, mut running: Running, writing: &Writing) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let (format, code) = match writing.kind {
        Kind::Binary => (Format::UnifiedBinary, 1),
        _ => (Format::UnifiedText, 0),
    };
    let fields = running.fields(&format);
    let count = i16::try_from(fields.len()).unwrap_or(i16::MAX);
    let begun = CopyOutResponse::new(i8::from(code == 1), count, vec![code; fields.len()]);
    client.feed(PgWireBackendMessage::CopyOutResponse(begun)).await?;
    // What is told at once: readers of the binary format want its head and the first row, or its end, together.
    let mut out = BytesMut::new();
    if writing.kind == Kind::Binary {
        out.put_slice(BINARY_HEAD);
    } else if writing.has_header {
        writing.line(fields.iter().map(|field| Some(field.name().as_bytes())), &mut out);
        client.feed(data(&mut out)).await?;
    }
    let mut rows = 0;
    while let Some(row) = running.next(&format).await {
        writing.row(&row?, &mut out);
        client.feed(data(&mut out)).await?;
        rows += 1;
    }
    if writing.kind == Kind::Binary {
        out.put_slice(BINARY_END);
        client.feed(data(&mut out)).await?;
    }
    client
        .feed(PgWireBackendMessage::CopyDone(CopyDone::new()))
        .await?;
    send_execution_response(client, Tag::new("COPY").with_rows(rows)).await
}

fn data(out: &mut BytesMut) -> PgWireBackendMessage {
    PgWireBackendMessage::CopyData(CopyData::new(out.split().freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(String, Writing), String> {
        match Statement::read(text)? {
            Statement::Copy { query, writing } => Ok((query, writing)),
            other => Err(format!("{other:?}")),
        }
    }

    fn written(text: &str, values: &[Option<&str>]) -> String {
        let (_, writing) = of(text).unwrap();
        let mut line = BytesMut::new();
        writing.line(values.iter().map(|value| value.map(str::as_bytes)), &mut line);
        String::from_utf8(line.to_vec()).unwrap()
    }

    #[test]
    fn what_is_copied_is_a_query() {
        for (text, query) in [
            (
                "COPY  ( select ')', (1) from pods ) TO STDOUT csv",
                " select ')', (1) from pods ",
            ),
            ("copy pods to stdout", "select * from pods"),
            (
                "copy marts.\"pods\" (pod_uid, cluster) TO stdout with (format binary)",
                "select pod_uid, cluster from marts.\"pods\"",
            ),
        ] {
            assert_eq!(of(text).map(|(query, _)| query).as_deref(), Ok(query), "{text}");
        }
        // Anything else of `copy` is for the judge to refuse.
        for text in [
            "copy pods to '/tmp/x'",
            "copy pods to 'stdout'",
            "copy pods to \"stdout\"",
            "copy pods to program 'x'",
            "copy pods from stdin",
            "copy (select 1) from stdin",
            "copy (select 1 to stdout",
            "copy",
        ] {
            assert_eq!(
                Statement::read(text),
                Ok(Statement::Query(text.to_owned())),
                "{text}"
            );
        }
        for text in [
            "copy pods to stdout (format parquet)",
            "copy pods to stdout (force_quote *)",
            "copy pods to stdout (delimiter ',,')",
            "copy pods to stdout (delimiter E'\\n')",
            "copy pods to stdout csv delimiter '\"'",
            "copy pods to stdout (delimiter 'N')",
            "copy pods to stdout (format binary, header)",
            "copy pods to stdout (encoding 'latin1')",
        ] {
            assert!(Statement::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_written_so_that_they_can_be_read() {
        let values = [Some("a,b\t\"c\"\\"), None, Some(""), Some("x\ny"), Some("\\.")];
        for (options, line) in [
            ("", "a,b\\t\"c\"\\\\\t\\N\t\tx\\ny\t\\\\.\n"),
            ("csv", "\"a,b\t\"\"c\"\"\\\",,\"\",\"x\ny\",\"\\.\"\n"),
            (
                "with (format csv, delimiter ';', null '-', quote '''', escape '\\')",
                "a,b\t\"c\"\\;-;;'x\ny';'\\\\.'\n",
            ),
            ("delimiter ',' null as ''", "a\\,b\\t\"c\"\\\\,,,x\\ny,\\\\.\n"),
            (
                "csv delimiter E'\\t'",
                "\"a,b\t\"\"c\"\"\\\"\t\t\"\"\t\"x\ny\"\t\"\\.\"\n",
            ),
        ] {
            assert_eq!(
                written(&format!("copy pods to stdout {options}"), &values),
                line,
                "{options}"
            );
        }
    }
}
