//! An analyst's session: a DuckDB in memory that shows one published snapshot, and nothing else.
//!
//! Architecture invariant: a query is judged before it is prepared, on the connection on which it runs; so is one that is only explained.
//! Architecture invariant: the connection reads files of the snapshots' folder and no others, writes none, loads no extension, and its settings cannot be
//! changed. What DuckDB does not bound (`repeat('x', 3e9)`, a text of three thousand brackets) the process must.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, AsArray as _, StringArray, StructArray};
use duckdb::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Connection, Statement};
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
    /// One SELECT, or `explain` and one: how DuckDB would answer it.
    pub text: String,
    /// Values of `$1`, `$2`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Whether its columns are asked alone: parameters without a value are NULL then, and there are no rows.
    #[serde(default)]
    pub is_for_columns: bool,
    /// Which snapshot is asked, by [`Session::snapshot`]; without one, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
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

    /// Shows a snapshot of `published` by its name, or the current one, if it is another than the one shown.
    ///
    /// # Errors
    /// [`Error::Io`] where nothing is published, or the snapshot cannot be read or is there no more, [`Error::DuckDb`]. What was shown is shown then.
    pub fn follow(&mut self, published: &Published, snapshot: Option<&str>) -> Result<()> {
        let folder = match snapshot {
            Some(name) => Some(published.root().join(name)),
            None => published.current()?,
        };
        if folder.is_some() && folder.as_ref() == self.shown.as_ref().map(|(folder, _)| folder) {
            return Ok(());
        }
        let missing = match snapshot {
            Some(_) => "this snapshot is there no more, newer ones are: begin anew",
            None => "nothing is published: run `podledger build` first",
        };
        let folder = folder.ok_or_else(|| not_found(published.root(), missing))?;
        let manifest = manifest(&folder)?.ok_or_else(|| not_found(&folder, missing))?;
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

    /// The name of the snapshot that it shows, once it shows one.
    #[must_use]
    pub fn snapshot(&self) -> Option<&str> {
        self.shown.as_ref()?.0.file_name()?.to_str()
    }

    /// Judges a question and prepares it.
    ///
    /// # Errors
    /// [`Error::Refused`] by the judge, [`Error::DuckDb`] where DuckDB cannot plan it.
    pub fn prepare(&mut self, question: &Question) -> Result<Asked<'_>> {
        let explained = explained(&question.text);
        let mut tree = judge::read(&self.connection, explained.unwrap_or(&question.text))?;
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
        let text = match explained {
            // What is explained is written of the tree that was judged: nothing of the text reaches a parser that was told of `explain`.
            Some(_) => Cow::Owned(format!("explain {}", judge::write(&self.connection, &tree)?)),
            None if is_changed => Cow::Owned(judge::write(&self.connection, &tree)?),
            None => Cow::Borrowed(question.text.as_str()),
        };
        let statement = self.connection.prepare(&text).doing("plan the query")?;
        Ok(Asked {
            statement,
            parameters,
            is_explained: explained.is_some(),
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

/// What comes after the word `explain`, if the text begins with it.
fn explained(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let (word, rest) = text.split_at_checked("explain".len())?;
    let is_word = word.eq_ignore_ascii_case("explain") && rest.starts_with(char::is_whitespace);
    is_word.then_some(rest)
}

fn not_found(path: &Path, why: &str) -> Error {
    Error::Io {
        doing: "open a snapshot in",
        path: path.to_path_buf(),
        source: std::io::Error::new(std::io::ErrorKind::NotFound, why),
    }
}

/// A query that may run.
pub struct Asked<'a> {
    statement: Statement<'a>,
    /// Its parameters, with the types that it says they have.
    pub parameters: Vec<Option<Kind>>,
    /// Whether its plan is asked, and not its rows.
    is_explained: bool,
}

/// Columns of an answer and its rows, as they are made.
pub type Rows<'a> = (
    SchemaRef,
    Box<dyn Iterator<Item = duckdb::Result<RecordBatch>> + 'a>,
);

impl Asked<'_> {
    /// Runs it; rows come as they are made. A plan is one column, line by line.
    ///
    /// # Errors
    /// [`Error::DuckDb`].
    pub fn run(&mut self) -> Result<Rows<'_>> {
        let stream = self.statement.stream_arrow([]).doing("run the query")?;
        if !self.is_explained {
            return Ok((stream.get_schema(), Box::new(stream)));
        }
        let column = Arc::new(Field::new("plan", DataType::Utf8, false));
        let schema = Arc::new(Schema::new(vec![Arc::clone(&column)]));
        let plans = stream.map(move |batch| -> duckdb::Result<RecordBatch> {
            let lines = lines(&batch?);
            Ok(StructArray::from(vec![(Arc::clone(&column), lines)]).into())
        });
        Ok((schema, Box::new(plans)))
    }
}

/// The lines of a plan, which DuckDB tells as one text beside its kind.
fn lines(batch: &RecordBatch) -> ArrayRef {
    let texts = batch
        .column_by_name("explain_value")
        .and_then(|texts| texts.as_string_opt::<i32>());
    let texts = texts.into_iter().flatten().flatten();
    Arc::new(StringArray::from_iter_values(texts.flat_map(str::lines)))
}
