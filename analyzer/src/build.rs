//! One build: takes in new facts, finds the machine-hours that they touch, computes those anew, checks everything.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use duckdb::Connection;
use podledger_sql::calendar::calendar;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::project::Project;
use podledger_sql::runner::{Materialization, Runner, TestFailure};
use podledger_sql::{Doing, Result as SqlResult};

use crate::config::Config;
use crate::error::{Error, Result};

/// Models whose rows of the last build are compared with those of this one.
const COMPARED: &[&str] = &[
    "intermediate.int_machine_lives",
    "intermediate.int_pod_spans",
    "staging.stg_node_states",
    "intermediate.int_machine_prices",
    "staging.stg_service_prices",
    "staging.stg_allocation_weights",
];

/// What can make a machine-hour come out otherwise.
const DIRTYING: &[&str] = &[
    "int_machine_lives",
    "int_pod_spans",
    "stg_node_states",
    "int_machine_prices",
    "stg_service_prices",
    "stg_allocation_weights",
    "lake.usage_hours",
    "lake.pod_identities",
];

/// How much of the ledger's file may be free before it is copied into a smaller one, in percent.
const FREE_PERCENT: i64 = 30;

/// What a build did.
#[derive(Debug, Clone)]
pub struct BuildReport {
    /// Number of the build; the first is 1.
    pub build_id: i64,
    /// Whether every machine-hour was computed anew.
    pub is_full: bool,
    /// Rows of new facts.
    pub ingested_rows: u64,
    /// Machine-hours that were computed.
    pub dirty_hours: i64,
    /// What was done in what order, and how long it took; no models if there was nothing to do.
    pub steps: Vec<Step>,
}

/// One step of a build.
#[derive(Debug, Clone)]
pub struct Step {
    /// A model's name, or what else was done.
    pub name: String,
    /// Wall time.
    pub elapsed: Duration,
}

/// Notes steps as they end, each from the end of the one before.
struct Stopwatch {
    last: Instant,
    steps: Vec<Step>,
}

impl Stopwatch {
    fn start() -> Self {
        Self {
            last: Instant::now(),
            steps: Vec::new(),
        }
    }

    fn lap(&mut self, name: &str) {
        let now = Instant::now();
        self.steps.push(Step {
            name: name.to_owned(),
            elapsed: now - self.last,
        });
        self.last = now;
    }
}

/// Builds `ledger` from `lake`; the ledger comes back with the build committed.
///
/// # Errors
/// [`Error::Violated`] if a check finds rows, [`Error::Sql`] for everything that fails before; the ledger is then as
/// it was.
pub fn build(ledger: Ledger, lake: &Lake, config: &Config, full: bool) -> Result<(Ledger, BuildReport)> {
    let project = config.apply(Project::embedded()?)?;
    let runner = Runner::new(&project)?;
    let connection = ledger.connection();
    execute(connection, "begin transaction", "begin the build")?;
    match build_in_transaction(&ledger, lake, config, &runner, full) {
        Ok(mut report) => {
            let mut watch = Stopwatch::start();
            execute(connection, "commit", "commit the build")?;
            watch.lap("(commit)");
            let ledger = ledger.shrink(FREE_PERCENT, !report.is_full && report.dirty_hours > 0)?;
            watch.lap("(checkpoint)");
            report.steps.append(&mut watch.steps);
            Ok((ledger, report))
        }
        Err(error) => {
            // The first error is the one to tell.
            let _ = connection.execute_batch("rollback");
            Err(error)
        }
    }
}

/// Runs every check over the whole ledger and changes nothing.
///
/// # Errors
/// [`Error::Sql`] if a check cannot run: for example because nothing has been built.
pub fn check(ledger: &Ledger, config: &Config) -> Result<Vec<TestFailure>> {
    let project = config.apply(Project::embedded()?)?;
    let runner = Runner::new(&project)?;
    let connection = ledger.connection();
    execute(connection, "begin transaction", "begin the checks")?;
    let failures = all_hours(connection).and_then(|()| runner.run_tests(connection, &|_| true));
    let _ = connection.execute_batch("rollback");
    Ok(failures?)
}

