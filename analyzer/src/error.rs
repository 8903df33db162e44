//! The one error type of the crate.

use std::path::PathBuf;

/// What can go wrong between facts and costs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake, the ledger or a model failed.
    #[error(transparent)]
    Sql(#[from] podledger_sql::Error),

    /// The configuration is not one; `reason` names the key and the mend.
    #[error("{}: {reason}", path.display())]
    Config { path: PathBuf, reason: String },

    /// A month cannot be closed; `reason` names what is in the way and the mend.
    #[error("cannot close {month}: {reason}")]
    NotClosed { month: String, reason: String },

    /// What containers used could not be read.
    #[error("cannot read what containers used: run `podledger build` if another version built the ledger")]
    Observations {
        #[source]
        source: duckdb::Error,
    },

    /// A check of the build found rows: nothing of it was kept.
    #[error("the build violates {} of its checks and was rolled back: {}", failures.len(), failures.join("; "))]
    Violated { failures: Vec<String> },
}

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
