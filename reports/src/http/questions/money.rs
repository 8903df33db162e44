//! What it cost, by who and for what.

use super::super::question::Kind::{Count, Duration, SmallUsd, Text, Usd};
use super::super::question::{Question, column, key};
use super::columns::{
    BROKEN, CATEGORY_GROUP, COST_OF_PART, COST_OF_PODS, COST_USD, FAILED, NOT_USED, PIPELINE_OR_NONE,
    TEAM_OR_NONE, UNUSED_REQUEST, USED, VAIN,
};

/// What each category of cost has of the whole.
pub static CATEGORIES: Question = Question {
    name: "categories",
    title: "Where each dollar went",
    about: "One row per cost category of the range; they add up to the whole. From `costs_hourly`.",
    sql: "select cost_categories.cost_category, cost_categories.position, cost_categories.category_group, \
              sum(costs.cost) as cost, cost_categories.description, \
              case when category_group in ('used', 'waste', 'overhead') and cost_category <> 'node_reserved' then cost_category end as pod_category, \
              case when category_group in ('idle', 'unobserved') or cost_category = 'node_reserved' then cost_category end as machine_category, \
              case when category_group = 'storage' or cost_category in ('control_plane', 'load_balancer') then cost_category end as service_category, \
              case when cost_category = 'adjustment' then cost_category end as bill_category \
          from (select cost_category, cost from marts.costs_hourly where {costs}) as costs \
          inner join marts.cost_categories as cost_categories using (cost_category) \
          group by all",
    order: "position",
    columns: &[
        column(
            "cost_category",
            "category",
            Text,
            "Cost category, as `cost_categories` names it.",
        )
        .to("/pods", &[("category", "pod_category")])
        .to("/pools", &[("", "machine_category")])
        .to("/services", &[("category", "service_category")])
        .to("/bills", &[("", "bill_category")]),
        CATEGORY_GROUP,
        COST_OF_PART
            .to("/pods", &[("category", "pod_category")])
            .to("/machine-hours", &[("category", "machine_category")])
            .to("/services", &[("category", "service_category")])
            .to("/bills", &[("", "bill_category")]),
        column("description", "what it is", Text, "What belongs to the category."),
        key(
            "position",
            Count,
            "Place in the order in which categories are told.",
        ),
        key(
            "pod_category",
            Text,
            "The category, where pods have its cost; NULL where machines have.",
        ),
        key(
            "machine_category",
            Text,
            "The category, where machines have its cost; NULL where pods have.",
        ),
        key(
            "service_category",
            Text,
            "The category, where volumes, load balancers or control planes have its cost.",
        ),
        key(
            "bill_category",
            Text,
            "The category, where bills alone tell of it.",
        ),
    ],
    required: &[],
};

/// What of the range's cost rests on bills.
pub static BILLED: Question = Question {
    name: "billed",
    title: "What rests on bills",
    about: "One row: what of the range's cost is as bills say; the rest is estimated. From `billed_costs_hourly` and `costs_hourly`.",
    sql: "select (select sum(cost) from marts.billed_costs_hourly where {costs}) as billed_cost, \
              (select sum(cost) from marts.costs_hourly where {costs}) as cost",
    order: "cost",
    columns: &[
        column(
            "billed_cost",
            "billed",
            Usd,
            "What rests on bills, USD; NULL where nothing does.",
        )
        .to("/bills", &[("", "billed_cost")]),
        column("cost", "cost", Usd, "Cost, USD.").to("/", &[("", "cost")]),
    ],
    required: &[],
};

const OF_DAY: &[(&str, &str)] = &[("from", "local_date"), ("to", "local_date")];

/// What each day cost.
pub static DAYS: Question = Question {
    name: "days",
    title: "Cost by day",
    about: "One row per local date and group of cost categories. From `costs_hourly`.",
    sql: "select days.local_date, cost_categories.category_group, sum(costs.cost) as cost \
          from {days} \
          inner join (select hour_start_at, cost_category, cost from marts.costs_hourly where {costs}) as costs \
              on epoch_ms(costs.hour_start_at) >= days.from_ms and epoch_ms(costs.hour_start_at) < days.to_ms \
          inner join marts.cost_categories as cost_categories using (cost_category) \
          group by all",
    order: "local_date, category_group",
    columns: &[
        column("local_date", "date", Text, "Date in the zone of the request.").to("/", OF_DAY),
        CATEGORY_GROUP,
        COST_OF_PART.to("/", OF_DAY),
    ],
    required: &[],
};

