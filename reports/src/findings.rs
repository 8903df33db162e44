//! Findings of a week: what was wasted, since when, and what mends it.

use duckdb::Connection;
use podledger_sql::units::NanoUsd;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::weekly::Week;

/// One finding, as the mart `findings` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub cluster: String,
    /// Of which kind: `oom_kills`, `late_scale_down`, ...
    pub finding: String,
    /// What it is about: a job, a pool or a node.
    pub subject_kind: String,
    pub subject: String,
    /// Who answers for it; `unattributed` for pools and nodes.
    pub team: String,
    pub namespace: Option<String>,
    /// What it cost in the week; `None` where no price is known, 0 where nothing was held.
    pub cost: Option<NanoUsd>,
    /// What it cost in the week before; `None` unless that was observed from beginning to end.
    pub previous: Option<NanoUsd>,
    /// RFC 3339, UTC.
    pub since: Option<String>,
    pub evidence: String,
    pub mend: String,
    /// A command, or the fields of an object that mend it.
    pub command: Option<String>,
    /// What has the same money already; only findings without it may be added up.
    pub counted_in: Option<String>,
}

/// Findings of a week, of all teams or one, most expensive first; `None` where the week is not built in its zone.
///
/// # Errors
/// [`Error::DuckDb`].
pub fn findings(connection: &Connection, week: &Week, team: Option<&str>) -> Result<Option<Vec<Finding>>> {
    let wrong = |source| Error::DuckDb {
        doing: "read the findings",
        source,
    };
    let is_built: bool = connection
        .query_row(
            "select count(*) > 0 from build.calendar where zone = ? and iso_week = ?",
            [week.zone(), &week.to_string()],
            |row| row.get(0),
        )
        .map_err(wrong)?;
    if !is_built {
        return Ok(None);
    }
    let nano = |column: &str| format!("cast(cast({column} as decimal(38,9)) * 1000000000 as bigint)");
    let text = format!(
        "select cluster, finding, subject_kind, subject, team, namespace, {}, {}, \
         strftime(since_at, '%Y-%m-%dT%H:%M:%SZ'), evidence, mend, command, counted_in \
         from marts.findings where zone = $1 and iso_week = $2 and ($3 is null or team = $3) \
         order by cost desc nulls last, finding, subject, team, cluster",
        nano("cost"),
        nano("previous_cost"),
    );
    let mut statement = connection.prepare(&text).map_err(wrong)?;
    let parameters = duckdb::params![week.zone(), week.to_string(), team];
    let rows = statement
        .query_map(parameters, |row| {
            let money = |cell: usize| -> duckdb::Result<Option<NanoUsd>> {
                Ok(row.get::<_, Option<i64>>(cell)?.map(NanoUsd::from_nano))
            };
            Ok(Finding {
                cluster: row.get(0)?,
                finding: row.get(1)?,
                subject_kind: row.get(2)?,
                subject: row.get(3)?,
                team: row.get(4)?,
                namespace: row.get(5)?,
                cost: money(6)?,
                previous: money(7)?,
                since: row.get(8)?,
                evidence: row.get(9)?,
                mend: row.get(10)?,
                command: row.get(11)?,
                counted_in: row.get(12)?,
            })
        })
        .map_err(wrong)?;
    rows.collect::<duckdb::Result<Vec<Finding>>>()
        .map(Some)
        .map_err(wrong)
}

impl Finding {
    /// Its kind in words.
    #[must_use]
    pub fn title(&self) -> String {
        match self.finding.as_str() {
            "oom_kills" => "OOM kills".to_owned(),
            "gpu_without_work" => "GPUs without work".to_owned(),
            "gpu_held_idle" => "GPUs held idle".to_owned(),
            "gpu_underused" => "GPUs underused".to_owned(),
            other => other.replace('_', " "),
        }
    }
}

/// Kinds that the mart knows.
pub const KINDS: &[&str] = &[
    "failed_work",
    "oom_kills",
    "evicted_work",
    "stuck_pods",
    "impossible_request",
    "unschedulable_pods",
    "runaway_attempts",
    "jobs_without_deadline",
    "orphaned_claims",
    "orphaned_volumes",
    "completed_pods",
    "control_plane_without_work",
    "pool_never_zero",
    "pool_minimum_above_need",
    "unpacked_capacity",
    "seldom_busy_machines",
    "late_scale_down",
    "idle_between_work",
    "slow_start",
    "gpu_without_work",
    "gpu_held_idle",
    "gpu_underused",
    "daemon_overhead",
    "run_cost_regression",
];

/// Findings that are worth a line, in the order in which people want them: pods that can never run, then by cost (from a cent on, or
/// unknown), then what only is a risk.
pub fn worth_telling(all: &[Finding]) -> Vec<&Finding> {
    const CENT: i64 = 10_000_000;
    let place = |finding: &Finding| match finding.finding.as_str() {
        "impossible_request" => 0,
        "jobs_without_deadline" | "completed_pods" => 3,
        "unschedulable_pods" => 2,
        _ => 1,
    };
    let is_worth =
        |finding: &&Finding| place(finding) != 1 || finding.cost.is_none_or(|cost| cost.get() >= CENT);
    let mut told: Vec<&Finding> = all.iter().filter(is_worth).collect();
    told.sort_by_key(|finding| place(finding));
    told
}
