//! The ledger: one DuckDB file with raw facts, the models' relations and what builds remember.
//!
//! It holds nothing that the lake does not: a lost ledger is opened anew and filled again.

use std::path::{Path, PathBuf};

use duckdb::{AccessMode, Config, Connection};

use crate::crash::{Point, point};
use crate::error::{Doing, Error, Result};
use crate::facts::{FACTS, Fact};
use crate::lake::{Lake, SEGMENT_COLUMN, Segment};

/// Migrations in order; the version of a ledger is how many it has seen. Never edited once released.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_ledger.sql"),
    include_str!("../migrations/0002_models.sql"),
    include_str!("../migrations/0003_dirt.sql"),
    include_str!("../migrations/0004_services.sql"),
];

/// Most memory that DuckDB takes for tables and intermediate results, where the machine has more.
const MEMORY_GIB: f64 = 4.0;

/// A ledger of fewer blocks of 256 KiB is merged at every build, which takes no time: each build adds a row group to some
/// twenty tables, and each of these takes a block.
const SMALL_BLOCKS: i64 = 400;

/// What to do about a file that is no ledger any more.
const MEND: &str = "`podledger build` makes it anew from the lake";

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

impl Ledger {
    /// The ledger in `path`, made or migrated if needed, for the one process that writes.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it open, [`Error::LedgerVersion`] if a newer podledger wrote it,
    /// [`Error::DuckDb`] for a file that is no ledger.
    pub fn open(path: &Path) -> Result<Self> {
        let ledger = Self {
            connection: connect(path, AccessMode::ReadWrite, MEND)?,
            path: path.to_path_buf(),
        };
        private(path)?;
        // No model depends on the order of rows, and without it tables are written in parallel.
        // Merging half-filled row groups rewrites whole tables at any checkpoint: it is done when it is asked for.
        ledger
            .connection
            .execute_batch("set preserve_insertion_order = false; set max_vacuum_tasks = 0;")
            .doing("set up the ledger")?;
        limit_memory(&ledger.connection, MEMORY_GIB)?;
        ledger.migrate()?;
        ledger.make_raw_tables()?;
        Ok(ledger)
    }

