//! The intake: one DuckDB file in which facts, and the positions of the watches that told them, are committed together.
//!
//! ```text
//! facts + positions + entries of the index -> one transaction -> ... -> a seal: one commit of the lake -> forgotten here
//! ```
//!
//! A seal is first noted here, then committed to the lake under its number, then done here: wherever a process is killed,
//! the next one finds out how far the seal came and goes on.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use duckdb::{AccessMode, Connection, params};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::crash::{Point, point};
use crate::error::{Doing, Error, Result};
use crate::facts::{FACTS, Fact};
use crate::lake::{Commit, Lake};
use crate::ledger::{connect, private};

const MIGRATIONS: &[&str] = &[include_str!("../migrations/intake_0001.sql")];

/// Most memory that DuckDB takes for the intake: it holds what is not sealed yet, and what the index knows.
const MEMORY: &str = "64 MiB";

/// Rows that more than double what is kept of the index are worth a clean-up.
const ENTRIES_BEFORE_PRUNING: u64 = 50_000;

/// What to do about a file that is no intake any more.
const MEND: &str =
    "collecting then goes on from what the lake knows, and states the time since its last seal as a gap";

/// The file of all clusters that a process collects.
#[derive(Debug)]
pub struct Intake {
    /// Each cluster takes a connection of its own from it.
    connection: Mutex<Connection>,
    path: PathBuf,
    made_at: Timestamp,
}

/// The part of one cluster.
#[derive(Debug)]
pub struct ClusterIntake {
    connection: Connection,
    path: PathBuf,
    made_at: Timestamp,
    cluster: String,
    batch: i64,
    /// Rows that are not sealed yet, by table; tables without any are not there.
    unsealed: BTreeMap<&'static str, u64>,
    entries_since_pruning: u64,
    entries_kept: u64,
}

/// Where a watch goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPosition {
    pub resource: String,
    pub version: String,
    pub through: Timestamp,
}

/// A piece of what a collector knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEntry {
    pub kind: String,
    pub key: String,
    /// `None`: it is not known any more.
    pub state: Option<String>,
}

impl Intake {
    /// The intake in `path`, made at `now` if it is not there.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it open, [`Error::LedgerVersion`] if a newer podledger wrote it.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self> {
        let connection = connect(path, AccessMode::ReadWrite, MEND)?;
        private(path)?;
        let doing = "set up the intake";
        connection
            .execute_batch(&format!("set memory_limit = '{MEMORY}'; set threads = 1;"))
            .doing(doing)?;
        let is_new: bool = connection
            .query_row(
                "select count(*) = 0 from duckdb_tables() where table_name = 'intake'",
                [],
                |row| row.get(0),
            )
            .doing(doing)?;
        if is_new {
            connection.execute_batch("begin").doing(doing)?;
            for migration in MIGRATIONS {
                connection.execute_batch(migration).doing(doing)?;
            }
            connection
                .execute(
                    "insert into intake values (?, make_timestamp(?))",
                    params![MIGRATIONS.len() as i64, now.as_microsecond()],
                )
                .doing(doing)?;
            connection.execute_batch("commit").doing(doing)?;
        }
        let (version, made_at): (i64, i64) = connection
            .query_row("select version, epoch_us(made_at) from intake", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .doing(doing)?;
        if version > MIGRATIONS.len() as i64 {
            return Err(Error::LedgerVersion {
                path: path.to_path_buf(),
                found: version,
                known: MIGRATIONS.len() as i64,
            });
        }
        for fact in tables() {
            let columns: Vec<String> = fact
                .columns
                .iter()
                .map(|column| format!("{} {}", column.name, column.kind.duckdb()))
                .collect();
            connection
                .execute_batch(&format!(
                    "create table if not exists facts.{} ({}, batch bigint);",
                    fact.table,
                    columns.join(", ")
                ))
                .doing(doing)?;
            for column in fact.columns {
                // A file of an older version lacks the columns that came since.
                connection
                    .execute_batch(&format!(
                        "alter table facts.{} add column if not exists {} {}",
                        fact.table,
                        column.name,
                        column.kind.duckdb()
                    ))
                    .doing(doing)?;
            }
        }
        Ok(Self {
            connection: Mutex::new(connection),
            path: path.to_path_buf(),
            made_at: Timestamp::from_microsecond(made_at).unwrap_or(now),
        })
    }

