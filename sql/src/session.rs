//! An analyst's session: a DuckDB in memory that shows one published snapshot, and nothing else.
//!
//! Architecture invariant: a query is judged before it is prepared, on the connection on which it runs.
//! Architecture invariant: the connection reads files of the snapshots' folder and no others, writes none, loads no extension, and its settings cannot be
//! changed. What DuckDB does not bound (`repeat('x', 3e9)`, a text of three thousand brackets) the process must.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use duckdb::{ArrowStream, Connection, Statement};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Doing, Error, Result};
use crate::ledger::{quote, scratch_with};
use crate::parameters::{self, Kind, Parameter};
use crate::published::{Manifest, Published, PublishedMart, manifest};
use crate::{catalogue, instants, judge};

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

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Question {
    /// One SELECT.
    pub text: String,
    /// Values of `$1`, `$2`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Whether its columns are asked alone: parameters without a value are NULL then, and there are no rows.
    #[serde(default)]
    pub is_for_columns: bool,
    /// Whether the snapshot stays that was shown last, whatever was published since.
    #[serde(default)]
    pub stays: bool,
}

impl<T: AsRef<str>> From<T> for Question {
    fn from(text: T) -> Self {
        Self {
            text: text.as_ref().to_owned(),
            ..Self::default()
        }
    }
}

/// A session, over one snapshot at a time.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    shown: Option<(PathBuf, Manifest)>,
    /// Of which snapshot PostgreSQL's catalogue was made; it is made when somebody asks it.
    catalogued: Option<PathBuf>,
}

impl Session {
    /// A session that shows nothing yet, of one thread.
    ///
    /// A process that gives up what it may do opens it before: DuckDB reads which part of the machine it has, and ends the process where that is
    /// forbidden. No thread is started, for one that was there before would have given up nothing.
    ///
    /// # Errors
    /// [`Error::DuckDb`].
    pub fn new() -> Result<Self> {
        Ok(Self {
            connection: scratch_with(1)?,
            shown: None,
            catalogued: None,
        })
    }

    /// Bounds it for good: what it may take, and that it reads below `published` alone, whose path must be absolute.
    ///
    /// # Errors
    /// [`Error::DuckDb`].
    pub fn shut(&self, published: &Published, limits: Limits) -> Result<()> {
        self.connection
            .execute_batch(&format!(
                "set threads = {}; set memory_limit = '{} MiB'; set temp_directory = ''; set max_temp_directory_size = '0 MiB'; \
                 create schema if not exists marts; set search_path = 'marts'; \
                 set allowed_directories = [{}]; set enable_external_access = false; set lock_configuration = true;",
                limits.threads.max(1),
                limits.memory_bytes >> 20,
                quote(&published.root().to_string_lossy()),
            ))
            .doing("shut the session in")
    }

    /// Shows the current snapshot of `published`, if it is another.
    ///
    /// # Errors
    /// [`Error::Io`] where nothing is published or the snapshot cannot be read, [`Error::DuckDb`]. What was shown is shown then.
    pub fn follow(&mut self, published: &Published) -> Result<()> {
        let folder = published.current()?;
        if folder.is_some() && folder.as_ref() == self.shown.as_ref().map(|(folder, _)| folder) {
            return Ok(());
        }
        let (folder, manifest) = current(published)?;
        let before = self.shown.as_ref().map(|(_, manifest)| manifest.marts.as_slice());
        self.show(before.unwrap_or_default(), &folder, &manifest)?;
        self.shown = Some((folder, manifest));
        Ok(())
    }

    /// Makes the views of a snapshot instead of those from before. The schema stays: DuckDB would forget that names are looked up there.
    fn show(&self, before: &[PublishedMart], folder: &Path, manifest: &Manifest) -> Result<()> {
        let view = |mart: &PublishedMart| format!("marts.\"{}\"", mart.name.replace('"', "\"\""));
        let mut statement = "begin;".to_owned();
        for mart in before {
            statement += &format!("drop view {};\n", view(mart));
        }
        for mart in &manifest.marts {
            let file = folder.join(&mart.file);
            statement += &format!(
                "create view {} as select * from read_parquet({});\n",
                view(mart),
                quote(&file.to_string_lossy())
            );
        }
        let shown = self
            .connection
            .execute_batch(&(statement + "commit;"))
            .doing("show the snapshot's marts");
        if shown.is_err() {
            // What failed may have failed in the middle.
            let _ = self.connection.execute_batch("rollback");
        }
        shown
    }

    /// Which snapshot it shows, once it shows one.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.shown.as_ref().map(|(_, manifest)| manifest)
    }

    /// Judges a question and prepares it.
    ///
    /// # Errors
    /// [`Error::Refused`] by the judge, [`Error::DuckDb`] where DuckDB cannot plan it.
    pub fn prepare(&mut self, question: &Question) -> Result<Asked<'_>> {
        let mut tree = judge::read(&self.connection, &question.text)?;
        let parameters = parameters::of(&tree);
        let mut values = Cow::Borrowed(question.parameters.as_slice());
        if question.is_for_columns && values.len() < parameters.len() {
            values.to_mut().extend(
                parameters
                    .iter()
                    .skip(question.parameters.len())
                    .map(|kind| Parameter {
                        kind: *kind,
                        value: None,
                    }),
            );
        }
        let mut is_changed =
            parameters::bind(&mut tree, &values).map_err(|reason| Error::Refused { reason })?;
        is_changed |= instants::in_utc(&mut tree);
        if catalogue::translate(&mut tree) {
            is_changed = true;
            self.show_catalogue()?;
        }
        if question.is_for_columns {
            is_changed |= without_rows(&mut tree);
        }
        judge::allow(&tree)?;
        let text = if is_changed {
            Cow::Owned(judge::write(&self.connection, &tree)?)
        } else {
            Cow::Borrowed(question.text.as_str())
        };
        let statement = self.connection.prepare(&text).doing("plan the query")?;
        Ok(Asked {
            statement,
            parameters,
        })
    }

    fn show_catalogue(&mut self) -> Result<()> {
        let folder = self.shown.as_ref().map(|(folder, _)| folder.clone());
        if folder.is_none() || folder != self.catalogued {
            catalogue::fill(&self.connection, self.manifest())?;
            self.catalogued = folder;
        }
        Ok(())
    }
}

/// Makes a query yield its columns and no rows.
fn without_rows(tree: &mut Value) -> bool {
    let node = &mut tree["statements"][0]["node"];
    let Some(modifiers) = node.get_mut("modifiers").and_then(Value::as_array_mut) else {
        return false;
    };
    modifiers.retain(|modifier| modifier["type"] != "LIMIT_MODIFIER");
    modifiers.push(json!({
        "type": "LIMIT_MODIFIER", "offset": null, "limit_type": "ROW_COUNT",
        "limit": { "class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "literal": { "kind": "INTEGER", "text": "0" } },
    }));
    true
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
    /// Its parameters, with the types that it says they have.
    pub parameters: Vec<Option<Kind>>,
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
