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

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
