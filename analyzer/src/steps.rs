//! The steps of a build.
//!
//! Tables of pods, hours, days and runs are kept up to date by key. Each step finds the keys that changed (`dirt/*.sql`),
//! lets the views of `build` show no more than these, and runs the models that read them; a full build is the same with
//! all keys.

use std::fmt::Write as _;

use duckdb::Connection;
use podledger_sql::runner::Runner;
use podledger_sql::{Doing, Result as SqlResult};

use crate::calendar::fill_calendar;
use crate::config::Config;
use crate::error::Result;
use crate::touched::{self, count, execute, show, take};
use crate::work::Work;

/// Tables whose rows of the last build are compared with those of this one.
const COMPARED: &[&str] = &[
    "intermediate.int_machine_lives",
    "intermediate.int_machine_prices",
    "intermediate.int_service_lives",
    "intermediate.int_volume_mounts",
    "staging.stg_node_states",
    "intermediate.int_adjustments",
    "staging.stg_closed_months",
    "staging.stg_collection_gaps",
    "staging.stg_service_prices",
    "staging.stg_allocation_weights",
];

/// What can make a machine-hour come out otherwise, beside pods.
const DIRTYING: &[&str] = &[
    "int_machine_lives",
    "int_machine_prices",
    "stg_node_states",
    "stg_service_prices",
    "stg_allocation_weights",
    "lake.usage_hours",
];

/// How many stretches of pods and machine-hours one step of a full build looks at: about a GiB.
const PIECE: i64 = 1_500_000;

/// Milliseconds from 1970 beyond any that facts tell.
const FAR_MS: i64 = 9_000_000_000_000_000;

/// How often relatives of relatives are looked for; a pod that made a pod that made a pod is rare already.
const GENERATIONS: u32 = 8;

/// Computes everything.
pub(crate) fn run_everything(work: &mut Work<'_>, config: &Config) -> Result<()> {
    let connection = work.connection;
    touched::show_all(connection)?;
    work.run_to(&["int_pods", "int_pod_spans", "int_machines"])?;
    execute(
        connection,
        "delete from build.dirty_busy_hours;
         insert into build.dirty_busy_hours
         select cluster, machine, unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000))
         from intermediate.int_machines where end_ms > start_ms;",
        "list the machine-hours",
    )?;
    work.run_to(&["int_machine_lives", "int_clusters", "stg_closed_months"])?;
    all_hours(connection)?;
    execute(
        connection,
        "delete from build.dirty_days;
         insert into build.dirty_days
         select distinct cast(make_timestamp(day_start_ms * 1000) as date), day_start_ms
         from (
             select unnest(range(start_ms - start_ms % 86400000, end_ms, 86400000)) as day_start_ms
             from intermediate.int_machine_lives
             where end_ms > start_ms
         );",
        "list the days",
    )?;
    fill_calendar(connection, &config.report_zones)?;
    work.watch.lap("(dirty hours, calendar)");

    // Memory is for so many stretches of pods at a time.
    execute(
        connection,
        "create or replace temp table all_hours as from build.dirty_hours",
        "keep the machine-hours",
    )?;
    let pieces = pieces(connection)?;
    work.run_to(&["int_pod_hours", "int_pod_charges", "int_pod_request_hours"])?;
    for (from_ms, to_ms) in &pieces {
        execute(
            connection,
            &format!(
                "delete from build.dirty_hours;
                 insert into build.dirty_hours from all_hours where hour_start_ms >= {from_ms} and hour_start_ms < {to_ms}"
            ),
            "take a piece of the machine-hours",
        )?;
        show_spans(connection, "build.dirty_hours")?;
        show_usage(connection)?;
        work.run_piece("int_machine_hours")?;
        show(connection, "int_machine_hours", OF_HOURS)?;
        work.run_piece("machine_pod_hours")?;
    }
    execute(
        connection,
        "delete from build.dirty_hours; insert into build.dirty_hours from all_hours; drop table all_hours;",
        "list the machine-hours",
    )?;
    touched::show_all(connection)?;
    work.run_to(&["int_service_lives"])?;
    all_service_hours(connection)?;
    work.run_to(&["int_service_hours", "int_pod_names"])?;
    sum_every_hour(work)?;
    work.run_rest()
}

