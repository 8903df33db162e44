//! `import focus`, `cur`, `gcp-billing`, `azure-costs`, `cost-explorer`: bills become charges in FOCUS's words.
//!
//! ```text
//! files of rows -> cells by header (formats) -> typed and checked (table) -> sql/imports/bills/*.sql ─┐
//! Cost Explorer's answers -> one charge per group and time (cost_explorer) ──────────────────────────┴> billed_charges
//! Cost Explorer itself (live) -> answers, all of them ┘
//! ```
//!
//! Architecture invariant: an import is one delivery; what stands instead of what is decided by models, so a delivery that came
//! too early can be told from one that came later.

mod cost_explorer;
mod formats;
pub mod live;
mod rows;
mod table;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use duckdb::Connection;
use flate2::write::MultiGzDecoder;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_sql::Doing;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::{quote, scratch};
use sha2::{Digest, Sha256};

pub use formats::Format;

use crate::error::{Error, Result};
use crate::import::{Imported, write_query};

/// What bills of files are filed under, unless they are named: of one account and billing period only the newest counts.
pub const EXPORTS: &str = "exports";

/// How a bill is imported.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the bill is filed under: deliveries of one source, account and billing period follow each other; other sources stand
    /// beside it.
    pub source: String,
    /// The billing account of rows that do not tell theirs.
    pub billing_account: Option<String>,
    /// Take rows without a currency for US dollars.
    pub assume_usd: bool,
    /// When the provider wrote it: of two deliveries the later counts.
    pub delivered_at: Timestamp,
    /// UTC day under which the facts are filed.
    pub recorded_date: Date,
}

/// Totals of a bill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub files: usize,
    /// Rows of the files.
    pub rows: i64,
    pub charges: i64,
    /// Sums in US dollars, with all decimals that they have.
    pub billed_usd: String,
    pub effective_usd: String,
    /// Charges whose effective cost the bill does not tell.
    pub without_effective_cost: i64,
    /// Rows whose cost has more than eighteen decimals, which are rounded to so many, and what that added.
    pub rounded_rows: i64,
    pub rounding_usd: Vec<String>,
    /// First and last UTC day of the charges.
    pub days: Option<(String, String)>,
}

/// What answers of Cost Explorer are filed under: they count only where there is no other bill of the time.
pub const COST_EXPLORER: &str = "cost-explorer";

/// What no charge may be: condition, column, what is wrong then.
const CHARGE_RULES: &[(&str, &str, &str)] = &[
    (
        "charge_category not in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment')",
        "charge_category",
        "is none of Usage, Purchase, Tax, Credit, Adjustment",
    ),
    (
        "pricing_category not in ('Standard', 'Dynamic', 'Committed', 'Other')",
        "pricing_category",
        "is none of Standard, Dynamic, Committed, Other",
    ),
    (
        "commitment_discount_status not in ('Used', 'Unused')",
        "commitment_discount_status",
        "is neither Used nor Unused",
    ),
    (
        "charge_period_end_at < charge_period_start_at",
        "charge_period_end_at",
        "is before the charge period's start",
    ),
    (
        "billing_period_end_at < billing_period_start_at",
        "billing_period_end_at",
        "is before the billing period's start",
    ),
];

