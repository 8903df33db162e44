//! One build: takes in new facts, finds what they touch, computes that anew, checks it.
//!
//! How it finds and computes is told in `steps.rs`.

use podledger_sql::Doing;
use podledger_sql::crash::{Point, point};
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::project::Project;
use podledger_sql::runner::{Runner, TestFailure, TestedColumns};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::steps::{recompute_hours, run_everything, run_what_changed};
use crate::touched::{self, count, execute};
pub use crate::work::Step;
use crate::work::{Stopwatch, Work};

/// How much of the ledger's file may be free before it is copied into a smaller one, in percent.
const FREE_PERCENT: i64 = 30;

/// Every so many builds the gaps that deleted rows left are closed, which costs about a second per million pods.
const MERGE_EVERY: i64 = 24;

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
            point(Point::Built);
            execute(connection, "commit", "commit the build")?;
            point(Point::BuildCommitted);
            watch.lap("(commit)");
            let ledger = ledger.shrink(FREE_PERCENT, report.build_id % MERGE_EVERY == 0)?;
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

/// Runs every check over the whole ledger, with what machines cost and offer computed once more, and changes nothing.
///
/// # Errors
/// [`Error::Sql`] if a check cannot run: for example because nothing has been built.
pub fn check(ledger: &Ledger, config: &Config) -> Result<Vec<TestFailure>> {
    let project = config.apply(Project::embedded()?)?;
    let runner = Runner::new(&project)?;
    let connection = ledger.connection();
    execute(connection, "begin transaction", "begin the checks")?;
    let failures = recompute_hours(connection, &runner)
        .and_then(|()| runner.run_tests(connection, TestedColumns::All, &|_| true, &mut |_| ()));
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
    let fingerprint = fingerprint(runner.project(), config);
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
    let mut work = Work::begin(connection, runner, is_full, watch)?;
    for (table, _) in ingested {
        work.note_change(&format!("lake.{table}"));
        work.note_change(&format!("raw.{table}"));
    }
    if is_full {
        run_everything(&mut work, config)?;
    } else {
        run_what_changed(&mut work, config, build_id)?;
    }
    let dirty_hours = count(connection, "build.dirty_hours")?;
    let (changed, mut watch) = work.finish()?;
    let failures = runner.run_tests(
        connection,
        TestedColumns::OfTables,
        &|name| is_full || changed.contains(name),
        &mut |test| watch.lap(&format!("(check {test})")),
    )?;
    touched::show_all(connection)?;
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

/// What decides the rows of `machine_pod_hours` beside the facts.
pub(crate) fn fingerprint(project: &Project, config: &Config) -> String {
    format!(
        "{} {:x} {}",
        env!("CARGO_PKG_VERSION"),
        project.fingerprint(),
        config.fingerprint()
    )
}

/// A failed check in one line: what it guards, how often it is broken, and the first time.
#[must_use]
pub fn describe(failure: &TestFailure) -> String {
    format!(
        "{} ({}): {} rows, first {}",
        failure.message, failure.file, failure.rows, failure.sample
    )
}
