//! The views of `build` through which models see what a build has to look at, or everything when none is running.

use std::fmt::Write as _;

use duckdb::Connection;
use podledger_sql::{Doing, Result as SqlResult};

/// Every such view, and the relation that it shows.
const VIEWS: &[(&str, &str)] = &[
    ("pod_states", "raw.pod_states"),
    ("pod_identities", "raw.pod_identities"),
    ("new_pod_identities", "raw.pod_identities"),
    ("engine_outcomes", "raw.engine_outcomes"),
    ("container_ends", "raw.container_ends"),
    ("usage_hours", "raw.usage_hours"),
    ("int_machine_hours", "intermediate.int_machine_hours"),
    ("int_pods", "intermediate.int_pods"),
    ("int_pod_spans", "intermediate.int_pod_spans"),
    ("int_pod_names", "intermediate.int_pod_names"),
    ("int_pod_costs", "intermediate.int_pod_costs"),
    ("int_costs_hourly", "intermediate.int_costs_hourly"),
    ("int_booked_costs", "intermediate.int_booked_costs"),
    ("machine_pod_hours", "intermediate.machine_pod_hours"),
    ("int_service_lives", "intermediate.int_service_lives"),
    ("int_service_hours", "intermediate.int_service_hours"),
    ("touched_calendar", "build.calendar"),
];

/// Restricts a view: `filter` follows `from` and its relation.
pub(crate) fn show(connection: &Connection, view: &str, filter: &str) -> SqlResult<()> {
    let Some((view, relation)) = VIEWS.iter().find(|(name, _)| *name == view) else {
        return Ok(());
    };
    execute(
        connection,
        &format!("create or replace view build.{view} as select * from {relation} {filter}"),
        "show what the build looks at",
    )
}

/// Restricts a view that is read often: as [`show`], but what it shows is looked up once, and forgotten by [`show_all`].
pub(crate) fn take(connection: &Connection, view: &str, filter: &str) -> SqlResult<()> {
    if filter.is_empty() {
        return show(connection, view, filter);
    }
    let Some((view, relation)) = VIEWS.iter().find(|(name, _)| *name == view) else {
        return Ok(());
    };
    execute(
        connection,
        &format!(
            "create or replace table build.part_of_{view} as select * from {relation} {filter};
             create or replace view build.{view} as select * from build.part_of_{view};"
        ),
        "take what the build looks at",
    )
}

/// Makes a view that shows everything, unless the view is there. What is no such view is left alone.
pub(crate) fn show_if_missing(connection: &Connection, view: &str) -> SqlResult<()> {
    if let Some((view, relation)) = VIEWS.iter().find(|(name, _)| *name == view) {
        execute(
            connection,
            &format!("create view if not exists build.{view} as select * from {relation}"),
            "show everything",
        )?;
    }
    Ok(())
}

/// Lets every view show everything again, as far as there is something to show.
pub(crate) fn show_all(connection: &Connection) -> SqlResult<()> {
    let mut statement = String::new();
    for (view, relation) in VIEWS {
        let (schema, table) = relation.split_once('.').unwrap_or_default();
        let present = count(
            connection,
            &format!("information_schema.tables where table_schema = '{schema}' and table_name = '{table}'"),
        )?;
        if present > 0 {
            let _ = write!(
                statement,
                "create or replace view build.{view} as select * from {relation}; drop table if exists build.part_of_{view};"
            );
        }
    }
    execute(connection, &statement, "show everything")
}

/// How many rows a relation has.
pub(crate) fn count(connection: &Connection, relation: &str) -> SqlResult<i64> {
    connection
        .query_row(&format!("select count(*) from {relation}"), [], |row| row.get(0))
        .doing("count")
}

pub(crate) fn execute(connection: &Connection, statement: &str, doing: &str) -> SqlResult<()> {
    connection.execute_batch(statement).doing(doing)
}
