//! Puts the answers of the marts together: what is shown adds up to what is shown beside it.

use std::collections::{BTreeMap, BTreeSet};

use duckdb::Connection;
use podledger_sql::units::NanoUsd;

use super::ask::{Asking, Cost, PoolHour};
use super::{
    Bar, FailureRow, HourOfWeek, Owner, Part, PipelineRow, PoolRow, QueueRow, Request, Runs, TeamRow, Trust,
    Week, Weekly, advice, bridge,
};
use crate::basis::basis;
use crate::display;
use crate::error::{Error, Result};
use crate::findings::{Finding, findings};

const HOUR: i64 = 3_600_000;

/// What all share: nobody's pods, or pods that serve everybody.
pub(crate) const SHARED: &[&str] = &[
    "control_plane",
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
];

/// Bars of the waterfall in order: key, label, cost categories. Every category is in one.
pub(crate) const BARS: &[(&str, &str, &[&str])] = &[
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

/// Whether it is no machine's cost.
fn of_services(cost: &Cost) -> bool {
    BARS.iter()
        .any(|(key, _, categories)| *key == "fixed" && categories.contains(&cost.category.as_str()))
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
    /// Costs of all teams, where the report is about one.
    everybody: Vec<Cost>,
    pub pool_hours: Vec<PoolHour>,
    /// Median of how long machines stay after their last workload pod, ms, by pool.
    pub tails: BTreeMap<String, i64>,
    hourly_nano: BTreeMap<(usize, usize), i64>,
    runs: Runs,
    /// Runs and failed runs by team and pipeline.
    run_counts: BTreeMap<(String, String), (i64, i64)>,
    pub failures: Vec<FailureRow>,
    queues: Vec<QueueRow>,
    trust: Trust,
    findings: Option<Vec<Finding>>,
}

/// Sums of costs of a week by whatever `key` tells of them.
fn sums<'a, K: Ord>(
    costs: &'a [Cost],
    is_this_week: bool,
    key: impl Fn(&'a Cost) -> Option<K>,
) -> BTreeMap<K, i64> {
    let mut sums = BTreeMap::new();
    for cost in costs.iter().filter(|cost| cost.is_this_week == is_this_week) {
        if let Some(key) = key(cost) {
            *sums.entry(key).or_insert(0) += cost.nano;
        }
    }
    sums
}

fn no_team(team: &str, all: &[Cost]) -> Error {
    let mut teams: Vec<&str> = all.iter().map(|cost| cost.team.as_str()).collect();
    teams.sort_unstable();
    teams.dedup();
    let shown: Vec<String> = teams
        .into_iter()
        .filter(|team| *team != "unattributed")
        .take(12)
        .map(display::short)
        .collect();
    Error::NoTeam {
        team: display::short(team),
        known: if shown.is_empty() {
            "none".to_owned()
        } else {
            shown.join(", ")
        },
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
        let all = asking.costs()?;
        let (costs, everybody) = match &request.team {
            Some(team) => {
                let is_own = |cost: &&Cost| cost.team == *team && !SHARED.contains(&cost.category.as_str());
                let own: Vec<Cost> = all.iter().filter(is_own).cloned().collect();
                if own.is_empty() {
                    return Err(no_team(team, &all));
                }
                (own, all)
            }
            None => (all, Vec::new()),
        };
        let failures = asking.failures(&costs)?;
        let is_for_all = request.team.is_none();
        Ok(Self {
            week: request.week.clone(),
            team: request.team.clone(),
            covered_ms,
            is_last_covered,
            costs,
            everybody,
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
            findings: findings(connection, &request.week, request.team.as_deref())?,
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
        sums(&self.costs, is_this_week, key)
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
            basis: basis(self.trust.billed, NanoUsd::from_nano(total)),
            total: NanoUsd::from_nano(total),
            previous: previous.map(NanoUsd::from_nano),
            waterfall: self.waterfall(total),
            bridge: match previous {
                Some(previous) if self.team.is_some() => {
                    bridge::by_pipeline(&self.direct(true), &self.direct(false), total - previous)
                }
                Some(previous) => {
                    let services = |week| -> i64 {
                        self.sums(week, |cost| of_services(cost).then_some(()))
                            .values()
                            .sum()
                    };
                    bridge::effects(
                        &self.pool_hours,
                        services(true) - services(false),
                        total - previous,
                    )
                }
                None => Vec::new(),
            },
            hours: self.hours(),
            teams: self.teams(previous.is_some()),
            pipelines: self.pipelines(previous.is_some()),
            trust: Trust {
                estimated: NanoUsd::from_nano(total - self.trust.billed.get()),
                unmetered: NanoUsd::from_nano(unmetered.get(&()).copied().unwrap_or(0)),
                unpriced_ms: self
                    .team
                    .is_none()
                    .then(|| unpriced.map(|hour| hour.unpriced_ms).sum()),
                ..self.trust.clone()
            },
            pools,
            actions,
            proof: None,
            runs: self.runs,
            failures: self.failures,
            queues: self.queues,
            findings: self.findings,
            advice_withheld: None,
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
                (of_bar(cost) && is_named).then(|| (cost.team.as_str(), job_name(&cost.pipeline, &cost.job)))
            })
            .into_iter()
            .fold(
                BTreeMap::new(),
                |mut largest: BTreeMap<String, i64>, ((_, name), nano)| {
                    // Namesakes of other teams are others.
                    let known = largest.entry(name).or_insert(nano);
                    *known = (*known).max(nano);
                    largest
                },
            )
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

    /// All teams, or the one that the report is about: its share of what all share hangs on what the others cost.
    fn teams(&self, is_compared: bool) -> Vec<TeamRow> {
        let costs = if self.everybody.is_empty() {
            &self.costs
        } else {
            &self.everybody
        };
        let direct = |is_this_week| {
            sums(costs, is_this_week, |cost| {
                (!SHARED.contains(&cost.category.as_str())).then_some(cost.team.as_str())
            })
        };
        let (now, before) = (direct(true), direct(false));
        let of = |categories: &[&str]| {
            sums(costs, true, |cost| {
                categories
                    .contains(&cost.category.as_str())
                    .then_some(cost.team.as_str())
            })
        };
        let (failed, unused) = (of(&["failed", "lost", "stuck"]), of(&["unused_request"]));
        let all: i64 = now.values().sum();
        let total: i64 = sums(costs, true, |_| Some(())).values().sum();
        let shared = total - all;
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
            first.fully_loaded = NanoUsd::from_nano(first.fully_loaded.get() + total - loaded);
        }
        rows.retain(|row| self.team.as_ref().is_none_or(|team| row.team == *team));
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
                let (runs, failed_runs) = self.run_counts.get(key).copied().unwrap_or((0, 0));
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
            hours: BTreeSet<i64>,
        }
        let mut sums: BTreeMap<(usize, usize), Sum> = BTreeMap::new();
        for hour in self.pool_hours.iter().filter(|hour| hour.is_this_week) {
            let sum = sums.entry(self.week.slot(hour.hour_start_ms)).or_default();
            sum.hours.insert(hour.hour_start_ms);
            sum.capacity += hour.capacity[0];
            sum.request += hour.request[0];
            if let Some(usage) = hour.cpu_usage {
                *sum.usage.get_or_insert(0) += usage;
            }
        }
        (0..7)
            .flat_map(|day| (0..24).map(move |hour| (day, hour)))
            .map(|slot| {
                let sum = sums.remove(&slot).unwrap_or_default();
                let hours = i128::try_from(sum.hours.len()).unwrap_or(0);
                let average = |time: i128| {
                    (hours > 0).then(|| i64::try_from(time / (i128::from(HOUR) * hours)).unwrap_or(i64::MAX))
                };
                HourOfWeek {
                    day: slot.0,
                    hour: slot.1,
                    cpu_capacity_millicores: average(sum.capacity),
                    cpu_request_millicores: average(sum.request),
                    cpu_usage_millicores: sum.usage.and_then(average),
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