    /// The part of a cluster, told by the identifier that its facts carry.
    ///
    /// # Errors
    /// [`Error::DuckDb`].
    pub fn of(&self, cluster: &str) -> Result<ClusterIntake> {
        let doing = "read the intake";
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_clone()
            .doing(doing)?;
        let count = |sql: &str| -> Result<i64> {
            connection
                .query_row(sql, params![cluster], |row| row.get(0))
                .doing(doing)
        };
        let mut batch = count(
            "select greatest( \
                (select coalesce(max(batch), 0) from positions where cluster = $1), \
                (select coalesce(max(through_batch), 0) from seals where cluster = $1))",
        )?;
        let mut unsealed = BTreeMap::new();
        for fact in tables() {
            let (rows, last): (i64, i64) = connection
                .query_row(
                    &format!(
                        "select count(*), coalesce(max(batch), 0) from facts.{} where cluster = ?",
                        fact.table
                    ),
                    params![cluster],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .doing(doing)?;
            if rows > 0 {
                unsealed.insert(fact.table, rows.unsigned_abs());
            }
            batch = batch.max(last);
        }
        let entries = count("select count(*) from entries where cluster = $1")?.unsigned_abs();
        Ok(ClusterIntake {
            path: self.path.clone(),
            made_at: self.made_at,
            cluster: cluster.to_owned(),
            batch,
            unsealed,
            entries_since_pruning: entries,
            entries_kept: 0,
            connection,
        })
    }
}

impl ClusterIntake {
    /// Where each watch goes on.
    ///
    /// # Errors
    /// [`Error::DuckDb`].
    pub fn positions(&self) -> Result<Vec<KeptPosition>> {
        self.rows(
            "select resource, arg_max(version, batch), epoch_us(arg_max(through_at, batch)) \
             from positions where cluster = ? group by resource order by resource",
            |row| {
                Ok(KeptPosition {
                    resource: row.get(0)?,
                    version: row.get(1)?,
                    through: Timestamp::from_microsecond(row.get(2)?).unwrap_or(Timestamp::UNIX_EPOCH),
                })
            },
        )
    }

    /// Hands over what was kept of the index, piece by piece, those that changed last at the end: all of it together may be more
    /// than the intake may hold in memory.
    ///
    /// # Errors
    /// [`Error::DuckDb`], and whatever `take` returns.
    pub fn entries<E: From<Error>>(&self, take: impl FnMut(KeptEntry) -> Result<(), E>) -> Result<(), E> {
        let doing = "read the intake";
        // In one transaction, so that rows keep their numbers.
        self.connection.execute_batch("begin").doing(doing)?;
        let read = self.newest_entries(take);
        let ended = self.connection.execute_batch("rollback").doing(doing);
        read?;
        Ok(ended?)
    }

