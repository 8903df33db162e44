//! A ledger as readers are shown it: what its builder left, with marts read from their published files as soon as there are any.
//!
//! Many marts are views, which compute all that they show whenever somebody asks: of millions of pods that takes longer than a reader waits. Published, the same rows are
//! read.

use std::fs;
use std::path::{Path, PathBuf};

use duckdb::Connection;

use crate::durable::create_folder;
use crate::error::{Doing, Error, Result};
use crate::ledger::{limit_memory, limit_threads, quote, scratch};
use crate::published::{Published, made_of, manifest, only_for_owner};

/// Most memory that DuckDB takes for answers: questions are small, several copies may be open while builds run in the same process, and what does not fit goes
/// to disk.
const MEMORY_GIB: f64 = 1.0;

/// Most threads that questions share.
const THREADS: i64 = 4;

/// The catalogue that the ledger is under.
const LEDGER: &str = "ledger";

/// What readers ask: every relation of a ledger by its own name. The ledger cannot be written, no other files are read, and settings cannot be changed.
#[derive(Debug)]
pub struct Served {
    connection: Connection,
    /// What belongs to it alone: files that must not go away while they are read.
    folder: PathBuf,
    /// What does not fit into memory.
    spilled: PathBuf,
}

impl Served {
    /// Shows the ledger in `path`, which nobody may write meanwhile. What it needs beside is in folders of the same name (`.served`, `.spilled`), which are its own
    /// and are removed with it.
    ///
    /// # Errors
    /// [`Error::DuckDb`] where it is no ledger.
    pub fn open(path: &Path) -> Result<Self> {
        let served = Self {
            connection: scratch()?,
            folder: path.with_extension("served"),
            spilled: path.with_extension("spilled"),
        };
        let connection = &served.connection;
        let doing = "show the ledger";
        limit_memory(connection, MEMORY_GIB)?;
        limit_threads(connection, THREADS)?;
        connection
            .execute_batch(&format!(
                "attach {} as {LEDGER} (read_only); set temp_directory = {};",
                quote(&path.to_string_lossy()),
                quote(&served.spilled.to_string_lossy()),
            ))
            .doing(doing)?;
        let mut statement = connection
            .prepare(&format!(
                "select schema_name, table_name from duckdb_tables() where database_name = '{LEDGER}' and not internal \
                 union all \
                 select schema_name, view_name from duckdb_views() where database_name = '{LEDGER}' and not internal"
            ))
            .doing(doing)?;
        let relations = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .and_then(Iterator::collect::<duckdb::Result<Vec<_>>>)
            .doing(doing)?;
        let mut views = "begin;\n".to_owned();
        for (schema, name) in &relations {
            let (schema, name) = (identifier(schema), identifier(name));
            views += &format!(
                "create schema if not exists {schema}; create view {schema}.{name} as from {LEDGER}.{schema}.{name};\n"
            );
        }
        connection.execute_batch(&(views + "commit;")).doing(doing)?;
        connection
            .execute_batch(&format!(
                "set search_path = 'marts'; set allowed_directories = [{}]; set enable_external_access = false; \
                 set lock_configuration = true;",
                quote(&served.folder.to_string_lossy()),
            ))
            .doing("lock the settings")?;
        Ok(served)
    }

    /// A connection, whose default catalogue has the ledger's schemas.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Reads marts from the current snapshot from now on, if that is of the same build; says whether it is. Rows are the same.
    ///
    /// # Errors
    /// [`Error::Io`] where its files cannot be read, [`Error::DuckDb`]. What was shown is shown then.
    pub fn show_published(&self, published: &Published) -> Result<bool> {
        let Some(folder) = published.current()? else {
            return Ok(false);
        };
        let Some(manifest) = manifest(&folder)? else {
            return Ok(false);
        };
        if manifest.made_of != made_of(&self.connection)?.1 {
            return Ok(false);
        }
        create_folder(&self.folder)?;
        only_for_owner(&self.folder)?;
        let mut views = "begin;\n".to_owned();
        for mart in &manifest.marts {
            // A name of its own: the next but one snapshot takes the file's away.
            let (from, to) = (folder.join(&mart.file), self.folder.join(&mart.file));
            if !to.exists() {
                fs::hard_link(&from, &to)
                    .or_else(|_| fs::copy(&from, &to).map(drop))
                    .map_err(|source| Error::Io {
                        doing: "keep",
                        path: from,
                        source,
                    })?;
            }
            views += &format!(
                "create or replace view marts.{} as from read_parquet({});\n",
                identifier(&mart.name),
                quote(&to.to_string_lossy())
            );
        }
        let shown = self
            .connection
            .execute_batch(&(views + "commit;"))
            .doing("show the published marts");
        if shown.is_err() {
            // What failed may have failed in the middle.
            let _ = self.connection.execute_batch("rollback");
        }
        shown.map(|()| true)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Most are not there, and what is left behind is removed by whoever serves next.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(&self.spilled);
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
