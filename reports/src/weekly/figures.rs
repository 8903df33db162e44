//! Asks the marts, and puts the answers together.

use std::collections::BTreeMap;

use duckdb::{Connection, Row, ToSql};
use podledger_sql::units::NanoUsd;

use super::{
    Bar, FailureRow, HourOfWeek, Owner, Part, PipelineRow, PoolRow, QueueRow, Request, RunRow, Runs, TeamRow,
    Trust, Week, Weekly, advice, bridge,
};
use crate::display;
use crate::error::{Error, Result};

const HOUR: i64 = 3_600_000;

/// How many runs, and how many rows of other tables that only show the first.
const TOP: usize = 10;

/// What all share: nobody's pods, or pods that serve everybody.
pub(super) const SHARED: &[&str] = &[
    "control_plane",
    "storage",
    "orphaned_storage",
    "load_balancer",
    "network",
    "fees",
    "commitment_unused",
    "node_reserved",
    "system",
    "platform",
    "idle_boot",
    "idle_startup",
    "idle_unpacked",
    "idle_gap",
    "idle_tail",
    "unobserved",
    "adjustment",
];

/// Bars of the waterfall in order: key, label, cost categories. Every category is in one.
const BARS: &[(&str, &str, &[&str])] = &[
    (
        "fixed",
        "fixed",
        &[
            "control_plane",
            "storage",
            "orphaned_storage",
            "load_balancer",
            "network",
            "fees",
            "commitment_unused",
            "adjustment",
        ],
    ),
    (
        "idle",
        "idle",
        &[
            "idle_boot",
            "idle_startup",
            "idle_unpacked",
            "idle_gap",
            "idle_tail",
            "unobserved",
        ],
    ),
    (
        "node_overhead",
        "node overhead",
        &["node_reserved", "system", "platform", "starting", "terminating"],
    ),
    ("failed_and_stuck", "failed + stuck", &["stuck", "failed", "lost"]),
    ("unused_request", "unused request", &["unused_request"]),
    ("unmetered", "unmetered", &["unmetered"]),
    ("used", "used", &["used"]),
];

/// What a team's pipeline and job cost in a category.
pub(super) struct Cost {
    pub is_this_week: bool,
    pub team: String,
    pub pipeline: String,
    pub job: String,
    pub category: String,
    pub nano: i64,
}

/// An hour of a pool's machines of one type.
pub(super) struct PoolHour {
    pub is_this_week: bool,
    pub hour_start_ms: i64,
    pub pool: String,
    pub region: String,
    pub instance_type: String,
    pub up_ms: i64,
    pub unpriced_ms: i64,
    pub nano: i64,
    pub idle_nano: [i64; 5],
    /// CPU, memory, accelerators.
    pub capacity: [i128; 3],
    pub request: [i128; 3],
    pub work: [i128; 3],
    pub cpu_usage: Option<i128>,
}

/// A job by its pipeline, where both are known.
pub(super) fn job_name(pipeline: &str, job: &str) -> String {
    if job == "unattributed" || job == pipeline {
        pipeline.to_owned()
    } else {
        format!("{pipeline}/{job}")
    }
}

/// A pool by its name, if its nodes tell one.
pub(super) fn pool_name(pool: &str) -> String {
    if pool == "unattributed" {
        "pool (none)".to_owned()
    } else {
        format!("pool {pool}")
    }
}

/// Answers of the marts.
pub(super) struct Figures {
    week: Week,
    team: Option<String>,
    covered_ms: i64,
    is_last_covered: bool,
    pub costs: Vec<Cost>,
    pub pool_hours: Vec<PoolHour>,
    /// Median of how long machines stay after their last workload pod, ms, by pool.
    pub tails: BTreeMap<String, i64>,
    hourly_nano: BTreeMap<(usize, usize), i64>,
    runs: Runs,
    /// Runs and failed runs by pipeline.
    run_counts: BTreeMap<String, (i64, i64)>,
    pub failures: Vec<FailureRow>,
    queues: Vec<QueueRow>,
    trust: Trust,
}

/// Reads rows.
struct Asking<'a> {
    connection: &'a Connection,
    week: &'a Week,
    team: Option<&'a str>,
}

/// Nano-dollars of a sum of dollars; 0 where there is none.
fn nano(sum: &str) -> String {
    format!("coalesce(cast(cast({sum} as decimal(38,9)) * 1000000000 as bigint), 0)")
}

