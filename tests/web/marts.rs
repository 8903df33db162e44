//! Every question against its mart, row by row: what a CSV says is what a plain query says.

use super::figures::{DIRECT, Row, ask, chosen, table};
use super::names::form;
use super::{Server, needed};
use crate::harness::World;
use podledger_sql::units::NanoUsd;

/// The week that is asked about, and the one before it.
const NOW: &str = "charge_date between '2026-11-09' and '2026-11-15'";
const BOTH: &str = "charge_date between '2026-11-02' and '2026-11-15'";
const HOURS: &str = "hour_start_at >= '2026-11-09' and hour_start_at < '2026-11-16'";

/// Costs of the days under a condition; 0 where there are none.
fn sum(condition: &str) -> String {
    format!("cast(coalesce(sum(cost) filter (where {condition}), 0) as decimal(38,9))")
}

/// Costs of the days less those of as many days before.
const CHANGE: &str =
    "cast(sum(case when charge_date >= '2026-11-09' then cost else -cost end) as decimal(38,9))";

const FAILED: &str = "cost_category in ('failed', 'lost', 'stuck')";

/// An instant as CSV files have it: RFC 3339, with no more digits than it needs.
fn at(column: &str) -> String {
    format!("rtrim(rtrim(strftime({column}, '%Y-%m-%dT%H:%M:%S.%g'), '0'), '.') || 'Z'")
}

struct Asked {
    url: String,
    columns: Vec<&'static str>,
    query: String,
}

