//! Imports: files that others recorded, as one commit of the lake each.

pub mod kubernetes;
pub mod nextflow_cws;
pub mod prices;
pub mod query;

use duckdb::Connection;
use podledger_sql::facts::Fact;
use podledger_sql::lake::Commit;
use podledger_sql::{Doing, Error as SqlError};

use crate::error::{Error, Result};

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// The same input was imported before: nothing was written.
    Already,
    /// Rows written, by table.
    Written(Vec<(&'static str, u64)>),
}

/// Runs a query in the scratch database and writes its rows as facts.
fn write_query(
    connection: &Connection,
    commit: &mut Commit<'_>,
    table: &str,
    text: &str,
) -> Result<(&'static str, u64)> {
    let fact = fact(table)?;
    let doing = || format!("query {table}");
    let mut statement = connection.prepare(text).doing(doing())?;
    let batches = statement.query_arrow([]).doing(doing())?;
    let rows = commit.write(fact, batches.map(Ok::<_, SqlError>))?;
    Ok((fact.table, rows))
}

fn fact(table: &str) -> Result<&'static Fact> {
    Fact::named(table).ok_or_else(|| Error::NoTable {
        table: table.to_owned(),
        known: podledger_sql::facts::FACTS
            .iter()
            .map(|fact| fact.table)
            .collect(),
    })
}
