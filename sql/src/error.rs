//! The one error type of the crate.

use std::path::PathBuf;

/// What can go wrong between facts, lake, ledger and models; the message names the object and the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A quantity, amount or period that is not one; `reason` says what is wrong with it.
    #[error("cannot read `{text}` as {expected}: {reason}")]
    Unit {
        text: String,
        expected: &'static str,
        reason: String,
    },

    /// A query that the judge of analysts' SQL refuses.
    #[error("this query is not allowed: {reason}")]
    Refused { reason: String },

    /// An error in a model, macro or project file.
    #[error("{file}:{line}: {message}")]
    Model {
        file: String,
        line: usize,
        message: String,
    },

    /// Rows that are not facts of the table they were offered to.
    #[error("{table}: {reason}")]
    Fact { table: &'static str, reason: String },

    /// A row that is not a fact; rows count from 1.
    #[error("{table}, row {row}, column `{column}`: {reason}")]
    Row {
        table: &'static str,
        row: u64,
        column: &'static str,
        reason: String,
    },

    /// The lake's files are not as podledger leaves them.
    #[error("the lake at {} is damaged: {reason}", path.display())]
    Lake { path: PathBuf, reason: String },

    /// Another process holds what this one needs.
    #[error("{} is in use by another process; wait for it or stop it", path.display())]
    InUse { path: PathBuf },

    /// A DuckDB file that cannot be opened.
    #[error("cannot open {}; if it is damaged, move it away: {mend}", path.display())]
    Open {
        path: PathBuf,
        mend: &'static str,
        #[source]
        source: duckdb::Error,
    },

    /// The ledger was written by a version that this one does not understand.
    #[error("{} has version {found}, this podledger understands up to {known}: upgrade podledger", path.display())]
    LedgerVersion { path: PathBuf, found: i64, known: i64 },

    /// An address that is none of a bucket.
    #[error("`{url}` is no bucket: {reason}")]
    BucketUrl { url: String, reason: String },

    /// A bucket did not do what was asked of it.
    #[error("cannot {doing} {object}; {mend}")]
    Bucket {
        doing: &'static str,
        object: String,
        mend: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A bucket is not as podledger leaves it.
    #[error("{object} {reason}")]
    BucketDamaged { object: String, reason: String },

    /// DuckDB failed while doing something we asked of it.
    #[error("cannot {doing}")]
    DuckDb {
        doing: String,
        #[source]
        source: duckdb::Error,
    },

    /// Parquet could not be written or read.
    #[error("cannot {doing} {}", path.display())]
    Parquet {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: parquet::errors::ParquetError,
    },

    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what DuckDB was asked to do when it failed.
pub trait Doing<T> {
    /// The same result, with `doing` (a verb phrase: "open the ledger") on the error.
    ///
    /// # Errors
    /// [`Error::DuckDb`] with the cause as source.
    fn doing(self, doing: impl Into<String>) -> Result<T>;
}

impl<T> Doing<T> for duckdb::Result<T> {
    fn doing(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::DuckDb {
            doing: doing.into(),
            source,
        })
    }
}
