//! What a platform costs by the ledgers of two lakes: the same wherever nothing was seen late, and elsewhere no more or less than the
//! bounds of what was seen late allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::known::facts;
use crate::harness::World;

/// Amounts are rounded once per hour and category.
const ROUNDING_NANO: i128 = 5_000;

/// What was compared.
#[derive(Default)]
pub struct Costs {
    ledgers: usize,
    machines: usize,
    /// Machines of which everything was seen when it happened.
    exact: usize,
    pods: usize,
    /// Pods that do not cost the same, and the largest difference.
    moved: usize,
    furthest_nano: i128,
}

impl Costs {
    pub fn add(&mut self, other: &Self) {
        self.ledgers += other.ledgers;
        self.machines += other.machines;
        self.exact += other.exact;
        self.pods += other.pods;
        self.moved += other.moved;
        self.furthest_nano = self.furthest_nano.max(other.furthest_nano);
    }

    /// Whether there was something to compare row by row.
    pub fn is_telling(&self) -> bool {
        self.exact > 4 && self.pods > 50
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ledgers == 0 {
            return write!(formatter, "not costed");
        }
        write!(
            formatter,
            "{} ledgers: {} machines equal row by row; of {} machines and {} pods that ended, {} pods cost otherwise, by {} nano-dollars at most",
            self.ledgers, self.exact, self.machines, self.pods, self.moved, self.furthest_nano
        )
    }
}

/// A stretch of time in milliseconds since 1970, and what it cost.
struct Stretch {
    from_ms: i64,
    to_ms: i64,
    /// Between which instants the end lies.
    earliest_ms: i64,
    latest_ms: i64,
    nano: i128,
}

impl Stretch {
    fn length(&self) -> i128 {
        i128::from(self.to_ms - self.from_ms)
    }

    /// Whether another costs what this does, but for at most so many milliseconds of it.
    fn costs_as(&self, other: &Self, spread_ms: i64) -> bool {
        let longer = if self.length() >= other.length() {
            self
        } else {
            other
        };
        let allowed = longer.nano * i128::from(spread_ms) + ROUNDING_NANO * longer.length();
        (self.nano - other.nano).abs() * longer.length() <= allowed
    }
}

/// Of one platform, seen late and seen when it happened, everything before an instant costs the same; where an end was seen late, as
/// much more or less as its bounds allow, and `slack` beside them. Names and outcomes are the same of all pods. Both lakes are built;
/// where they are built already that does nothing.
pub fn assert_costs(
    found: &World,
    whole: &World,
    until: Timestamp,
    slack: SignedDuration,
    after: &str,
) -> Costs {
    found.build(false);
    whole.build(false);
    let (some, all) = (names(found, until), names(whole, until));
    assert_eq!(some.len(), all.len(), "{after}: pods");
    for ((pod, outcome), (truth, true_outcome)) in some.iter().zip(&all) {
        assert_eq!(pod, truth, "{after}: names");
        if outcome.is_some() && true_outcome.is_some() {
            assert_eq!(outcome, true_outcome, "{after}: the outcome of {pod}");
        }
    }

    let exact = exact_machines(found, whole);
    let (some, all) = (rows(found, until), rows(whole, until));
    for machine in &exact {
        assert_eq!(some.get(machine), all.get(machine), "{after}: {machine}");
    }

    let slack_ms = i64::try_from(slack.as_millis()).unwrap();
    let (some, all) = (pods(found, until), pods(whole, until));
    let mut costs = Costs {
        ledgers: 1,
        exact: exact.len(),
        pods: all.len(),
        ..Costs::default()
    };
    assert_eq!(
        some.keys().collect::<Vec<_>>(),
        all.keys().collect::<Vec<_>>(),
        "{after}"
    );
    for (uid, truth) in &all {
        let pod = &some[uid];
        assert!(
            pod.costs_as(truth, pod.latest_ms - pod.earliest_ms + slack_ms),
            "{after}: {uid} costs {}, and {} when it was seen",
            pod.nano,
            truth.nano
        );
        costs.moved += usize::from(pod.nano != truth.nano);
        costs.furthest_nano = costs.furthest_nano.max((pod.nano - truth.nano).abs());
    }
    let (some, all) = (machines(found, until), machines(whole, until));
    costs.machines = all.len();
    for (name, truth) in &all {
        let machine = &some[name];
        let apart = (machine.to_ms - truth.to_ms).abs() + (machine.from_ms - truth.from_ms).abs();
        assert!(
            machine.costs_as(truth, apart),
            "{after}: {name} costs {}, and {} when it was seen",
            machine.nano,
            truth.nano
        );
    }
    costs
}