    fn newest_entries<E: From<Error>>(
        &self,
        mut take: impl FnMut(KeptEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let doing = "read the intake";
        let newest = self.rows(
            "select arg_max(rowid, batch) from entries where cluster = ? group by kind, entry_key",
            |row| row.get(0),
        )?;
        let newest: HashSet<i64> = newest.into_iter().collect();
        let mut statement = self
            .connection
            .prepare(
                "select rowid, kind, entry_key, state from entries where cluster = ? and state is not null",
            )
            .doing(doing)?;
        for rows in statement.stream_arrow(params![self.cluster]).doing(doing)? {
            let rows = rows.doing(doing)?;
            let numbers = rows.column(0).as_primitive::<Int64Type>();
            let [kind, key, state] = [1, 2, 3].map(|column| rows.column(column).as_string::<i32>());
            for row in (0..rows.num_rows()).filter(|row| newest.contains(&numbers.value(*row))) {
                take(KeptEntry {
                    kind: kind.value(row).to_owned(),
                    key: key.value(row).to_owned(),
                    state: Some(state.value(row).to_owned()),
                })?;
            }
        }
        Ok(())
    }

    /// Facts that are committed here and not yet in the lake.
    #[must_use]
    pub fn unsealed(&self) -> u64 {
        self.unsealed.values().sum()
    }

    /// Commits facts with the positions of the watches that told them and what changed in the index: all of it, or nothing.
    ///
    /// # Errors
    /// [`Error::DuckDb`]; nothing is committed then.
    pub fn commit(
        &mut self,
        facts: &[(&'static Fact, RecordBatch)],
        positions: &[KeptPosition],
        entries: &[KeptEntry],
    ) -> Result<()> {
        let doing = "commit to the intake";
        let batch = self.batch + 1;
        point(Point::BeforeAppend);
        self.connection.execute_batch("begin").doing(doing)?;
        let written = self.append(batch, facts, positions, entries);
        point(Point::Appended);
        let written = written.and_then(|()| self.connection.execute_batch("commit").doing(doing));
        if let Err(error) = written {
            // If even this fails, the connection is of no use, and the next attempt says so.
            let _ = self.connection.execute_batch("rollback");
            return Err(error);
        }
        point(Point::Committed);
        self.batch = batch;
        for (fact, rows) in facts.iter().filter(|(_, rows)| rows.num_rows() > 0) {
            *self.unsealed.entry(fact.table).or_default() += rows.num_rows() as u64;
        }
        self.entries_since_pruning += entries.len() as u64;
        Ok(())
    }

    fn append(
        &self,
        batch: i64,
        facts: &[(&'static Fact, RecordBatch)],
        positions: &[KeptPosition],
        entries: &[KeptEntry],
    ) -> Result<()> {
        for (fact, rows) in facts {
            let doing = || format!("append to the intake's {}", fact.table);
            let mut appender = self
                .connection
                .appender_to_db(fact.table, "facts")
                .doing(doing())?;
            appender
                .append_record_batch(with_batch(rows, batch)?)
                .doing(doing())?;
            appender.flush().doing(doing())?;
        }
        let doing = "append positions to the intake";
        let mut appender = self.connection.appender("positions").doing(doing)?;
        for position in positions {
            appender
                .append_row(params![
                    self.cluster,
                    batch,
                    position.resource,
                    position.version,
                    duckdb::types::Value::Timestamp(
                        duckdb::types::TimeUnit::Microsecond,
                        position.through.as_microsecond()
                    ),
                ])
                .doing(doing)?;
        }
        appender.flush().doing(doing)?;
        let doing = "append to what the intake knows";
        let mut appender = self.connection.appender("entries").doing(doing)?;
        for entry in entries {
            appender
                .append_row(params![self.cluster, batch, entry.kind, entry.key, entry.state])
                .doing(doing)?;
        }
        appender.flush().doing(doing)
    }

    /// Moves all committed facts into the lake, filed under `recorded_date`; `more` may add to the commit. Returns the rows.
    ///
    /// # Errors
    /// Those of the lake; nothing is lost then, and the next seal goes on.
    pub fn seal<E: From<Error>>(
        &mut self,
        lake: &Lake,
        recorded_date: Date,
        mut more: impl FnMut(&mut Commit<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut rows = 0;
        if let Some(begun) = self.pending()? {
            rows += self.complete(lake, begun, &mut more)?;
        }
        // What was committed since a seal was interrupted is not part of it.
        if !self.unsealed.is_empty() {
            let begun = self.note_seal(lake, recorded_date)?;
            rows += self.complete(lake, begun, &mut more)?;
        }
        Ok(rows)
    }

    /// Does what is left of a seal that was noted.
    fn complete<E: From<Error>>(
        &mut self,
        lake: &Lake,
        (seal, through, date): (i64, i64, Date),
        more: &mut impl FnMut(&mut Commit<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        point(Point::SealNoted);
        let id = self.seal_id(seal);
        let mut rows = 0;
        // To begin completes what was committed and not yet in place: only then is it known what the lake has.
        let mut commit = lake.begin(&self.cluster, &id, "collect", date)?;
        if !lake.is_committed(&self.cluster, &id) {
            for fact in tables().filter(|fact| self.unsealed.contains_key(fact.table)) {
                rows += self.write(&mut commit, fact, through)?;
            }
            more(&mut commit)?;
            commit.publish()?;
        }
        point(Point::SealPublished);
        self.forget(seal, through)?;
        point(Point::SealForgotten);
        Ok(rows)
    }

    /// What the lake calls a seal. Several files may have sealed for this cluster, one after another.
    fn seal_id(&self, seal: i64) -> String {
        format!("seal-{}-{seal}", self.made_at.as_microsecond())
    }

    fn pending(&self) -> Result<Option<(i64, i64, Date)>> {
        let found = self.rows(
            "select seal, through_batch, strftime(recorded_date, '%Y-%m-%d') from seals \
             where cluster = ? and not is_done order by seal limit 1",
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)),
        )?;
        Ok(found
            .into_iter()
            .next()
            .map(|(seal, through, date)| (seal, through, date.parse().unwrap_or(Date::ZERO))))
    }

    fn note_seal(&self, lake: &Lake, date: Date) -> Result<(i64, i64, Date)> {
        let doing = "note a seal in the intake";
        let mut seal: i64 = self
            .connection
            .query_row(
                "select coalesce(max(seal), 0) + 1 from seals where cluster = ?",
                params![self.cluster],
                |row| row.get(0),
            )
            .doing(doing)?;
        // A file that was made at the same instant as another, by a clock that was set back, takes other numbers.
        while lake.is_committed(&self.cluster, &self.seal_id(seal)) {
            seal += 1;
        }
        self.connection
            .execute(
                "insert into seals values (?, ?, ?, cast(? as date), false)",
                params![self.cluster, seal, self.batch, date.to_string()],
            )
            .doing(doing)?;
        Ok((seal, self.batch, date))
    }

    fn write(&self, commit: &mut Commit<'_>, fact: &'static Fact, through: i64) -> Result<u64> {
        let doing = || format!("read the intake's {}", fact.table);
        let columns: Vec<&str> = fact.columns.iter().map(|column| column.name).collect();
        // One thread reads rows in the order in which they were appended; to sort them, or to have all at once, would take memory.
        let text = format!(
            "select {} from facts.{} where cluster = ? and batch <= ?",
            columns.join(", "),
            fact.table
        );
        let mut statement = self.connection.prepare(&text).doing(doing())?;
        let batches = statement
            .stream_arrow(params![self.cluster, through])
            .doing(doing())?;
        commit.write(fact, batches.map(|rows| rows.doing(doing())))
    }

    /// What is in the lake is forgotten here, and so is what newer rows replace.
    fn forget(&mut self, seal: i64, through: i64) -> Result<()> {
        let doing = "clear the intake";
        self.connection.execute_batch("begin").doing(doing)?;
        let forgotten = self.delete(seal, through);
        point(Point::SealHalfForgotten);
        let done = forgotten.and_then(|_| self.connection.execute_batch("commit").doing(doing));
        if let Err(error) = done {
            let _ = self.connection.execute_batch("rollback");
            return Err(error);
        }
        let mut unsealed = BTreeMap::new();
        for table in self.unsealed.keys() {
            let rows: i64 = self
                .connection
                .query_row(
                    &format!("select count(*) from facts.{table} where cluster = ?"),
                    params![self.cluster],
                    |row| row.get(0),
                )
                .doing(doing)?;
            if rows > 0 {
                unsealed.insert(*table, rows.unsigned_abs());
            }
        }
        self.unsealed = unsealed;
        Ok(())
    }

    fn delete(&mut self, seal: i64, through: i64) -> Result<()> {
        let doing = "clear the intake";
        for table in self.unsealed.keys() {
            self.connection
                .execute(
                    &format!("delete from facts.{table} where cluster = ? and batch <= ?"),
                    params![self.cluster, through],
                )
                .doing(doing)?;
        }
        self.connection
            .execute(
                "update seals set is_done = true where cluster = ? and seal = ?",
                params![self.cluster, seal],
            )
            .doing(doing)?;
        self.connection
            .execute(
                "delete from seals where cluster = ? and is_done and seal < ?",
                params![self.cluster, seal],
            )
            .doing(doing)?;
        self.connection
            .execute(
                "delete from positions where cluster = $1 and batch < (\
                    select max(newer.batch) from positions as newer \
                    where newer.cluster = $1 and newer.resource = positions.resource)",
                params![self.cluster],
            )
            .doing(doing)?;
        if self.entries_since_pruning > self.entries_kept + ENTRIES_BEFORE_PRUNING {
            self.connection
                .execute(
                    "delete from entries where cluster = $1 and rowid not in (\
                        select arg_max(rowid, batch) from entries where cluster = $1 group by kind, entry_key)",
                    params![self.cluster],
                )
                .doing(doing)?;
            self.connection
                .execute(
                    "delete from entries where cluster = ? and state is null",
                    params![self.cluster],
                )
                .doing(doing)?;
            let kept: i64 = self
                .connection
                .query_row(
                    "select count(*) from entries where cluster = ?",
                    params![self.cluster],
                    |row| row.get(0),
                )
                .doing(doing)?;
            self.entries_kept = kept.unsigned_abs();
            self.entries_since_pruning = 0;
        }
        Ok(())
    }

    fn rows<T>(&self, sql: &str, read: impl Fn(&duckdb::Row<'_>) -> duckdb::Result<T>) -> Result<Vec<T>> {
        let doing = "read the intake";
        let mut statement = self.connection.prepare(sql).doing(doing)?;
        let rows = statement
            .query_map(params![self.cluster], |row| read(row))
            .doing(doing)?;
        rows.collect::<duckdb::Result<Vec<T>>>().doing(doing)
    }

    /// Where the intake is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Tables of facts that a cluster tells: prices and the like have no cluster, and are written by whoever knows them.
fn tables() -> impl Iterator<Item = &'static Fact> {
    FACTS
        .iter()
        .filter(|fact| fact.column("cluster").is_some() && !fact.is_of_closing())
}

fn with_batch(rows: &RecordBatch, batch: i64) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(vec![batch; rows.num_rows()])));
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new("batch", DataType::Int64, false)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|source| Error::Parquet {
        doing: "number",
        path: PathBuf::new(),
        source: source.into(),
    })
}
