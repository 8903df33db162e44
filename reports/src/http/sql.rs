//! Questions of one's own: SQL over the published snapshot, for programs (`POST /api/v1/sql`) and for people (`/sql`).
//!
//! Architecture invariant: no text of a query reaches the connections of other routes: it goes to the door, and nowhere else.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::Schema;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::problem::Problem;
use super::respond::{Who, read_at_most};
use super::{App, HTML, Reply, pages};
use crate::display::{plain, short};
use crate::door::{Door, DoorError, Format, Rendering, Why};

/// Largest body with a query: its text may have 64 KiB, and three times as many in a form.
const LARGEST_BODY: usize = 256 * 1024;

/// Largest answer, in bytes: 1 GiB.
const LARGEST_ANSWER: u64 = 1 << 30;

/// Bytes of an answer that are waited for before it begins: what goes wrong until then still has a status of its own.
const GATHERED: usize = 256 * 1024;

/// Rows that the console shows.
pub const SHOWN_ROWS: u64 = 1_000;

/// What is asked.
#[derive(Debug)]
struct Asked {
    query: String,
    format: Format,
    /// Rows at most.
    limit: u64,
}

/// What is asked, as a program writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    query: String,
    format: Option<String>,
    limit: Option<u64>,
}

impl Asked {
    /// Of a request: the format by `format` in the URL or the body, else by `Accept`, else JSON.
    fn of(parts: &Parts, body: &[u8]) -> Result<Self, Problem> {
        let kind = header_of(parts, header::CONTENT_TYPE);
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let request = match kind.to_ascii_lowercase().as_str() {
            "application/json" => serde_json::from_slice(body).map_err(|error| {
                Problem::bad(format!(
                    "the body is not {{\"query\": \"select ...\", \"format\": \"json\", \"limit\": 100}}: {error}"
                ))
            })?,
            "" | "text/plain" | "application/sql" => Request {
                query: std::str::from_utf8(body)
                    .map_err(|_| Problem::bad("the query is not UTF-8"))?
                    .to_owned(),
                format: None,
                limit: None,
            },
            _ => {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "send the query as application/json, or as text/plain",
                ));
            }
        };
        let (mut format, mut limit) = (request.format, request.limit);
        for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match key.as_ref() {
                "format" => format = Some(value.into_owned()),
                "limit" => {
                    let number = value.parse();
                    limit = Some(number.map_err(|_| Problem::bad("`limit` is no number of rows"))?);
                }
                other => {
                    return Err(Problem::bad(format!(
                        "there is no parameter `{}`; there are `format` and `limit`",
                        short(other)
                    )));
                }
            }
        }
        let format = match format {
            Some(name) => Format::of_name(&name).ok_or_else(|| {
                Problem::bad(format!(
                    "there is no format `{}`: use json, csv, arrow or parquet",
                    short(&name)
                ))
            })?,
            None => accepted(&header_of(parts, header::ACCEPT))?,
        };
        Ok(Self {
            query: request.query,
            format,
            limit: limit.unwrap_or(u64::MAX),
        })
    }
}

fn header_of(parts: &Parts, name: header::HeaderName) -> String {
    let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// The first format that an `Accept` names.
fn accepted(accept: &str) -> Result<Format, Problem> {
    if accept.trim().is_empty() {
        return Ok(Format::Json);
    }
    let kinds = accept.split(',').map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    for kind in kinds {
        return Ok(match kind.as_str() {
            "application/json" | "application/*" | "*/*" => Format::Json,
            "text/csv" | "text/*" => Format::Csv,
            "application/vnd.apache.arrow.stream" => Format::Arrow,
            "application/vnd.apache.parquet" => Format::Parquet,
            _ => continue,
        });
    }
    Err(Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "answers are application/json, text/csv, application/vnd.apache.arrow.stream or application/vnd.apache.parquet",
    ))
}

impl From<DoorError> for Problem {
    fn from(error: DoorError) -> Self {
        let status = match &error {
            DoorError::Failed(failed) => match failed.why {
                Why::Refused | Why::TooMuch => StatusCode::UNPROCESSABLE_ENTITY,
                Why::Query => StatusCode::BAD_REQUEST,
                Why::Snapshot => StatusCode::SERVICE_UNAVAILABLE,
            },
            DoorError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            DoorError::TooSlow(_) => StatusCode::GATEWAY_TIMEOUT,
            DoorError::Ended => StatusCode::UNPROCESSABLE_ENTITY,
            DoorError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            DoorError::Start(_)
            | DoorError::NotStarted { .. }
            | DoorError::Pipe(_)
            | DoorError::Answer(_) => return Self::failed(&error),
        };
        Self::new(status, error.to_string())
    }
}

/// What is done for a request ends with it.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A piece of an answer; none is the end, so that one that breaks off is not taken for whole.
type Piece = Result<Option<Bytes>, Problem>;