/// Times in which there are about as many stretches of pods and machine-hours as one step may look at.
fn pieces(connection: &Connection) -> Result<Vec<(i64, i64)>> {
    divide(
        connection,
        "select day_ms, cast(sum(weight) as bigint) from (
             select start_ms - start_ms % 86400000 as day_ms, count(*) as weight
             from intermediate.int_pod_spans group by 1
             union all
             select hour_start_ms - hour_start_ms % 86400000, count(*) from build.dirty_hours group by 1
         ) where day_ms >= (select min(hour_start_ms) - 86400000 from build.dirty_hours)
         group by 1 order by 1",
    )
}

/// Times that follow each other and leave none out, of whole days, with about [`PIECE`] of what is counted in each; one piece where
/// there is little. `counted` yields days in their order and how much there is of each.
fn divide(connection: &Connection, counted: &str) -> Result<Vec<(i64, i64)>> {
    let doing = "divide the machine-hours";
    let mut statement = connection.prepare(counted).doing(doing)?;
    let days = statement
        .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .doing(doing)?
        .collect::<duckdb::Result<Vec<_>>>()
        .doing(doing)?;
    let mut edges = vec![-FAR_MS];
    let mut held = 0;
    for (day_ms, weight) in days {
        if held > 0 && held + weight > PIECE {
            edges.push(day_ms);
            held = 0;
        }
        held += weight;
    }
    edges.push(FAR_MS);
    Ok(edges
        .windows(2)
        .filter_map(|edge| Some((*edge.first()?, *edge.last()?)))
        .collect())
}

/// Sums the costs of every hour by who they belong to, of so many machine-hours of pods at a time.
fn sum_every_hour(work: &mut Work<'_>) -> Result<()> {
    let connection = work.connection;
    // What a piece adds to takes nothing away from the pieces before it.
    execute(
        connection,
        "create or replace temp table all_costs as from build.dirty_costs; delete from build.dirty_costs;",
        "keep the hours whose costs changed",
    )?;
    let pieces = divide(
        connection,
        "select hour_start_ms - hour_start_ms % 86400000 as day_ms, count(*)
         from intermediate.machine_pod_hours group by 1 order by 1",
    )?;
    for (from_ms, to_ms) in pieces {
        let piece = format!("where hour_start_ms >= {from_ms} and hour_start_ms < {to_ms}");
        for view in ["machine_pod_hours", "int_service_hours"] {
            show(connection, view, &piece)?;
        }
        work.run_piece("int_costs_hourly")?;
    }
    for view in ["machine_pod_hours", "int_service_hours"] {
        show(connection, view, "")?;
    }
    execute(
        connection,
        "insert into build.dirty_costs from all_costs; drop table all_costs;",
        "list the hours whose costs changed",
    )?;
    Ok(())
}

fn show_usage(connection: &Connection) -> SqlResult<()> {
    show(
        connection,
        "usage_hours",
        "where epoch_ms(hour_start_at) in (select hour_start_ms from build.dirty_hours)",
    )
}

