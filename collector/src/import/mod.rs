//! Imports: files that others recorded, as one commit of the lake each.

pub mod aws_prices;
pub mod bills;
pub mod catalogue;
pub mod engines;
pub mod kubernetes;
pub mod nextflow_cws;
pub mod openb;
pub mod opencost_prices;
pub mod prices;
pub mod prometheus;
pub mod query;
pub mod recording;
pub mod spot_prices;
pub mod usage;

use duckdb::Connection;
use podledger_sql::facts::{FACTS, Fact as Table};
use podledger_sql::lake::Commit;
use podledger_sql::{Doing, Error as SqlError};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::facts::{Fact, batch};

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// The same input was imported before: nothing was written.
    Already,
    /// Nothing of the input is about what the lake knows: nothing was written.
    Nothing,
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

/// Writes facts of any tables.
fn write_facts(commit: &mut Commit<'_>, facts: &[Fact]) -> Result<Vec<(&'static str, u64)>> {
    let mut written = Vec::new();
    for table in FACTS {
        let of_table: Vec<Fact> = facts
            .iter()
            .filter(|fact| fact.table() == table.table)
            .cloned()
            .collect();
        if !of_table.is_empty() {
            let batch = batch(table, &of_table)?;
            let rows = commit.write(table, std::iter::once(Ok::<_, SqlError>(batch)))?;
            written.push((table.table, rows));
        }
    }
    Ok(written)
}

/// Writes rows whose fields are named as the table's columns.
fn write_rows<T: Serialize>(commit: &mut Commit<'_>, table: &str, rows: &[T]) -> Result<(&'static str, u64)> {
    let fact = fact(table)?;
    let batch = batch(fact, rows)?;
    let rows = commit.write(fact, std::iter::once(Ok::<_, SqlError>(batch)))?;
    Ok((fact.table, rows))
}

/// What identifies an input: the same pieces, the same text.
fn digest<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        let piece = piece.as_ref();
        hash.update(piece.len().to_le_bytes());
        hash.update(piece);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fact(table: &str) -> Result<&'static Table> {
    Table::named(table)
        .filter(|fact| !fact.is_of_closing())
        .ok_or_else(|| Error::NoTable {
            table: table.to_owned(),
            known: FACTS
                .iter()
                .filter(|fact| !fact.is_of_closing())
                .map(|fact| fact.table)
                .collect(),
        })
}