/// What each team cost.
pub static TEAMS: Question = Question {
    name: "teams",
    title: "Teams",
    about: "One row per team. Direct is what a team's pods cost; fully loaded adds its share of idle time, node overhead and platform \
            by direct cost, and adds up to the whole. From `costs_hourly`.",
    sql: "with costs as ( \
              select team, cost_category, cost, hour_start_at >= make_timestamp_ms($from) as is_now from marts.costs_hourly \
              where hour_start_at >= make_timestamp_ms($before) and hour_start_at < make_timestamp_ms($to) [[and cluster = $cluster]] \
          ), \
          direct as ( \
              select team, {cost where is_now} as direct_cost, \
                  case when $is_compared then {cost where not is_now} end as previous_cost, \
                  {cost where is_now and cost_category in ('failed', 'lost', 'stuck')} as failed_cost, \
                  {cost where is_now and cost_category = 'unused_request'} as unused_request_cost, \
                  {cost where is_now and cost_category in ('used', 'unmetered')} as used_cost \
              from costs where cost_category not in ({shared}) group by team \
              having $is_compared or count(*) filter (is_now) > 0 \
          ), \
          nano as ( \
              select *, cast(direct_cost * 1000000000 as hugeint) as nano, \
                  cast(sum(direct_cost) over () * 1000000000 as hugeint) as all_nano, \
                  cast((select coalesce(sum(cost) filter (is_now), 0) from costs) * 1000000000 as hugeint) as whole_nano, \
                  row_number() over (order by direct_cost desc nulls last, team) as place \
              from direct \
          ), \
          shares as (select *, nano + (whole_nano - all_nano) * nano // nullif(all_nano, 0) as loaded_nano from nano), \
          loaded as ( \
              select *, loaded_nano + case when place = 1 then whole_nano - sum(loaded_nano) over () else 0 end as whole_loaded_nano \
              from shares \
          ) \
          select team, direct_cost, direct_cost - previous_cost as change, \
              cast(coalesce(whole_loaded_nano, nano) as decimal(29,0)) * 0.000000001 as fully_loaded_cost, \
              used_cost, unused_request_cost, failed_cost \
          from loaded where true [[and team = $team]]",
    order: "direct_cost desc nulls last, team",
    columns: &[
        TEAM_OR_NONE.to("/team", &[("team", "team")]),
        column(
            "direct_cost",
            "direct",
            Usd,
            "What the team's pods cost, USD; NULL where no price is known.",
        )
        .to("/pods", &[("team", "team")]),
        column(
            "change",
            "change",
            Usd,
            "Direct cost less that of as many days before, USD; NULL unless both were observed whole.",
        ),
        column(
            "fully_loaded_cost",
            "fully loaded",
            Usd,
            "Direct cost with the share of what all share, USD.",
        )
        .to("/team", &[("team", "team")]),
        column(
            "used_cost",
            "used",
            Usd,
            "Of the direct cost, what was used or not measured, USD.",
        )
        .to_those("/pods", &[("team", "team")], USED),
        column(
            "unused_request_cost",
            "unused request",
            Usd,
            "Of the direct cost, what was asked for and not used, USD.",
        )
        .to_those("/pods", &[("team", "team")], NOT_USED),
        column(
            "failed_cost",
            "failed",
            Usd,
            "Of the direct cost, tries that failed, were lost or were stuck, USD.",
        )
        .to_those("/pods", &[("team", "team")], BROKEN),
    ],
    required: &[],
};

/// What all share is of no team.
const OF_ALL: &[(&str, &str)] = &[("team", "")];

