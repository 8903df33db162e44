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

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::civil::Date;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use crate::crash::{Point, point};
use crate::durable::{create_folder, file_names, folder_names, rename, sync, write_parquet};
use crate::error::{Error, Result};
use crate::facts::{FACTS, Fact};
use crate::validate::validate;

/// The column that every segment carries beside its facts: the number of the segment that first held the row.
pub const SEGMENT_COLUMN: &str = "segment_seq";

/// Partition of the file without rows; no fact was recorded on that day.
const SCHEMA_FOLDER: &str = "recorded_date=1970-01-01";

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

/// A commit being written: nothing of it is visible before [`Commit::publish`].
#[derive(Debug)]
pub struct Commit<'a> {
    lake: &'a Lake,
    origin: String,
    id: String,
    folder: PathBuf,
    recorded_date: Date,
    journal: Journal,
    next: Vec<(&'static str, u64)>,
    _lock: File,
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
        let origin = encode(origin);
        let Some(lock) = self.try_lock(&origin)? else {
            return Err(Error::InUse {
                path: self.root.join(".locks").join(format!("{origin}.lock")),
            });
        };
        self.recover(&origin)?;
        let id = encode(id);
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
    /// were replaced. Rows are not changed.
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
            if group.len() < 2 || first.recorded_date >= before {
                continue;
            }
            let id = format!("compact-{}-{}-{}", first.table, first.first_seq, last.last_seq);
            let mut commit = self.begin(&decode(&first.origin), &id, "compaction", first.recorded_date)?;
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

impl Commit<'_> {
    /// Validates `batches` as facts of `fact` and writes them as the next segment of its table; returns the rows.
    /// Nothing is written for no rows.
    ///
    /// # Errors
    /// Those of [`validate`] and of the batches themselves; [`Error::Parquet`], [`Error::Io`].
    pub fn write(
        &mut self,
        fact: &'static Fact,
        batches: impl Iterator<Item = Result<RecordBatch>>,
    ) -> Result<u64> {
        let Some(seq) = self
            .next
            .iter_mut()
            .find(|(table, _)| *table == fact.table)
            .map(|(_, last)| {
                *last += 1;
                *last
            })
        else {
            return Err(Error::Fact {
                table: fact.table,
                reason: "it is no table of the lake".to_owned(),
            });
        };
        let name = format!("{}.{seq:012}.parquet", self.origin);
        let file = format!("{}.{name}", fact.table);
        let mut first_row = 1;
        let facts = batches.map(|batch| {
            let batch = validate(fact, &batch?, first_row)?;
            first_row += batch.num_rows() as u64;
            number(&batch, seq)
        });
        let rows = write_parquet(
            &self.folder.join(&file),
            &segment_schema(fact),
            facts,
            Point::SegmentHalfWritten,
        )?;
        if rows == 0 {
            let path = self.folder.join(&file);
            fs::remove_file(&path).map_err(|source| Error::Io {
                doing: "remove",
                path,
                source,
            })?;
            if let Some((_, last)) = self.next.iter_mut().find(|(table, _)| *table == fact.table) {
                *last -= 1;
            }
            return Ok(0);
        }
        self.journal.rows += rows;
        self.journal.adds.push((file, self.target(fact.table, &name)));
        Ok(rows)
    }

    /// Makes the whole commit visible; returns its rows.
    ///
    /// # Errors
    /// [`Error::Io`]; before the one rename that commits nothing is visible, after it whoever opens the lake completes it.
    pub fn publish(self) -> Result<u64> {
        let text = serde_json::to_string_pretty(&self.journal).map_err(|error| {
            self.lake
                .damaged(format!("the journal cannot be written: {error}"))
        })?;
        let path = self.folder.join("commit.json");
        fs::write(&path, text).map_err(|source| Error::Io {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        sync(&path)?;
        sync(&self.folder)?;
        point(Point::CommitWritten);
        let committed = self.lake.root.join(".pending").join(&self.origin).join(&self.id);
        rename(&self.folder, &committed)?;
        point(Point::CommitRenamed);
        self.lake.put_in_place(&self.origin, &self.id)?;
        Ok(self.journal.rows)
    }

    fn target(&self, table: &str, name: &str) -> String {
        format!("{table}/recorded_date={}/{name}", self.recorded_date)
    }

    fn compact(&mut self, first: &Segment, last: &Segment, group: &[Segment]) -> Result<()> {
        let Some(fact) = Fact::named(first.table) else {
            return Ok(());
        };
        let name = format!(
            "{}.{:012}-{:012}.parquet",
            self.origin, first.first_seq, last.last_seq
        );
        let mut batches = Vec::new();
        for segment in group {
            let doing = |source| Error::Parquet {
                doing: "read",
                path: segment.path.clone(),
                source,
            };
            let file = File::open(&segment.path).map_err(|source| Error::Io {
                doing: "open",
                path: segment.path.clone(),
                source,
            })?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                .map_err(doing)?
                .build()
                .map_err(doing)?;
            for batch in reader {
                batches.push(batch.map_err(|error| doing(error.into())));
            }
            self.journal
                .removes
                .push(self.target(fact.table, &file_name(&segment.path)));
        }
        let rows = write_parquet(
            &self.folder.join(&name),
            &segment_schema(fact),
            batches.into_iter(),
            Point::SegmentHalfWritten,
        )?;
        point(Point::CompactionWritten);
        self.journal.rows += rows;
        self.journal
            .adds
            .push((name.clone(), self.target(fact.table, &name)));
        Ok(())
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        // What was not published is worthless; if removing fails, the next writer does it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn segment_schema(fact: &Fact) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = fact.schema().fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(SEGMENT_COLUMN, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

fn number(batch: &RecordBatch, seq: u64) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    #[expect(
        clippy::cast_possible_wrap,
        reason = "numbers of segments stay far below 2^63"
    )]
    columns.push(Arc::new(Int64Array::from(vec![seq as i64; batch.num_rows()])));
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(SEGMENT_COLUMN, DataType::Int64, false)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| Error::Parquet {
        doing: "number",
        path: PathBuf::new(),
        source: error.into(),
    })
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn parse_name(table: &'static str, name: &str, recorded_date: Date, path: PathBuf) -> Option<Segment> {
    let stem = name.strip_suffix(".parquet")?;
    let (origin, numbers) = stem.split_once('.')?;
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
fn encode(name: &str) -> String {
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

fn decode(encoded: &str) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| {
                    char::from(byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                bytes.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
