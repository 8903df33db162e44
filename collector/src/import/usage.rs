//! `import usage`: samples of containers that somebody else took, by a query over any file that DuckDB reads.
//!
//! Samples are averages, as monitoring systems keep them. They are folded as those of the metrics API are, one container at a
//! time; what cannot be is left out and counted.

use duckdb::Row;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use podledger_sql::Doing;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::{quote, scratch};

use crate::error::{Error, Result};
use crate::facts::UsageHour;
use crate::import::{Imported, digest, write_rows};
use crate::usage::fact;
use crate::usage::fold::{Fold, Key, MOST_CORES};
use crate::words::word_of;

/// What to import.
#[derive(Debug, Clone)]
pub struct Options {
    /// Query that yields `pod_uid`, `sampled_at`, `cpu_millicores` and `memory_bytes`, and maybe `container_name`.
    pub query: String,
    pub cluster: String,
    /// Who measured: a source that `usage_hours` knows.
    pub source: String,
    /// How often samples were taken: an average holds for so long before its instant.
    pub every: SignedDuration,
    /// Samples before the first and from the second instant on cannot be.
    pub within: (Timestamp, Timestamp),
    /// UTC date under which the facts are filed.
    pub recorded_date: Date,
}

/// What became of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// All rows.
    pub rows: u64,
    /// Rows that told something new.
    pub samples: u64,
    /// Rows that tell of an instant of which their container told before.
    pub repeated: u64,
    /// Rows without pod or time, or with no amount at all.
    pub incomplete: u64,
    /// Rows of a time at which they cannot have been taken.
    pub out_of_time: u64,
    /// Rows with an amount below zero, or above what any node has.
    pub implausible: u64,
}

/// No node has so much memory: 1 PiB.
const MOST_BYTES: i64 = 1 << 50;

/// Nanocores of the most cores that a node can have.
const MOST_NANOCORES: i64 = MOST_CORES * 1_000_000_000;

/// What the rows of the query are asked for: rates in nanocores, as exactly as they were written.
const COLUMNS: &[(&str, &str)] = &[
    ("pod_uid", "pod_uid"),
    ("container_name", "container_name"),
    ("sampled_at", "epoch_us(try_cast(sampled_at as timestamp))"),
    (
        "cpu_millicores",
        "try_cast(round(try_cast(cpu_millicores as double) * 1000000) as bigint)",
    ),
    ("memory_bytes", "try_cast(memory_bytes as bigint)"),
];

struct Read {
    pod_uid: Option<String>,
    container_name: Option<String>,
    at_us: Option<i64>,
    nanocores: Option<i64>,
    bytes: Option<i64>,
}

impl Read {
    fn of(row: &Row<'_>) -> duckdb::Result<Self> {
        Ok(Self {
            pod_uid: row.get(0)?,
            container_name: row.get(1)?,
            at_us: row.get(2)?,
            nanocores: row.get(3)?,
            bytes: row.get(4)?,
        })
    }
}

/// Imports samples.
///
/// # Errors
/// [`Error::Sql`] for a query that fails, and for a source that `usage_hours` does not know; [`Error::Object`] where the query
/// lacks a column. Nothing is written then.
pub fn import(lake: &Lake, options: &Options) -> Result<(Imported, Totals)> {
    let (hours, totals) = fold(options)?;
    // What was asked for does not matter: `until` is another instant each time it is left to the clock.
    let id = digest([format!("{hours:?}").as_bytes()]);
    if lake.is_committed("usage", &id) {
        return Ok((Imported::Already, totals));
    }
    let mut commit = lake.begin(
        "usage",
        &id,
        &format!("import usage --from {}", options.query),
        options.recorded_date,
    )?;
    let written = write_rows(&mut commit, "usage_hours", &hours)?;
    commit.publish()?;
    Ok((Imported::Written(vec![written]), totals))
}

fn fold(options: &Options) -> Result<(Vec<UsageHour>, Totals)> {
    let connection = scratch()?;
    let doing = || "run the query for samples".to_owned();
    connection
        .execute_batch(&format!("create temp table samples as {}", options.query))
        .doing(doing())?;
    let has = |column: &str| -> Result<bool> {
        let text = format!(
            "select count(*) > 0 from duckdb_columns() where table_name = 'samples' and column_name = {}",
            quote(column)
        );
        Ok(connection.query_row(&text, [], |row| row.get(0)).doing(doing())?)
    };
    let mut wanted = Vec::new();
    for (name, expression) in COLUMNS {
        wanted.push(if has(name)? {
            format!("{expression} as {name}_read")
        } else if *name == "container_name" {
            format!("null::varchar as {name}_read")
        } else {
            return Err(Error::Object {
                field: "the query for samples".to_owned(),
                reason: format!("has no column `{name}`: it has to yield pod_uid, sampled_at, cpu_millicores and memory_bytes"),
            });
        });
    }
    let text = format!("select {} from samples order by 1, 2, 3, 4, 5", wanted.join(", "));
    let mut statement = connection.prepare(&text).doing(doing())?;
    let mut rows = statement.query([]).doing(doing())?;
    let mut totals = Totals::default();
    let mut folding = Folding {
        options,
        fold: Fold::new(options.every),
        of: None,
        hours: Vec::new(),
    };
    while let Some(row) = rows.next().doing(doing())? {
        folding.row(Read::of(row).doing(doing())?, &mut totals);
    }
    folding.next(None);
    let counts = folding.fold.counts();
    totals.samples = counts.samples;
    totals.repeated = counts.repeated;
    totals.implausible += counts.implausible;
    Ok((folding.hours, totals))
}

/// One container after the other.
struct Folding<'a> {
    options: &'a Options,
    fold: Fold,
    of: Option<Key>,
    hours: Vec<UsageHour>,
}

impl Folding<'_> {
    fn row(&mut self, read: Read, totals: &mut Totals) {
        totals.rows += 1;
        let at = read.at_us.and_then(|at| Timestamp::from_microsecond(at).ok());
        let (Some(pod_uid), Some(at)) = (read.pod_uid.filter(|uid| !uid.is_empty()), at) else {
            totals.incomplete += 1;
            return;
        };
        let (since, until) = self.options.within;
        if at < since || at >= until {
            totals.out_of_time += 1;
            return;
        }
        if read.nanocores.is_none() && read.bytes.is_none() {
            totals.incomplete += 1;
            return;
        }
        let can_be =
            |amount: Option<i64>, most: i64| amount.is_none_or(|amount| (0..=most).contains(&amount));
        if !can_be(read.nanocores, MOST_NANOCORES) || !can_be(read.bytes, MOST_BYTES) {
            totals.implausible += 1;
            return;
        }
        let key = Key {
            pod_uid,
            container_name: read.container_name.unwrap_or_default(),
        };
        if self.of.as_ref() != Some(&key) {
            self.next(Some(key.clone()));
        }
        let amount = |amount: Option<i64>| amount.and_then(|amount| u64::try_from(amount).ok());
        self.fold.average(
            &key,
            at,
            self.options.every,
            amount(read.nanocores),
            amount(read.bytes),
        );
    }

    /// Ends a container, and begins another.
    fn next(&mut self, key: Option<Key>) {
        self.of = key;
        let mut hours = self.fold.take();
        hours.extend(self.fold.finish(1));
        let (cluster, source) = (&self.options.cluster, word_of(&self.options.source));
        self.hours.extend(hours.into_iter().map(|hour| {
            let mut hour = fact(cluster, source, hour);
            hour.container_name = hour.container_name.filter(|name| !name.is_empty());
            hour
        }));
        drop(self.fold.take_marks());
    }
}