/// What every pod is called, and how it ended if it did so before an instant: how far a cluster is observed in the end depends on when
/// its watches spoke last.
fn names(world: &World, until: Timestamp) -> Vec<(String, Option<String>)> {
    let rows = world.rows(&format!(
        "select coalesce(released_ms < {}, false), row(outcome, attempt_outcome)::varchar, \
            row(pod_uid, namespace, team, pipeline, run, job, attempt, role, pod_class)::varchar from marts.pods order by pod_uid",
        until.as_millisecond()
    ));
    rows.iter()
        .map(|row| {
            let cells: Vec<&str> = row.splitn(3, '|').collect();
            let outcome = (cells[0] == "true").then(|| cells[1].to_owned());
            (cells[2].to_owned(), outcome)
        })
        .collect()
}

/// Machines whose lives are the same in both lakes, and all that is told of every pod on them.
fn exact_machines(found: &World, whole: &World) -> BTreeSet<String> {
    let lives = |world: &World| -> BTreeMap<String, String> {
        pairs(
            world,
            "select machine, row(launched_at, ended_at)::varchar from {machines} \
             qualify row_number() over (partition by machine order by observed_at desc) = 1",
        )
    };
    let states = |world: &World| -> BTreeMap<String, String> {
        pairs(
            world,
            "select coalesce(arg_max(machine, observed_at), '') || ' ' || pod_uid, \
             md5(string_agg(state::varchar, ';' order by state::varchar)) \
             from (select distinct * exclude (segment_seq, recorded_date) from {pod_states}) as state group by pod_uid",
        )
    };
    let (some, all) = (lives(found), lives(whole));
    let mut exact: BTreeSet<String> = all
        .into_iter()
        .filter(|(machine, life)| some.get(machine) == Some(life))
        .map(|(machine, _)| machine)
        .collect();
    let (some, all) = (states(found), states(whole));
    for (one, other) in [(&some, &all), (&all, &some)] {
        for (pod, told) in one {
            if other.get(pod) != Some(told)
                && let Some((machine, _)) = pod.split_once(' ')
            {
                exact.remove(machine);
            }
        }
    }
    exact
}

fn pairs(world: &World, query: &str) -> BTreeMap<String, String> {
    let split = |row: String| {
        let (key, value) = row.split_once('|').unwrap();
        (key.to_owned(), value.to_owned())
    };
    facts(world, query).into_iter().map(split).collect()
}

/// Every row of money by machine, of hours that begin before an instant.
fn rows(world: &World, until: Timestamp) -> BTreeMap<String, Vec<String>> {
    let query = format!(
        "select machine, cast(found as varchar) from marts.allocations_hourly as found \
         where machine is not null and hour_start_at < make_timestamp({}) order by all",
        until.as_microsecond()
    );
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in world.rows(&query) {
        let (machine, row) = row.split_once('|').unwrap();
        rows.entry(machine.to_owned()).or_default().push(row.to_owned());
    }
    rows
}

/// What pods cost on machines before an instant, and when they held them.
fn pods(world: &World, until: Timestamp) -> BTreeMap<String, Stretch> {
    stretches(
        world,
        until,
        "select pod_uid as name, bound_ms as from_ms, released_ms as to_ms, end_earliest_ms as earliest_ms, \
            end_latest_ms as latest_ms from marts.pods where bound_ms is not null and machine is not null",
        "pod_uid",
    )
}

/// What machines cost before an instant, and when they lived.
fn machines(world: &World, until: Timestamp) -> BTreeMap<String, Stretch> {
    stretches(
        world,
        until,
        "select machine as name, start_ms as from_ms, end_ms as to_ms, end_ms as earliest_ms, end_ms as latest_ms \
            from intermediate.int_machines",
        "machine",
    )
}

fn stretches(world: &World, until: Timestamp, of: &str, key: &str) -> BTreeMap<String, Stretch> {
    let until_ms = until.as_millisecond();
    let clipped = |column: &str| format!("least(coalesce({column}, {until_ms}), {until_ms})::bigint");
    let query = format!(
        "with costs as (select {key} as name, (sum(total_cost) * 1000000000)::hugeint as nano from marts.allocations_hourly \
            where machine is not null and hour_start_at < make_timestamp({us}) group by all) \
         select of.name, from_ms::bigint, {to}, {earliest}, {latest}, coalesce(nano, 0) from ({of}) as of \
         left join costs on of.name = costs.name where from_ms < {until_ms} order by 1",
        us = until.as_microsecond(),
        to = clipped("to_ms"),
        earliest = clipped("earliest_ms"),
        latest = clipped("latest_ms"),
    );
    let rows = world.rows(&query);
    rows.iter()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let number = |cell: usize| cells[cell].parse::<i64>().unwrap();
            let stretch = Stretch {
                from_ms: number(1),
                to_ms: number(2),
                earliest_ms: number(3),
                latest_ms: number(4),
                nano: cells[5].parse().unwrap(),
            };
            (cells[0].to_owned(), stretch)
        })
        .collect()
}
