//! The door: analysts' SQL runs in processes of its own, which see the published snapshot and nothing else.
//!
//! ```text
//! command line, HTTP, PostgreSQL wire -> Door -> Worker (a process) -> Session -> judge -> DuckDB over published/*.parquet
//!                                          <- Arrow, piece by piece <-
//! ```
//!
//! Architecture invariant: no query runs in a process that can write anything, or that knows anything but the snapshots.
//! Architecture invariant: whatever a query does, its process ends within the time and the memory that it has, and with it what it held.

mod rendering;
mod shut_in;
mod wire;
mod worker;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use podledger_sql::published::Published;
use podledger_sql::session::{Limits, Question};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

pub use rendering::{Format, Rendering, shown};
pub use shut_in::{ShutIn, shut_in};
pub use wire::{Done, Failed, Kernel, SNAPSHOT, Why};
pub use worker::work;

use podledger_sql::judge::TEXT_MAX_BYTES;
use wire::{BUILD, Kind, LONGEST, Ready, head, read_head};

/// Why a door gives no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The query is at fault, or nothing is published.
    #[error("{}", .0.message)]
    Failed(Failed),
    #[error("the query is longer than {TEXT_MAX_BYTES} bytes, or its parameters than {LONGEST}")]
    TooLong,
    #[error("the query took longer than {} s and was ended", .0.as_secs())]
    TooSlow(Duration),
    #[error(
        "the query took more memory or processor time than it may have, and was ended; ask for fewer rows or columns"
    )]
    Ended,
    #[error("as many queries run as may run at once; try again when one of them is done")]
    Busy,
    #[error("cannot start the process that answers queries")]
    Start(#[source] std::io::Error),
    #[error("the process that answers queries did not start: {said}")]
    NotStarted {
        /// What it said last, or that it said nothing.
        said: String,
    },
    #[error("cannot speak to the process that answers queries")]
    Pipe(#[source] std::io::Error),
    #[error("cannot read what the process answered")]
    Answer(#[source] arrow::error::ArrowError),
}

/// How queries run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program that has the command `sql-worker`.
    pub program: PathBuf,
    /// Where snapshots are published, as an absolute path.
    pub published: PathBuf,
    /// What DuckDB may take of it.
    pub limits: Limits,
    /// How much address space a process may have, in bytes.
    pub process_bytes: u64,
    /// How long a query may take, until its last row was read.
    pub patience: Duration,
    /// How many processes there may be at once.
    pub places: usize,
    /// How long one waits for a place.
    pub queueing: Duration,
}

impl Settings {
    /// A minute, 2 GiB of address space, and four processes at once, for a place of which one waits ten seconds.
    #[must_use]
    pub fn new(program: PathBuf, published: PathBuf) -> Self {
        Self {
            program,
            published,
            limits: Limits::default(),
            process_bytes: 2 << 30,
            patience: Duration::from_secs(60),
            places: 4,
            queueing: Duration::from_secs(10),
        }
    }
}

/// How long a process has to start.
const STARTING: Duration = Duration::from_secs(30);

/// Starts workers.
#[derive(Debug)]
pub struct Door {
    settings: Settings,
    places: Arc<Semaphore>,
    /// Whether it was said what the kernel cannot do.
    is_said: AtomicBool,
}

impl Door {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            places: Arc::new(Semaphore::new(settings.places)),
            settings,
            is_said: AtomicBool::new(false),
        }
    }

    /// Where the snapshots are that it shows.
    #[must_use]
    pub fn published(&self) -> Published {
        Published::new(&self.settings.published)
    }

    /// A worker of one's own, as soon as there is a place for one.
    ///
    /// # Errors
    /// [`DoorError::Busy`], [`DoorError::Start`]; [`DoorError::Failed`] where nothing is published.
    pub async fn worker(&self) -> Result<Worker, DoorError> {
        let settings = &self.settings;
        if !settings.published.is_dir() {
            return Err(DoorError::Failed(Failed {
                why: Why::Snapshot,
                message: format!(
                    "nothing is published in {}: run `podledger build` first",
                    settings.published.display()
                ),
            }));
        }
        let places = Places {
            free: Arc::clone(&self.places),
            queueing: settings.queueing,
            taken: Arc::default(),
        };
        places.take().await?;
        keep_broken_pipes_from_ending_us().map_err(DoorError::Start)?;
        // DuckDB opens what it only reads so that children have it too.
        #[cfg(unix)]
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let cpu_seconds = settings
            .patience
            .as_secs()
            .saturating_add(1)
            .saturating_mul(u64::from(settings.limits.threads.max(1)));
        let mut command = Command::new(&settings.program);
        command
            .arg("sql-worker")
            .arg(&settings.published)
            .args(["--memory-bytes", &settings.limits.memory_bytes.to_string()])
            .args(["--threads", &settings.limits.threads.to_string()])
            .args(["--process-bytes", &settings.process_bytes.to_string()])
            .args(["--cpu-seconds", &cpu_seconds.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(DoorError::Start)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| DoorError::Start(std::io::ErrorKind::BrokenPipe.into()))?;
        let says = child.stderr.take();
        let mut worker = Worker {
            child: Arc::new(Mutex::new(child)),
            to,
            from,
            patience: settings.patience,
            is_usable: true,
            places,
        };
        let ready: Ready = match worker.receive(Instant::now() + STARTING).await {
            Ok((Kind::Ready, content)) => told(&content)?,
            _ => {
                return Err(DoorError::NotStarted {
                    said: last_words(says).await,
                });
            }
        };
        if ready.kernel != Kernel::Confines && !self.is_said.swap(true, Ordering::Relaxed) {
            tracing::info!(
                kernel = ?ready.kernel,
                "the kernel cannot keep queries from all files and connections (Landlock); DuckDB, the judge and the limits of the process do"
            );
        }
        Ok(worker)
    }
}

