//! The weekly report: what a week cost, where the money went, why it changed, and what to do next.

mod advice;
mod ask;
mod bridge;
mod figures;
mod html;
mod markdown;
mod proof;
mod sections;
mod tables;
mod terminal;
mod week;
mod words;

use duckdb::Connection;
use podledger_sql::units::NanoUsd;
use serde::Serialize;

pub use advice::Sizing;
pub(crate) use figures::{BARS, SHARED};
pub use html::html;
pub(crate) use html::{HATCH, bill, bridge, hours, waterfall};
pub use markdown::markdown;
pub use proof::{Judged, Proof};
pub(crate) use sections::unadvised;
pub use tables::{Table, csv, json, tables, xlsx};
pub use terminal::terminal;
pub use week::Week;
pub(crate) use week::observed;
pub(crate) use week::{midnight, slot};
pub(crate) use words::{nothing_to_do, partial, sentence, trust};

use crate::display::dollars;
use crate::error::Result;
use crate::findings::Finding;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The week, in its zone.
    pub week: Week,
    /// One team instead of all.
    pub team: Option<String>,
}

/// All figures of a week. Money is in US dollars, `NULL` never counts as zero: what has no price is in [`Trust`].
#[derive(Debug, Clone, Serialize)]
pub struct Weekly {
    pub week: String,
    /// IANA name of the zone whose midnight the week begins at.
    pub zone: String,
    pub first_date: String,
    pub last_date: String,
    /// The team that it is about, if it is about one.
    pub team: Option<String>,
    /// How long the week is, in ms: 167 to 169 hours where clocks change.
    pub week_ms: i64,
    /// How much of it was observed.
    pub covered_ms: i64,
    /// What the total is called: an estimate until a bill is imported.
    pub basis: String,
    pub total: NanoUsd,
    /// What the week before cost; `None` unless both weeks were observed from beginning to end.
    pub previous: Option<NanoUsd>,
    /// Where each dollar went, in fixed order; adds up to the total.
    pub waterfall: Vec<Bar>,
    /// Why it is not what it was a week before; adds up to `total - previous`.
    pub bridge: Vec<Effect>,
    /// Cost, and capacity, requests and use of CPU, by hour of the week.
    pub hours: Vec<HourOfWeek>,
    /// Most expensive first; one, if it is about one.
    pub teams: Vec<TeamRow>,
    pub pipelines: Vec<PipelineRow>,
    pub runs: Runs,
    /// Jobs with tries that failed or were lost, most expensive first.
    pub failures: Vec<FailureRow>,
    /// Node pools, most expensive first; empty for one team.
    pub pools: Vec<PoolRow>,
    /// Time from creation to binding of a pod, by pipeline; that whose pods waited longest together comes first.
    pub queues: Vec<QueueRow>,
    /// What to do next: by what it cost in this week or machines would have cost less, and after that, by what would have been reserved less.
    pub actions: Vec<Action>,
    /// What advice on requests would have come to in this week; `None` where none was asked for.
    pub proof: Option<Proof>,
    /// What was wasted, with evidence and mends, most expensive first; `None` where no weeks are built in the report's zone.
    pub findings: Option<Vec<Finding>>,
    pub trust: Trust,
    /// Why requests were not looked at, where they should have been: what should be asked for is then not among what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice_withheld: Option<String>,
}

/// A bar of the waterfall.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    pub key: &'static str,
    pub label: &'static str,
    pub cost: NanoUsd,
    /// Of the total, in tenths of a percent.
    pub permille: i64,
    /// Who has most of it: a pipeline or a pool.
    pub largest_owner: Option<Owner>,
    /// Cost categories in it, as `cost_categories` names and orders them.
    pub categories: Vec<Part>,
}

/// Who has how much.
#[derive(Debug, Clone, Serialize)]
pub struct Owner {
    pub name: String,
    pub cost: NanoUsd,
}

/// A cost category and its cost.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub category: String,
    pub cost: NanoUsd,
}

/// A reason why the week's cost is not that of the week before.
#[derive(Debug, Clone, Serialize)]
pub struct Effect {
    pub key: &'static str,
    pub label: String,
    pub amount: NanoUsd,
}

/// An hour of the week by the local clock; where a clock is put back, two hours fall on one.
#[derive(Debug, Clone, Serialize)]
pub struct HourOfWeek {
    /// 0 is Monday.
    pub day: usize,
    pub hour: usize,
    /// Millicores, averaged over the hours; `None` where no machine was up, and for one team.
    pub cpu_capacity_millicores: Option<i64>,
    pub cpu_request_millicores: Option<i64>,
    /// `None` where no pod was measured.
    pub cpu_usage_millicores: Option<i64>,
    pub cost: NanoUsd,
}

/// A team.
#[derive(Debug, Clone, Serialize)]
pub struct TeamRow {
    pub team: String,
    /// What its pods cost.
    pub direct: NanoUsd,
    /// With its share of what all share (idle time, node overhead, platform), by direct cost. Adds up to the total.
    pub fully_loaded: NanoUsd,
    /// Direct cost of the week before.
    pub previous_direct: Option<NanoUsd>,
    pub failed: NanoUsd,
    pub unused_request: NanoUsd,
}

/// A pipeline of a team.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineRow {
    pub team: String,
    pub pipeline: String,
    /// What its pods cost.
    pub cost: NanoUsd,
    pub previous: Option<NanoUsd>,
    pub failed: NanoUsd,
    pub unused_request: NanoUsd,
    /// Runs that started in the week.
    pub runs: i64,
    pub failed_runs: i64,
}

