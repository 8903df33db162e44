//! Closes a month: writes what it cost as facts that no later fact, price or rule changes.
//!
//! ```text
//! ledger -> refusals -> rows of the month, what machines and services cost an hour -> hash -> one commit of the lake
//! ```
//!
//! The rows are made by the models that a build reads them with, and hashed by the very model that checks them ever after.
//!
//! Architecture invariant: nothing of the ledger is changed; the next build takes the commit in as it takes any other.

mod refusals;

use duckdb::Connection;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use podledger_sql::facts::Fact;
use podledger_sql::lake::{Commit, Lake};
use podledger_sql::ledger::Ledger;
use podledger_sql::{Doing, Error as SqlError};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::touched::execute;

/// Who writes what is closed.
const ORIGIN: &str = "close";

/// The build to which rows belong that are only there to be hashed and written.
const CLOSING: i64 = -1;

/// Which month is closed, and what of it was decided.
#[derive(Debug, Clone)]
pub struct Request {
    /// A day of the month, UTC.
    pub month: Date,
    /// Close it without a bill.
    pub at_list_price: bool,
    /// Clusters of which nothing will come although they were not observed to the month's end.
    pub ended_clusters: Vec<String>,
    /// When it is closed.
    pub closed_at: Timestamp,
}

/// What was closed.
#[derive(Debug, Clone)]
pub struct Closed {
    /// Hash of all rows.
    pub content_hash: String,
    /// Rows of costs.
    pub cost_rows: u64,
    /// Stretches of time with what machines, volumes, load balancers and control planes cost an hour.
    pub price_rows: u64,
}

/// A month and its bounds, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Month {
    first: Date,
    start_ms: i64,
    end_ms: i64,
}

impl Month {
    fn of(first: Date) -> Result<Self> {
        let bound = |date: Date| {
            date.to_zoned(TimeZone::UTC)
                .map(|zoned| zoned.timestamp().as_millisecond())
        };
        let bounds = first
            .checked_add(1.month())
            .and_then(|next| Ok((bound(first)?, bound(next)?)));
        let (start_ms, end_ms) = bounds.map_err(|error| Error::NotClosed {
            month: first.to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            first,
            start_ms,
            end_ms,
        })
    }

    /// When it ends, as people read it. Bills are in UTC, so months are.
    fn end(self) -> String {
        Timestamp::from_millisecond(self.end_ms).map_or_else(
            |error| error.to_string(),
            |end| end.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
    }

    fn name(self) -> String {
        self.first.strftime("%Y-%m").to_string()
    }

    fn refused(self, reason: impl Into<String>) -> Error {
        Error::NotClosed {
            month: self.name(),
            reason: reason.into(),
        }
    }
}

/// Closes a month of a ledger that is built of all that `lake` has; the commit is in the lake then, and not yet in the ledger.
///
/// # Errors
/// [`Error::NotClosed`] before the month has ended, while anything of it may still come, if it is closed, or if the ledger is not up to date;
/// [`Error::Sql`]. Nothing is written then.
pub fn close(ledger: &Ledger, lake: &Lake, config: &Config, request: &Request) -> Result<Closed> {
    let month = Month::of(request.month.first_of_month())?;
    let basis = refusals::basis(ledger, lake, config, month, request)?;
    let id = format!("month-{}", month.name());
    let date = request.closed_at.to_zoned(TimeZone::UTC).date();
    // Held until the end: of two that close at once, the second finds what the first has done.
    let commit = lake.begin(ORIGIN, &id, &format!("close {}", month.name()), date)?;
    if lake.is_committed(ORIGIN, &id) {
        return Err(month.refused("it is closed already; run `podledger build` to see it"));
    }
    let connection = ledger.connection();
    execute(connection, "begin transaction", "begin to close a month")?;
    let closed = write(connection, commit, month, basis, request.closed_at);
    let _ = connection.execute_batch("rollback");
    closed
}

/// Writes the month within a transaction that is rolled back.
fn write(
    connection: &Connection,
    mut commit: Commit<'_>,
    month: Month,
    basis: &str,
    closed_at: Timestamp,
) -> Result<Closed> {
    for (statement, doing) in [
        (include_str!("costs.sql"), "read the costs of the month"),
        (include_str!("prices.sql"), "read what machines cost in the month"),
        (
            include_str!("services.sql"),
            "read what volumes and load balancers cost in the month",
        ),
    ] {
        let statement = statement
            .replace("$start", &month.start_ms.to_string())
            .replace("$end", &month.end_ms.to_string())
            .replace("$closing", &CLOSING.to_string());
        execute(connection, &statement, doing)?;
    }
    let cost_rows = write_table(connection, &mut commit, "closed_costs")?;
    if cost_rows == 0 {
        return Err(month.refused("nothing of it was observed, so there is nothing to close"));
    }
    let price_rows = write_table(connection, &mut commit, "closed_prices")?
        + write_table(connection, &mut commit, "closed_services")?;
    let content_hash: String = connection
        .query_row(
            "select content_hash from intermediate.int_closed_contents where month_start_ms = ?",
            [month.start_ms],
            |row| row.get(0),
        )
        .doing("hash the month")?;
    execute(
        connection,
        &format!(
            "insert into raw.closed_months (month_start_at, month_end_at, closed_at, content_hash, basis, build_id)
             values (make_timestamp({} * 1000), make_timestamp({} * 1000), make_timestamp({}), '{content_hash}', '{basis}', {CLOSING})",
            month.start_ms,
            month.end_ms,
            closed_at.as_microsecond(),
        ),
        "note the month",
    )?;
    write_table(connection, &mut commit, "closed_months")?;
    commit.publish()?;
    Ok(Closed {
        content_hash,
        cost_rows,
        price_rows,
    })
}

/// Writes the rows of this closing, in the order of their keys.
fn write_table(connection: &Connection, commit: &mut Commit<'_>, table: &'static str) -> Result<u64> {
    let Some(fact) = Fact::named(table) else {
        return Ok(0);
    };
    let doing = || format!("write {table}");
    let columns: Vec<&str> = fact.columns.iter().map(|column| column.name).collect();
    let text = format!(
        "select {} from raw.{table} where build_id = {CLOSING} order by {}",
        columns.join(", "),
        fact.key.join(", "),
    );
    let mut statement = connection.prepare(&text).doing(doing())?;
    let batches = statement.query_arrow([]).doing(doing())?;
    Ok(commit.write(fact, batches.map(Ok::<_, SqlError>))?)
}
