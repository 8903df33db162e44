//! A commit to the lake, from its first segment to the rename that makes it visible.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use jiff::civil::Date;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Journal, Lake, SEGMENT_COLUMN, Segment, file_name, segment_schema};
use crate::crash::{Point, point};
use crate::durable::{rename, sync, write_parquet};
use crate::error::{Error, Result};
use crate::facts::Fact;
use crate::validate::validate;

/// A commit being written: nothing of it is visible before [`Commit::publish`].
#[derive(Debug)]
pub struct Commit<'a> {
    pub(super) lake: &'a Lake,
    pub(super) origin: String,
    pub(super) id: String,
    pub(super) folder: PathBuf,
    pub(super) recorded_date: Date,
    pub(super) journal: Journal,
    pub(super) next: Vec<(&'static str, u64)>,
    pub(super) _lock: File,
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

    /// Where files go that are to be part of the commit.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a file of the folder part of the commit; `to` is relative to the lake.
    pub(crate) fn add(&mut self, file: String, to: String) {
        self.journal.adds.push((file, to));
    }

    /// Makes a file of the lake go with the commit.
    pub(crate) fn remove(&mut self, path: String) {
        self.journal.removes.push(path);
    }

    fn target(&self, table: &str, name: &str) -> String {
        format!("{table}/recorded_date={}/{name}", self.recorded_date)
    }

    pub(super) fn compact(&mut self, first: &Segment, last: &Segment, group: &[Segment]) -> Result<()> {
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