fn build_in_transaction(
    ledger: &Ledger,
    lake: &Lake,
    config: &Config,
    runner: &Runner<'_>,
    full: bool,
) -> Result<BuildReport> {
    let mut watch = Stopwatch::start();
    let connection = ledger.connection();
    let fingerprint = format!(
        "{} {:x} {}",
        env!("CARGO_PKG_VERSION"),
        runner.project().fingerprint(),
        config.fingerprint()
    );
    let views = config.views_fingerprint();
    let (last_build, last_fingerprint, same_views): (i64, String, bool) = connection
        .query_row(
            "select coalesce(max(build_id), 0), coalesce(max_by(fingerprint, build_id), ''), \
             coalesce(max_by(configuration, build_id) = ?, false) from build.builds",
            [&views],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .doing("read the last build")?;
    let build_id = last_build + 1;
    let is_full = full || last_build == 0 || last_fingerprint != fingerprint;
    let ingested = ledger.ingest(lake, build_id)?;
    let ingested_rows = ingested.iter().map(|(_, rows)| rows).sum();
    watch.lap("(ingest)");

    if !is_full && ingested_rows == 0 && same_views {
        return Ok(BuildReport {
            build_id: last_build,
            is_full,
            ingested_rows,
            dirty_hours: 0,
            steps: watch.steps,
        });
    }
    let mut work = Work::begin(connection, runner, is_full)?;
    for (table, _) in ingested {
        work.changed.insert(format!("lake.{table}"));
        work.changed.insert(format!("raw.{table}"));
    }
    let upstream = upstream(runner);
    for name in &upstream {
        work.run(name, &mut watch)?;
    }
    if is_full {
        all_hours(connection)?;
    } else if work.has_changed(DIRTYING) {
        find_dirty_hours(connection, build_id)?;
    } else {
        execute(
            connection,
            "delete from build.dirty_hours",
            "clear the machine-hours",
        )?;
    }
    let dirty_hours = count(connection, "select count(*) from build.dirty_hours")?;
    if dirty_hours > 0 {
        work.changed.insert("build.dirty_hours".to_owned());
    }
    if fill_calendar(connection, &config.report_zones)? {
        work.changed.insert("build.calendar".to_owned());
    }
    watch.lap("(dirty hours, calendar)");
    for name in runner.models().map(str::to_owned).collect::<Vec<_>>() {
        // Its rows follow from the hours alone.
        let untouched = name == "machine_pod_hours" && dirty_hours == 0 && !is_full;
        if !upstream.contains(&name) && !untouched {
            work.run(&name, &mut watch)?;
        }
    }
    let changed = work.finish()?;
    let failures = runner.run_tests(connection, &|name| is_full || changed.contains(name))?;
    watch.lap("(checks)");
    if !failures.is_empty() {
        return Err(Error::Violated {
            failures: failures.iter().map(describe).collect(),
        });
    }
    connection
        .execute(
            "insert into build.builds values (?, ?, ?, ?, ?, ?)",
            duckdb::params![build_id, fingerprint, views, is_full, ingested_rows, dirty_hours],
        )
        .doing("record the build")?;
    Ok(BuildReport {
        build_id,
        is_full,
        ingested_rows,
        dirty_hours,
        steps: watch.steps,
    })
}

/// A failed check in one line: what it guards, how often it is broken, and the first time.
#[must_use]
pub fn describe(failure: &TestFailure) -> String {
    format!(
        "{} ({}): {} rows, first {}",
        failure.message, failure.file, failure.rows, failure.sample
    )
}

/// Models that must be there before dirty hours can be found, in run order.
fn upstream(runner: &Runner<'_>) -> Vec<String> {
    let mut wanted: Vec<String> = Vec::new();
    for relation in COMPARED {
        let name = relation.split_once('.').map_or(*relation, |(_, name)| name);
        wanted.extend(runner.ancestors(name).into_iter().map(str::to_owned));
        wanted.push(name.to_owned());
    }
    runner
        .models()
        .filter(|name| wanted.iter().any(|other| other == name))
        .map(str::to_owned)
        .collect()
}

/// Models run one after another, each only if it would come out another than it is: what it reads has changed, or its SQL.
struct Work<'a> {
    connection: &'a Connection,
    runner: &'a Runner<'a>,
    is_full: bool,
    known: HashMap<String, String>,
    /// Models and sources that are not as the last build left them.
    changed: HashSet<String>,
    hashes: Vec<(String, String)>,
}