/// What a team's fully loaded cost is made of.
pub static TEAM_LOAD: Question = Question {
    name: "team-load",
    title: "What fully loaded is made of",
    about: "One row for what the team's pods cost and one per category that all share, with the team's part of it by direct cost; they add up to its fully \
            loaded cost. From `costs_hourly`.",
    sql: "with costs as ( \
              select team, cost_category, cost from marts.costs_hourly where {hours} [[and cluster = $cluster]] \
          ), \
          direct as ( \
              select team, {cost where true} as direct_cost from costs where cost_category not in ({shared}) group by team \
          ), \
          nano as ( \
              select team, direct_cost, cast(direct_cost * 1000000000 as hugeint) as nano, \
                  cast(sum(direct_cost) over () * 1000000000 as hugeint) as all_nano, \
                  row_number() over (order by direct_cost desc nulls last, team) as place \
              from direct \
          ), \
          shared as ( \
              select cost_category, position, cast(coalesce(sum(cost), 0) * 1000000000 as hugeint) as nano \
              from costs inner join marts.cost_categories as cost_categories using (cost_category) \
              where cost_category in ({shared}) group by all \
          ), \
          up_to as (select *, sum(nano) over (order by position) as to_nano from shared), \
          parts as ( \
              select nano.team, nano.place, up_to.cost_category, up_to.position, up_to.nano as whole_nano, \
                  cast(up_to.to_nano as hugeint) * nano.nano // nullif(nano.all_nano, 0) \
                      - cast(up_to.to_nano - up_to.nano as hugeint) * nano.nano // nullif(nano.all_nano, 0) as part_nano \
              from up_to cross join nano \
          ), \
          whole as ( \
              select *, part_nano + case when place = 1 then whole_nano - sum(part_nano) over (partition by cost_category) else 0 end as cost_nano \
              from parts \
          ) \
          select 'direct' as part, 0 as position, cast(all_nano as decimal(29,0)) * 0.000000001 as whole_cost, direct_cost as cost, \
              team as direct_team, null as machine_category, null as pod_category, null as service_category \
          from nano where team = $team \
          union all \
          select cost_category, position, cast(whole_nano as decimal(29,0)) * 0.000000001, cast(cost_nano as decimal(29,0)) * 0.000000001, null, \
              case when cost_category like 'idle%' or cost_category in ('node_reserved', 'unobserved') then cost_category end, \
              case when cost_category in ('system', 'platform') then cost_category end, \
              case when cost_category in ('control_plane', 'load_balancer') then cost_category end \
          from whole where team = $team and cost_nano is not null",
    order: "position",
    columns: &[
        column(
            "part",
            "part",
            Text,
            "`direct`, or the category of cost that all share.",
        ),
        column("whole_cost", "of all teams", Usd, "What it cost together, USD.")
            .to_those("/teams", &[("", "direct_team")], OF_ALL)
            .to_those("/machine-hours", &[("category", "machine_category")], OF_ALL)
            .to_those("/pods", &[("category", "pod_category")], OF_ALL)
            .to_those("/services", &[("category", "service_category")], OF_ALL),
        column("cost", "of this one", Usd, "The team's part, USD.")
            .to("/pods", &[("team", "direct_team")])
            .to_those("/machine-hours", &[("category", "machine_category")], OF_ALL)
            .to_those("/pods", &[("category", "pod_category")], OF_ALL)
            .to_those("/services", &[("category", "service_category")], OF_ALL),
        key("position", Count, "Place in the order in which parts are told."),
        key("direct_team", Text, "The team, where the part is direct."),
        key(
            "machine_category",
            Text,
            "The category, where machines have its cost.",
        ),
        key("pod_category", Text, "The category, where pods have its cost."),
        key(
            "service_category",
            Text,
            "The category, where control planes or load balancers have its cost.",
        ),
    ],
    required: &["team"],
};