    /// The ledger in `path`, for reading; its connection refuses files, extensions and changes of settings.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`Error::Io`] where there is none.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        if !path.exists() {
            let source = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "there is no ledger: run `podledger import` and `podledger build` first",
            );
            return Err(Error::Io {
                doing: "open",
                path: path.to_path_buf(),
                source,
            });
        }
        let ledger = Self {
            connection: connect(path, AccessMode::ReadOnly, MEND)?,
            path: path.to_path_buf(),
        };
        let version = ledger.version()?;
        ledger.check_version(version)?;
        // Once the settings are locked, nobody could.
        limit_memory(&ledger.connection, MEMORY_GIB)?;
        ledger
            .connection
            .execute_batch(
                "set search_path = 'marts'; set enable_external_access = false; set lock_configuration = true;",
            )
            .doing("lock the ledger's settings")?;
        Ok(ledger)
    }

    /// The connection to the ledger, which is its default catalogue.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where the ledger is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes in the segments that it has not seen, as facts of build `build_id`; returns their rows by table. Run inside the
    /// transaction of the build, it is all or nothing; run again, it does nothing.
    ///
    /// # Errors
    /// [`Error::Lake`] where a numbered segment is missing, [`Error::DuckDb`] for one that cannot be read.
    pub fn ingest(&self, lake: &Lake, build_id: i64) -> Result<Vec<(&'static str, u64)>> {
        let segments = lake.segments()?;
        let mut ingested = Vec::new();
        for fact in FACTS {
            let of_table: Vec<&Segment> = segments
                .iter()
                .filter(|segment| segment.table == fact.table)
                .collect();
            let mut rows = 0;
            for group in of_table.chunk_by(|a, b| a.origin == b.origin) {
                rows += self.ingest_group(lake, fact, group, build_id)?;
            }
            if rows > 0 {
                ingested.push((fact.table, rows));
            }
        }
        Ok(ingested)
    }

    fn ingest_group(&self, lake: &Lake, fact: &Fact, group: &[&Segment], build_id: i64) -> Result<u64> {
        let Some(first) = group.first() else { return Ok(0) };
        let known = self.last_ingested(fact.table, &first.origin)?;
        let fresh: Vec<&&Segment> = group.iter().filter(|segment| segment.last_seq > known).collect();
        let mut expected = known + 1;
        for segment in &fresh {
            if segment.first_seq > expected {
                return Err(Error::Lake {
                    path: segment.path.clone(),
                    reason: format!(
                        "segment {expected} of {} from {} is missing; restore it, the ledger takes no holes",
                        fact.table, first.origin
                    ),
                });
            }
            expected = segment.last_seq + 1;
        }
        let Some(last) = fresh.last() else { return Ok(0) };
        let columns = fact
            .columns
            .iter()
            .map(|column| column.name)
            .collect::<Vec<_>>()
            .join(", ");
        let files: Vec<String> = std::iter::once(&lake.schema_file(fact))
            .chain(fresh.iter().map(|segment| &segment.path))
            .map(|path| quote(&path.to_string_lossy()))
            .collect();
        let statement = format!(
            "insert into raw.{table} ({columns}, build_id) select {columns}, {build_id} \
             from read_parquet([{files}], union_by_name = true, hive_partitioning = false) \
             where {SEGMENT_COLUMN} > {known}",
            table = fact.table,
            files = files.join(", "),
        );
        let doing = || {
            format!(
                "ingest {} of {} segments of {}",
                fresh.len(),
                first.origin,
                fact.table
            )
        };
        let rows = self.connection.execute(&statement, []).doing(doing())?;
        point(Point::Ingested);
        self.connection
            .execute(
                "delete from build.ingested where table_name = ? and origin = ?",
                [fact.table, &first.origin],
            )
            .doing(doing())?;
        self.connection
            .execute(
                "insert into build.ingested values (?, ?, ?)",
                duckdb::params![fact.table, first.origin, last.last_seq],
            )
            .doing(doing())?;
        Ok(rows as u64)
    }

    fn last_ingested(&self, table: &str, origin: &str) -> Result<u64> {
        self.connection
            .query_row(
                "select coalesce(max(last_seq), 0) from build.ingested where table_name = ? and origin = ?",
                [table, origin],
                |row| row.get(0),
            )
            .doing("read what was ingested")
    }

    /// Whether the lake has segments that it has not taken in.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Lake`] where the lake cannot be read, [`Error::DuckDb`].
    pub fn is_behind(&self, lake: &Lake) -> Result<bool> {
        for group in lake
            .segments()?
            .chunk_by(|a, b| (a.table, &a.origin) == (b.table, &b.origin))
        {
            let last = group.iter().max_by_key(|segment| segment.last_seq);
            if let Some(last) = last
                && last.last_seq > self.last_ingested(last.table, &last.origin)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives back the space of deleted rows by copying the ledger when more than `share_percent` of the file is free.
    /// `merge` also closes the gaps that deleted rows left in tables; it may rewrite the whole file, so it is not for every
    /// build.
    ///
    /// # Errors
    /// [`Error::DuckDb`] and [`Error::Io`]; the ledger is then as it was.
    pub fn shrink(self, share_percent: i64, merge: bool) -> Result<Self> {
        let (total, _) = self.blocks()?;
        let checkpoint = if merge || total < SMALL_BLOCKS {
            "reset max_vacuum_tasks; checkpoint; set max_vacuum_tasks = 0"
        } else {
            "checkpoint"
        };
        self.connection
            .execute_batch(checkpoint)
            .doing("write the ledger to disk")?;
        let (total, free) = self.blocks()?;
        if free * 100 <= total * share_percent {
            return Ok(self);
        }
        let copy = self.path.with_extension("duckdb.copy");
        remove_if_there(&copy)?;
        let statement = format!(
            "attach {} as shrunk; copy from database {} to shrunk; detach shrunk;",
            quote(&copy.to_string_lossy()),
            catalogue(&self.connection)?,
        );
        self.connection
            .execute_batch(&statement)
            .doing("copy the ledger")?;
        let path = self.path.clone();
        drop(self);
        point(Point::LedgerCopied);
        private(&copy)?;
        std::fs::rename(&copy, &path).map_err(|source| Error::Io {
            doing: "replace",
            path: path.clone(),
            source,
        })?;
        point(Point::LedgerReplaced);
        Self::open(&path)
    }

    /// Blocks of the file, and those of them that are free.
    fn blocks(&self) -> Result<(i64, i64)> {
        self.connection
            .query_row(
                "select cast(total_blocks as bigint), cast(free_blocks as bigint) from pragma_database_size() limit 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .doing("measure the ledger")
    }

    fn version(&self) -> Result<i64> {
        let known: i64 = self
            .connection
            .query_row(
                "select count(*) from information_schema.tables where table_schema = 'main' and table_name = 'ledger_version'",
                [],
                |row| row.get(0),
            )
            .doing("read the ledger's tables")?;
        if known == 0 {
            return Ok(0);
        }
        self.connection
            .query_row("select max(version) from main.ledger_version", [], |row| {
                row.get(0)
            })
            .doing("read the ledger's version")
    }

    fn check_version(&self, found: i64) -> Result<()> {
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(Error::LedgerVersion {
                path: self.path.clone(),
                found,
                known,
            });
        }
        Ok(())
    }

    fn migrate(&self) -> Result<()> {
        let found = self.version()?;
        self.check_version(found)?;
        for (version, migration) in (1_i64..).zip(MIGRATIONS) {
            if version > found {
                let statement = format!(
                    "begin; create table if not exists main.ledger_version (version bigint not null);\n{migration};\n\
                     insert into main.ledger_version values ({version}); commit;"
                );
                if let Err(error) = self
                    .connection
                    .execute_batch(&statement)
                    .doing(format!("migrate the ledger to version {version}"))
                {
                    let _ = self.connection.execute_batch("rollback");
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Raw tables follow the fact schema: missing tables are made, new columns added.
    fn make_raw_tables(&self) -> Result<()> {
        let mut statement = String::new();
        for fact in FACTS {
            let columns: Vec<String> = fact
                .columns
                .iter()
                .map(|column| format!("{} {}", column.name, column.kind.duckdb()))
                .collect();
            statement += &format!(
                "create table if not exists raw.{} ({}, build_id bigint);\n",
                fact.table,
                columns.join(", ")
            );
            for column in fact.columns {
                statement += &format!(
                    "alter table raw.{} add column if not exists {} {};\n",
                    fact.table,
                    column.name,
                    column.kind.duckdb()
                );
            }
        }
        let present: i64 = self
            .connection
            .query_row(
                "select count(*) from information_schema.columns where table_schema = 'raw'",
                [],
                |row| row.get(0),
            )
            .doing("read the ledger's raw tables")?;
        let wanted: usize = FACTS.iter().map(|fact| fact.columns.len() + 1).sum();
        if usize::try_from(present).unwrap_or(0) != wanted {
            self.connection
                .execute_batch(&statement)
                .doing("make the ledger's raw tables")?;
        }
        Ok(())
    }
}

/// A connection to a DuckDB in memory, for one command's own use, that loads no extension by itself.
///
/// # Errors
/// [`Error::DuckDb`].
pub fn scratch() -> Result<Connection> {
    Connection::open_in_memory_with_flags(config(AccessMode::Automatic)?).doing("open a scratch database")
}

/// A connection to a database in memory that never has more threads, nor any that read files ahead: each takes address space, of which a process may have
/// little, and one that starts here would have given up nothing of what its process gives up later.
///
/// # Errors
/// [`Error::DuckDb`].
pub(crate) fn scratch_with(threads: u32) -> Result<Connection> {
    let config = config(AccessMode::Automatic)?
        .threads(i64::from(threads.max(1)))
        .and_then(|config| config.with("async_threads", "0"))
        .doing("configure DuckDB")?;
    Connection::open_in_memory_with_flags(config).doing("open a scratch database")
}

/// DuckDB would take 80 % of the machine's memory; beyond so many GiB it writes to disk what does not fit.
pub(crate) fn limit_memory(connection: &Connection, most_gib: f64) -> Result<()> {
    let doing = "limit the memory of DuckDB";
    let allowed: String = connection
        .query_row("select current_setting('memory_limit')", [], |row| row.get(0))
        .doing(doing)?;
    let is_more = match allowed.split_once(' ') {
        Some((_, "TiB")) => true,
        Some((amount, "GiB")) => amount.parse::<f64>().is_ok_and(|amount| amount > most_gib),
        _ => false,
    };
    if is_more {
        connection
            .execute_batch(&format!("set memory_limit = '{most_gib} GiB'"))
            .doing(doing)?;
    }
    Ok(())
}

pub(crate) fn limit_threads(connection: &Connection, most: i64) -> Result<()> {
    let doing = "limit the threads of DuckDB";
    let allowed: i64 = connection
        .query_row("select cast(current_setting('threads') as bigint)", [], |row| {
            row.get(0)
        })
        .doing(doing)?;
    if allowed > most {
        connection
            .execute_batch(&format!("set threads = {most}"))
            .doing(doing)?;
    }
    Ok(())
}

/// A text as an SQL literal.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(crate) fn connect(path: &Path, mode: AccessMode, mend: &'static str) -> Result<Connection> {
    Connection::open_with_flags(path, config(mode)?).map_err(|source| {
        if source.to_string().contains("Could not set lock on file") {
            Error::InUse {
                path: path.to_path_buf(),
            }
        } else {
            Error::Open {
                path: path.to_path_buf(),
                mend,
                source,
            }
        }
    })
}

fn config(mode: AccessMode) -> Result<Config> {
    Config::default()
        .access_mode(mode)
        .and_then(|config| config.enable_autoload_extension(false))
        .and_then(|config| config.with("autoinstall_known_extensions", "false"))
        .and_then(|config| config.with("allow_community_extensions", "false"))
        .doing("configure DuckDB")
}

fn catalogue(connection: &Connection) -> Result<String> {
    let name: String = connection
        .query_row("select current_catalog()", [], |row| row.get(0))
        .doing("read the ledger's name")?;
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// Facts carry names that may be secret: the ledger is for its owner only.
pub(crate) fn private(path: &Path) -> Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(
        |source| Error::Io {
            doing: "restrict access to",
            path: path.to_path_buf(),
            source,
        },
    )?;
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io {
            doing: "remove",
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}