impl Asking<'_> {
    fn rows<T>(
        &self,
        doing: &'static str,
        query: &str,
        read: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
    ) -> Result<Vec<T>> {
        let wrong = |source| Error::DuckDb { doing, source };
        let mut statement = self.connection.prepare(query).map_err(wrong)?;
        let team = self.team;
        let parameters: Vec<&dyn ToSql> = match &team {
            Some(team) if query.contains('?') => vec![team],
            _ => Vec::new(),
        };
        let rows = statement.query_map(parameters.as_slice(), read).map_err(wrong)?;
        rows.collect::<duckdb::Result<Vec<T>>>().map_err(wrong)
    }

    /// Where an instant lies in the week.
    fn within(&self, column: &str) -> String {
        let (start, end) = self.week.bounds_ms();
        format!("{column} >= make_timestamp_ms({start}) and {column} < make_timestamp_ms({end})")
    }

    /// Where an instant lies in the week or in the one before.
    fn within_two(&self, column: &str) -> String {
        let (start, _) = self.week.plus(-1).bounds_ms();
        let (_, end) = self.week.bounds_ms();
        format!("{column} >= make_timestamp_ms({start}) and {column} < make_timestamp_ms({end})")
    }

    fn is_this_week(&self, column: &str) -> String {
        format!("{column} >= make_timestamp_ms({})", self.week.bounds_ms().0)
    }

    /// Where a row is of the team that is asked for.
    fn of_team(&self) -> &'static str {
        if self.team.is_some() { "and team = ?" } else { "" }
    }

    fn covered(&self) -> Result<(i64, bool)> {
        let spans = self.rows(
            "read how far clusters were observed",
            "select epoch_ms(observed_from_at), epoch_ms(observed_through_at) from marts.clusters",
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let covered = |week: &Week| {
            let (start, end) = week.bounds_ms();
            let from = spans.iter().map(|(from, _)| *from).min().unwrap_or(end);
            let through = spans.iter().map(|(_, through)| *through).max().unwrap_or(start);
            (end.min(through) - start.max(from)).max(0)
        };
        let last = self.week.plus(-1);
        let (start, end) = last.bounds_ms();
        Ok((covered(self.week), covered(&last) >= end - start - HOUR))
    }

    fn costs(&self) -> Result<Vec<Cost>> {
        let query = format!(
            "select {} as is_this_week, team, pipeline, job, cost_category, {} from marts.costs_hourly where {} {} \
             group by all order by all",
            self.is_this_week("hour_start_at"),
            nano("sum(cost)"),
            self.within_two("hour_start_at"),
            self.of_team(),
        );
        self.rows("read what teams cost", &query, |row| {
            Ok(Cost {
                is_this_week: row.get(0)?,
                team: row.get(1)?,
                pipeline: row.get(2)?,
                job: row.get(3)?,
                category: row.get(4)?,
                nano: row.get(5)?,
            })
        })
    }

    fn hourly(&self) -> Result<BTreeMap<(usize, usize), i64>> {
        let query = format!(
            "select epoch_ms(hour_start_at), {} from marts.costs_hourly where {} {} group by all order by all",
            nano("sum(cost)"),
            self.within("hour_start_at"),
            self.of_team(),
        );
        let mut hours = BTreeMap::new();
        for (at, nano) in self.rows("read what hours cost", &query, |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })? {
            *hours.entry(self.week.slot(at)).or_insert(0) += nano;
        }
        Ok(hours)
    }

    fn pool_hours(&self) -> Result<Vec<PoolHour>> {
        let idle = ["boot", "startup", "gap", "tail", "unpacked"]
            .map(|kind| nano(&format!("idle_{kind}_cost")))
            .join(", ");
        let resources = [
            ("cpu", "millicore_ms"),
            ("memory", "byte_ms"),
            ("gpu", "milligpu_ms"),
        ];
        let times = ["capacity", "request", "work"]
            .iter()
            .flat_map(|what| {
                resources
                    .map(|(resource, unit)| format!("cast(coalesce({resource}_{what}_{unit}, 0) as hugeint)"))
            })
            .collect::<Vec<_>>()
            .join(", ");
        let query = format!(
            "select {} as is_this_week, epoch_ms(hour_start_at), pool, coalesce(region, ''), coalesce(instance_type, ''), \
             up_ms, unpriced_ms, {}, {idle}, {times}, cast(cpu_usage_millicore_ms as hugeint) \
             from marts.pools_hourly where {} order by all",
            self.is_this_week("hour_start_at"),
            nano("cost"),
            self.within_two("hour_start_at"),
        );
        self.rows("read what pools cost", &query, |row| {
            let three = |from: usize| -> duckdb::Result<[i128; 3]> {
                Ok([row.get(from)?, row.get(from + 1)?, row.get(from + 2)?])
            };
            Ok(PoolHour {
                is_this_week: row.get(0)?,
                hour_start_ms: row.get(1)?,
                pool: row.get(2)?,
                region: row.get(3)?,
                instance_type: row.get(4)?,
                up_ms: row.get(5)?,
                unpriced_ms: row.get(6)?,
                nano: row.get(7)?,
                idle_nano: [row.get(8)?, row.get(9)?, row.get(10)?, row.get(11)?, row.get(12)?],
                capacity: three(13)?,
                request: three(16)?,
                work: three(19)?,
                cpu_usage: row.get(22)?,
            })
        })
    }

    fn tails(&self) -> Result<BTreeMap<String, i64>> {
        let query = format!(
            "with ends as (select cluster, machine, max(pool) as pool, max(end_at) as end_at from marts.machine_prices group by all), \
             pods as (select cluster, machine, max(released_at) as released_at from marts.attempt_pods group by all) \
             select coalesce(ends.pool, 'unattributed'), cast(quantile_disc(epoch_ms(ends.end_at) - epoch_ms(pods.released_at), 0.5) as bigint) \
             from ends inner join pods using (cluster, machine) inner join marts.clusters using (cluster) \
             where ends.end_at < clusters.observed_through_at and {} group by all order by all",
            self.within("ends.end_at"),
        );
        let rows = self.rows("read how long machines stay", &query, |row| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        Ok(rows
            .into_iter()
            .filter_map(|(pool, tail)| Some((pool, tail?)))
            .collect())
    }

    /// Runs of the week; of one team, those in which it had pods, with its part of the cost.
    fn runs(&self) -> Result<Runs> {
        let key = "cluster, system, installation, pipeline, run, run_epoch";
        let source = if self.team.is_some() {
            format!(
                "(select runs.* replace (run_teams.cost as cost, run_teams.wasted_cost as wasted_cost, run_teams.pods as pods) \
                 from marts.runs inner join marts.run_teams using ({key}) where run_teams.team = ?)"
            )
        } else {
            "marts.runs".to_owned()
        };
        let top = |order: &str, filter: &str| {
            format!(
                "select pipeline, run, status, epoch_ms(started_at), epoch_ms(ended_at) - epoch_ms(started_at), pods, \
                 cast(cast(cost as decimal(38,9)) * 1000000000 as bigint), cast(cast(wasted_cost as decimal(38,9)) * 1000000000 as bigint) \
                 from {source} as runs where {} {filter} order by {order} desc nulls last, {key} limit {TOP}",
                self.within("started_at")
            )
        };
        let read = |row: &Row<'_>| {
            Ok(RunRow {
                pipeline: row.get(0)?,
                run: row.get(1)?,
                status: row.get(2)?,
                started: self.week.clock(row.get(3)?),
                duration_ms: row.get(4)?,
                pods: row.get(5)?,
                cost: row.get::<_, Option<i64>>(6)?.map(NanoUsd::from_nano),
                wasted: row.get::<_, Option<i64>>(7)?.map(NanoUsd::from_nano),
            })
        };
        let doing = "read the runs";
        let counts = self.rows(
            doing,
            &format!(
                "select count(*), cast(coalesce(sum(case when status in ('failed', 'lost') then 1 else 0 end), 0) as bigint) \
                 from {source} as runs where {}",
                self.within("started_at")
            ),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (count, failed) = counts.first().copied().unwrap_or((0, 0));
        Ok(Runs {
            count,
            failed,
            most_expensive: self.rows(doing, &top("cost", ""), read)?,
            most_wasteful: self.rows(doing, &top("wasted_cost", "and wasted_cost > 0"), read)?,
            slowest: self.rows(
                doing,
                &top("ended_at - started_at", "and ended_at is not null"),
                read,
            )?,
        })
    }

    fn run_counts(&self) -> Result<BTreeMap<String, (i64, i64)>> {
        let query = format!(
            "select pipeline, count(*), cast(sum(case when status in ('failed', 'lost') then 1 else 0 end) as bigint) \
             from marts.runs where {} group by all",
            self.within("started_at")
        );
        let rows = self.rows("count the runs", &query, |row| {
            Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
        })?;
        Ok(rows.into_iter().collect())
    }

    fn failures(&self, costs: &[Cost]) -> Result<Vec<FailureRow>> {
        // Only numbers of tries tell retries from other tasks of the same job.
        let numbered = "run <> 'unattributed' and try_cast(attempt as integer) is not null";
        let query = format!(
            "select team, pipeline, job, count(*), count(*) filter (outcome = 'failed'), count(*) filter (outcome = 'lost'), \
             count(*) filter ({numbered}) - count(distinct (cluster, system, installation, run, run_epoch)) filter ({numbered}), \
             min(end_reason) filter (outcome in ('failed', 'lost')), \
             mode(end_reason order by end_reason) filter (outcome in ('failed', 'lost')) \
             from marts.job_attempts where {} {} group by all having count(*) filter (outcome in ('failed', 'lost')) > 0 order by all",
            self.within("ended_at"),
            self.of_team(),
        );
        let mut rows = self.rows("read what failed", &query, |row| {
            Ok(FailureRow {
                team: row.get(0)?,
                pipeline: row.get(1)?,
                job: row.get(2)?,
                attempts: row.get(3)?,
                failed: row.get(4)?,
                lost: row.get(5)?,
                retries: row.get(6)?,
                reason: row.get::<_, Option<String>>(8)?.or(row.get(7)?),
                cost: NanoUsd::default(),
            })
        })?;
        let mut sums: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
        for cost in costs.iter().filter(|cost| cost.is_this_week) {
            if matches!(cost.category.as_str(), "failed" | "lost" | "stuck") {
                *sums.entry((&cost.team, &cost.pipeline, &cost.job)).or_default() += cost.nano;
            }
        }
        for row in &mut rows {
            let key = (row.team.as_str(), row.pipeline.as_str(), row.job.as_str());
            row.cost = NanoUsd::from_nano(sums.get(&key).copied().unwrap_or(0));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.cost));
        Ok(rows)
    }

    fn queues(&self) -> Result<Vec<QueueRow>> {
        let query = format!(
            "select team, pipeline, count(*), count(*) filter (scheduled_at is null), \
             quantile_disc(queue_wait_ms, 0.5), quantile_disc(queue_wait_ms, 0.95), max(queue_wait_ms) \
             from marts.attempt_pods where {} {} group by all \
             order by sum(queue_wait_ms) desc nulls last, team, pipeline",
            self.within("created_at"),
            self.of_team(),
        );
        self.rows("read how long pods waited", &query, |row| {
            Ok(QueueRow {
                team: row.get(0)?,
                pipeline: row.get(1)?,
                pods: row.get(2)?,
                unbound: row.get(3)?,
                p50_ms: row.get(4)?,
                p95_ms: row.get(5)?,
                max_ms: row.get(6)?,
            })
        })
    }

    fn trust(&self) -> Result<Trust> {
        let query = format!(
            "select {} from (select cast(cast(cost as decimal(38,9)) * 1000000000 as hugeint) * (epoch_ms(end_latest_at) - epoch_ms(end_earliest_at)) \
             // nullif(epoch_ms(released_at) - epoch_ms(scheduled_at), 0) as nano from marts.attempt_pods where {} {})",
            "cast(coalesce(sum(nano), 0) as bigint)",
            self.within("released_at"),
            self.of_team(),
        );
        let uncertain = self.rows("read what rests on uncertain ends", &query, |row| row.get(0))?;
        let provisional = self.rows(
            "read what is provisional",
            &format!(
                "select {} from marts.costs_hourly inner join marts.clusters using (cluster) \
                 where hour_start_at + interval 1 hour > observed_through_at and {} {}",
                nano("sum(cost)"),
                self.within("hour_start_at"),
                self.of_team(),
            ),
            |row| row.get(0),
        )?;
        Ok(Trust {
            uncertain_ends: NanoUsd::from_nano(uncertain.first().copied().unwrap_or(0)),
            provisional: NanoUsd::from_nano(provisional.first().copied().unwrap_or(0)),
            ..Trust::default()
        })
    }
}