/// What each pipeline cost.
pub static PIPELINES: Question = Question {
    name: "pipelines",
    title: "Pipelines",
    about: "One row per team and pipeline: what its pods cost, and the runs that started in the range. From `costs_hourly`, `runs` and `run_teams`.",
    sql: "with costs as ( \
              select team, pipeline, cost_category, cost, hour_start_at >= make_timestamp_ms($from) as is_now from marts.costs_hourly \
              where hour_start_at >= make_timestamp_ms($before) and hour_start_at < make_timestamp_ms($to) and cost_category not in ({shared}) \
                  [[and cluster = $cluster]] [[and namespace = $namespace]] [[and team = $team]] [[and pipeline = $pipeline]] \
          ), \
          direct as ( \
              select team, pipeline, sum(cost) filter (is_now) as cost, \
                  case when $is_compared then {cost where not is_now} end as previous_cost, \
                  {cost where is_now and cost_category in ('failed', 'lost', 'stuck')} as failed_cost, \
                  {cost where is_now and cost_category = 'unused_request'} as unused_request_cost \
              from costs group by all having count(*) filter (is_now) > 0 \
          ), \
          begun as ( \
              select coalesce(shares.member, teams.team) as team, runs.pipeline, runs.status, \
                  sum(cast(cast(teams.cost as decimal(38,9)) * 1000000000 as hugeint) * coalesce(shares.to_part - shares.from_part, 1) // coalesce(shares.whole, 1)) as nano \
              from marts.runs as runs \
              inner join marts.run_teams as teams on {teams_of_runs} \
              left join marts.team_shares as shares on teams.team = shares.team \
              where runs.started_at >= make_timestamp_ms($from) and runs.started_at < make_timestamp_ms($to) [[and runs.cluster = $cluster]] \
                  [[and exists (select 1 from marts.attempt_pods as pods where pods.namespace = $namespace and {pods_of_runs})]] \
              group by coalesce(shares.member, teams.team), runs.cluster, runs.system, runs.installation, runs.pipeline, runs.run, runs.run_epoch, runs.status \
          ), \
          counted as ( \
              select team, pipeline, count(*) as runs, count(*) filter (status in ('failed', 'lost')) as failed_runs, \
                  sum(nano) // nullif(count(*) filter (status = 'succeeded' and nano is not null), 0) as nano_per_success \
              from begun group by all \
          ) \
          select direct.*, direct.cost - direct.previous_cost as change, coalesce(counted.runs, 0) as runs, \
              coalesce(counted.failed_runs, 0) as failed_runs, \
              cast(counted.nano_per_success as decimal(29,0)) * 0.000000001 as cost_per_success \
          from direct left join counted on direct.team = counted.team and direct.pipeline = counted.pipeline",
    order: "cost desc nulls last, team, pipeline",
    columns: &[
        PIPELINE_OR_NONE.to("/pipeline", &[("pipeline", "pipeline"), ("team", "team")]),
        TEAM_OR_NONE.to("/team", &[("team", "team")]),
        COST_OF_PODS.to("/pods", &[("pipeline", "pipeline"), ("team", "team")]),
        column(
            "change",
            "change",
            Usd,
            "Cost less that of as many days before, USD; NULL unless both were observed whole.",
        ),
        column("runs", "runs", Count, "Runs that started in the range.")
            .to("/runs", &[("pipeline", "pipeline"), ("team", "team")]),
        column("failed_runs", "failed runs", Count, "Of them failed or lost.").to_those(
            "/runs",
            &[("pipeline", "pipeline"), ("team", "team")],
            &[("status", "failed,lost")],
        ),
        column(
            "cost_per_success",
            "per success",
            SmallUsd,
            "Cost of all runs that started in the range and have a price, divided by those of them that succeeded, USD; NULL where none did.",
        )
        .to("/runs", &[("pipeline", "pipeline"), ("team", "team")]),
        FAILED.to_those("/pods", &[("pipeline", "pipeline"), ("team", "team")], BROKEN),
        UNUSED_REQUEST.to_those("/pods", &[("pipeline", "pipeline"), ("team", "team")], NOT_USED),
    ],
    required: &[],
};

const OF_JOB: &[(&str, &str)] = &[("job", "job"), ("pipeline", "pipeline"), ("team", "team")];