/// What ends a program whose reader has gone (`| head`) must not end a server because a worker has: from now on writing to it is an error.
fn keep_broken_pipes_from_ending_us() -> std::io::Result<()> {
    #[cfg(unix)]
    drop(tokio::signal::unix::signal(
        tokio::signal::unix::SignalKind::pipe(),
    )?);
    Ok(())
}

/// The end of what a process said before it ended.
async fn last_words(says: Option<ChildStderr>) -> String {
    let mut said = Vec::new();
    if let Some(says) = says {
        let mut says = says.take(LONGEST as u64);
        // It may still hold the pipe.
        let _ = timeout(Duration::from_secs(1), says.read_to_end(&mut said)).await;
    }
    let said = String::from_utf8_lossy(&said);
    match said.trim() {
        "" => "it said nothing".to_owned(),
        said => said.lines().next_back().unwrap_or(said).to_owned(),
    }
}

/// A process that answers one query after the other.
#[derive(Debug)]
pub struct Worker {
    child: Arc<Mutex<Child>>,
    to: ChildStdin,
    from: ChildStdout,
    patience: Duration,
    /// Whether the last answer was read to its end.
    is_usable: bool,
    places: Places,
}

/// A worker's place among those that may run. It has one from its start until its first answer has ended, and while it answers; a process that has
/// nothing to do takes none.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    queueing: Duration,
    taken: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Places {
    async fn take(&self) -> Result<(), DoorError> {
        if lock(&self.taken).is_some() {
            return Ok(());
        }
        match timeout(self.queueing, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(place)) => {
                *lock(&self.taken) = Some(place);
                Ok(())
            }
            _ => Err(DoorError::Busy),
        }
    }

    fn give_back(&self) {
        drop(lock(&self.taken).take());
    }
}

