//! The lake: sealed segments of facts in Parquet, the system of record.
//!
//! ```text
//! <table>/recorded_date=2026-11-16/<origin>.000000000017.parquet                a segment
//! <table>/recorded_date=2026-11-16/<origin>.000000000001-000000000017.parquet   a compacted day
//! <table>/recorded_date=1970-01-01/schema.parquet                               no rows: the full schema
//! .pending/<origin>/<commit>/                                                   committed, not yet in place
//! .commits/<origin>/<commit>.json                                               what was committed
//! ```
//!
//! An origin writes alone, under a lock: a cluster's collector, or an import. Its segments are numbered per table
//! without holes. A commit is one rename (of its pending folder); moving its files into place is repeated by whoever
//! opens the lake next, so a process killed anywhere leaves either all of a commit or none of it.
//!
//! What another lake wrote and a bucket brought here has that lake's identifier behind its origin (`<origin>.<lake>`), so two lakes
//! never write under one name.

mod commit;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::civil::Date;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use crate::crash::{Point, point};
use crate::durable::{create_folder, file_names, folder_names, rename, write_parquet};
use crate::error::{Error, Result};
use crate::facts::{FACTS, Fact};

pub use self::commit::Commit;

/// The column that every segment carries beside its facts: the number of the segment that first held the row.
pub const SEGMENT_COLUMN: &str = "segment_seq";

/// Partition of the file without rows; no fact was recorded on that day.
const SCHEMA_FOLDER: &str = "recorded_date=1970-01-01";

/// How long a writer waits for another of the same origin: a commit or a merge of one day takes less, an import may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A directory of segments.
#[derive(Debug, Clone)]
pub struct Lake {
    root: PathBuf,
}

/// One visible file of the lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Table of the facts.
    pub table: &'static str,
    /// Who wrote it.
    pub origin: String,
    /// Number of the first segment in the file.
    pub first_seq: u64,
    /// Number of the last segment in the file: the same unless it is compacted.
    pub last_seq: u64,
    /// Day of the folder, UTC.
    pub recorded_date: Date,
    /// Where it is.
    pub path: PathBuf,
}

/// What a commit adds and removes, relative to the root of the lake.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    note: String,
    rows: u64,
    adds: Vec<(String, String)>,
    removes: Vec<String>,
}

impl Lake {
    /// The lake in `root`, made if it is not there; commits that a killed process left half in place are completed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Parquet`] when files cannot be written, [`Error::Lake`] for a damaged journal.
    pub fn open(root: &Path) -> Result<Self> {
        let lake = Self {
            root: root.to_path_buf(),
        };
        for fact in FACTS {
            let file = lake.schema_file(fact);
            if !has_columns(&file, &segment_schema(fact)) {
                let folder = root.join(fact.table).join(SCHEMA_FOLDER);
                create_folder(&folder)?;
                let partial = folder.join(".schema.parquet.partial");
                write_parquet(
                    &partial,
                    &segment_schema(fact),
                    std::iter::empty(),
                    Point::SegmentHalfWritten,
                )?;
                rename(&partial, &file)?;
            }
        }
        create_folder(&root.join(".locks"))?;
        create_folder(&root.join(".pending"))?;
        for origin in folder_names(&root.join(".pending"))? {
            // A writer at work holds the lock and completes its own commits.
            if let Some(_lock) = lake.try_lock(&origin)? {
                lake.recover(&origin)?;
            }
        }
        Ok(lake)
    }

    /// The file without rows that has every column of a table: read beside segments, it gives those written before a column
    /// came their NULLs.
    #[must_use]
    pub fn schema_file(&self, fact: &Fact) -> PathBuf {
        self.root
            .join(fact.table)
            .join(SCHEMA_FOLDER)
            .join("schema.parquet")
    }

    /// Whether a commit of this id was published by this origin.
    #[must_use]
    pub fn is_committed(&self, origin: &str, id: &str) -> bool {
        self.root
            .join(".commits")
            .join(encode(origin))
            .join(format!("{}.json", encode(id)))
            .exists()
    }