fn asked(url: impl Into<String>, columns: &[&'static str], query: impl Into<String>) -> Asked {
    Asked {
        url: url.into(),
        columns: columns.to_vec(),
        query: query.into(),
    }
}

/// What teams, pipelines, jobs and namespaces cost, by category and by day.
fn of_money() -> Vec<Asked> {
    let in_week = format!("{NOW} and {DIRECT}");
    let (direct, failed, unused) = (
        sum(NOW),
        sum(&format!("{NOW} and {FAILED}")),
        sum(&format!("{NOW} and cost_category = 'unused_request'")),
    );
    let used = sum(&format!("{NOW} and cost_category in ('used', 'unmetered')"));
    let same: Vec<String> = [
        "cluster",
        "system",
        "installation",
        "pipeline",
        "run",
        "run_epoch",
    ]
    .iter()
    .map(|key| format!("runs.{key} is not distinct from teams.{key}"))
    .collect();
    vec![
        asked(
            "categories",
            &["cost_category", "cost"],
            format!("select cost_category, sum(cost) from marts.costs_daily where {NOW} group by 1"),
        ),
        asked(
            "days",
            &["local_date", "category_group", "cost"],
            format!(
                "select charge_date, category_group, sum(cost) from marts.costs_daily \
                 inner join marts.cost_categories using (cost_category) where {NOW} group by all"
            ),
        ),
        asked(
            "billed",
            &["cost"],
            format!("select sum(cost) from marts.costs_daily where {NOW}"),
        ),
        asked(
            "teams",
            &[
                "team",
                "direct_cost",
                "change",
                "used_cost",
                "unused_request_cost",
                "failed_cost",
            ],
            format!(
                "select team, {direct}, {CHANGE}, {used}, {unused}, {failed} from marts.costs_daily where {BOTH} and {DIRECT} group by 1"
            ),
        ),
        asked(
            "pipelines",
            &[
                "team",
                "pipeline",
                "cost",
                "change",
                "failed_cost",
                "unused_request_cost",
                "runs",
                "failed_runs",
                "cost_per_success",
            ],
            format!(
                "with costs as ( \
                     select team, pipeline, {direct} as cost, {CHANGE} as change, {failed} as failed, {unused} as unused from marts.costs_daily \
                     where {BOTH} and {DIRECT} group by all having count(*) filter (where {NOW}) > 0 \
                 ), \
                 counted as ( \
                     select teams.team, teams.pipeline, count(*) as runs, count(*) filter (where status in ('failed', 'lost')) as failed_runs, \
                         cast(sum(teams.cost) * 1000000000 as hugeint) \
                             // nullif(count(*) filter (where status = 'succeeded' and teams.cost is not null), 0) as nano \
                     from marts.runs as runs inner join marts.run_teams as teams on {} where runs.started_at >= '2026-11-09' and runs.started_at < '2026-11-16' group by all \
                 ) \
                 select team, pipeline, cost, change, failed, unused, coalesce(runs, 0), coalesce(failed_runs, 0), \
                     cast(cast(nano as decimal(28,0)) * 0.000000001 as decimal(38,9)) \
                 from costs left join counted using (team, pipeline)",
                same.join(" and ")
            ),
        ),
        asked(
            "jobs",
            &[
                "team",
                "pipeline",
                "job",
                "cost",
                "failed_cost",
                "unused_request_cost",
                "unmetered_cost",
                "attempts",
                "failed_attempts",
                "duration_p50_ms",
                "duration_p95_ms",
                "queue_wait_p50_ms",
            ],
            format!(
                "with costs as ( \
                     select team, pipeline, job, {direct} as cost, {failed} as failed, {unused} as unused, {} as unmetered \
                     from marts.costs_daily where {in_week} group by all \
                 ), \
                 tries as ( \
                     select team, pipeline, job, count(*) as tries, count(*) filter (where outcome in ('failed', 'lost')) as failed_tries, \
                         percentile_disc(0.5) within group (order by duration_ms) as half, \
                         percentile_disc(0.95) within group (order by duration_ms) as most, \
                         percentile_disc(0.5) within group (order by queue_wait_ms) as waited \
                     from marts.job_attempts where ended_at >= '2026-11-09' and ended_at < '2026-11-16' group by all \
                 ) \
                 select team, pipeline, job, cost, failed, unused, unmetered, coalesce(tries, 0), coalesce(failed_tries, 0), half, most, waited \
                 from costs left join tries using (team, pipeline, job)",
                sum(&format!("{NOW} and cost_category = 'unmetered'"))
            ),
        ),
        asked(
            "namespaces",
            &["namespace", "cost", "wasted_cost"],
            format!(
                "select namespace, {direct}, {} from marts.costs_daily where {NOW} group by 1",
                sum(&format!(
                    "{NOW} and ({FAILED} or cost_category = 'unused_request')"
                ))
            ),
        ),
    ]
}

/// What machines cost, held and idled, and at which prices.
fn of_machines(machine: &str) -> Vec<Asked> {
    // Of every hour of a machine: in which pool it was.
    let pools = "(select cluster, machine, coalesce(any_value(pool), 'unattributed') as pool from marts.machine_prices group by all)";
    let kinds = [
        "idle_boot",
        "idle_startup",
        "idle_gap",
        "idle_tail",
        "idle_unpacked",
        "node_reserved",
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .map(|kind| {
            format!(
                "cast(coalesce(sum(total_cost) filter (where cost_category = '{kind}'), 0) as decimal(38,9))"
            )
        })
        .collect();
    let up = "sum(date_diff('millisecond', greatest(start_at, timestamp '2026-11-09'), least(end_at, timestamp '2026-11-16')))";
    let in_week = "start_at < '2026-11-16' and end_at > '2026-11-09'";
    let held = |resource: &str, unit: &str| {
        format!(
            "cast(1000 * sum({resource}_request_{unit}) as hugeint) // nullif(cast(sum({resource}_capacity_{unit}) as hugeint), 0)"
        )
    };
    let (cpu, memory, gpu) = (
        held("cpu", "millicore_ms"),
        held("memory", "byte_ms"),
        held("gpu", "milligpu_ms"),
    );
    vec![
        asked(
            "pools",
            &[
                "pool",
                "idle_boot_cost",
                "idle_startup_cost",
                "idle_gap_cost",
                "idle_tail_cost",
                "idle_unpacked_cost",
                "node_reserved_cost",
            ],
            format!(
                "select pool, {} from marts.allocations_hourly inner join {pools} using (cluster, machine) where {HOURS} group by 1",
                kinds.join(", ")
            ),
        ),
        asked(
            "pools",
            &[
                "pool",
                "up_ms",
                "cpu_held_permille",
                "memory_held_permille",
                "gpu_held_permille",
            ],
            format!(
                "select pool, sum(up_ms), {cpu}, {memory}, {gpu} from marts.pools_hourly where {HOURS} group by 1"
            ),
        ),
        asked(
            "pool-hours",
            &[
                "pool",
                "hour_start_at",
                "machines",
                "cost",
                "cpu_held_permille",
                "memory_held_permille",
                "gpu_held_permille",
            ],
            format!(
                "select pool, {}, sum(machines), sum(cost), {cpu}, {memory}, {gpu} from marts.pools_hourly where {HOURS} group by pool, hour_start_at",
                at("hour_start_at")
            ),
        ),
        asked(
            "machines",
            &["machine", "pods", "cost", "pods_cost", "idle_cost"],
            format!(
                "select machine, count(distinct pod_uid), sum(total_cost), coalesce(sum(total_cost) filter (where consumer_kind = 'pod'), 0.000000000), \
                     coalesce(sum(total_cost) filter (where consumer_kind = 'idle'), 0.000000000) \
                 from marts.allocations_hourly where machine is not null and {HOURS} group by machine"
            ),
        ),
        asked(
            format!("machine-categories?machine={}", form(machine)),
            &[
                "cost_category",
                "pods",
                "cpu_cost",
                "memory_cost",
                "gpu_cost",
                "cost",
            ],
            format!(
                "select cost_category, count(distinct pod_uid), sum(cpu_cost), sum(memory_cost), sum(gpu_cost), sum(total_cost) \
                 from marts.allocations_hourly where machine = '{machine}' and {HOURS} group by 1"
            ),
        ),
        asked(
            format!("machine-prices?machine={}", form(machine)),
            &[
                "instance_type",
                "capacity_type",
                "start_at",
                "end_at",
                "list_hourly_price",
                "hourly_price",
                "price_source",
            ],
            format!(
                "select instance_type, capacity_type, {}, {}, list_hourly_price, hourly_price, price_source from marts.machine_prices \
                 where machine = '{machine}'",
                at("start_at"),
                at("end_at")
            ),
        ),
        asked(
            "prices",
            &[
                "instance_type",
                "capacity_type",
                "pool",
                "machines",
                "up_ms",
                "list_hourly_price",
                "hourly_price",
                "price_source",
            ],
            format!(
                "select instance_type, capacity_type, coalesce(pool, 'unattributed') as pool, count(distinct machine), {up}, list_hourly_price, \
                     hourly_price, price_source from marts.machine_prices where {in_week} group by all"
            ),
        ),
        asked(
            "price-sources",
            &["price_source", "machines", "up_ms", "share_permille"],
            format!(
                "select price_source, machines, up, 1000 * up // (sum(up) over ()) from ( \
                     select coalesce(price_source, 'no price is known') as price_source, count(distinct machine) as machines, cast({up} as bigint) as up \
                     from marts.machine_prices where {in_week} group by 1)"
            ),
        ),
        asked(
            "waits",
            &[
                "team",
                "pipeline",
                "pods",
                "unbound_pods",
                "queue_wait_p50_ms",
                "queue_wait_total_ms",
                "machine_boot_p95_ms",
                "image_pull_p95_ms",
            ],
            "select pods.team, pods.pipeline, count(*), count(*) filter (where scheduled_at is null), \
                 percentile_disc(0.5) within group (order by pods.queue_wait_ms), sum(pods.queue_wait_ms), \
                 percentile_disc(0.95) within group (order by machine_boot_ms), percentile_disc(0.95) within group (order by image_pull_ms) \
             from marts.attempt_pods as pods left join marts.pod_waits as waits using (cluster, pod_uid) \
             where pods.created_at >= '2026-11-09' and pods.created_at < '2026-11-16' group by all",
        ),
        asked(
            "findings",
            &["finding", "subject", "team", "cost", "previous_cost"],
            "select finding, subject, team, cost, previous_cost from marts.findings where zone = 'UTC' and iso_week = '2026-W46'",
        ),
    ]
}

/// What ran: a run and all that it was made of.
fn of_runs(run: &str, pipeline: &str, pod: &str) -> Vec<Asked> {
    let this = format!("pipeline = '{pipeline}' and run = '{run}'");
    let given = format!("pipeline={}&run={}", form(pipeline), form(run));
    vec![
        asked(
            format!("run?{given}"),
            &[
                "run",
                "run_epoch",
                "status",
                "started_at",
                "duration_ms",
                "pods",
                "attempts",
                "failed_attempts",
                "queue_wait_ms",
                "cost",
                "wasted_cost",
            ],
            format!(
                "select run, run_epoch, status, {}, date_diff('millisecond', started_at, ended_at), pods, attempts, failed_attempts, queue_wait_ms, \
                     cost, wasted_cost from marts.runs where {this}",
                at("started_at")
            ),
        ),
        asked(
            format!("run-attempts?{given}"),
            &[
                "job",
                "attempt",
                "outcome",
                "created_at",
                "queue_wait_ms",
                "duration_ms",
                "pods",
                "cost",
                "wasted_cost",
            ],
            format!(
                "select job, attempt, outcome, {}, queue_wait_ms, duration_ms, pods, cost, wasted_cost from marts.job_attempts where {this}",
                at("created_at")
            ),
        ),
        asked(
            format!("run-pods?{given}"),
            &[
                "pod_uid",
                "job",
                "attempt",
                "node_name",
                "outcome",
                "released_at",
                "queue_wait_ms",
                "cost",
                "wasted_cost",
            ],
            format!(
                "select pod_uid, job, attempt, node_name, outcome, {}, queue_wait_ms, cost, wasted_cost from marts.attempt_pods where {this}",
                at("released_at")
            ),
        ),
        asked(
            format!("run-teams?{given}"),
            &["team", "pods", "cost", "wasted_cost"],
            format!("select team, pods, cost, wasted_cost from marts.run_teams where {this}"),
        ),
        asked(
            format!("critical-path?{given}"),
            &[
                "step",
                "job",
                "attempt",
                "outcome",
                "gap_ms",
                "queue_wait_ms",
                "startup_ms",
                "work_ms",
                "release_ms",
                "cost",
            ],
            format!(
                "select step, job, attempt, outcome, gap_ms, queue_wait_ms, startup_ms, work_ms, release_ms, cost from marts.run_critical_paths where {this}"
            ),
        ),
        asked(
            format!("pipeline-weeks?pipeline={}", form(pipeline)),
            &[
                "iso_week",
                "system",
                "runs",
                "succeeded_runs",
                "priced_runs",
                "cost",
                "wasted_cost",
                "cost_per_success",
                "cost_p50",
                "cost_p95",
                "duration_p50_ms",
                "duration_p95_ms",
            ],
            format!(
                "select iso_week, system, runs, succeeded_runs, priced_runs, cast(cost as decimal(38,9)), cast(wasted_cost as decimal(38,9)), \
                     cast(cost_per_success as decimal(38,9)), cast(cost_p50 as decimal(38,9)), cast(cost_p95 as decimal(38,9)), duration_p50_ms, \
                     duration_p95_ms from marts.pipeline_runs_weekly where zone = 'UTC' and pipeline = '{pipeline}'"
            ),
        ),
        asked(
            "pods",
            &["pod_uid", "hours", "cost", "unused_cost"],
            format!(
                "select pod_uid, count(distinct hour_start_at), sum(total_cost), sum(unused_cost) from marts.allocations_hourly \
                 where consumer_kind = 'pod' and {HOURS} group by 1"
            ),
        ),
        asked(
            format!("pod?pod={}", form(pod)),
            &[
                "pod_uid",
                "pod_name",
                "team",
                "pipeline",
                "run",
                "job",
                "attempt",
                "outcome",
                "cpu_request_millicores",
                "memory_request_bytes",
                "cost",
            ],
            format!(
                "select pods.pod_uid, pod_name, pods.team, pods.pipeline, pods.run, pods.job, attempt, outcome, cpu_request_millicores, \
                     memory_request_bytes, (select sum(total_cost) from marts.allocations_hourly where pod_uid = '{pod}') \
                 from marts.pods as pods where pods.pod_uid = '{pod}'"
            ),
        ),
        asked(
            format!("pod-hours?pod={}", form(pod)),
            &[
                "hour_start_at",
                "cost_category",
                "team",
                "cpu_cost",
                "memory_cost",
                "gpu_cost",
                "total_cost",
            ],
            format!(
                "select {}, cost_category, team, cpu_cost, memory_cost, gpu_cost, total_cost from marts.allocations_hourly where pod_uid = '{pod}'",
                at("hour_start_at")
            ),
        ),
        asked(
            "stuck-pods",
            &["pod_uid", "cost"],
            format!(
                "select pod_uid, sum(total_cost) from marts.allocations_hourly where cost_category = 'stuck' and {HOURS} group by 1"
            ),
        ),
    ]
}

/// What figures rest on.
fn of_trust() -> Vec<Asked> {
    vec![
        asked(
            "clusters",
            &["cluster", "observed_from_at", "observed_through_at", "machines"],
            format!(
                "select cluster, {}, {}, machines from marts.clusters",
                at("observed_from_at"),
                at("observed_through_at")
            ),
        ),
        asked(
            "data-quality",
            &["cluster", "measure", "unit", "number", "duration_ms", "cost"],
            "select cluster, measure, unit, case when unit = 'nano-usd' then cast(value // 1000000000 as varchar) || '.' \
                 || lpad(cast(value % 1000000000 as varchar), 9, '0') else cast(value as varchar) end from marts.data_quality",
        ),
    ]
}

pub fn rows_are_those_of_their_marts(world: &World, server: &Server) {
    let needed = needed(&|url| server.get(url).json());
    let mut all = of_money();
    all.extend(of_machines(&needed["machine"]));
    all.extend(of_runs(&needed["run"], &needed["pipeline"], &needed["pod"]));
    all.extend(of_trust());
    let mut unlike = Vec::new();
    for Asked { url, columns, query } in all {
        let (name, given) = url.split_once('?').unwrap_or((&url, ""));
        let shown = chosen(&week(server, name, given), &columns);
        let mut told = world.rows(&query);
        told.sort();
        assert!(!told.is_empty() || name == "stuck-pods", "{url}");
        let only = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|row| !other.contains(row)).cloned().collect()
        };
        if shown != told {
            unlike.push(format!(
                "{url} shows {:#?} instead of {:#?}",
                only(&shown, &told),
                only(&told, &shown)
            ));
        }
    }
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    what_all_share_is_shared_by_direct_cost(world, &week(server, "teams", ""));
}

