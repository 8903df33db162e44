//! Published marts as files: of a period where a mart tells time.

use std::io::Write;
use std::path::Path;

use duckdb::Connection;
use jiff::civil::Date;
use podledger_sql::ledger::quote;
use podledger_sql::published::PublishedMart;

use crate::door::{Format, Rendering};
use crate::{Error, Result};

/// Columns that tell when a row is of, the best first.
const TIMES: &[&str] = &[
    "charge_date",
    "hour_start_at",
    "first_local_date",
    "created_at",
    "started_at",
    "created_ms",
];

/// Days from the first to before the second, UTC; open where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Days {
    pub from: Option<Date>,
    pub to: Option<Date>,
}

impl Days {
    /// Whether it is all time.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// The column that tells when a row of a mart is of; `None` where none does.
#[must_use]
pub fn time_of(mart: &PublishedMart) -> Option<&'static str> {
    TIMES
        .iter()
        .copied()
        .find(|time| mart.columns.iter().any(|column| column.name == *time))
}

/// Writes the rows of a mart, in the order in which it was published, as they are read; returns how many there are. A mart without a time is written whole.
///
/// # Errors
/// [`Error::DuckDb`] where the file cannot be read, [`Error::Rendering`], [`Error::Output`].
pub fn write(
    connection: &Connection,
    folder: &Path,
    mart: &PublishedMart,
    days: Days,
    format: Format,
    out: &mut impl Write,
) -> Result<u64> {
    let failed = |source| Error::DuckDb {
        doing: "read a published mart",
        source,
    };
    let mut query = format!(
        "select * from read_parquet({})",
        quote(&folder.join(&mart.file).to_string_lossy())
    );
    if let Some(time) = time_of(mart) {
        let bounds: Vec<String> = [(">=", days.from), ("<", days.to)]
            .into_iter()
            .filter_map(|(relation, day)| Some(format!("{time} {relation} {}", bound(time, day?))))
            .collect();
        if !bounds.is_empty() {
            query += &format!(" where {}", bounds.join(" and "));
        }
    }
    let mut statement = connection.prepare(&query).map_err(failed)?;
    let stream = statement.stream_arrow([]).map_err(failed)?;
    let mut rendering = Rendering::new(format, &stream.get_schema()).map_err(Error::Rendering)?;
    let mut put = |bytes: Vec<u8>| out.write_all(&bytes).map_err(Error::Output);
    put(rendering.begin().map_err(Error::Rendering)?)?;
    for batch in stream {
        put(rendering
            .write(&batch.map_err(failed)?)
            .map_err(Error::Rendering)?)?;
    }
    let rows = rendering.rows();
    put(rendering.end().map_err(Error::Rendering)?)?;
    Ok(rows)
}

/// The start of a day in the type of a column.
fn bound(time: &str, day: Date) -> String {
    if time.ends_with("_ms") {
        format!("epoch_ms(timestamp '{day} 00:00:00')")
    } else if time.ends_with("_date") {
        format!("date '{day}'")
    } else {
        format!("timestamp '{day} 00:00:00'")
    }
}