/// Imports the file `path`, or all files of the format's kinds in the folder `path` and below, as one delivery.
///
/// # Errors
/// [`Error::Input`] for a file that is damaged, lacks a column, or has a cell or charge that cannot be, naming file, row and
/// column; [`Error::Io`]; [`Error::Sql`]. Nothing is written then.
pub fn import(
    lake: &Lake,
    path: &Path,
    format: Format,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<(Imported, Totals)> {
    let mut hash = Sha256::new();
    let mut pieces = Vec::new();
    for file in files(path, format)? {
        let name = name_in(path, &file);
        hash.update(format!("{}\n{name}\n", format.name()));
        hash_file(&file, &mut hash)?;
        pieces.push(Piece {
            path: file,
            name,
            text: None,
        });
    }
    deliver(lake, path, &pieces, &hex(hash), format, options, progress)
}

/// A file of a bill.
struct Piece {
    path: PathBuf,
    /// Its name within the delivery.
    name: String,
    /// What it says, where it was never a file.
    text: Option<Vec<u8>>,
}

/// Writes the charges of all pieces as one commit.
fn deliver(
    lake: &Lake,
    path: &Path,
    pieces: &[Piece],
    delivery: &str,
    format: Format,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<(Imported, Totals)> {
    let connection = scratch()?;
    let mut totals = Totals {
        files: pieces.len(),
        ..Totals::default()
    };
    let (origin, id) = (origin(&options.source), commit_id(delivery, options));
    let is_committed = lake.is_committed(&origin, &id);
    let note = format!("import {} as {}", format.name(), options.source);
    let mut commit = if is_committed {
        None
    } else {
        Some(lake.begin(&origin, &id, &note, options.recorded_date)?)
    };
    let mut written = 0;
    connection
        .execute_batch("create temp table totals (charges bigint, billed decimal(38,18), effective decimal(38,18), unknown bigint, first_at timestamp, last_at timestamp)")
        .doing("set up the import")?;
    for piece in pieces {
        progress(&piece.name);
        let contents = table::read(
            &connection,
            &piece.path,
            piece.text.as_deref(),
            format,
            options.assume_usd,
        )?;
        totals.rows += contents.rows;
        totals.rounded_rows += contents.rounded_rows;
        totals.rounding_usd.extend(contents.rounding_usd);
        charges(&connection, &piece.path, format)?;
        if let Some(commit) = &mut commit {
            let (_, rows) = write_query(
                &connection,
                commit,
                "billed_charges",
                &facts(format.name(), delivery, &piece.name, options),
            )?;
            written += rows;
        }
    }
    add_up(&connection, &mut totals)?;
    let Some(commit) = commit else {
        return Ok((Imported::Already, totals));
    };
    if written == 0 {
        return Err(Error::Input {
            path: path.to_path_buf(),
            reason: "has no charges".to_owned(),
        });
    }
    commit.publish()?;
    Ok((Imported::Written(vec![("billed_charges", written)]), totals))
}

/// Who writes bills that are filed under `source`.
fn origin(source: &str) -> String {
    format!("bills-{source}")
}

/// The same files under the same name are imported once.
fn commit_id(delivery: &str, options: &Options) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{delivery}\n{:?}\n", options.billing_account));
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file's path below what is imported, with `/`.
fn name_in(path: &Path, file: &Path) -> String {
    let name = match file.strip_prefix(path) {
        Ok(below) if below.components().next().is_some() => below.to_path_buf(),
        _ => file.file_name().map(PathBuf::from).unwrap_or_default(),
    };
    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

fn files(path: &Path, format: Format) -> Result<Vec<PathBuf>> {
    let input = |reason: String| Error::Input {
        path: path.to_path_buf(),
        reason,
    };
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    if !path.is_dir() {
        return Err(input("is not there".to_owned()));
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let io = |source| Error::Io {
            path: folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let entry = entry.map_err(io)?.path();
            let name = entry.to_string_lossy().into_owned();
            if entry.is_dir() {
                folders.push(entry);
            } else if format.endings().iter().any(|end| name.ends_with(end)) {
                found.push(entry);
            }
        }
    }
    if found.is_empty() {
        return Err(input(format!(
            "has no {} file in it",
            format.endings().join(" or ")
        )));
    }
    found.sort();
    Ok(found)
}

/// Hashes a file's bytes, and reads all of what is compressed, so that a stream that breaks off is told before rows are.
fn hash_file(path: &Path, hash: &mut Sha256) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let torn = |error: std::io::Error| Error::Input {
        path: path.to_path_buf(),
        reason: format!("the compressed file is damaged or breaks off: {error}; fetch it again"),
    };
    let mut file = File::open(path).map_err(io)?;
    let mut decoder = rows::is_compressed(path).then(|| MultiGzDecoder::new(std::io::sink()));
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            break;
        }
        let piece = buffer.get(..read).unwrap_or_default();
        hash.update(piece);
        if let Some(decoder) = &mut decoder {
            decoder.write_all(piece).map_err(torn)?;
        }
    }
    if let Some(mut decoder) = decoder {
        decoder.try_finish().map_err(torn)?;
    }
    Ok(())
}

/// Makes the table `charges` of the table `bill`, and adds it to the totals.
fn charges(connection: &Connection, path: &Path, format: Format) -> Result<()> {
    let input = |reason: String| Error::Input {
        path: path.to_path_buf(),
        reason,
    };
    connection
        .execute_batch(&format!(
            "create or replace temp table charges as {}",
            format.query()
        ))
        .map_err(|error| input(error.to_string()))?;
    for (condition, column, reason) in CHARGE_RULES {
        let mut statement = connection
            .prepare(&format!(
                "select source_row, cast({column} as varchar) from charges where {condition} order by source_row limit 1"
            ))
            .doing("check the charges of a bill")?;
        let broken: Vec<(i64, String)> = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .doing("check the charges of a bill")?;
        if let Some((row, value)) = broken.first() {
            return Err(input(format!("row {row}, `{column}`: `{value}` {reason}")));
        }
    }
    connection
        .execute_batch(
            "insert into totals select count(*), coalesce(sum(billed_cost), 0), coalesce(sum(coalesce(effective_cost, billed_cost)), 0), \
             count(*) filter (where effective_cost is null), min(charge_period_start_at), max(charge_period_start_at) from charges",
        )
        .doing("add up a bill")
        .map_err(Error::from)
}

/// The query of the table `charges` as facts.
fn facts(format: &str, delivery: &str, file: &str, options: &Options) -> String {
    let account = options
        .billing_account
        .as_deref()
        .map_or_else(|| "null".to_owned(), quote);
    format!(
        "select {source} as bill_source, {format} as bill_format, {delivery} as delivery, \
         make_timestamp({at}) as delivered_at, {file} as source_file, \
         * replace (coalesce(provider, 'unknown') as provider, coalesce(billing_account_id, cast({account} as varchar)) as billing_account_id, \
         'USD' as currency) from charges order by source_row, source_part",
        source = quote(&options.source),
        format = quote(format),
        delivery = quote(delivery),
        at = options.delivered_at.as_microsecond(),
        file = quote(file),
    )
}

fn add_up(connection: &Connection, totals: &mut Totals) -> Result<()> {
    let (charges, billed, effective, unknown, first, last): (i64, String, String, i64, Option<String>, Option<String>) =
        connection
            .query_row(
                "select cast(coalesce(sum(charges), 0) as bigint), cast(coalesce(sum(billed), 0) as varchar), \
                 cast(coalesce(sum(effective), 0) as varchar), cast(coalesce(sum(unknown), 0) as bigint), \
                 cast(cast(min(first_at) as date) as varchar), cast(cast(max(last_at) as date) as varchar) from totals",
                [],
                |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                    ))
                },
            )
            .doing("add up a bill")?;
    totals.charges = charges;
    totals.billed_usd = plain(&billed);
    totals.effective_usd = plain(&effective);
    totals.without_effective_cost = unknown;
    totals.days = first.zip(last);
    Ok(())
}

/// A decimal number without zeros that say nothing.
fn plain(number: &str) -> String {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}