/// Rows of a question about the week.
fn week(server: &Server, name: &str, given: &str) -> Vec<Row> {
    table(server, &format!("/tables/{name}.csv?week=2026-W46&{given}"))
}

/// Each team has its share by direct cost, rounded down; what rounding leaves is the dearest team's.
fn what_all_share_is_shared_by_direct_cost(world: &World, teams: &[Row]) {
    let nano = |text: &str| i128::from(NanoUsd::from_decimal_str(text).unwrap().get());
    let whole = nano(&ask(
        world,
        &format!("select sum(cost) from marts.costs_daily where {NOW}"),
    ));
    let direct: Vec<(String, i128)> = world
        .rows(&format!(
            "select team, sum(cost) from marts.costs_daily where {NOW} and {DIRECT} group by 1 order by 2 desc, 1"
        ))
        .iter()
        .map(|row| row.rsplit_once('|').unwrap())
        .map(|(team, cost)| (team.to_owned(), nano(cost)))
        .collect();
    let all: i128 = direct.iter().map(|(_, cost)| cost).sum();
    let mut loaded: Vec<(String, i128)> = direct
        .into_iter()
        .map(|(team, cost)| (team, cost + (whole - all) * cost / all))
        .collect();
    let rest = whole - loaded.iter().map(|(_, cost)| cost).sum::<i128>();
    loaded[0].1 += rest;
    let mut told: Vec<String> = loaded
        .into_iter()
        .map(|(team, cost)| format!("{team}|{}", NanoUsd::from_nano(i64::try_from(cost).unwrap())))
        .collect();
    told.sort();
    assert!(whole > all && told.len() > 2);
    assert_eq!(chosen(teams, &["team", "fully_loaded_cost"]), told);
}
