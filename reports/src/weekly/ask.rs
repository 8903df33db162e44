//! Asks the marts for the figures of a week.

use std::collections::BTreeMap;

use duckdb::{Connection, Row, ToSql};
use podledger_sql::units::NanoUsd;

use super::figures::SHARED;
use super::{FailureRow, QueueRow, RunRow, Runs, Trust, Week};
use crate::error::{Error, Result};

const HOUR: i64 = 3_600_000;

/// How many runs of each list are read.
const TOP: usize = 10;

/// What a team's pipeline and job cost in a category.
#[derive(Debug, Clone)]
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

/// Reads rows.
pub(super) struct Asking<'a> {
    pub connection: &'a Connection,
    pub week: &'a Week,
    pub team: Option<&'a str>,
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
            Some(team) if query.contains("$1") => vec![team],
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
        // Pods of a team that several share have its name; what they cost is split among its members.
        if self.team.is_some() {
            "and (team = $1 or team in (select team from marts.team_shares where member = $1))"
        } else {
            ""
        }
    }

    /// Where a row of costs is what pods of the team cost.
    fn direct_of_team(&self) -> String {
        let shared: Vec<String> = SHARED.iter().map(|category| format!("'{category}'")).collect();
        if self.team.is_some() {
            format!("and team = $1 and cost_category not in ({})", shared.join(", "))
        } else {
            String::new()
        }
    }

    pub(super) fn covered(&self) -> Result<(i64, bool)> {
        let spans = super::clusters(self.connection).map_err(|source| Error::DuckDb {
            doing: "read how far clusters were observed",
            source,
        })?;
        // A cluster begins with its first machine; a week is observed as far as that of its clusters which was observed least.
        let covered = |week: &Week| {
            let (start, end) = week.bounds_ms();
            let touching = || {
                spans
                    .iter()
                    .filter(|(from, through)| *from < end && *through > start)
            };
            let from = touching().map(|(from, _)| *from).min().unwrap_or(end);
            let through = touching().map(|(_, through)| *through).min().unwrap_or(start);
            (end.min(through) - start.max(from)).max(0)
        };
        let last = self.week.plus(-1);
        let (start, end) = last.bounds_ms();
        Ok((covered(self.week), covered(&last) >= end - start - HOUR))
    }

    /// Of all teams.
    pub(super) fn costs(&self) -> Result<Vec<Cost>> {
        let query = format!(
            "select {} as is_this_week, team, pipeline, job, cost_category, {} from marts.costs_hourly where {} \
             group by all order by all",
            self.is_this_week("hour_start_at"),
            nano("sum(cost)"),
            self.within_two("hour_start_at"),
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

    pub(super) fn hourly(&self) -> Result<BTreeMap<(usize, usize), i64>> {
        let query = format!(
            "select epoch_ms(hour_start_at), {} from marts.costs_hourly where {} {} group by all order by all",
            nano("sum(cost)"),
            self.within("hour_start_at"),
            self.direct_of_team(),
        );
        let mut hours = BTreeMap::new();
        for (at, nano) in self.rows("read what hours cost", &query, |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })? {
            *hours.entry(self.week.slot(at)).or_insert(0) += nano;
        }
        Ok(hours)
    }

    pub(super) fn pool_hours(&self) -> Result<Vec<PoolHour>> {
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

    pub(super) fn tails(&self) -> Result<BTreeMap<String, i64>> {
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
    pub(super) fn runs(&self) -> Result<Runs> {
        let key = "cluster, system, installation, pipeline, run, run_epoch";
        let source = if self.team.is_some() {
            format!(
                "(select runs.* replace (run_teams.cost as cost, run_teams.wasted_cost as wasted_cost, run_teams.pods as pods) \
                 from marts.runs inner join marts.run_teams using ({key}) where run_teams.team = $1)"
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

    pub(super) fn run_counts(&self) -> Result<BTreeMap<(String, String), (i64, i64)>> {
        let query = format!(
            "select teams.team, runs.pipeline, count(*), \
             cast(sum(case when runs.status in ('failed', 'lost') then 1 else 0 end) as bigint) \
             from marts.runs as runs inner join marts.run_teams as teams \
             using (cluster, system, installation, pipeline, run, run_epoch) where {} group by all",
            self.within("started_at")
        );
        let rows = self.rows("count the runs", &query, |row| {
            Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
        })?;
        Ok(rows.into_iter().collect())
    }

    pub(super) fn failures(&self, costs: &[Cost]) -> Result<Vec<FailureRow>> {
        // Only numbers of tries tell retries from other tasks of the same job.
        let numbered = "run <> 'unattributed' and try_cast(attempt as integer) is not null";
        let query = format!(
            "select team, pipeline, job, count(*), count(*) filter (outcome = 'failed'), count(*) filter (outcome = 'lost'), \
             count(distinct (cluster, system, installation, run, run_epoch, attempt)) filter ({numbered}) \
                 - count(distinct (cluster, system, installation, run, run_epoch)) filter ({numbered}), \
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

    pub(super) fn queues(&self) -> Result<Vec<QueueRow>> {
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

    pub(super) fn trust(&self) -> Result<Trust> {
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
                self.direct_of_team(),
            ),
            |row| row.get(0),
        )?;
        let billed = self.rows(
            "read what rests on bills",
            &format!(
                "select {} from marts.billed_costs_hourly where {} {}",
                nano("sum(cost)"),
                self.within("hour_start_at"),
                self.direct_of_team(),
            ),
            |row| row.get(0),
        )?;
        Ok(Trust {
            billed: NanoUsd::from_nano(billed.first().copied().unwrap_or(0)),
            uncertain_ends: NanoUsd::from_nano(uncertain.first().copied().unwrap_or(0)),
            provisional: NanoUsd::from_nano(provisional.first().copied().unwrap_or(0)),
            ..Trust::default()
        })
    }
}
