//! One client's session: what runs for it, what it has set, and the cursors that it has open.
//!
//! A statement runs in a worker of the door. The session keeps one worker that has nothing to do for the next statement, and takes others while rows of
//! earlier ones are still to be read. Workers keep nothing of a query, so it does not matter which one answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use pgwire::messages::response::TransactionStatus;
use podledger_sql::parameters::{Kind, Parameter};
use podledger_sql::session::Question;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::rows::Rows;
use super::settings::{self, Setting};
use super::statement::Statement;
use super::types::{described, format_at};
use crate::door::{Door, DoorError, SNAPSHOT, Why, Worker};

/// Cursors that a session may have at once: each holds a process and a place.
const MOST_CURSORS: usize = 4;

/// What a statement comes to.
pub enum Outcome {
    /// There was none.
    Empty,
    /// Rows of a query.
    Rows(Running),
    /// So many rows of a cursor; all, if there is no number.
    Fetched(Shared, Option<u64>),
    /// The value of a setting.
    Shown {
        name: String,
        value: String,
    },
    /// Done, by this tag; a setting may have to be reported.
    Done {
        tag: &'static str,
        reported: Option<(String, String)>,
    },
    Began,
    Ended(&'static str),
}

/// A query whose rows are read by several statements.
pub type Shared = Arc<tokio::sync::Mutex<Running>>;

/// One client's session.
pub struct Session {
    door: Arc<Door>,
    /// A worker that has nothing to do.
    spare: Arc<Mutex<Option<Worker>>>,
    cursors: Mutex<HashMap<String, Shared>>,
    settings: Mutex<BTreeMap<&'static str, String>>,
    /// The snapshot that its transaction sees, whatever is published meanwhile: that of its first query.
    snapshot: Mutex<Option<String>>,
    /// How often the client has cancelled what ran.
    cancels: watch::Sender<u64>,
}

impl Session {
    pub fn new(door: Arc<Door>) -> Self {
        Self {
            door,
            spare: Arc::default(),
            cursors: Mutex::default(),
            settings: Mutex::default(),
            snapshot: Mutex::default(),
            cancels: watch::Sender::new(0),
        }
    }

    /// What cancels the statement that runs: see [`watch::Sender::send_modify`].
    pub fn cancels(&self) -> watch::Sender<u64> {
        self.cancels.clone()
    }

