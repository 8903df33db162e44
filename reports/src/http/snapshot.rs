//! What is served: a copy of the ledger as a build left it, which nobody writes, so that questions never wait for a build and no
//! build for questions. Copies are made by the file system (shared blocks where it can), and have no name once they are open.
//!
//! Its marts are read from their published files once there are any. Of a large ledger most answers would take longer than anybody waits until then, so a build of it
//! is shown when it is published, and the one before meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use duckdb::Connection;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::Published;
use podledger_sql::served::Served;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::advice::NoAdvice;

use crate::display::hex;
use crate::weekly::{Week, Weekly, clusters};

/// What can go wrong while a snapshot is taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot open the ledger")]
    Ledger(#[from] podledger_sql::Error),
    #[error("cannot read the published marts, and read those of the ledger instead")]
    Published(#[source] podledger_sql::Error),
    #[error("cannot read the ledger's last build")]
    Read(#[from] duckdb::Error),
    #[error("cannot copy {path}")]
    Copy {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A ledger as one build left it.
pub struct Snapshot {
    ledger: Mutex<Served>,
    /// Number of the build.
    pub build_id: i64,
    /// Tells this content from any other.
    pub key: String,
    /// From when to when each cluster was observed, ms since 1970.
    pub clusters: Vec<(i64, i64)>,
    /// Names to choose from: teams, pipelines, namespaces, clusters, zones; each at most [`MOST_CHOICES`].
    pub choices: Vec<(&'static str, Vec<String>)>,
    /// Whether there is advice beside it, once somebody asked for it.
    pub(super) advice: OnceCell<Result<(), NoAdvice>>,
    /// What a Prometheus is told of it, once one has asked.
    pub(super) gauges: OnceCell<String>,
    /// Reports that were asked for, by week, zone and team.
    pub(super) reports: Cache<(String, String, Option<String>), Arc<Weekly>>,
}

/// Reports that are kept: each has some ten thousand figures at most.
const KEPT_REPORTS: usize = 64;

/// Names that a filter suggests at most.
const MOST_CHOICES: usize = 300;

impl Snapshot {
    /// A connection of one's own.
    ///
    /// # Errors
    /// Where DuckDB gives none.
    pub fn connection(&self) -> duckdb::Result<Connection> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.connection().try_clone()
    }

    /// Whether its marts are read from their published files from now on: those of its own build.
    fn show_published(&self, published: &Published) -> podledger_sql::Result<bool> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.show_published(published)
    }

    fn open(path: &Path, key: String, build_id: i64) -> Result<Self, SnapshotError> {
        let ledger = Served::open(path)?;
        let connection = ledger.connection();
        let clusters = clusters(connection)?;
        let mut choices = Vec::new();
        for (key, query) in [
            ("team", "select distinct team from marts.costs_daily order by 1"),
            (
                "pipeline",
                "select distinct pipeline from marts.costs_daily order by 1",
            ),
            (
                "namespace",
                "select distinct namespace from marts.costs_daily order by 1",
            ),
            ("cluster", "select cluster from marts.clusters order by 1"),
            ("zone", "select distinct zone from build.calendar order by 1"),
        ] {
            let mut statement = connection.prepare(&format!("{query} limit {MOST_CHOICES}"))?;
            let names = statement.query_map([], |row| row.get(0))?;
            choices.push((key, names.collect::<duckdb::Result<Vec<String>>>()?));
        }
        Ok(Self {
            ledger: Mutex::new(ledger),
            build_id,
            key,
            clusters,
            choices,
            advice: OnceCell::new(),
            gauges: OnceCell::new(),
            reports: Cache::new(KEPT_REPORTS),
        })
    }

    /// Whether every cluster was observed in all of a stretch of time.
    pub fn is_observed(&self, from_ms: i64, to_ms: i64) -> bool {
        let mut touching = self
            .clusters
            .iter()
            .filter(|(from, through)| *from < to_ms && *through > from_ms)
            .peekable();
        // A cluster begins with its first machine; an hour of that is forgiven, as in reports.
        touching.peek().is_some()
            && touching.all(|(from, through)| *from <= from_ms + 3_600_000 && *through >= to_ms)
    }

    /// The last week that was observed whole, or else the last that was observed at all.
    pub fn last_week(&self, zone: &str) -> crate::Result<Option<Week>> {
        Week::last_observed(&self.clusters, zone)
    }
}

/// The newest snapshot of a ledger.
pub struct Snapshots {
    ledger: PathBuf,
    published: Published,
    large_bytes: u64,
    current: RwLock<Option<Arc<Snapshot>>>,
    seen: Mutex<Option<Seen>>,
    waiting: Mutex<Option<Waiting>>,
}

/// What was looked at last.
struct Seen {
    stamp: Stamp,
    /// When it is looked at again though it is as it was: it could not be served.
    again: Option<Instant>,
}

/// The newest build, which is not published yet.
struct Waiting {
    snapshot: Arc<Snapshot>,
    since: Instant,
}

/// From how many bytes on a ledger is large: views of some 500,000 pods are computed in a few seconds.
const LARGE_BYTES: u64 = 200 << 20;

/// How long a large build waits to be published before it is shown as it is.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How soon a ledger that could not be served is copied again.
const AGAIN: Duration = Duration::from_secs(60);

/// What tells whether a file is as it was.
pub(super) type Stamp = (u64, Option<SystemTime>);

/// Of a file; `None` where there is none that can be seen.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

impl Snapshots {
    /// Of the ledger in `path` and its marts in `published`; neither need be there yet.
    pub fn new(path: &Path, published: Published) -> Self {
        forget_lost_copies(path);
        Self {
            ledger: path.to_path_buf(),
            published,
            large_bytes: LARGE_BYTES,
            current: RwLock::new(None),
            seen: Mutex::new(None),
            waiting: Mutex::new(None),
        }
    }

    /// Takes ledgers for large from so many bytes on.
    #[must_use]
    pub fn with_large_from(mut self, bytes: u64) -> Self {
        self.large_bytes = bytes;
        self
    }

    /// The newest; `None` until something has been built.
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The newest build, shown or not: what is to be published.
    pub fn newest(&self) -> Option<Arc<Snapshot>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .as_ref()
            .map(|waiting| Arc::clone(&waiting.snapshot))
            .or_else(|| self.current())
    }

    /// Looks whether there is a newer build to show; says whether it is shown now. While another process builds there is nothing to see. It must not be called
    /// while this process has the ledger open for writing.
    ///
    /// # Errors
    /// [`SnapshotError`]; what was shown is shown then.
    pub fn take(&self) -> Result<bool, SnapshotError> {
        let is_taken = self.take_newest()?;
        Ok(self.show_published()? || is_taken)
    }

    /// Reads the newest build's marts from their files, if it has been published since it was taken, and shows it where it waited for that (or has waited for
    /// long enough); says whether something else is shown now. The ledger is not looked at.
    ///
    /// # Errors
    /// [`SnapshotError::Published`]; its marts are then read from the copy of the ledger.
    pub fn show_published(&self) -> Result<bool, SnapshotError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = waiting.as_ref() else {
            return Ok(false);
        };
        let is_shown = self
            .current()
            .is_some_and(|current| Arc::ptr_eq(&current, &next.snapshot));
        let is_published = next.snapshot.show_published(&self.published);
        if is_published.as_ref().is_ok_and(|is_published| !is_published)
            && (is_shown || next.since.elapsed() < PATIENCE)
        {
            return Ok(false);
        }
        // Where the files cannot be read, the ledger tells the same.
        *self.current.write().unwrap_or_else(PoisonError::into_inner) =
            waiting.take().map(|next| next.snapshot);
        is_published.map(|_| !is_shown).map_err(SnapshotError::Published)
    }

    fn take_newest(&self) -> Result<bool, SnapshotError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stamp) = stamp(&self.ledger) else {
            return Ok(false);
        };
        let is_seen = seen
            .as_ref()
            .is_some_and(|seen| seen.stamp == stamp && seen.again.is_none_or(|again| Instant::now() < again));
        if is_seen {
            return Ok(false);
        }
        let open = match Ledger::open_read_only(&self.ledger) {
            Ok(open) => open,
            Err(podledger_sql::Error::InUse { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let (build_id, fingerprint): (i64, String) = open.connection().query_row(
            "select coalesce(max(build_id), 0), coalesce(max_by(concat(fingerprint, configuration), build_id), '') from build.builds",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if build_id == 0 {
            *seen = Some(Seen { stamp, again: None });
            return Ok(false);
        }
        // Whatever becomes of it: a copy takes the ledger's size, and is not made over and over.
        *seen = Some(Seen {
            stamp,
            again: Some(Instant::now() + AGAIN),
        });
        let key = key(build_id, &fingerprint, stamp);
        let copy = self.copy()?;
        drop(open);
        let snapshot = Snapshot::open(&copy, key, build_id);
        // An open file needs no name, and a process that is killed then leaves nothing behind.
        #[cfg(unix)]
        remove(&copy);
        let snapshot = Arc::new(snapshot?);
        *seen = Some(Seen { stamp, again: None });
        let is_shown = stamp.0 < self.large_bytes || self.current().is_none();
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Waiting {
            snapshot: Arc::clone(&snapshot),
            since: Instant::now(),
        });
        if is_shown {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
        }
        Ok(is_shown)
    }

    /// Copies the ledger while its lock is held: what was written ahead first, since the lock ends with the last file that is closed.
    fn copy(&self) -> Result<PathBuf, SnapshotError> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let copy = self
            .ledger
            .with_file_name(format!("{PREFIX}{}-{number}.duckdb", std::process::id()));
        remove(&copy);
        for (from, to) in [
            (wal(&self.ledger), wal(&copy)),
            (self.ledger.clone(), copy.clone()),
        ] {
            match std::fs::copy(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && from != self.ledger => {}
                Err(source) => {
                    remove(&copy);
                    return Err(SnapshotError::Copy { path: from, source });
                }
                Ok(_) => {}
            }
        }
        Ok(copy)
    }
}

/// How names of copies begin.
const PREFIX: &str = ".served-";

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".wal");
    PathBuf::from(name)
}

fn remove(path: &Path) {
    // Most are not there.
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(wal(path));
}

/// Removes copies of processes that were killed while they copied.
fn forget_lost_copies(ledger: &Path) {
    let Some(entries) = ledger.parent().and_then(|folder| folder.read_dir().ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if let Some(process) = process
            && Path::new("/proc/self").exists()
            && !Path::new("/proc").join(process).exists()
        {
            let path = entry.path();
            let _ = if path.is_dir() {
                // What did not fit into memory, or was read from published files.
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
        }
    }
}

fn key(build_id: i64, fingerprint: &str, stamp: Stamp) -> String {
    let nanoseconds = stamp
        .1
        .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    let text = format!(
        "{} {build_id} {fingerprint} {} {nanoseconds}",
        env!("CARGO_PKG_VERSION"),
        stamp.0
    );
    let hash = hex(&Sha256::digest(text));
    format!("{build_id}-{}", hash.get(..12).unwrap_or(&hash))
}