impl Figures {
    pub(super) fn read(connection: &Connection, request: &Request) -> Result<Self> {
        let asking = Asking {
            connection,
            week: &request.week,
            team: request.team.as_deref(),
        };
        let (covered_ms, is_last_covered) = asking.covered()?;
        let costs = asking.costs()?;
        if let (Some(team), true) = (&request.team, costs.is_empty()) {
            let everybody = Asking { team: None, ..asking };
            let mut teams: Vec<String> = everybody.costs()?.into_iter().map(|cost| cost.team).collect();
            teams.sort_unstable();
            teams.dedup();
            let shown: Vec<String> = teams.iter().take(12).map(|team| display::short(team)).collect();
            return Err(Error::NoTeam {
                team: display::short(team),
                known: if shown.is_empty() {
                    "none".to_owned()
                } else {
                    shown.join(", ")
                },
            });
        }
        let failures = asking.failures(&costs)?;
        let is_for_all = request.team.is_none();
        Ok(Self {
            week: request.week.clone(),
            team: request.team.clone(),
            covered_ms,
            is_last_covered,
            costs,
            pool_hours: if is_for_all {
                asking.pool_hours()?
            } else {
                Vec::new()
            },
            tails: if is_for_all {
                asking.tails()?
            } else {
                BTreeMap::new()
            },
            hourly_nano: asking.hourly()?,
            runs: asking.runs()?,
            run_counts: asking.run_counts()?,
            failures,
            queues: asking.queues()?,
            trust: asking.trust()?,
        })
    }

