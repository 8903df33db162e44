//! Whom a question is asked: the published marts of a data directory, or a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use podledger_reports::door::{Answer, Door, Worker};
use serde::Deserialize;

/// Whom a question is asked.
pub enum Source {
    Data { door: Box<Door>, worker: Option<Worker> },
    Server(Server),
}

/// A server's `/api/v1/sql`.
pub struct Server {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
}

/// What is answered, batch by batch.
pub enum Answered<'a> {
    Data(Box<Answer<'a>>),
    Server(Box<Streamed>),
}

/// A server's answer.
pub struct Streamed {
    response: reqwest::Response,
    decoder: StreamDecoder,
    pending: Buffer,
    first: Option<RecordBatch>,
}

/// Why a server gives no answer (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// How long a server may say nothing: longer than any query may take there unless it was told otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

impl Server {
    /// A server at a URL such as `https://podledger.example.com`. Its token is that of the file, or of `PODLEDGER_TOKEN`.
    ///
    /// # Errors
    /// Where the URL is none, or the file cannot be read.
    pub fn new(url: &str, token_file: Option<&PathBuf>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "`{url}` is no address of a server: write it as https://podledger.example.com"
        );
        let token = match token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the token of {}", path.display()))?,
            ),
            None => std::env::var("PODLEDGER_TOKEN").ok(),
        };
        // It may be there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .read_timeout(PATIENCE)
            .build()
            .context("cannot make a client for the server")?;
        Ok(Self {
            client,
            url: format!("{}/api/v1/sql?format=arrow", url.trim_end_matches('/')),
            token: token.map(|token| token.trim().to_owned()),
        })
    }

    async fn ask(&self, text: &str) -> anyhow::Result<Streamed> {
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "application/sql")
            .body(text.to_owned());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.context("cannot ask the server")?;
        let status = response.status();
        if !status.is_success() {
            let body = response.text().await.unwrap_or_default();
            let detail = serde_json::from_str::<Problem>(&body).map(|problem| problem.detail);
            anyhow::bail!(
                "{}",
                detail.unwrap_or_else(|_| format!("the server answers with status {status}"))
            );
        }
        let mut answer = Streamed {
            response,
            decoder: StreamDecoder::new(),
            pending: Buffer::from_vec(Vec::<u8>::new()),
            first: None,
        };
        answer.first = answer.read().await?;
        Ok(answer)
    }
}

impl Streamed {
    async fn read(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.pending)? {
                return Ok(Some(batch));
            }
            match self.response.chunk().await.context("the answer broke off")? {
                Some(bytes) => self.pending = Buffer::from(bytes),
                None => {
                    self.decoder.finish().context("the answer broke off")?;
                    return Ok(None);
                }
            }
        }
    }
}

impl Source {
    /// Asks a question.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn ask(&mut self, text: &str) -> anyhow::Result<Answered<'_>> {
        match self {
            Self::Server(server) => Ok(Answered::Server(Box::new(server.ask(text).await?))),
            Self::Data { door, worker } => {
                let is_usable = worker.as_ref().is_some_and(Worker::is_usable);
                let usable = match worker.take() {
                    Some(usable) if is_usable => usable,
                    _ => door.worker().await?,
                };
                Ok(Answered::Data(Box::new(worker.insert(usable).ask(text).await?)))
            }
        }
    }
}

impl Answered<'_> {
    /// The columns.
    ///
    /// # Errors
    /// Where there are none.
    pub fn schema(&self) -> anyhow::Result<SchemaRef> {
        let schema = match self {
            Self::Data(answer) => answer.schema(),
            Self::Server(answer) => answer.decoder.schema(),
        };
        schema
            .map(|schema| Arc::clone(&schema))
            .context("the answer has no columns")
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// Where the answer breaks off.
    pub async fn next(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        match self {
            Self::Data(answer) => Ok(answer.next().await?),
            Self::Server(answer) => match answer.first.take() {
                Some(batch) => Ok(Some(batch)),
                None => answer.read().await,
            },
        }
    }
}

/// Where what a user typed is remembered: `sql_history` in the state directory (XDG), if there is one.
pub fn history_path() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".local/state"));
    state
        .filter(|state| state.is_absolute())
        .or_else(home)
        .map(|state| state.join("podledger").join("sql_history"))
}