/// Computes what changed: each step finds what it has to look at from what the steps before it changed.
pub(crate) fn run_what_changed(work: &mut Work<'_>, config: &Config, build_id: i64) -> Result<()> {
    let connection = work.connection;
    for relation in COMPARED {
        let old = relation.replace('.', "_");
        execute(
            connection,
            &format!("create or replace temp table old_{old} as select * from {relation}"),
            "remember the last build",
        )?;
    }
    find(work, "pods", include_str!("dirt/pods.sql"), build_id)?;
    for view in ["pod_states", "pod_identities", "engine_outcomes"] {
        take(
            connection,
            view,
            "semi join build.dirty_pods using (cluster, pod_uid)",
        )?;
    }
    note_dirt(work, "dirty_pods")?;
    work.run_to(&[
        "int_pods",
        "int_pod_spans",
        "int_machine_prices",
        "stg_node_states",
        "stg_collection_gaps",
        "stg_service_prices",
        "stg_allocation_weights",
    ])?;

    find(work, "busy hours", include_str!("dirt/busy_hours.sql"), build_id)?;
    note_dirt(work, "dirty_busy_hours")?;
    show_spans(connection, "build.dirty_busy_hours")?;
    work.run_to(&["int_machine_lives", "int_clusters", "stg_closed_months"])?;

    if work.has_changed(DIRTYING) || work.has_changed(&["build.dirty_busy_hours"]) {
        find(work, "hours", include_str!("dirt/hours.sql"), build_id)?;
    } else {
        execute(
            connection,
            "delete from build.dirty_hours; create or replace temp table old_payers (cluster varchar, pod_uid varchar)",
            "clear the machine-hours",
        )?;
    }
    note_dirt(work, "dirty_hours")?;
    show_spans(connection, "build.dirty_hours")?;
    show_usage(connection)?;
    if fill_calendar(connection, &config.report_zones)? {
        work.make_whole(&["teams_weekly", "pipelines_weekly"]);
    }
    work.watch.lap("(calendar)");
    show(connection, "int_machine_hours", OF_HOURS)?;
    work.run_to(&["machine_pod_hours"])?;

    name_pods(work, build_id)?;
    cost_services(work, build_id)?;
    sum_costs(work, build_id)?;
    run_marts(work, build_id)?;

    // What the checks look at.
    show_spans(connection, "build.dirty_hours")?;
    show(connection, "int_machine_hours", OF_HOURS)?;
    show(connection, "machine_pod_hours", OF_HOURS)?;
    show_of_time(connection, "int_service_lives", "build.dirty_service_hours")?;
    show(
        connection,
        "int_service_hours",
        "semi join build.dirty_service_hours using (cluster, hour_start_ms)",
    )?;
    Ok(())
}

const OF_HOURS: &str = "semi join build.dirty_hours using (cluster, machine, hour_start_ms)";
const OF_PAYERS: &str = "semi join build.dirty_pod_costs using (cluster, pod_uid)";
const NAMED: &str = "semi join build.dirty_names using (cluster, pod_uid)";

fn take_named(connection: &Connection) -> SqlResult<()> {
    for view in ["pod_identities", "container_ends", "int_pods"] {
        take(connection, view, NAMED)?;
    }
    Ok(())
}

/// Says anew who pods worked for: those with new facts, their relatives, and all pods of the runs that these are of.
fn name_pods(work: &mut Work<'_>, build_id: i64) -> Result<()> {
    let connection = work.connection;
    execute(
        connection,
        "create or replace temp table old_airflow_texts as from intermediate.int_airflow_texts",
        "remember the texts of Airflow",
    )?;
    show(
        connection,
        "new_pod_identities",
        &format!("where build_id = {build_id}"),
    )?;
    work.run_to(&["int_airflow_texts"])?;
    if work.is_whole("int_pod_names") {
        for view in ["pod_identities", "container_ends", "int_pods"] {
            show(connection, view, "")?;
        }
        execute(
            connection,
            "delete from build.dirty_names; create or replace temp table old_names as from intermediate.int_pod_names limit 0",
            "clear the pods to name",
        )?;
        return work.run_to(&["int_pod_names"]);
    }
    find(work, "names", include_str!("dirt/names.sql"), build_id)?;
    find_relatives(work, build_id)?;
    execute(
        connection,
        &format!("create or replace temp table old_names as from intermediate.int_pod_names {NAMED}"),
        "remember the names",
    )?;
    take_named(connection)?;
    note_dirt(work, "dirty_names")?;
    work.run_to(&["int_pod_names"])?;
    let named = count(connection, "build.dirty_names")?;
    find(
        work,
        "runs of names",
        include_str!("dirt/run_members.sql"),
        build_id,
    )?;
    if count(connection, "build.dirty_names")? > named {
        find_relatives(work, build_id)?;
        execute(
            connection,
            &format!(
                "insert into old_names from intermediate.int_pod_names {NAMED} anti join old_names using (cluster, pod_uid)"
            ),
            "remember the names",
        )?;
        take_named(connection)?;
        work.run_again("int_pod_names")?;
    }
    Ok(())
}