    fn total(&self, is_this_week: bool) -> i64 {
        let costs = self.costs.iter().filter(|cost| cost.is_this_week == is_this_week);
        costs.map(|cost| cost.nano).sum()
    }

    /// Sums by whatever `key` tells of costs of the week.
    fn sums<'a, K: Ord>(
        &'a self,
        is_this_week: bool,
        key: impl Fn(&'a Cost) -> Option<K>,
    ) -> BTreeMap<K, i64> {
        let mut sums = BTreeMap::new();
        for cost in self.costs.iter().filter(|cost| cost.is_this_week == is_this_week) {
            if let Some(key) = key(cost) {
                *sums.entry(key).or_insert(0) += cost.nano;
            }
        }
        sums
    }

    pub(super) fn report(self) -> Result<Weekly> {
        let (start, end) = self.week.bounds_ms();
        let (first, last) = self.week.dates();
        let total = self.total(true);
        // Weeks of which a part is missing are not compared.
        let is_whole = self.covered_ms >= end - start;
        let previous = (is_whole && self.is_last_covered).then(|| self.total(false));
        let pools = self.pools();
        let actions = advice::actions(&self, &pools);
        let unmetered = self.sums(true, |cost| (cost.category == "unmetered").then_some(()));
        let unpriced = self.pool_hours.iter().filter(|hour| hour.is_this_week);
        Ok(Weekly {
            week: self.week.to_string(),
            zone: self.week.zone().to_owned(),
            first_date: first.to_string(),
            last_date: last.to_string(),
            team: self.team.clone(),
            week_ms: end - start,
            covered_ms: self.covered_ms,
            basis: "estimate at list price",
            total: NanoUsd::from_nano(total),
            previous: previous.map(NanoUsd::from_nano),
            waterfall: self.waterfall(total),
            bridge: match previous {
                Some(previous) if self.team.is_some() => {
                    bridge::by_pipeline(&self.direct(true), &self.direct(false), total - previous)
                }
                Some(previous) => bridge::effects(&self.pool_hours, total - previous),
                None => Vec::new(),
            },
            hours: self.hours(),
            teams: self.teams(previous.is_some()),
            pipelines: self.pipelines(previous.is_some()),
            trust: Trust {
                estimated: NanoUsd::from_nano(total),
                unmetered: NanoUsd::from_nano(unmetered.get(&()).copied().unwrap_or(0)),
                unpriced_ms: unpriced.map(|hour| hour.unpriced_ms).sum(),
                ..self.trust.clone()
            },
            pools,
            actions,
            runs: self.runs,
            failures: self.failures,
            queues: self.queues,
        })
    }

