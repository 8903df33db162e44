//! Models run one after another, each only if it would come out another than it is, and only where it would.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use duckdb::Connection;
use podledger_sql::runner::{Materialization, Runner};
use podledger_sql::{Doing, Result as SqlResult};

use crate::error::Result;
use crate::touched;

/// Models that are kept up to date by key, and the table of `build` with the keys that a build computes anew.
const KEYED: &[(&str, &str)] = &[
    ("int_pods", "dirty_pods"),
    ("int_pod_spans", "dirty_pods"),
    ("int_busy_hours", "dirty_busy_hours"),
    ("int_machine_hours", "dirty_hours"),
    ("machine_pod_hours", "dirty_hours"),
    ("int_pod_names", "dirty_names"),
    ("int_service_hours", "dirty_service_hours"),
    ("int_pod_costs", "dirty_pod_costs"),
    ("int_costs_hourly", "dirty_costs"),
    ("costs_daily", "dirty_days"),
    ("jobs_daily", "dirty_days"),
    ("machines_daily", "dirty_days"),
    ("queue_waits", "dirty_days"),
    ("teams_weekly", "dirty_weeks"),
    ("pipelines_weekly", "dirty_weeks"),
    ("runs", "dirty_runs"),
    ("run_teams", "dirty_runs"),
];

/// One step of a build.
#[derive(Debug, Clone)]
pub struct Step {
    /// A model's name, or what else was done.
    pub name: String,
    /// Wall time.
    pub elapsed: Duration,
}

/// Notes steps as they end, each from the end of the one before.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    last: Instant,
    pub(crate) steps: Vec<Step>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            last: Instant::now(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn lap(&mut self, name: &str) {
        let now = Instant::now();
        self.steps.push(Step {
            name: name.to_owned(),
            elapsed: now - self.last,
        });
        self.last = now;
    }
}

/// The models of one build.
pub(crate) struct Work<'a> {
    pub(crate) connection: &'a Connection,
    runner: &'a Runner<'a>,
    is_full: bool,
    /// Models that have run in this build, or need not.
    done: HashSet<String>,
    /// Models and sources that are not as the last build left them.
    changed: HashSet<String>,
    /// Models whose SQL is not what their relation was made of, with the hash of what it is now.
    stale: HashMap<String, String>,
    /// Models of which no row may stay, since they are made by other SQL than before, or read a view that is.
    whole: HashSet<String>,
    pub(crate) watch: Stopwatch,
}

impl<'a> Work<'a> {
    pub(crate) fn begin(
        connection: &'a Connection,
        runner: &'a Runner<'a>,
        is_full: bool,
        watch: Stopwatch,
    ) -> Result<Self> {
        let known = known_models(connection)?;
        let (mut stale, mut whole) = (HashMap::new(), HashSet::new());
        for name in runner.models() {
            let compiled = runner.compile(name, false)?;
            let mut hasher = DefaultHasher::new();
            (&compiled.sql, compiled.materialized).hash(&mut hasher);
            let hash = format!("{:x}", hasher.finish());
            let is_stale = is_full || known.get(name) != Some(&hash);
            // Tables are compared with what they were, so what other SQL makes of them is seen there.
            let is_compared = compiled.materialized == Materialization::Table;
            if is_full || !is_compared && (is_stale || runner.reads(name).any(|read| whole.contains(read))) {
                whole.insert(name.to_owned());
            }
            if is_stale {
                stale.insert(name.to_owned(), hash);
            }
        }
        let mut watch = watch;
        watch.lap("(compile)");
        Ok(Self {
            connection,
            runner,
            is_full,
            done: HashSet::new(),
            changed: HashSet::new(),
            stale,
            whole,
            watch,
        })
    }

    /// Notes that a source is not as it was.
    pub(crate) fn note_change(&mut self, source: &str) {
        self.changed.insert(source.to_owned());
    }

    pub(crate) fn has_changed(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.changed.contains(*name))
    }

    /// Whether every row of a model is made anew.
    pub(crate) fn is_whole(&self, name: &str) -> bool {
        self.whole.contains(name)
    }

    /// Has every row of these models made anew.
    pub(crate) fn make_whole(&mut self, names: &[&str]) {
        self.whole.extend(names.iter().map(|name| (*name).to_owned()));
        self.changed.extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// Runs these models after all that they need and that has not run yet.
    pub(crate) fn run_to(&mut self, names: &[&str]) -> Result<()> {
        let mut wanted: HashSet<&str> = names.iter().copied().collect();
        for name in names {
            wanted.extend(self.runner.ancestors(name));
        }
        for name in self.runner.models() {
            if wanted.contains(name) {
                self.run(name)?;
            }
        }
        Ok(())
    }

    /// Runs all models that have not run yet.
    pub(crate) fn run_rest(&mut self) -> Result<()> {
        for name in self.runner.models() {
            self.run(name)?;
        }
        Ok(())
    }

    /// Makes an incremental model of a full build piece by piece: the first time anew, then by appending.
    pub(crate) fn run_piece(&mut self, name: &str) -> Result<()> {
        if self.done.contains(name) {
            self.runner.run_model(self.connection, name, false)?;
            self.watch.lap(name);
            return Ok(());
        }
        self.run_to(&[name])
    }

    /// Runs a model once more, for other keys than before.
    pub(crate) fn run_again(&mut self, name: &str) -> Result<()> {
        self.done.remove(name);
        self.run(name)
    }

    fn run(&mut self, name: &str) -> Result<()> {
        if !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        let is_stale = self.stale.contains_key(name);
        let is_whole = self.whole.contains(name);
        let reads_change = self.runner.reads(name).any(|read| self.changed.contains(read));
        if !is_stale && !is_whole && !reads_change {
            return Ok(());
        }
        let keys = KEYED
            .iter()
            .find(|(model, _)| *model == name)
            .map(|(_, dirty)| *dirty);
        if let Some(dirty) = keys.filter(|_| !is_whole)
            && touched::count(self.connection, &format!("build.{dirty}"))? == 0
        {
            return Ok(());
        }
        let materialized = self.runner.compile(name, false)?.materialized;
        // A view shows what it reads by itself.
        if is_stale || materialized != Materialization::View {
            for read in self.runner.reads(name) {
                if let Some(view) = read.strip_prefix("build.") {
                    touched::show_if_missing(self.connection, view)?;
                }
            }
            self.runner
                .run_model(self.connection, name, self.is_full || is_whole)?;
            self.watch.lap(name);
        }
        self.changed.insert(name.to_owned());
        Ok(())
    }

    /// Notes how the models were made; returns what has changed.
    pub(crate) fn finish(self) -> Result<(HashSet<String>, Stopwatch)> {
        let doing = "note how models were made";
        for (name, hash) in &self.stale {
            self.connection
                .execute("delete from build.models where name = ?", [name])
                .doing(doing)?;
            self.connection
                .execute("insert into build.models values (?, ?)", [name, hash])
                .doing(doing)?;
        }
        Ok((self.changed, self.watch))
    }
}

/// What each model's relation was made of.
fn known_models(connection: &Connection) -> SqlResult<HashMap<String, String>> {
    let doing = "read how models were made";
    let mut statement = connection
        .prepare("select name, sql_hash from build.models")
        .doing(doing)?;
    let known = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .doing(doing)?
        .collect::<duckdb::Result<_>>()
        .doing(doing)?;
    Ok(known)
}
