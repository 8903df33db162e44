//! `import nextflow-cws`: traces of the Common Workflow Scheduler experiments (Lehmann et al., CCGrid 2023).

use std::io::Read;
use std::path::{Path, PathBuf};

use duckdb::Connection;
use jiff::civil::Date;
use podledger_sql::Doing;
use podledger_sql::imports::{
    NEXTFLOW_CWS_FACTS, NEXTFLOW_CWS_INPUTS, NEXTFLOW_CWS_OCCUPANCY, NEXTFLOW_CWS_TOTALS,
};
use podledger_sql::lake::Lake;
use podledger_sql::ledger::{quote, scratch};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::import::{Imported, write_query, write_rows};
use crate::prices::{ListPrice, list_prices, price_rows};

const FILES: &[&str] = &[
    "pods.parquet",
    "nodes.csv",
    "runs.csv",
    "scheduler_events.parquet",
];

/// Columns that must be there, with DuckDB's name of their type.
const POD_COLUMNS: &[(&str, &str)] = &[
    ("run_id", "VARCHAR"),
    ("workflow", "VARCHAR"),
    ("strategy", "VARCHAR"),
    ("task_id", "BIGINT"),
    ("pod_name", "VARCHAR"),
    ("node", "VARCHAR"),
    ("process", "VARCHAR"),
    ("status", "VARCHAR"),
    ("exit_code", "BIGINT"),
    ("container_image", "VARCHAR"),
    ("cpu_request_cores", "BIGINT"),
    ("memory_request_bytes", "BIGINT"),
    ("submit_ms", "BIGINT"),
    ("start_ms", "BIGINT"),
    ("complete_ms", "BIGINT"),
    ("realtime_ms", "BIGINT"),
    ("cpu_pct", "DOUBLE"),
    ("peak_rss_bytes", "BIGINT"),
];

const EVENT_COLUMNS: &[(&str, &str)] = &[
    ("ts_utc", "VARCHAR"),
    ("run_id", "VARCHAR"),
    ("event", "VARCHAR"),
    ("pod_name", "VARCHAR"),
    ("node", "VARCHAR"),
];

/// What no pod of the trace may be: column, condition, and what is wrong then.
const POD_RULES: &[(&str, &str, &str)] = &[
    ("run_id", "run_id is null", "is empty"),
    ("task_id", "task_id is null", "is empty"),
    ("submit_ms", "submit_ms is null", "is empty"),
    (
        "start_ms",
        "start_ms is null or start_ms < submit_ms",
        "is empty or before submit_ms",
    ),
    (
        "complete_ms",
        "complete_ms is null or complete_ms < start_ms",
        "is empty or before start_ms: a negative duration",
    ),
    (
        "cpu_request_cores",
        "cpu_request_cores is null or cpu_request_cores < 0",
        "is empty or negative",
    ),
    (
        "memory_request_bytes",
        "memory_request_bytes is null or memory_request_bytes < 0",
        "is empty or negative",
    ),
    ("realtime_ms", "realtime_ms < 0", "is negative"),
    ("cpu_pct", "cpu_pct < 0", "is negative"),
    ("peak_rss_bytes", "peak_rss_bytes < 0", "is negative"),
    (
        "status",
        "status is null or status not in ('COMPLETED', 'FAILED')",
        "is neither COMPLETED nor FAILED",
    ),
    (
        "node",
        "node is not null and node not in (select node from trace_nodes)",
        "is a machine that nodes.csv does not list",
    ),
];

/// Where a trace is, and how its machines are named and paid.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the trace.
    pub folder: PathBuf,
    /// Identifier of the cluster, which the trace does not name.
    pub cluster: String,
    /// `provider/region/instance type` whose list price every machine is paid with.
    pub price_as: String,
    /// UTC day under which the facts are filed.
    pub recorded_date: Date,
}

/// Totals of a trace, whether it was imported now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Pods in the trace; every one is imported.
    pub pods: i64,
    /// Pods whose node the trace does not name: they are counted as unplaced and cost nothing.
    pub without_node: i64,
    /// Pods whose occupancy the scheduler's log tells; the others are known by their container.
    pub by_log: i64,
    /// Core-milliseconds asked for while containers ran.
    pub container_core_ms: i64,
    /// Core-milliseconds asked for while pods held their machines.
    pub occupied_core_ms: i64,
}

/// Imports the trace in `options.folder`; `progress` hears what is being done.
///
/// # Errors
/// [`Error::Input`] for a file with wrong columns, types or rows, naming file, row and column; [`Error::NoPrice`];
/// [`Error::Sql`]. Nothing is written then.
pub fn import(lake: &Lake, options: &Options, progress: &dyn Fn(&str)) -> Result<(Imported, Totals)> {
    let prices = list_prices(&options.price_as)?;
    progress("reading");
    let id = fingerprint(options)?;
    let connection = scratch()?;
    prepare(&connection, options, &prices)?;
    let totals = totals(&connection)?;
    let origin = format!("nextflow-cws-{}", options.cluster);
    if lake.is_committed(&origin, &id) {
        return Ok((Imported::Already, totals));
    }
    let note = format!("import nextflow-cws, priced as {}", options.price_as);
    let mut commit = lake.begin(&origin, &id, &note, options.recorded_date)?;
    let mut written = Vec::new();
    for query in NEXTFLOW_CWS_FACTS {
        progress(query.table);
        written.push(write_query(&connection, &mut commit, query.table, query.text)?);
    }
    progress("prices");
    written.push(write_rows(&mut commit, "prices", &price_rows(&prices))?);
    commit.publish()?;
    Ok((Imported::Written(written), totals))
}

