use std::path::PathBuf;

/// What can go wrong while a report is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{text}` is no ISO week: write a year and a week, such as 2026-W46")]
    Week { text: String },
    #[error("`{zone}` is no time zone: use an IANA name such as Europe/Berlin")]
    Zone { zone: String },
    #[error("no cost of team `{team}` in this week or the one before; teams with cost: {known}")]
    NoTeam { team: String, known: String },
    #[error("cannot {doing}")]
    DuckDb {
        doing: &'static str,
        #[source]
        source: duckdb::Error,
    },
    #[error("cannot draw {what}: {reason}")]
    Chart { what: &'static str, reason: String },
    #[error("cannot write {path}: {reason}")]
    Write { path: PathBuf, reason: String },
    #[error("cannot lay rows out in this format")]
    Rendering(#[source] arrow::error::ArrowError),
    #[error("cannot write what is exported")]
    Output(#[source] std::io::Error),
    #[error(transparent)]
    Model(#[from] podledger_sql::Error),
}

pub type Result<T> = std::result::Result<T, Error>;
