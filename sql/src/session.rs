//! An analyst's session: a DuckDB in memory that shows one published snapshot, and nothing else.
//!
//! Architecture invariant: a query is judged before it is prepared, on the connection on which it runs.
//! Architecture invariant: the connection reads files of the snapshots' folder and no others, writes none, loads no extension, and its settings cannot be
//! changed. What DuckDB does not bound (`repeat('x', 3e9)`, a text of three thousand brackets) the process must.

use std::path::{Path, PathBuf};

use duckdb::{ArrowStream, Connection, Statement};

use crate::error::{Doing, Error, Result};
use crate::judge::judge;
use crate::ledger::{quote, scratch_with};
use crate::published::{Manifest, Published, PublishedMart, manifest};

/// What a session may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory for tables and intermediate results, in bytes.
    pub memory_bytes: u64,
    pub threads: u32,
}

impl Default for Limits {
    /// Half a GiB and two threads.
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            threads: 2,
        }
    }
}

/// A session over one snapshot.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    folder: PathBuf,
    manifest: Manifest,
}

impl Session {
    /// A session over the current snapshot of `published`, whose path must be absolute.
    ///
    /// # Errors
    /// [`Error::Io`] where nothing is published or the snapshot cannot be read, [`Error::DuckDb`].
    pub fn open(published: &Published, limits: Limits) -> Result<Self> {
        let (folder, manifest) = current(published)?;
        let connection = scratch_with(limits.threads)?;
        connection
            .execute_batch(&format!(
                "set memory_limit = '{} MiB'; set temp_directory = ''; set max_temp_directory_size = '0 MiB'; \
                 create schema marts; set search_path = 'marts'; \
                 set allowed_directories = [{}]; set enable_external_access = false; set lock_configuration = true;",
                limits.memory_bytes >> 20,
                quote(&published.root().to_string_lossy()),
            ))
            .doing("shut the session in")?;
        let session = Self {
            connection,
            folder,
            manifest,
        };
        session.show(&[])?;
        Ok(session)
    }

    /// Shows the current snapshot of `published`, if it is another.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn follow(&mut self, published: &Published) -> Result<()> {
        if published.current()?.as_ref() == Some(&self.folder) {
            return Ok(());
        }
        let before = std::mem::take(&mut self.manifest.marts);
        (self.folder, self.manifest) = current(published)?;
        self.show(&before)
    }

    /// Makes the views of the snapshot instead of those from before. The schema stays: DuckDB would forget that names are looked up there.
    fn show(&self, before: &[PublishedMart]) -> Result<()> {
        let view = |mart: &PublishedMart| format!("marts.\"{}\"", mart.name.replace('"', "\"\""));
        let mut statement = "begin;".to_owned();
        for mart in before {
            statement += &format!("drop view {};\n", view(mart));
        }
        for mart in &self.manifest.marts {
            let file = self.folder.join(&mart.file);
            statement += &format!(
                "create view {} as select * from read_parquet({});\n",
                view(mart),
                quote(&file.to_string_lossy())
            );
        }
        self.connection
            .execute_batch(&(statement + "commit;"))
            .doing("show the snapshot's marts")
    }

    /// Which snapshot it shows.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Judges a query and prepares it.
    ///
    /// # Errors
    /// [`Error::Refused`] by the judge, [`Error::DuckDb`] where DuckDB cannot plan it.
    pub fn prepare(&self, query: &str) -> Result<Asked<'_>> {
        judge(&self.connection, query)?;
        let statement = self.connection.prepare(query).doing("plan the query")?;
        Ok(Asked { statement })
    }
}

/// The newest snapshot: its folder, and what is in it.
fn current(published: &Published) -> Result<(PathBuf, Manifest)> {
    let nothing = |path: &Path| Error::Io {
        doing: "open a snapshot in",
        path: path.to_path_buf(),
        source: std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "nothing is published: run `podledger build` first",
        ),
    };
    let folder = published.current()?.ok_or_else(|| nothing(published.root()))?;
    let manifest = manifest(&folder)?.ok_or_else(|| nothing(&folder))?;
    Ok((folder, manifest))
}

/// A query that may run.
pub struct Asked<'a> {
    statement: Statement<'a>,
}

impl Asked<'_> {
    /// Runs it; rows come as they are made.
    ///
    /// # Errors
    /// [`Error::DuckDb`].
    pub fn run(&mut self) -> Result<ArrowStream<'_>> {
        self.statement.stream_arrow([]).doing("run the query")
    }
}