    /// Ends the process that has nothing to do.
    pub fn rest(&self) {
        drop(lock(&self.spare).take());
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// As they are told to the client.
    pub async fn run(
        &self,
        statement: &Statement,
        parameters: Vec<Parameter>,
        transaction: TransactionStatus,
    ) -> PgWireResult<Outcome> {
        let ends_transaction = matches!(statement, Statement::Commit | Statement::Rollback);
        if transaction == TransactionStatus::Error && !ends_transaction && *statement != Statement::Empty {
            return Err(error(
                "25P02",
                "the transaction has failed, and its statements are ignored until its end",
            ));
        }
        let is_in_transaction = transaction == TransactionStatus::Transaction;
        let done = |tag| Ok(Outcome::Done { tag, reported: None });
        match statement {
            Statement::Empty => Ok(Outcome::Empty),
            Statement::Query(text) | Statement::Copy { query: text, .. } => self
                .start(text, parameters, is_in_transaction)
                .await
                .map(Outcome::Rows),
            Statement::Set { name, value } => Ok(Outcome::Done {
                tag: "SET",
                reported: self.set(name, value)?,
            }),
            Statement::Show(name) => self.show(name),
            Statement::Reset(name) => {
                let mut settings = lock(&self.settings);
                match name {
                    Some(name) => drop(settings.remove(known(name)?.name)),
                    None => settings.clear(),
                }
                done("RESET")
            }
            Statement::Begin => Ok(Outcome::Began),
            Statement::Commit | Statement::Rollback => {
                lock(&self.cursors).clear();
                *lock(&self.snapshot) = None;
                let has_failed = transaction == TransactionStatus::Error;
                Ok(Outcome::Ended(
                    if *statement == Statement::Commit && !has_failed {
                        "COMMIT"
                    } else {
                        "ROLLBACK"
                    },
                ))
            }
            Statement::RollbackTo => done("ROLLBACK"),
            Statement::Nothing(tag) => done(tag),
            Statement::Declare { cursor, query } => {
                if !is_in_transaction {
                    return Err(error(
                        "25P01",
                        "a cursor lives in a transaction; `begin` one first",
                    ));
                }
                self.declare(cursor, query, parameters).await?;
                done("DECLARE CURSOR")
            }
            Statement::Fetch { cursor, rows } => Ok(Outcome::Fetched(self.cursor(cursor)?, *rows)),
            Statement::Close(cursor) => {
                let mut cursors = lock(&self.cursors);
                match cursor {
                    Some(cursor) => {
                        cursors.remove(cursor).ok_or_else(|| no_cursor(cursor))?;
                    }
                    None => cursors.clear(),
                }
                done("CLOSE CURSOR")
            }
            Statement::Deallocate(_) => done("DEALLOCATE"),
            Statement::DiscardAll => {
                lock(&self.cursors).clear();
                lock(&self.settings).clear();
                done("DISCARD ALL")
            }
        }
    }

    /// Parameters and columns of a statement, without running it.
    ///
    /// # Errors
    /// As they are told to the client.
    pub async fn describe(
        &self,
        statement: &Statement,
        parameters: Vec<Parameter>,
    ) -> PgWireResult<(Vec<Option<Kind>>, Option<Vec<FieldInfo>>)> {
        let text = match statement {
            Statement::Query(text) => text,
            Statement::Declare { query, .. } | Statement::Copy { query, .. } => query,
            Statement::Show(name) => return Ok((Vec::new(), Some(vec![shown_field(name)]))),
            Statement::Fetch { cursor, .. } => {
                let cursor = self.cursor(cursor)?;
                let fields = cursor.lock().await.fields(&Format::UnifiedText);
                return Ok((Vec::new(), Some(fields)));
            }
            _ => return Ok((Vec::new(), None)),
        };
        let question = Question {
            text: text.clone(),
            parameters,
            is_for_columns: true,
            snapshot: lock(&self.snapshot).clone(),
        };
        let mut cancelled = self.cancels.subscribe();
        let asked = async {
            let mut worker = self.worker().await?;
            let answered = async {
                let mut answer = worker.ask(question).await?;
                while answer.next().await?.is_some() {}
                let parameters = answer.done().map(|done| done.parameters.clone());
                Ok((parameters.unwrap_or_default(), answer.schema()))
            }
            .await;
            keep(&self.spare, worker);
            answered
        };
        let (parameters, schema) = tokio::select! {
            asked = asked => asked.map_err(failed)?,
            _ = cancelled.changed() => return Err(PgWireError::QueryCanceled),
        };
        let fields = schema.map(|schema| fields_of(&schema, &Format::UnifiedText));
        // A cursor's columns are told when rows are fetched.
        let fields = fields.filter(|_| matches!(statement, Statement::Query(_)));
        Ok((parameters, fields))
    }

    async fn worker(&self) -> Result<Worker, DoorError> {
        let spare = lock(&self.spare).take();
        match spare {
            Some(worker) => Ok(worker),
            None => self.door.worker().await,
        }
    }

    /// Begins to run a query.
    async fn start(
        &self,
        text: &str,
        parameters: Vec<Parameter>,
        is_in_transaction: bool,
    ) -> PgWireResult<Running> {
        let question = Question {
            text: text.to_owned(),
            parameters,
            is_for_columns: false,
            snapshot: lock(&self.snapshot).clone(),
        };
        let patience = match lock(&self.settings).get("statement_timeout") {
            Some(value) => settings::milliseconds(value).filter(|patience| !patience.is_zero()),
            None => None,
        };
        let deadline = patience.map(|patience| Instant::now() + patience);
        let (schema_to, schema) = oneshot::channel();
        let (to, parts) = mpsc::channel(1);
        let (door, spare) = (Arc::clone(&self.door), Arc::clone(&self.spare));
        let task = tokio::spawn(ask(door, spare, question, schema_to, to));
        let mut running = Running {
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            parts,
            rows: None,
            cancelled: self.cancels.subscribe(),
            deadline,
            _task: Task(task.abort_handle()),
        };
        let schema = tokio::select! {
            schema = schema => schema,
            stopped = stopped(&mut running.cancelled, deadline) => return Err(stopped),
        };
        running.schema = match schema {
            Ok(schema) => schema.map_err(failed)?,
            Err(_) => return Err(error("XX000", "the process that answers queries has gone")),
        };
        if is_in_transaction {
            *lock(&self.snapshot) = running.schema.metadata().get(SNAPSHOT).cloned();
        }
        Ok(running)
    }

    async fn declare(&self, cursor: &str, query: &str, parameters: Vec<Parameter>) -> PgWireResult<()> {
        {
            let cursors = lock(&self.cursors);
            if cursors.contains_key(cursor) {
                return Err(error(
                    "42P03",
                    format!("there is a cursor `{}` already", crate::display::short(cursor)),
                ));
            }
            if cursors.len() >= MOST_CURSORS {
                return Err(error(
                    "53400",
                    format!("a session has at most {MOST_CURSORS} cursors; close one first"),
                ));
            }
        }
        let running = self.start(query, parameters, true).await?;
        let running = Arc::new(tokio::sync::Mutex::new(running));
        lock(&self.cursors).insert(cursor.to_owned(), running);
        Ok(())
    }

    fn cursor(&self, name: &str) -> PgWireResult<Shared> {
        let cursors = lock(&self.cursors);
        cursors.get(name).cloned().ok_or_else(|| no_cursor(name))
    }

    /// Sets a value; returns what the client has to be told of it.
    fn set(&self, name: &str, value: &str) -> PgWireResult<Option<(String, String)>> {
        let setting = known(name)?;
        let value = setting.accept(value).map_err(|reason| error("22023", reason))?;
        let reported = setting
            .is_reported
            .then(|| (setting.name.to_owned(), value.clone()));
        lock(&self.settings).insert(setting.name, value);
        Ok(reported)
    }

    fn show(&self, name: &str) -> PgWireResult<Outcome> {
        let setting = known(name)?;
        let value = lock(&self.settings).get(setting.name).cloned();
        Ok(Outcome::Shown {
            name: name.to_owned(),
            value: value.unwrap_or_else(|| setting.usual.to_owned()),
        })
    }
}

/// Asks a question and passes on what is answered; the worker is kept if it can be asked again.
async fn ask(
    door: Arc<Door>,
    spare: Arc<Mutex<Option<Worker>>>,
    question: Question,
    schema_to: oneshot::Sender<Result<SchemaRef, DoorError>>,
    to: mpsc::Sender<Result<RecordBatch, DoorError>>,
) {
    let taken = lock(&spare).take();
    let worker = match taken {
        Some(worker) => Ok(worker),
        None => door.worker().await,
    };
    let mut worker = match worker {
        Ok(worker) => worker,
        Err(error) => {
            let _ = schema_to.send(Err(error));
            return;
        }
    };
    match worker.ask(question).await {
        Err(error) => drop(schema_to.send(Err(error))),
        Ok(mut answer) => {
            let schema = answer
                .schema()
                .ok_or_else(|| DoorError::Pipe(std::io::ErrorKind::InvalidData.into()));
            let mut is_wanted = schema_to.send(schema).is_ok();
            while is_wanted {
                match answer.next().await {
                    Ok(Some(batch)) => is_wanted = to.send(Ok(batch)).await.is_ok(),
                    Ok(None) => break,
                    Err(error) => {
                        let _ = to.send(Err(error)).await;
                        break;
                    }
                }
            }
        }
    }
    // Before the channel says that this is the end.
    keep(&spare, worker);
}

fn keep(spare: &Mutex<Option<Worker>>, worker: Worker) {
    if worker.is_usable() {
        *lock(spare) = Some(worker);
    }
}

/// What is done for a query ends with it.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A query that runs, or whose rows are being read.
pub struct Running {
    schema: SchemaRef,
    parts: mpsc::Receiver<Result<RecordBatch, DoorError>>,
    rows: Option<Rows>,
    cancelled: watch::Receiver<u64>,
    deadline: Option<Instant>,
    _task: Task,
}

impl Running {
    pub fn fields(&self, format: &Format) -> Vec<FieldInfo> {
        fields_of(&self.schema, format)
    }