/// An answer on its way.
struct Rows {
    gathered: VecDeque<Bytes>,
    rest: mpsc::Receiver<Piece>,
    is_whole: bool,
    _task: Task,
}

impl HttpBody for Rows {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(bytes) = self.gathered.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.is_whole {
            return Poll::Ready(None);
        }
        self.rest.poll_recv(context).map(|told| match told {
            Some(Ok(Some(bytes))) => Some(Ok(Frame::data(bytes))),
            Some(Ok(None)) => {
                self.is_whole = true;
                None
            }
            // The status was told before; an answer that breaks off is seen to be none.
            Some(Err(problem)) => Some(Err(std::io::Error::other(problem.detail))),
            None => Some(Err(std::io::Error::other("the answer broke off"))),
        })
    }
}

/// The answer, begun: it has at least [`GATHERED`] bytes, or is whole.
async fn begin(door: Arc<Door>, asked: Asked) -> Result<Rows, Problem> {
    let (sender, mut rest) = mpsc::channel(4);
    let task = tokio::spawn(async move {
        let end = tell(&door, &asked, &sender).await.map(|()| None);
        // Nobody may be there to be told.
        let _ = sender.send(end).await;
    });
    let task = Task(task.abort_handle());
    let (mut gathered, mut bytes) = (VecDeque::new(), 0);
    let mut is_whole = false;
    while bytes < GATHERED && !is_whole {
        let broken = || Problem::from(DoorError::Pipe(std::io::ErrorKind::UnexpectedEof.into()));
        match rest.recv().await.ok_or_else(broken)?? {
            Some(piece) => {
                bytes += piece.len();
                gathered.push_back(piece);
            }
            None => is_whole = true,
        }
    }
    Ok(Rows {
        gathered,
        rest,
        is_whole,
        _task: task,
    })
}

/// Where pieces of an answer go.
struct Out<'a> {
    to: &'a mpsc::Sender<Piece>,
    /// Bytes that went there.
    sent: u64,
}

impl Out<'_> {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Problem> {
        self.sent += bytes.len() as u64;
        if self.sent > LARGEST_ANSWER {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the answer has more than {} MiB; ask for fewer rows or columns",
                    LARGEST_ANSWER >> 20
                ),
            ));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let gone = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "nobody waits for the answer");
        self.to.send(Ok(Some(bytes.into()))).await.map_err(gone)
    }
}

/// Asks, and sends the answer piece by piece.
async fn tell(door: &Door, asked: &Asked, to: &mpsc::Sender<Piece>) -> Result<(), Problem> {
    let failed = |error| Problem::from(DoorError::Answer(error));
    let mut worker = door.worker().await?;
    let mut answer = worker.ask(&asked.query).await?;
    let schema = answer
        .schema()
        .ok_or_else(|| Problem::from(DoorError::Pipe(std::io::ErrorKind::InvalidData.into())))?;
    let mut rendering = Rendering::new(asked.format, &schema).map_err(failed)?;
    let mut out = Out { to, sent: 0 };
    if asked.format == Format::Json {
        out.send(format!("{{\"columns\":{},\"rows\":", columns(&schema, rendering.schema())).into_bytes())
            .await?;
    }
    out.send(rendering.begin().map_err(failed)?).await?;
    let mut is_complete = true;
    while let Some(batch) = answer.next().await? {
        let left = asked.limit - rendering.rows();
        let part = first(&batch, left);
        is_complete = part.num_rows() == batch.num_rows();
        out.send(rendering.write(&part).map_err(failed)?).await?;
        if !is_complete {
            break;
        }
    }
    let rows = rendering.rows();
    out.send(rendering.end().map_err(failed)?).await?;
    if asked.format == Format::Json {
        let build = answer.build_id();
        let end = serde_json::json!({ "row_count": rows, "is_complete": is_complete, "build_id": build });
        out.send(format!(",{}\n", end.to_string().trim_start_matches('{')).into_bytes())
            .await?;
    }
    Ok(())
}

fn first(batch: &RecordBatch, rows: u64) -> RecordBatch {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    batch.slice(0, rows.min(batch.num_rows()))
}

/// Names of columns as rows have them, and their types as they were answered, as JSON.
fn columns(schema: &Schema, written: &Schema) -> String {
    let columns: Vec<serde_json::Value> = schema
        .fields()
        .iter()
        .zip(written.fields())
        .map(|(field, written)| serde_json::json!({ "name": written.name(), "type": field.data_type().to_string() }))
        .collect();
    serde_json::Value::Array(columns).to_string()
}

impl App {
    /// The door that queries go through, for others who ask through it too.
    #[must_use]
    pub fn sql_door(&self) -> Option<Arc<Door>> {
        self.door.clone()
    }