    /// A new commit of `origin`; `id` is unique to what is written (a hash of the input, or a counter), `recorded_date`
    /// is the UTC day under which its segments are filed.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process writes for the same origin; [`Error::Io`].
    pub fn begin(&self, origin: &str, id: &str, note: &str, recorded_date: Date) -> Result<Commit<'_>> {
        self.begin_encoded(encode(origin), &encode(id), note, recorded_date)
    }

    /// [`begin`](Self::begin), by the names of files.
    pub(crate) fn begin_encoded(
        &self,
        origin: String,
        id: &str,
        note: &str,
        recorded_date: Date,
    ) -> Result<Commit<'_>> {
        let lock = self.lock(&origin)?;
        self.recover(&origin)?;
        let id = id.to_owned();
        let folder = self
            .root
            .join(".pending")
            .join(&origin)
            .join(format!("{id}.partial"));
        create_folder(&folder)?;
        let next = self.last_numbers(&origin)?;
        Ok(Commit {
            lake: self,
            origin,
            id,
            folder,
            recorded_date,
            journal: Journal {
                note: note.to_owned(),
                rows: 0,
                adds: Vec::new(),
                removes: Vec::new(),
            },
            next,
            _lock: lock,
        })
    }

    /// The folder of the lake.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What an origin has between two commits: the lock is held while this is read.
    ///
    /// # Errors
    /// Those of [`begin`](Self::begin) and [`segments`](Self::segments).
    pub(crate) fn settled(&self, origin: &str) -> Result<Vec<Segment>> {
        let _lock = self.lock(origin)?;
        self.recover(origin)?;
        let mut segments = self.segments()?;
        segments.retain(|segment| segment.origin == origin);
        Ok(segments)
    }

    /// Every visible segment, in order of table, origin and number; files that a compacted one contains are left out.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read, [`Error::Lake`] for a file whose name is none of a segment.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for fact in FACTS {
            let table = self.root.join(fact.table);
            for folder in folder_names(&table)? {
                let Some(date) = folder.strip_prefix("recorded_date=") else {
                    continue;
                };
                let recorded_date: Date = date
                    .parse()
                    .map_err(|_| self.damaged(format!("{}/{folder} names no date", fact.table)))?;
                for name in file_names(&table.join(&folder))? {
                    if name.starts_with('.') || name == "schema.parquet" {
                        continue;
                    }
                    let path = table.join(&folder).join(&name);
                    let segment = parse_name(fact.table, &name, recorded_date, path).ok_or_else(|| {
                        self.damaged(format!(
                            "{}/{folder}/{name} is no segment; move it away",
                            fact.table
                        ))
                    })?;
                    segments.push(segment);
                }
            }
        }
        // Wider files first, so that what they contain follows them.
        segments.sort_by(|a, b| {
            (a.table, &a.origin, a.first_seq, std::cmp::Reverse(a.last_seq)).cmp(&(
                b.table,
                &b.origin,
                b.first_seq,
                std::cmp::Reverse(b.last_seq),
            ))
        });
        let mut visible: Vec<Segment> = Vec::with_capacity(segments.len());
        for segment in segments {
            let contained = visible.last().is_some_and(|last| {
                last.table == segment.table
                    && last.origin == segment.origin
                    && segment.last_seq <= last.last_seq
            });
            if !contained {
                visible.push(segment);
            }
        }
        Ok(visible)
    }

    /// Merges the segments of every table, origin and day before `before` into one file each; returns how many files
    /// were replaced. Rows are not changed. What a bucket brought here is merged by the lake that wrote it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`]; [`Error::InUse`] while the origin's writer is at work.
    pub fn compact(&self, before: Date) -> Result<usize> {
        let segments = self.segments()?;
        let mut replaced = 0;
        for group in segments
            .chunk_by(|a, b| (a.table, &a.origin, a.recorded_date) == (b.table, &b.origin, b.recorded_date))
        {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            if group.len() < 2 || first.recorded_date >= before || is_of_another_lake(&first.origin) {
                continue;
            }
            let id = format!("compact-{}-{}-{}", first.table, first.first_seq, last.last_seq);
            let mut commit =
                self.begin_encoded(first.origin.clone(), &id, "compaction", first.recorded_date)?;
            commit.compact(first, last, group)?;
            commit.publish()?;
            replaced += group.len();
        }
        Ok(replaced)
    }

    fn last_numbers(&self, origin: &str) -> Result<Vec<(&'static str, u64)>> {
        let segments = self.segments()?;
        Ok(FACTS
            .iter()
            .map(|fact| {
                let of_origin = segments
                    .iter()
                    .filter(|segment| segment.table == fact.table && segment.origin == origin);
                (
                    fact.table,
                    of_origin.map(|segment| segment.last_seq).max().unwrap_or(0),
                )
            })
            .collect())
    }

    /// An origin's lock, waited for as long as a commit takes.
    fn lock(&self, origin: &str) -> Result<File> {
        let asked_at = Instant::now();
        loop {
            if let Some(lock) = self.try_lock(origin)? {
                return Ok(lock);
            }
            if asked_at.elapsed() > PATIENCE {
                return Err(Error::InUse {
                    path: self.root.join(".locks").join(format!("{origin}.lock")),
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn try_lock(&self, origin: &str) -> Result<Option<File>> {
        let path = self.root.join(".locks").join(format!("{origin}.lock"));
        let file = File::create(&path).map_err(|source| Error::Io {
            doing: "create",
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(Error::Io {
                doing: "lock",
                path,
                source,
            }),
        }
    }

    /// Completes what was committed and drops what was not; the caller holds the origin's lock.
    fn recover(&self, origin: &str) -> Result<()> {
        let pending = self.root.join(".pending").join(origin);
        if !pending.exists() {
            return Ok(());
        }
        for name in folder_names(&pending)? {
            if name.ends_with(".partial") {
                let folder = pending.join(&name);
                fs::remove_dir_all(&folder).map_err(|source| Error::Io {
                    doing: "remove",
                    path: folder,
                    source,
                })?;
            } else {
                self.put_in_place(origin, &name)?;
            }
        }
        Ok(())
    }

    /// Moves a committed folder's files into place; every step may have been done before.
    fn put_in_place(&self, origin: &str, id: &str) -> Result<()> {
        let folder = self.root.join(".pending").join(origin).join(id);
        let journal_path = folder.join("commit.json");
        if journal_path.exists() {
            let text = fs::read_to_string(&journal_path).map_err(|source| Error::Io {
                doing: "read",
                path: journal_path.clone(),
                source,
            })?;
            let journal: Journal = serde_json::from_str(&text)
                .map_err(|error| self.damaged(format!("{}: {error}", journal_path.display())))?;
            for (from, to) in &journal.adds {
                let (from, to) = (folder.join(from), self.root.join(to));
                if from.exists() {
                    if let Some(parent) = to.parent() {
                        create_folder(parent)?;
                    }
                    rename(&from, &to)?;
                    point(Point::CommitHalfMoved);
                } else if !to.exists() {
                    return Err(self.damaged(format!("{} was committed and is gone", to.display())));
                }
            }
            for path in &journal.removes {
                let path = self.root.join(path);
                if path.exists() {
                    fs::remove_file(&path).map_err(|source| Error::Io {
                        doing: "remove",
                        path,
                        source,
                    })?;
                    point(Point::CompactionHalfRemoved);
                }
            }
            point(Point::CommitMoved);
            let commits = self.root.join(".commits").join(origin);
            create_folder(&commits)?;
            rename(&journal_path, &commits.join(format!("{id}.json")))?;
            point(Point::CommitKept);
        }
        fs::remove_dir_all(&folder).map_err(|source| Error::Io {
            doing: "remove",
            path: folder,
            source,
        })
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Lake {
            path: self.root.clone(),
            reason,
        }
    }
}

/// Whether a Parquet file is there and has exactly these columns.
fn has_columns(path: &Path, schema: &SchemaRef) -> bool {
    let Ok(file) = File::open(path) else { return false };
    ParquetRecordBatchReaderBuilder::try_new(file).is_ok_and(|reader| {
        let found = reader.schema().fields().iter().map(|field| field.name());
        found.eq(schema.fields().iter().map(|field| field.name()))
    })
}

fn segment_schema(fact: &Fact) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = fact.schema().fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(SEGMENT_COLUMN, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

/// Whether an origin, as files name it, came from a bucket.
pub(crate) fn is_of_another_lake(origin: &str) -> bool {
    origin.contains('.')
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn parse_name(table: &'static str, name: &str, recorded_date: Date, path: PathBuf) -> Option<Segment> {
    let stem = name.strip_suffix(".parquet")?;
    let (origin, numbers) = stem.rsplit_once('.')?;
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first_seq, last_seq) = (first.parse().ok()?, last.parse().ok()?);
    (first_seq <= last_seq).then(|| Segment {
        table,
        origin: origin.to_owned(),
        first_seq,
        last_seq,
        recorded_date,
        path,
    })
}

/// A name as a file name that every system accepts: other bytes than letters, digits, `-` and `_` become `%XX`.
pub(crate) fn encode(name: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