    /// The next row; `None` at the end.
    pub async fn next(&mut self, format: &Format) -> Option<PgWireResult<DataRow>> {
        loop {
            if let Some(rows) = &mut self.rows {
                match rows.next(format) {
                    Ok(Some(row)) => return Some(Ok(row)),
                    Ok(None) => self.rows = None,
                    Err(reason) => return Some(Err(error("22000", reason.to_string()))),
                }
            }
            let part = tokio::select! {
                biased;
                stopped = stopped(&mut self.cancelled, self.deadline) => return Some(Err(stopped)),
                part = self.parts.recv() => part?,
            };
            match part {
                Ok(batch) => self.rows = Some(Rows::new(batch)),
                Err(error) => return Some(Err(failed(error))),
            }
        }
    }

    /// Cancelling what came before is nothing to what comes now.
    pub fn forget_cancels(&mut self) {
        self.cancelled.mark_unchanged();
    }
}

/// Waits until the client cancels what runs, or its time is over.
async fn stopped(cancelled: &mut watch::Receiver<u64>, deadline: Option<Instant>) -> PgWireError {
    let late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Nobody who could cancel is gone before the session is.
        _ = cancelled.changed() => PgWireError::QueryCanceled,
        () = late => error("57014", "canceling statement due to statement timeout"),
    }
}

fn fields_of(schema: &SchemaRef, format: &Format) -> Vec<FieldInfo> {
    let fields = schema.fields().iter().enumerate();
    fields
        .map(|(index, field)| described(field, format_at(format, index)))
        .collect()
}

/// The column in which a setting is shown.
pub fn shown_field(name: &str) -> FieldInfo {
    FieldInfo::new(name.to_owned(), None, None, Type::TEXT, FieldFormat::Text).with_type_size(-1)
}

fn known(name: &str) -> PgWireResult<&'static Setting> {
    settings::of(name).ok_or_else(|| {
        error(
            "42704",
            format!("there is no setting `{}`", crate::display::short(name)),
        )
    })
}

