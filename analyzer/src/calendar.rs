//! The calendar that a build hands to the models.

use duckdb::Connection;
use podledger_sql::calendar::calendar;
use podledger_sql::{Doing, Result as SqlResult};

use crate::touched::execute;

/// Fills the calendar for all hours of the machines' lives, all that is known of their clusters, and the hours in which closed months are adjusted;
/// returns whether hours that were in it are other ones now.
pub(crate) fn fill_calendar(connection: &Connection, zones: &[String]) -> SqlResult<bool> {
    let (start_ms, end_ms): (Option<i64>, Option<i64>) = connection
        .query_row(
            "select min(from_ms), max(to_ms) from (
                 select start_ms as from_ms, end_ms as to_ms from intermediate.int_machine_lives
                 union all
                 select from_ms, to_ms from intermediate.int_clusters where from_ms < to_ms
                 union all
                 select open_ms, open_ms + 3600000 from staging.stg_closed_months
             )",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .doing("read the span of the machines' lives")?;
    let before = calendar_content(connection)?;
    execute(connection, "delete from build.calendar", "clear the calendar")?;
    let (Some(start_ms), Some(end_ms)) = (start_ms, end_ms) else {
        return Ok(before != calendar_content(connection)?);
    };
    let mut appender = connection
        .appender_to_db("calendar", "build")
        .doing("fill the calendar")?;
    for hour in calendar(start_ms, end_ms, zones)? {
        appender
            .append_row(duckdb::params![
                hour.hour_start_ms,
                hour.zone,
                hour.local_date,
                hour.iso_week
            ])
            .doing("fill the calendar")?;
    }
    appender.flush().doing("fill the calendar")?;
    Ok(before != calendar_content(connection)?)
}

/// Tells two calendars apart that cover the same hours.
fn calendar_content(connection: &Connection) -> SqlResult<String> {
    connection
        .query_row(
            "select coalesce(string_agg(distinct zone, ' ' order by zone), '') from build.calendar",
            [],
            |row| row.get(0),
        )
        .doing("read the calendar")
}