    /// What pods of each team's pipeline cost.
    fn direct(&self, is_this_week: bool) -> BTreeMap<(String, String), i64> {
        self.sums(is_this_week, |cost| {
            let is_direct = !SHARED.contains(&cost.category.as_str());
            is_direct.then(|| (cost.team.clone(), cost.pipeline.clone()))
        })
    }

    fn waterfall(&self, total: i64) -> Vec<Bar> {
        BARS.iter()
            .map(|(key, label, categories)| {
                let of_bar = |cost: &Cost| categories.contains(&cost.category.as_str());
                let by_category = self.sums(true, |cost| of_bar(cost).then_some(cost.category.as_str()));
                let cost: i64 = by_category.values().sum();
                let mut parts: Vec<Part> = by_category
                    .into_iter()
                    .filter(|(_, nano)| *nano != 0)
                    .map(|(category, nano)| Part {
                        category: category.to_owned(),
                        cost: NanoUsd::from_nano(nano),
                    })
                    .collect();
                parts.sort_by_key(|part| std::cmp::Reverse(part.cost));
                Bar {
                    key,
                    label,
                    cost: NanoUsd::from_nano(cost),
                    permille: display::permille(cost, total),
                    largest_owner: self.largest_owner(key, &of_bar),
                    categories: parts,
                }
            })
            .collect()
    }

