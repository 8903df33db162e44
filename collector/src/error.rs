//! The one error type of the crate.

use std::path::PathBuf;

/// What can go wrong while input becomes facts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake or a scratch database failed.
    #[error(transparent)]
    Sql(#[from] podledger_sql::Error),

    /// A file is not what it should be; `reason` names row and column where one is at fault.
    #[error("{}: {reason}", path.display())]
    Input { path: PathBuf, reason: String },

    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    /// A field of a Kubernetes object that cannot be read.
    #[error("{field}: {reason}")]
    Object { field: String, reason: String },

    /// A cluster could not be asked; the cause says why.
    #[error("{doing}")]
    Cluster {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },

    /// A Prometheus that cannot be asked, or does not know what it should.
    #[error("{url}: {reason}")]
    Prometheus { url: String, reason: String },

    /// A service of AWS that cannot be asked, or does not answer what it should.
    #[error("{asked}: {reason}")]
    Aws { asked: String, reason: String },

    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    /// A recording could not be written.
    #[error("cannot write the recording")]
    Recording {
        #[source]
        source: std::io::Error,
    },

    /// A thread of the collection ended too early.
    #[error("the collection was interrupted: {reason}")]
    Stopped { reason: String },

    /// A piece of the index that was kept and cannot be read back (or not be written).
    #[error(
        "cannot keep what is known of {kind} `{key}`: the file was written by another version or is damaged; move intake.duckdb away to begin anew"
    )]
    Entry {
        kind: String,
        key: String,
        #[source]
        source: Option<serde_json::Error>,
    },

    /// Facts that do not fit the schema of their table.
    #[error("cannot encode facts of {table}")]
    Encode {
        table: &'static str,
        #[source]
        source: arrow::error::ArrowError,
    },

    /// No list price for what was asked.
    #[error("no built-in list price for `{asked}`: {mend}")]
    NoPrice { asked: String, mend: String },

    /// A name that is no table of facts.
    #[error("`{table}` is no table of facts; the tables are {}", known.join(", "))]
    NoTable { table: String, known: Vec<&'static str> },
}

impl Error {
    /// A cluster could not be asked while `doing` something.
    pub(crate) fn cluster(doing: impl Into<String>, source: kube::Error) -> Self {
        Self::Cluster {
            doing: doing.into(),
            source: Box::new(source),
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
