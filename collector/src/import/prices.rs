//! `import prices`: list prices of machines, from a CSV of our own form.

use std::path::Path;

use jiff::civil::Date;
use podledger_sql::Doing;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::{quote, scratch};

use crate::error::{Error, Result};
use crate::import::Imported;
use crate::import::query::import_query;

/// Columns that the file must have, in any order.
const COLUMNS: &[&str] = &[
    "provider",
    "region",
    "instance_type",
    "capacity_type",
    "valid_from",
    "hourly_usd",
    "source",
];

/// Reads `file` and writes its prices to the lake; the same file is written once.
///
/// # Errors
/// [`Error::Input`] for a file that is not there, lacks a column, or has a row that is no price, with row and column;
/// [`Error::Sql`]. Nothing is written then.
pub fn import(lake: &Lake, file: &Path, recorded_date: Date) -> Result<Imported> {
    let input = |reason: String| Error::Input {
        path: file.to_path_buf(),
        reason,
    };
    if !file.is_file() {
        return Err(input("is not there".to_owned()));
    }
    let read = format!(
        "read_csv({}, header = true, all_varchar = true, delim = ',', quote = '\"')",
        quote(&file.to_string_lossy())
    );
    let connection = scratch()?;
    let mut statement = connection
        .prepare(&format!("select column_name from (describe from {read})"))
        .doing(format!("read {}", file.display()))?;
    let found: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .doing(format!("read {}", file.display()))?;
    if let Some(missing) = COLUMNS
        .iter()
        .find(|column| !found.iter().any(|name| name == *column))
    {
        return Err(input(format!(
            "has no column `{missing}`; it needs {}",
            COLUMNS.join(", ")
        )));
    }
    // A cell that does not convert would stop the query without its row: look for the first of them before.
    let wrong: Vec<(i64, String, String)> = connection
        .prepare(&format!(
            "with numbered as (select *, row_number() over () + 1 as line from {read}) \
             select line, 'valid_from', coalesce(valid_from, '') from numbered \
             where try_cast(valid_from as timestamp) is null \
             union all \
             select line, 'hourly_usd', hourly_usd from numbered where hourly_usd is not null \
             and (try_cast(hourly_usd as decimal(18,9)) is null or cast(hourly_usd as decimal(18,9)) <> cast(hourly_usd as decimal(38,18))) \
             order by 1, 2 limit 1"
        ))
        .and_then(|mut statement| {
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })
        .doing(format!("read {}", file.display()))?;
    if let Some((line, column, cell)) = wrong.first() {
        let wanted = if column == "valid_from" {
            "YYYY-MM-DD"
        } else {
            "US dollars with at most nine decimals"
        };
        return Err(input(format!("line {line}, {column}: `{cell}` is not {wanted}")));
    }
    import_query(
        lake,
        "prices",
        &format!(
            "select provider, region, instance_type, capacity_type, cast(valid_from as timestamp) as valid_from_at, \
             cast(hourly_usd as decimal(18,9)) as hourly_usd, source from {read}"
        ),
        recorded_date,
    )
}
