-- grain: one row per charge date (UTC), cluster, method, team and kind of idle: whose work idle machines waited for, by a convention
-- guarantee: for every method the rows of a date add up to the idle cost of the date. A convention, not an account: no other figure uses it.
--     `machine_hour`: idle time of an hour is blamed on the teams that held the machine in it, by what they paid; of an hour in which nobody did, on
--     the team that held it last, else on the first that did; of a machine that nobody ever held, on nobody
-- inputs: int_allocations, int_pod_names
{{ config(materialized='view') }}
with idle as (
    select
        cluster,
        machine,
        hour_start_ms,
        cost_category,
        cast(sum(cost_nano) as bigint) as idle_nano
    from {{ ref('int_allocations') }}
    where cost_category in ('idle_boot', 'idle_startup', 'idle_unpacked', 'idle_gap', 'idle_tail') and cost_nano <> 0
    group by
        cluster,
        machine,
        hour_start_ms,
        cost_category
),

held as (
    select
        costs.cluster,
        costs.machine,
        costs.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
        cast(sum(costs.cost_nano) as bigint) as part
    from {{ ref('int_allocations') }} as costs
    inner join {{ ref('int_pod_names') }} as pods on costs.cluster = pods.cluster and costs.pod_uid = pods.pod_uid
    where costs.machine is not null and pods.pod_class = 'workload' and costs.cost_nano > 0
    group by
        costs.cluster,
        costs.machine,
        costs.hour_start_ms,
        coalesce(pods.team, 'unattributed')
),

ordered as (
    select
        *,
        cast(sum(part) over (
            partition by cluster, machine, hour_start_ms order by team asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as to_part,
        cast(sum(part) over (partition by cluster, machine, hour_start_ms) as bigint) as whole
    from held
),

busy_hours as (
    select
        cluster,
        machine,
        hour_start_ms
    from held
    group by
        cluster,
        machine,
        hour_start_ms
),

followed as (
    select
        *,
        lag(hour_start_ms) over (partition by cluster, machine order by hour_start_ms asc nulls last) as previous_ms,
        lead(hour_start_ms) over (partition by cluster, machine order by hour_start_ms asc nulls last) as next_ms
    from busy_hours
),

-- Which hour's holders an idle hour is blamed on: its own, the last before, or, before all, the first.
blamed as (
    select
        idle.*,
        followed.hour_start_ms as blamed_ms
    from idle
    left join followed
        on idle.cluster = followed.cluster
        and idle.machine = followed.machine
        and (followed.hour_start_ms <= idle.hour_start_ms or followed.previous_ms is null)
        and idle.hour_start_ms < coalesce(followed.next_ms, cast(9223372036854775807 as bigint))
)

select
    {{ date_of('blamed.hour_start_ms') }} as charge_date,
    blamed.cluster,
    'machine_hour' as method,
    coalesce(ordered.team, 'unattributed') as team,
    blamed.cost_category,
    {{ usd('sum(case when ordered.whole is null then blamed.idle_nano else ' ~ prorate('blamed.idle_nano', 'ordered.to_part', 'ordered.whole') ~ ' - ' ~ prorate('blamed.idle_nano', 'ordered.to_part - ordered.part', 'ordered.whole') ~ ' end)') }} as cost
from blamed
left join ordered
    on blamed.cluster = ordered.cluster and blamed.machine = ordered.machine and blamed.blamed_ms = ordered.hour_start_ms
group by
    {{ date_of('blamed.hour_start_ms') }},
    blamed.cluster,
    coalesce(ordered.team, 'unattributed'),
    blamed.cost_category