    fn largest_owner(&self, key: &str, of_bar: &dyn Fn(&Cost) -> bool) -> Option<Owner> {
        let sums: BTreeMap<String, i64> = if key == "idle" {
            let mut pools = BTreeMap::new();
            for hour in self.pool_hours.iter().filter(|hour| hour.is_this_week) {
                *pools.entry(pool_name(&hour.pool)).or_insert(0) += hour.idle_nano.iter().sum::<i64>();
            }
            pools
        } else {
            self.sums(true, |cost| {
                let is_named = cost.pipeline != "unattributed";
                (of_bar(cost) && is_named).then(|| job_name(&cost.pipeline, &cost.job))
            })
        };
        let (name, nano) = sums
            .into_iter()
            .filter(|(_, nano)| *nano > 0)
            .max_by_key(|(_, nano)| *nano)?;
        Some(Owner {
            name,
            cost: NanoUsd::from_nano(nano),
        })
    }

    fn teams(&self, is_compared: bool) -> Vec<TeamRow> {
        let direct = |is_this_week| {
            self.sums(is_this_week, |cost| {
                (!SHARED.contains(&cost.category.as_str())).then_some(cost.team.as_str())
            })
        };
        let (now, before) = (direct(true), direct(false));
        let of = |categories: &[&str]| {
            self.sums(true, |cost| {
                categories
                    .contains(&cost.category.as_str())
                    .then_some(cost.team.as_str())
            })
        };
        let (failed, unused) = (of(&["failed", "lost", "stuck"]), of(&["unused_request"]));
        let all: i64 = now.values().sum();
        let shared = self.total(true) - all;
        let mut names: Vec<&str> = now.keys().copied().collect();
        if is_compared {
            names.extend(before.keys().copied().filter(|team| !now.contains_key(team)));
        }
        let usd =
            |sums: &BTreeMap<&str, i64>, team: &str| NanoUsd::from_nano(sums.get(team).copied().unwrap_or(0));
        let mut rows: Vec<TeamRow> = names
            .into_iter()
            .map(|team| {
                let cost = now.get(team).copied().unwrap_or(0);
                let part = if all > 0 {
                    i64::try_from(i128::from(shared) * i128::from(cost) / i128::from(all)).unwrap_or(0)
                } else {
                    0
                };
                TeamRow {
                    team: team.to_owned(),
                    direct: NanoUsd::from_nano(cost),
                    fully_loaded: NanoUsd::from_nano(cost + part),
                    previous_direct: is_compared.then(|| usd(&before, team)),
                    failed: usd(&failed, team),
                    unused_request: usd(&unused, team),
                }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.direct));
        // What the division leaves goes to the largest.
        let loaded: i64 = rows.iter().map(|row| row.fully_loaded.get()).sum();
        if let (Some(first), true) = (rows.first_mut(), all > 0) {
            first.fully_loaded = NanoUsd::from_nano(first.fully_loaded.get() + self.total(true) - loaded);
        }
        rows
    }