fn find_relatives(work: &mut Work<'_>, build_id: i64) -> Result<()> {
    for _ in 0..GENERATIONS {
        let before = count(work.connection, "build.dirty_names")?;
        find(work, "relatives", include_str!("dirt/relatives.sql"), build_id)?;
        if count(work.connection, "build.dirty_names")? == before {
            break;
        }
    }
    Ok(())
}

/// Says what volumes, load balancers and control planes cost, and who pays.
fn cost_services(work: &mut Work<'_>, build_id: i64) -> Result<()> {
    work.run_to(&["int_service_lives", "int_volume_mounts"])?;
    find(work, "service hours", include_str!("dirt/services.sql"), build_id)?;
    note_dirt(work, "dirty_service_hours")?;
    show_of_time(work.connection, "int_service_lives", "build.dirty_service_hours")?;
    work.run_to(&["int_service_hours"])
}

/// Sums costs by pod, and by hour and who they belong to.
fn sum_costs(work: &mut Work<'_>, build_id: i64) -> Result<()> {
    let connection = work.connection;
    find(work, "costs", include_str!("dirt/costs.sql"), build_id)?;
    note_dirt(work, "dirty_pod_costs")?;
    note_dirt(work, "dirty_costs")?;
    show(connection, "machine_pod_hours", OF_PAYERS)?;
    show(connection, "int_service_hours", OF_PAYERS)?;
    work.run_to(&["int_pod_costs"])?;
    if work.is_whole("int_costs_hourly") {
        show(connection, "int_pod_names", "")?;
        sum_every_hour(work)?;
    } else {
        for view in ["machine_pod_hours", "int_service_hours"] {
            show(
                connection,
                view,
                "semi join build.dirty_costs using (cluster, hour_start_ms)",
            )?;
        }
        execute(
            connection,
            "delete from build.touched_pods;
             insert into build.touched_pods
             select cluster, pod_uid from build.machine_pod_hours where pod_uid is not null
             union
             select cluster, owner_pod_uid from build.int_service_hours where owner_pod_uid is not null;",
            "list the pods of these hours",
        )?;
        show(
            connection,
            "int_pod_names",
            "semi join build.touched_pods using (cluster, pod_uid)",
        )?;
    }
    work.run_to(&["int_costs_hourly", "int_adjustments"])
}

fn run_marts(work: &mut Work<'_>, build_id: i64) -> Result<()> {
    let connection = work.connection;
    find(work, "marts", include_str!("dirt/marts.sql"), build_id)?;
    for dirty in ["dirty_days", "dirty_weeks", "dirty_runs"] {
        note_dirt(work, dirty)?;
    }
    let days = days(connection)?;
    let of_days = |instant: &str| format!("where {instant} - {instant} % 86400000 in ({days})");
    let filter = |is_whole: bool, filter: &str| {
        if is_whole {
            String::new()
        } else {
            filter.to_owned()
        }
    };

    // By day: what is made anew as a whole sees everything.
    show(connection, "machine_pod_hours", &of_days("hour_start_ms"))?;
    work.run_to(&["machines_daily"])?;
    show(
        connection,
        "int_booked_costs",
        &filter(work.is_whole("costs_daily"), &of_days("hour_start_ms")),
    )?;
    work.run_to(&["costs_daily"])?;
    show(connection, "int_pod_names", "")?;
    for mart in ["jobs_daily", "queue_waits"] {
        show(
            connection,
            "int_pods",
            &filter(work.is_whole(mart), &of_days("created_ms")),
        )?;
        work.run_to(&[mart])?;
    }

    show(
        connection,
        "touched_calendar",
        &filter(
            work.is_whole("teams_weekly"),
            "semi join build.dirty_weeks using (zone, iso_week)",
        ),
    )?;
    work.run_to(&["teams_weekly", "pipelines_weekly"])?;

    let of_runs = filter(
        work.is_whole("runs"),
        "semi join build.touched_pods using (cluster, pod_uid)",
    );
    show(connection, "int_pods", "")?;
    for view in ["int_pod_names", "int_pod_costs"] {
        take(connection, view, &of_runs)?;
    }
    work.run_to(&["runs", "run_teams"])?;
    work.run_rest()
}