fn no_cursor(name: &str) -> PgWireError {
    error(
        "34000",
        format!("there is no cursor `{}`", crate::display::short(name)),
    )
}

/// An error of a statement, by its SQLSTATE (appendix A of PostgreSQL's manual).
pub fn error(code: &str, message: impl Into<String>) -> PgWireError {
    told("ERROR", code, message.into())
}

/// An error that ends the session.
pub fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    told("FATAL", code, message.into())
}

fn told(severity: &str, code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(
        severity.to_owned(),
        code.to_owned(),
        message,
    )))
}

/// What went wrong behind the door, as PostgreSQL would tell it.
pub fn failed(failure: DoorError) -> PgWireError {
    let code = match &failure {
        DoorError::Failed(failed) => match failed.why {
            Why::Refused if failed.message.contains("cannot be parsed") => "42601",
            Why::Refused => "42501",
            Why::Query => code_of(&failed.message),
            Why::TooMuch => "53200",
            Why::Snapshot => "57P03",
        },
        DoorError::TooLong => "54000",
        DoorError::TooSlow(_) => "57014",
        DoorError::Ended => "53200",
        DoorError::Busy => "53300",
        DoorError::Start(_) | DoorError::NotStarted { .. } | DoorError::Pipe(_) | DoorError::Answer(_) => {
            tracing::error!(error = %failure, "a query could not be answered");
            "XX000"
        }
    };
    error(code, failure.to_string())
}

/// The SQLSTATE of what DuckDB says.
fn code_of(message: &str) -> &'static str {
    const CODES: [(&str, &str); 10] = [
        ("Parser Error", "42601"),
        ("Catalog Error: Table", "42P01"),
        ("Catalog Error: Scalar Function", "42883"),
        ("Catalog Error", "42704"),
        ("Referenced column", "42703"),
        ("does not have a column named", "42703"),
        ("Referenced table", "42P01"),
        ("Conversion Error", "22P02"),
        ("Out of Range Error", "22003"),
        ("Binder Error", "42P10"),
    ];
    let code = CODES.iter().find(|(part, _)| message.contains(part));
    code.map_or("22000", |(_, code)| code)
}

/// How long a session's process is kept when it has nothing to do.
pub const SPARE_FOR: Duration = Duration::from_secs(10);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
