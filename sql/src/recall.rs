//! What the lake knew last: the newest fact of everything that a cluster has.

use arrow::record_batch::RecordBatch;
use duckdb::params;

use crate::error::{Doing, Result};
use crate::facts::Fact;
use crate::lake::{Lake, SEGMENT_COLUMN};
use crate::ledger::{quote, scratch};
use crate::validate::validate;

/// Which facts of a table are asked for.
#[derive(Debug)]
pub struct Newest<'a> {
    /// The table.
    pub fact: &'static Fact,
    /// The columns that name what a fact is about.
    pub subject: &'a [&'a str],
    /// The column that says when it was true.
    pub time: &'a str,
    /// An SQL condition that the newest fact of a subject has to meet.
    pub only: &'a str,
}

/// All facts of a table, for the `from` of a query.
///
/// # Errors
/// Those of [`Lake::segments`].
pub fn relation(lake: &Lake, fact: &Fact) -> Result<String> {
    let segments = lake.segments()?;
    let files: Vec<String> = std::iter::once(lake.schema_file(fact))
        .chain(
            segments
                .into_iter()
                .filter(|segment| segment.table == fact.table)
                .map(|segment| segment.path),
        )
        .map(|path| quote(&path.to_string_lossy()))
        .collect();
    Ok(format!(
        "read_parquet([{}], union_by_name = true, hive_partitioning = false)",
        files.join(", ")
    ))
}

/// The newest fact of each subject in a cluster.
///
/// # Errors
/// Those of [`Lake::segments`] and [`validate`]; [`Error::DuckDb`](crate::Error::DuckDb) for a segment that cannot be read.
pub fn newest(lake: &Lake, cluster: &str, wanted: &Newest<'_>) -> Result<Vec<RecordBatch>> {
    let Newest {
        fact,
        subject,
        time,
        only,
    } = wanted;
    let doing = || format!("read the newest {} from the lake", fact.table);
    let relation = relation(lake, fact)?;
    let columns: Vec<&str> = fact.columns.iter().map(|column| column.name).collect();
    let text = format!(
        "select {columns} from ( \
            select * from {relation} where cluster = ? \
            qualify row_number() over (partition by {subject} order by {time} desc, {SEGMENT_COLUMN} desc) = 1 \
         ) where {only} order by {subject}",
        columns = columns.join(", "),
        subject = subject.join(", "),
    );
    let connection = scratch()?;
    let mut statement = connection.prepare(&text).doing(doing())?;
    let batches = statement.query_arrow(params![cluster]).doing(doing())?;
    batches.map(|batch| validate(fact, &batch, 1)).collect()
}