/// Runs one of `dirt/*.sql` and notes how long it took.
fn find(work: &mut Work<'_>, what: &str, statement: &str, build_id: i64) -> Result<()> {
    execute(
        work.connection,
        &statement.replace("$build", &build_id.to_string()),
        &format!("find the {what} that changed"),
    )?;
    work.watch.lap(&format!("(find {what})"));
    Ok(())
}

/// Models that read a table of keys have something to do if there are any.
fn note_dirt(work: &mut Work<'_>, dirty: &str) -> Result<()> {
    if count(work.connection, &format!("build.{dirty}"))? > 0 {
        work.note_change(&format!("build.{dirty}"));
    }
    Ok(())
}

/// Shows the stretches of pods that touch the time of these machine-hours.
fn show_spans(connection: &Connection, hours: &str) -> SqlResult<()> {
    show_of_time(connection, "int_pod_spans", hours)
}

/// Shows the stretches that touch the time of these hours.
fn show_of_time(connection: &Connection, view: &str, hours: &str) -> SqlResult<()> {
    let (from_ms, to_ms): (i64, i64) = connection
        .query_row(
            &format!("select coalesce(min(hour_start_ms), 0), coalesce(max(hour_start_ms) + 3600000, 0) from {hours}"),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .doing("read the time of the hours")?;
    show(
        connection,
        view,
        &format!("where start_ms < {to_ms} and end_ms > {from_ms}"),
    )
}

/// The days that this build computes, as a list of SQL literals; a day that never was if there are none.
fn days(connection: &Connection) -> SqlResult<String> {
    let doing = "read the days";
    let mut statement = connection
        .prepare("select day_start_ms from build.dirty_days order by 1")
        .doing(doing)?;
    let days = statement
        .query_map([], |row| row.get::<_, i64>(0))
        .doing(doing)?
        .collect::<duckdb::Result<Vec<_>>>()
        .doing(doing)?;
    let mut list = "-1".to_owned();
    for day in days {
        let _ = write!(list, ", {day}");
    }
    Ok(list)
}

fn all_hours(connection: &Connection) -> SqlResult<()> {
    execute(
        connection,
        "delete from build.dirty_hours;
         insert into build.dirty_hours
         select cluster, machine, unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000))
         from intermediate.int_machine_lives where end_ms > start_ms;",
        "list the machine-hours",
    )
}

fn all_service_hours(connection: &Connection) -> SqlResult<()> {
    execute(
        connection,
        "delete from build.dirty_service_hours;
         insert into build.dirty_service_hours
         select distinct cluster, unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000))
         from intermediate.int_service_lives;",
        "list the hours of volumes, load balancers and control planes",
    )
}

/// Computes all machine-hours once more, in the caller's transaction: what consumers paid is then held against prices and
/// capacities, not against what a build kept of them.
pub(crate) fn recompute_hours(connection: &Connection, runner: &Runner<'_>) -> SqlResult<()> {
    all_hours(connection)?;
    all_service_hours(connection)?;
    runner.run_model(connection, "int_machine_hours", true)
}