    fn pipelines(&self, is_compared: bool) -> Vec<PipelineRow> {
        let (now, before) = (self.direct(true), self.direct(false));
        let of = |categories: &[&str]| {
            self.sums(true, |cost| {
                categories
                    .contains(&cost.category.as_str())
                    .then(|| (cost.team.clone(), cost.pipeline.clone()))
            })
        };
        let (failed, unused) = (of(&["failed", "lost", "stuck"]), of(&["unused_request"]));
        let get = |sums: &BTreeMap<(String, String), i64>, key: &(String, String)| {
            NanoUsd::from_nano(sums.get(key).copied().unwrap_or(0))
        };
        let mut rows: Vec<PipelineRow> = now
            .keys()
            .map(|key| {
                let (runs, failed_runs) = self.run_counts.get(&key.1).copied().unwrap_or((0, 0));
                PipelineRow {
                    team: key.0.clone(),
                    pipeline: key.1.clone(),
                    cost: get(&now, key),
                    previous: is_compared.then(|| get(&before, key)),
                    failed: get(&failed, key),
                    unused_request: get(&unused, key),
                    runs,
                    failed_runs,
                }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.cost));
        rows
    }

    fn hours(&self) -> Vec<HourOfWeek> {
        #[derive(Default)]
        struct Sum {
            capacity: i128,
            request: i128,
            usage: Option<i128>,
        }
        let mut sums: BTreeMap<(usize, usize), Sum> = BTreeMap::new();
        for hour in self.pool_hours.iter().filter(|hour| hour.is_this_week) {
            let sum = sums.entry(self.week.slot(hour.hour_start_ms)).or_default();
            sum.capacity += hour.capacity[0];
            sum.request += hour.request[0];
            if let Some(usage) = hour.cpu_usage {
                *sum.usage.get_or_insert(0) += usage;
            }
        }
        let average = |time: i128| i64::try_from(time / i128::from(HOUR)).unwrap_or(i64::MAX);
        (0..7)
            .flat_map(|day| (0..24).map(move |hour| (day, hour)))
            .map(|slot| {
                let sum = sums.remove(&slot).unwrap_or_default();
                HourOfWeek {
                    day: slot.0,
                    hour: slot.1,
                    cpu_capacity_millicores: average(sum.capacity),
                    cpu_request_millicores: average(sum.request),
                    cpu_usage_millicores: sum.usage.map(average),
                    cost: NanoUsd::from_nano(self.hourly_nano.get(&slot).copied().unwrap_or(0)),
                }
            })
            .collect()
    }

    fn pools(&self) -> Vec<PoolRow> {
        let mut pools: BTreeMap<&str, Vec<&PoolHour>> = BTreeMap::new();
        for hour in self.pool_hours.iter().filter(|hour| hour.is_this_week) {
            pools.entry(&hour.pool).or_default().push(hour);
        }
        let mut rows: Vec<PoolRow> = pools
            .into_iter()
            .map(|(pool, hours)| self.pool(pool, &hours))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.cost));
        rows
    }

    fn pool(&self, pool: &str, hours: &[&PoolHour]) -> PoolRow {
        let mut types: Vec<&str> = hours.iter().map(|hour| hour.instance_type.as_str()).collect();
        types.sort_unstable();
        types.dedup();
        let idle = |kind: usize| NanoUsd::from_nano(hours.iter().map(|hour| hour.idle_nano[kind]).sum());
        let share = |hours: &[&PoolHour], resource: usize| {
            let capacity: i128 = hours.iter().map(|hour| hour.capacity[resource]).sum();
            let request: i128 = hours.iter().map(|hour| hour.request[resource]).sum();
            (capacity > 0).then(|| i64::try_from(request * 1000 / capacity).unwrap_or(i64::MAX))
        };
        let mut slots: BTreeMap<(usize, usize), Vec<&PoolHour>> = BTreeMap::new();
        for hour in hours {
            slots
                .entry(self.week.slot(hour.hour_start_ms))
                .or_default()
                .push(hour);
        }
        PoolRow {
            pool: pool.to_owned(),
            instance_types: types.join(", "),
            cost: NanoUsd::from_nano(hours.iter().map(|hour| hour.nano).sum()),
            idle_boot: idle(0),
            idle_startup: idle(1),
            idle_gap: idle(2),
            idle_tail: idle(3),
            idle_unpacked: idle(4),
            cpu_request_permille: share(hours, 0).unwrap_or(0),
            memory_request_permille: share(hours, 1).unwrap_or(0),
            gpu_request_permille: share(hours, 2),
            tail_ms: self.tails.get(pool).copied(),
            heat: (0..7)
                .flat_map(|day| (0..24).map(move |hour| (day, hour)))
                .map(|slot| {
                    let hours = slots.get(&slot)?;
                    (0..3).filter_map(|resource| share(hours, resource)).max()
                })
                .collect(),
        }
    }
}