fn prepare(connection: &Connection, options: &Options, prices: &[ListPrice]) -> Result<()> {
    let Some(shape) = prices.first() else {
        return Ok(());
    };
    for file in FILES {
        let path = options.folder.join(file);
        if !path.is_file() {
            return Err(Error::Input {
                path,
                reason: "it is not there; the trace is not whole".to_owned(),
            });
        }
    }
    check_columns(connection, &options.folder.join("pods.parquet"), POD_COLUMNS)?;
    check_columns(
        connection,
        &options.folder.join("scheduler_events.parquet"),
        EVENT_COLUMNS,
    )?;
    connection
        .execute_batch(&format!(
            "set variable folder = {}; set variable cluster = {}; set variable provider = {}; set variable region = {}; \
             set variable instance_type = {}; set variable shape_millicores = {}; set variable shape_bytes = {};",
            quote(&options.folder.to_string_lossy()),
            quote(&options.cluster),
            quote(&shape.provider),
            quote(&shape.region),
            quote(&shape.instance_type),
            shape.cpu_millicores,
            shape.memory_bytes,
        ))
        .doing("set up the import")?;
    let input = |file: &str, error: &dyn std::fmt::Display| Error::Input {
        path: options.folder.join(file),
        reason: error.to_string(),
    };
    connection
        .execute_batch(NEXTFLOW_CWS_INPUTS)
        .map_err(|error| input("", &error))?;
    // Every row of the CSV files must be readable before pods are held against them.
    for (file, view) in [
        ("nodes.csv", "trace_nodes"),
        ("runs.csv", "trace_runs"),
        ("scheduler_events.parquet", "trace_events"),
    ] {
        connection
            .execute_batch(&format!(
                "create temp table checked as select * from {view}; drop table checked;"
            ))
            .map_err(|error| input(file, &error))?;
    }
    check_pods(connection, &options.folder.join("pods.parquet"))?;
    connection
        .execute_batch(NEXTFLOW_CWS_OCCUPANCY)
        .map_err(|error| input("", &error))
}

fn check_columns(connection: &Connection, path: &Path, wanted: &[(&str, &str)]) -> Result<()> {
    let input = |reason: String| Error::Input {
        path: path.to_path_buf(),
        reason,
    };
    let mut statement = connection
        .prepare(&format!(
            "describe select * from read_parquet({})",
            quote(&path.to_string_lossy())
        ))
        .map_err(|error| input(error.to_string()))?;
    let found: Vec<(String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(|error| input(error.to_string()))?;
    for (column, kind) in wanted {
        match found.iter().find(|(name, _)| name == column) {
            None => return Err(input(format!("column `{column}` ({kind}) is missing"))),
            Some((_, other)) if other != kind => {
                return Err(input(format!("column `{column}` must be {kind}, it is {other}")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_pods(connection: &Connection, path: &Path) -> Result<()> {
    let broken = POD_RULES
        .iter()
        .map(|(_, condition, _)| format!("min(file_row_number) filter (where {condition})"));
    let statement = format!(
        "select {}, (select min(file_row_number) from (select file_row_number, row_number() over (partition by run_id, task_id \
         order by file_row_number) as occurrence from trace_pods) where occurrence > 1) from trace_pods",
        broken.collect::<Vec<_>>().join(", ")
    );
    let rows: Vec<Option<i64>> = connection
        .query_row(&statement, [], |row| {
            (0..=POD_RULES.len()).map(|index| row.get(index)).collect()
        })
        .doing("check the trace's pods")?;
    let reasons = POD_RULES.iter().map(|(column, _, reason)| (*column, *reason));
    let reasons = reasons.chain([("task_id", "comes again in the same run")]);
    let first = reasons
        .zip(rows)
        .filter_map(|(rule, row)| row.map(|row| (row, rule)))
        .min();
    match first {
        None => Ok(()),
        Some((row, (column, reason))) => Err(Error::Input {
            path: path.to_path_buf(),
            reason: format!(
                "row {}, column `{column}`: {reason}; mend or remove the row",
                row + 1
            ),
        }),
    }
}

fn totals(connection: &Connection) -> Result<Totals> {
    Ok(connection
        .query_row(NEXTFLOW_CWS_TOTALS, [], |row| {
            Ok(Totals {
                pods: row.get("pods")?,
                without_node: row.get("without_node")?,
                by_log: row.get("by_log")?,
                container_core_ms: row.get("container_core_ms")?,
                occupied_core_ms: row.get("occupied_core_ms")?,
            })
        })
        .doing("add up the trace")?)
}

/// Identifies what is imported: the files' bytes and the options that change facts.
fn fingerprint(options: &Options) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!(
        "nextflow-cws 1\n{}\n{}\n",
        options.cluster, options.price_as
    ));
    let mut buffer = vec![0; 1 << 20];
    for file in FILES {
        let path = options.folder.join(file);
        let mut input = std::fs::File::open(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        loop {
            let read = input.read(&mut buffer).map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