impl<'a> Work<'a> {
    fn begin(connection: &'a Connection, runner: &'a Runner<'a>, is_full: bool) -> Result<Self> {
        for relation in COMPARED {
            let old = format!("old_{}", relation.replace('.', "_"));
            execute(
                connection,
                &format!("drop table if exists temp.{old}"),
                "forget the build before",
            )?;
        }
        let doing = "read how models were made";
        let mut statement = connection
            .prepare("select name, sql_hash from build.models")
            .doing(doing)?;
        let known = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .doing(doing)?
            .collect::<duckdb::Result<_>>()
            .doing(doing)?;
        Ok(Self {
            connection,
            runner,
            is_full,
            known,
            changed: HashSet::new(),
            hashes: Vec::new(),
        })
    }

    fn run(&mut self, name: &str, watch: &mut Stopwatch) -> Result<()> {
        let compiled = self.runner.compile(name, false)?;
        let mut hasher = DefaultHasher::new();
        (&compiled.sql, compiled.materialized).hash(&mut hasher);
        let hash = format!("{:x}", hasher.finish());
        let is_same = !self.is_full && self.known.get(name) == Some(&hash);
        let reads_change = self.runner.reads(name).any(|read| self.changed.contains(read));
        if is_same && !reads_change {
            return Ok(());
        }
        // A view shows what it reads by itself.
        if !is_same || compiled.materialized != Materialization::View {
            self.remember(name)?;
            self.runner.run_model(self.connection, name, self.is_full)?;
            watch.lap(name);
        }
        if !is_same {
            self.hashes.push((name.to_owned(), hash));
        }
        self.changed.insert(name.to_owned());
        Ok(())
    }

    /// Keeps what the last build knew of a model whose rows are compared, before its table is replaced.
    fn remember(&self, name: &str) -> Result<()> {
        let compared = COMPARED
            .iter()
            .find(|relation| relation.split_once('.').is_some_and(|(_, model)| model == name));
        if let Some(relation) = compared.filter(|_| !self.is_full) {
            let old = relation.replace('.', "_");
            execute(
                self.connection,
                &format!("create or replace temp table old_{old} as select * from {relation}"),
                "remember the last build",
            )?;
        }
        Ok(())
    }

    fn has_changed(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.changed.contains(*name))
    }

    /// Notes how the models were made; returns what has changed. What was not replaced is as it was remembered.
    fn finish(self) -> Result<HashSet<String>> {
        let doing = "note how models were made";
        let mut statement = self
            .connection
            .prepare("insert into build.models values (?, ?)")
            .doing(doing)?;
        for (name, hash) in &self.hashes {
            self.connection
                .execute("delete from build.models where name = ?", [name])
                .doing(doing)?;
            statement.execute([name, hash]).doing(doing)?;
        }
        Ok(self.changed)
    }
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