/// Runs that started in the week.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Runs {
    pub count: i64,
    pub failed: i64,
    pub most_expensive: Vec<RunRow>,
    pub most_wasteful: Vec<RunRow>,
    pub slowest: Vec<RunRow>,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    pub pipeline: String,
    pub run: String,
    pub status: String,
    /// By the local clock.
    pub started: String,
    /// From its first pod's machine to its last pod's end, ms; `None` while it runs.
    pub duration_ms: Option<i64>,
    pub pods: i64,
    pub cost: Option<NanoUsd>,
    pub wasted: Option<NanoUsd>,
}

/// A job with tries that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailureRow {
    pub team: String,
    pub pipeline: String,
    pub job: String,
    /// Tries that ended in the week.
    pub attempts: i64,
    pub failed: i64,
    pub lost: i64,
    /// Tries beyond the first of each run, where tries are numbered.
    pub retries: i64,
    /// Why most of them ended, in the words of who said so.
    pub reason: Option<String>,
    /// What failed and lost tries cost in the week, with time in which pods were stuck.
    pub cost: NanoUsd,
}

/// A node pool.
#[derive(Debug, Clone, Serialize)]
pub struct PoolRow {
    pub pool: String,
    pub instance_types: String,
    pub cost: NanoUsd,
    pub idle_boot: NanoUsd,
    pub idle_startup: NanoUsd,
    pub idle_gap: NanoUsd,
    pub idle_tail: NanoUsd,
    pub idle_unpacked: NanoUsd,
    /// Of CPU, held by pods, in tenths of a percent.
    pub cpu_request_permille: i64,
    pub memory_request_permille: i64,
    /// Of accelerators; `None` where the pool has none.
    pub gpu_request_permille: Option<i64>,
    /// How long its machines stay after their last workload pod, ms: the median of those that ended in the week.
    pub tail_ms: Option<i64>,
    /// The largest of the three shares by hour of the week (Monday 0 h first), in tenths of a percent; `None` where nothing ran.
    pub heat: Vec<Option<i64>>,
}

/// How long the pods of a pipeline waited.
#[derive(Debug, Clone, Serialize)]
pub struct QueueRow {
    pub team: String,
    pub pipeline: String,
    pub pods: i64,
    /// Pods of them that had no machine yet: counted, not measured.
    pub unbound: i64,
    pub p50_ms: Option<i64>,
    pub p95_ms: Option<i64>,
    pub max_ms: Option<i64>,
}

/// Something to do.
#[derive(Debug, Clone, Serialize)]
pub struct Action {
    /// Of which kind: `idle_tail`, `unused_request`, `right_sizing`, `failed`, ...
    pub kind: &'static str,
    /// Whose job it is.
    #[serde(skip)]
    team: Option<String>,
    /// A pool, or pipeline and job.
    pub subject: String,
    /// What is to be seen, in words that follow the subject.
    pub finding: String,
    /// What to try.
    pub remedy: &'static str,
    /// What it is worth in the week.
    pub cost: NanoUsd,
    pub saving: Saving,
}

impl Action {
    /// What it is worth, and of which kind that is unless it is the most that can be saved.
    pub(crate) fn worth(&self) -> String {
        match self.saving {
            Saving::AtMost => dollars(self.cost),
            Saving::Realisable => format!("{} realisable", dollars(self.cost)),
            Saving::Nominal => format!("{} nominal", dollars(self.cost)),
        }
    }
}

/// What an action's worth is; kinds are never added, and nominal savings never stand before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Saving {
    /// What it cost in the week: the most that can be saved.
    AtMost,
    /// What machines would have cost less, by replay.
    Realisable,
    /// What was reserved less what would have been, at reference prices: what machines would have cost less is not known.
    Nominal,
}

impl Saving {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AtMost => "at_most",
            Self::Realisable => "realisable",
            Self::Nominal => "nominal",
        }
    }
}

/// What the figures rest on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trust {
    /// Cost that a bill confirms.
    pub billed: NanoUsd,
    /// Cost at list price.
    pub estimated: NanoUsd,
    /// Cost of hours that reach beyond what was observed.
    pub provisional: NanoUsd,
    /// Cost of time in which nobody watched.
    pub unobserved: NanoUsd,
    /// Time of machines of which no price is known, ms; it costs nothing here. `None` for one team.
    pub unpriced_ms: Option<i64>,
    /// Cost between the earliest and the latest end that pods can have had.
    pub uncertain_ends: NanoUsd,
    /// Cost of pods of which nobody measured what they used.
    pub unmetered: NanoUsd,
}

impl Weekly {
    /// Bars that are shown. Not every cluster has fixed cost that is known, and a team has no idle machines: bars of nothing at the beginning would only
    /// ask for an explanation.
    fn shown_bars(&self) -> impl Iterator<Item = &Bar> {
        let is_for_one = self.team.is_some();
        self.waterfall.iter().filter(move |bar| {
            bar.cost.get() != 0 || !(bar.key == "fixed" || (bar.key == "idle" && is_for_one))
        })
    }
}

/// From when to when each cluster was observed, ms since 1970.
///
/// # Errors
/// Where the mart cannot be read.
pub fn clusters(connection: &Connection) -> duckdb::Result<Vec<(i64, i64)>> {
    let mut statement = connection.prepare(
        "select epoch_ms(observed_from_at), epoch_ms(observed_through_at) from marts.clusters \
         where observed_from_at is not null and observed_through_at is not null",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Reads the figures of a week from the marts of a ledger.
///
/// # Errors
/// [`crate::Error::DuckDb`]; [`crate::Error::NoTeam`] for a team without cost in both weeks.
pub fn weekly(connection: &Connection, request: &Request) -> Result<Weekly> {
    figures::Figures::read(connection, request)?.report()
}