impl Worker {
    /// Asks a question. An answer that is not read to its end in time ends the worker.
    ///
    /// # Errors
    /// [`DoorError`].
    pub async fn ask(&mut self, question: impl Into<Question>) -> Result<Answer<'_>, DoorError> {
        let question = question.into();
        let asked = serde_json::to_vec(&question).map_err(|error| DoorError::Pipe(error.into()))?;
        if question.text.len() > TEXT_MAX_BYTES || asked.len() > LONGEST {
            return Err(DoorError::TooLong);
        }
        if !self.is_usable {
            return Err(DoorError::Ended);
        }
        self.places.take().await?;
        self.is_usable = false;
        let until = Instant::now() + self.patience;
        // Who asked may read no more, and then nobody is here to look at the clock.
        let child = Arc::downgrade(&self.child);
        let place = Arc::clone(&self.places.taken);
        let timer = tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(child) = child.upgrade() {
                let _ = lock(&child).start_kill();
            }
            drop(lock(&place).take());
        });
        let mut answer = Answer {
            worker: self,
            until,
            timer: timer.abort_handle(),
            decoder: StreamDecoder::new(),
            pending: Buffer::from_vec(Vec::<u8>::new()),
            done: None,
            first: None,
        };
        let to = &mut answer.worker.to;
        let sent = async {
            to.write_all(&head(Kind::Query, asked.len())).await?;
            to.write_all(&asked).await?;
            to.flush().await
        };
        let sent = timeout_at(until, sent).await;
        match sent {
            Err(_) => return Err(DoorError::TooSlow(answer.worker.patience)),
            Ok(Err(_)) => return Err(DoorError::Ended),
            Ok(Ok(())) => {}
        }
        // The schema comes first, or why there is none.
        answer.first = answer.read().await?;
        Ok(answer)
    }

    /// Whether it can be asked again.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// The number of its process, while it lives.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        lock(&self.child).id()
    }

    fn end(&self, error: DoorError) -> DoorError {
        // It may be gone already.
        let _ = lock(&self.child).start_kill();
        error
    }

    async fn receive(&mut self, until: Instant) -> Result<(Kind, Vec<u8>), DoorError> {
        let received = async {
            let mut head = [0; 5];
            self.from.read_exact(&mut head).await?;
            let (kind, length) = read_head(head)?;
            let mut content = vec![0; length];
            self.from.read_exact(&mut content).await?;
            Ok::<_, std::io::Error>((kind, content))
        };
        match timeout_at(until, received).await {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.end(if Instant::now() < until {
                    DoorError::Ended
                } else {
                    DoorError::TooSlow(self.patience)
                }))
            }
            Ok(Err(error)) => Err(self.end(DoorError::Pipe(error))),
            Err(_) => Err(self.end(DoorError::TooSlow(self.patience))),
        }
    }
}

/// What a query yields, batch by batch.
#[derive(Debug)]
pub struct Answer<'a> {
    worker: &'a mut Worker,
    until: Instant,
    /// Ends the worker at that time.
    timer: AbortHandle,
    decoder: StreamDecoder,
    pending: Buffer,
    done: Option<Done>,
    first: Option<RecordBatch>,
}

impl Answer<'_> {
    /// The columns.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        self.decoder.schema()
    }

    /// Number of the build whose marts were asked.
    #[must_use]
    pub fn build_id(&self) -> Option<i64> {
        self.schema()?.metadata().get(BUILD)?.parse().ok()
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// [`DoorError`]: the worker is of no use any more then, but after [`DoorError::Failed`].
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, DoorError> {
        match self.first.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.read().await,
        }
    }

    /// Until when it has to be read.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn done(&self) -> Option<&Done> {
        self.done.as_ref()
    }

    async fn read(&mut self) -> Result<Option<RecordBatch>, DoorError> {
        if self.done.is_some() {
            return Ok(None);
        }
        loop {
            if let Some(batch) = self
                .decoder
                .decode(&mut self.pending)
                .map_err(DoorError::Answer)?
            {
                return Ok(Some(batch));
            }
            let (kind, content) = self.worker.receive(self.until).await?;
            match kind {
                Kind::Rows => self.pending = Buffer::from_vec(content),
                Kind::Done => {
                    self.worker.is_usable = true;
                    self.done = Some(told(&content)?);
                    return Ok(None);
                }
                Kind::Failed => {
                    self.worker.is_usable = true;
                    return Err(DoorError::Failed(told(&content)?));
                }
                Kind::Query | Kind::Ready => {
                    let error = std::io::ErrorKind::InvalidData.into();
                    return Err(self.worker.end(DoorError::Pipe(error)));
                }
            }
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.timer.abort();
        if !self.worker.is_usable {
            // Nobody reads the rest.
            let _ = lock(&self.worker.child).start_kill();
        }
        self.worker.places.give_back();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told<T: serde::de::DeserializeOwned>(content: &[u8]) -> Result<T, DoorError> {
    serde_json::from_slice(content).map_err(|error| DoorError::Pipe(error.into()))
}