/// The machine-hours whose inputs differ between the last build and this one. An hour's rows depend on the pods that
/// held the machine in it, on what those used, on the machine's life, capacity and price, and on the weights: each of
/// these is compared, old against new.
fn find_dirty_hours(connection: &Connection, build_id: i64) -> SqlResult<()> {
    // What was not replaced is as it was.
    for relation in COMPARED {
        let old = format!("old_{}", relation.replace('.', "_"));
        execute(
            connection,
            &format!("create temp table if not exists {old} as select * from {relation}"),
            "remember the last build",
        )?;
    }
    let statement = format!(
        "create or replace temp table dirty_spans (cluster varchar, machine varchar, start_ms bigint, end_ms bigint);

         -- Stretches of pods that are new, gone or different.
         insert into dirty_spans
         with old_spans as (from old_intermediate_int_pod_spans), new_spans as (from intermediate.int_pod_spans)
         select cluster, machine, start_ms, end_ms from (from old_spans except from new_spans)
         union all
         select cluster, machine, start_ms, end_ms from (from new_spans except from old_spans);

         -- Pods with new usage, or with new identities (which may make them a system pod).
         insert into dirty_spans
         select spans.cluster, spans.machine, spans.start_ms, spans.end_ms
         from intermediate.int_pod_spans as spans
         where (spans.cluster, spans.pod_uid) in (
             select (cluster, pod_uid) from raw.usage_hours where build_id = {build_id}
             union
             select (cluster, pod_uid) from raw.pod_identities where build_id = {build_id}
         );

         -- Machines that came, went or became something else: their whole life.
         create or replace temp table changed_machines as
         with facets as (
             select 'new' as side, cluster, machine, node_name, provider, region, instance_type, capacity_type,
                 billing_model, start_ms, registered_ms, is_refunded
             from intermediate.int_machine_lives
             union all
             select 'old', cluster, machine, node_name, provider, region, instance_type, capacity_type,
                 billing_model, start_ms, registered_ms, is_refunded
             from old_intermediate_int_machine_lives
         ),
         different as (
             (select * exclude (side) from facets where side = 'new'
              except select * exclude (side) from facets where side = 'old')
             union all
             (select * exclude (side) from facets where side = 'old'
              except select * exclude (side) from facets where side = 'new')
         ),
         shapes as (
             (from staging.stg_node_states except from old_staging_stg_node_states)
             union all
             (from old_staging_stg_node_states except from staging.stg_node_states)
         ),
         services as (
             (from staging.stg_service_prices except from old_staging_stg_service_prices)
             union all
             (from old_staging_stg_service_prices except from staging.stg_service_prices)
         ),
         weights as (
             (from staging.stg_allocation_weights except from old_staging_stg_allocation_weights)
             union all
             (from old_staging_stg_allocation_weights except from staging.stg_allocation_weights)
         )
         select cluster, machine from different
         union
         select cluster, machine from shapes
         union
         select cluster, machine from intermediate.int_machine_lives
         where billing_model = 'pod_request' and exists (from services)
         union
         select cluster, machine from intermediate.int_machine_lives where exists (from weights);

         insert into dirty_spans
         select lives.cluster, lives.machine, lives.start_ms, lives.end_ms
         from (from intermediate.int_machine_lives union all from old_intermediate_int_machine_lives) as lives
         semi join changed_machines using (cluster, machine);

         -- Stretches in which a machine has another price than before.
         insert into dirty_spans
         with fresh as (
             from intermediate.int_machine_prices except from old_intermediate_int_machine_prices
         )
         select
             cluster,
             machine,
             greatest(fresh.from_ms, old.from_ms, lives.start_ms),
             least(fresh.to_ms, old.to_ms, lives.end_ms)
         from fresh
         inner join old_intermediate_int_machine_prices as old using (cluster, machine)
         inner join intermediate.int_machine_lives as lives using (cluster, machine)
         where
             fresh.price_nano is distinct from old.price_nano
             and greatest(fresh.from_ms, old.from_ms, lives.start_ms) < least(fresh.to_ms, old.to_ms, lives.end_ms);

         -- Ends that moved, and first and last workloads that moved: the time between old and new; where a machine
         -- has ended since, the time after its last workload turns from gap to tail.
         insert into dirty_spans
         with moved as (
             select
                 lives.cluster,
                 lives.machine,
                 unnest([
                     {{'a': lives.end_ms, 'b': old.end_ms}},
                     {{'a': lives.first_workload_ms, 'b': old.first_workload_ms}},
                     {{'a': lives.last_workload_ms, 'b': old.last_workload_ms}},
                     {{
                         'a': case when lives.is_ended <> old.is_ended
                             then least(lives.last_workload_ms, old.last_workload_ms) end,
                         'b': case when lives.is_ended <> old.is_ended then greatest(lives.end_ms, old.end_ms) end
                     }}
                 ]) as edge
             from intermediate.int_machine_lives as lives
             inner join old_intermediate_int_machine_lives as old using (cluster, machine)
         )
         select cluster, machine, least(edge.a, edge.b), greatest(edge.a, edge.b)
         from moved
         where edge.a <> edge.b;

         delete from build.dirty_hours;
         insert into build.dirty_hours
         with hours as (
             select distinct
                 cluster,
                 machine,
                 unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000)) as hour_start_ms
             from dirty_spans
             where machine is not null
         )
         select cluster, machine, hour_start_ms from hours;
         "
    );
    execute(connection, &statement, "find the machine-hours that changed")
}

/// Fills the calendar for all hours of the machines' lives; returns whether it is another one now.
fn fill_calendar(connection: &Connection, zones: &[String]) -> SqlResult<bool> {
    let (start_ms, end_ms): (Option<i64>, Option<i64>) = connection
        .query_row(
            "select min(start_ms), max(end_ms) from intermediate.int_machine_lives",
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

/// Tells two calendars apart.
fn calendar_content(connection: &Connection) -> SqlResult<(i64, String)> {
    connection
        .query_row(
            "select count(*), concat_ws(' ', min(hour_start_ms), max(hour_start_ms), string_agg(distinct zone, ' ' order by zone)) \
             from build.calendar",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .doing("read the calendar")
}

fn count(connection: &Connection, statement: &str) -> SqlResult<i64> {
    connection
        .query_row(statement, [], |row| row.get(0))
        .doing("count")
}

fn execute(connection: &Connection, statement: &str, doing: &str) -> SqlResult<()> {
    connection.execute_batch(statement).doing(doing)
}