    fn door(&self) -> Result<Arc<Door>, Problem> {
        self.door
            .clone()
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "SQL is not served here"))
    }

    /// Answers a program's query.
    pub(super) async fn sql(&self, parts: &Parts, body: Body) -> Result<Response, Problem> {
        let body = read_at_most(body, LARGEST_BODY).await?;
        let asked = Asked::of(parts, &body)?;
        let format = asked.format;
        let rows = begin(self.door()?, asked).await?;
        Ok(streamed(format, rows, None))
    }

    /// The console, with what was asked there: nothing yet, where it is only looked at.
    pub(super) async fn console(
        &self,
        parts: &Parts,
        who: Who,
        body: Option<Body>,
    ) -> Result<Response, Problem> {
        let body = match body {
            Some(body) => read_at_most(body, LARGEST_BODY).await?,
            None => Bytes::from(parts.uri.query().unwrap_or_default().to_owned()),
        };
        let is_asked = parts.method == axum::http::Method::POST;
        let field = |name: &str| {
            form_urlencoded::parse(&body)
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        // Browsers send lines as forms do.
        let query = field("query").replace("\r\n", "\n");
        let mut page = pages::Console {
            query: &query,
            marts: None,
            build_id: None,
            answer: None,
            who,
            is_served: self.door.is_some(),
        };
        let manifest = match &self.door {
            None => None,
            Some(door) => {
                let published = door.published();
                let read = tokio::task::spawn_blocking(move || match published.current()? {
                    Some(folder) => podledger_sql::published::manifest(&folder),
                    None => Ok(None),
                });
                let read = read.await.map_err(|error| Problem::failed(&error))?;
                read.map_err(|error| Problem::failed(&error))?
            }
        };
        if let Some(manifest) = &manifest {
            page.marts = Some(&manifest.marts);
            page.build_id = Some(manifest.build_id);
        }
        if is_asked && field("as") == "csv" {
            let asked = Asked {
                query: query.clone(),
                format: Format::CsvForPeople,
                limit: u64::MAX,
            };
            match begin(self.door()?, asked).await {
                Ok(rows) => return Ok(streamed(Format::CsvForPeople, rows, Some("podledger-sql.csv"))),
                Err(problem) => page.answer = Some(Err(problem)),
            }
        } else if is_asked {
            page.answer = Some(shown(&*self.door()?, &query).await);
        }
        let status = match &page.answer {
            Some(Err(problem)) => problem.status,
            _ => StatusCode::OK,
        };
        let mut reply = Reply::new(HTML, pages::console(&page));
        reply.status = status;
        Ok(super::respond::send(&reply))
    }
}

/// The first rows of an answer as texts that can be shown.
async fn shown(door: &Door, query: &str) -> Result<pages::Rows, Problem> {
    let failed = |error| Problem::from(DoorError::Answer(error));
    let mut worker = door.worker().await?;
    let mut answer = worker.ask(query).await?;
    let schema = answer
        .schema()
        .ok_or_else(|| Problem::from(DoorError::Pipe(std::io::ErrorKind::InvalidData.into())))?;
    let columns = schema
        .fields()
        .iter()
        .map(|field| (plain(field.name()), field.data_type().is_numeric()))
        .collect();
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    let mut is_complete = true;
    let most_rows = SHOWN_ROWS
        .min(SHOWN_CELLS / schema.fields().len().max(1) as u64)
        .max(1);
    while let Some(batch) = answer.next().await? {
        let part = first(&batch, most_rows - rows.len() as u64);
        is_complete = part.num_rows() == batch.num_rows();
        let texts: Result<Vec<ArrayRef>, _> = part.columns().iter().map(crate::door::shown).collect();
        let texts = texts.map_err(failed)?;
        for at in 0..part.num_rows() {
            let of_column = |texts: &ArrayRef| {
                let texts = texts.as_string::<i32>();
                (!texts.is_null(at)).then(|| crate::display::cut(&plain(texts.value(at)), LONGEST_CELL))
            };
            rows.push(texts.iter().map(of_column).collect());
        }
        if !is_complete {
            break;
        }
    }
    Ok(pages::Rows {
        columns,
        rows,
        is_complete,
    })
}

/// Values that the console shows: fewer rows, where there are many columns.
const SHOWN_CELLS: u64 = 50_000;

/// Characters of a value that the console shows; a download has all.
const LONGEST_CELL: usize = 400;

fn streamed(format: Format, rows: Rows, download: Option<&'static str>) -> Response {
    let mut response = Response::new(Body::new(rows));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(name) = download
        && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_first_that_is_accepted() {
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/html, text/csv;q=0.9", Format::Csv),
            ("application/vnd.apache.arrow.stream", Format::Arrow),
            ("APPLICATION/vnd.apache.parquet", Format::Parquet),
        ] {
            assert_eq!(accepted(accept).unwrap(), format, "{accept}");
        }
        assert_eq!(
            accepted("text/html").unwrap_err().status,
            StatusCode::NOT_ACCEPTABLE
        );
    }
}