/// What each job cost.
pub static JOBS: Question = Question {
    name: "jobs",
    title: "Jobs",
    about: "One row per team, pipeline and job: what its pods cost, and tries that ended in the range. From `costs_hourly` and `job_attempts`.",
    sql: "with costs as ( \
              select team, pipeline, job, sum(cost) as cost, \
                  {cost where cost_category in ('failed', 'lost', 'stuck')} as failed_cost, \
                  {cost where cost_category = 'unused_request'} as unused_request_cost, \
                  {cost where cost_category = 'unmetered'} as unmetered_cost \
              from marts.costs_hourly where {costs} and cost_category not in ({shared}) group by all \
          ), \
          tries as ( \
              select coalesce(shares.member, runs.team) as team, pipeline, job, \
                  count(*) as attempts, count(*) filter (outcome in ('failed', 'lost')) as failed_attempts, \
                  quantile_disc(duration_ms, 0.5) as duration_p50_ms, quantile_disc(duration_ms, 0.95) as duration_p95_ms, \
                  quantile_disc(queue_wait_ms, 0.5) as queue_wait_p50_ms \
              from marts.job_attempts as runs left join marts.team_shares as shares on runs.team = shares.team \
              where ended_at >= make_timestamp_ms($from) and ended_at < make_timestamp_ms($to) [[and cluster = $cluster]] \
                  [[and exists (select 1 from marts.attempt_pods as pods where pods.namespace = $namespace and pods.job = runs.job \
                      and pods.attempt = runs.attempt and pods.team = runs.team and {pods_of_runs})]] \
              group by all \
          ) \
          select costs.*, coalesce(tries.attempts, 0) as attempts, coalesce(tries.failed_attempts, 0) as failed_attempts, \
              tries.duration_p50_ms, tries.duration_p95_ms, tries.queue_wait_p50_ms \
          from costs left join tries on costs.team = tries.team and costs.pipeline = tries.pipeline and costs.job = tries.job",
    order: "cost desc nulls last, team, pipeline, job",
    columns: &[
        column(
            "job",
            "job",
            Text,
            "The unit of work inside a run; `unattributed` where unknown.",
        )
        .to("/pods", OF_JOB),
        PIPELINE_OR_NONE.to("/pipeline", &[("pipeline", "pipeline"), ("team", "team")]),
        TEAM_OR_NONE.to("/team", &[("team", "team")]),
        COST_OF_PODS.to("/pods", OF_JOB),
        UNUSED_REQUEST.to_those("/pods", OF_JOB, NOT_USED),
        FAILED.to_those("/pods", OF_JOB, BROKEN),
        column(
            "unmetered_cost",
            "unmetered",
            Usd,
            "Cost of time that nobody measured, USD.",
        )
        .to_those("/pods", OF_JOB, &[("category", "unmetered")]),
        column("attempts", "tries", Count, "Tries that ended in the range."),
        column(
            "failed_attempts",
            "failed tries",
            Count,
            "Of them failed or lost.",
        ),
        column(
            "duration_p50_ms",
            "half took",
            Duration,
            "Median time of a try, ms.",
        ),
        column(
            "duration_p95_ms",
            "1 in 20 took",
            Duration,
            "95th percentile of the time of a try, ms.",
        ),
        column(
            "queue_wait_p50_ms",
            "half waited",
            Duration,
            "Median wait of a try for a machine, ms.",
        ),
    ],
    required: &[],
};

/// What each namespace cost.
pub static NAMESPACES: Question = Question {
    name: "namespaces",
    title: "Namespaces",
    about: "One row per namespace: what its pods cost. Capacity that nobody held has none. From `costs_hourly`.",
    sql: "select namespace, sum(cost) as cost, \
              {cost where cost_category in ('failed', 'lost', 'stuck', 'unused_request')} as wasted_cost \
          from marts.costs_hourly where {costs} group by all",
    order: "cost desc nulls last, namespace",
    columns: &[
        column(
            "namespace",
            "namespace",
            Text,
            "Namespace; `unattributed` where there is none.",
        )
        .to("/pods", &[("namespace", "namespace")]),
        COST_USD.to("/", &[("namespace", "namespace")]),
        column(
            "wasted_cost",
            "wasted",
            Usd,
            "Of it failed, lost, stuck and asked for in vain, USD.",
        )
        .to_those("/pods", &[("namespace", "namespace")], VAIN),
    ],
    required: &[],
};
