//! `import query`: any file that DuckDB reads, by a query that yields the columns of a fact.

use jiff::civil::Date;
use podledger_sql::Doing;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::scratch;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::import::{Imported, fact, write_query};

/// Runs `text` in a scratch database and writes its rows as facts of `table`, under `recorded_date`.
///
/// The same rows of the same query are written once.
///
/// # Errors
/// [`crate::Error::NoTable`]; [`crate::Error::Sql`] for a query that fails and for rows that are no facts, naming row
/// and column. Nothing is written then.
pub fn import_query(lake: &Lake, table: &str, text: &str, recorded_date: Date) -> Result<Imported> {
    let fact = fact(table)?;
    let connection = scratch()?;
    let digest: String = connection
        .query_row(
            &format!("select count(*) || '-' || coalesce(md5(string_agg(row_hash, '' order by row_hash)), '') from (select md5(cast(facts as varchar)) as row_hash from ({text}) as facts)"),
            [],
            |row| row.get(0),
        )
        .doing(format!("run the query for {table}"))?;
    let hash = Sha256::digest(format!("{}\n{digest}", fact.table));
    let id: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if lake.is_committed("query", &id) {
        return Ok(Imported::Already);
    }
    let mut commit = lake.begin(
        "query",
        &id,
        &format!("import query --into {table} --from {text}"),
        recorded_date,
    )?;
    let written = write_query(&connection, &mut commit, table, text)?;
    commit.publish()?;
    Ok(Imported::Written(vec![written]))
}
