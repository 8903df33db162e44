-- grain: one row per zone, ISO week, machine, hour and kind of idle time: the one finding that it is told under
-- guarantee: divides the rows of machine_pod_hours whose consumer is idle; the first that matches wins
-- inputs: machine_pod_hours, int_machine_hours, int_machines, int_finding_hours, int_finding_weeks
{{ config(materialized='view') }}
{%- set week = ['cluster', 'zone', 'iso_week'] %}
with machine_hours as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        weeks.is_this,
        hours.machine,
        coalesce(machines.pool, 'unattributed') as pool,
        machines.node_name,
        hours.hour_start_ms,
        hours.up_ms,
        hours.busy_ms,
        hours.cost_nano
    from {{ ref('int_machine_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines
        on hours.cluster = machines.cluster and hours.machine = machines.machine
    inner join {{ ref('int_finding_hours') }} as weeks
        on hours.cluster = weeks.cluster and hours.hour_start_ms = weeks.hour_start_ms
),

pool_hours as (
    select
        {{ week | join(', ') }},
        pool,
        hour_start_ms,
        max(case when is_this then 1 else 0 end) = 1 as is_this,
        max(up_ms) as longest_up_ms,
        cast(sum(busy_ms) as bigint) as busy_ms,
        -- Machines that were there for the whole hour and did nothing in it.
        cast(sum(case when up_ms = 3600000 and busy_ms = 0 then 1 else 0 end) as bigint) as empty_machines
    from machine_hours
    group by
        {{ week | join(', ') }},
        pool,
        hour_start_ms
),

-- A pool that has a machine in every hour of the whole week, and hours without work: an eighth of them or more.
pools as (
    select
        {% for column in week %}hours.{{ column }}, {% endfor %}
        hours.pool,
        count(*) = max(weeks.hours)
        and min(hours.longest_up_ms) = 3600000
        and sum(case when hours.busy_ms = 0 then 1 else 0 end) * 8 >= count(*) as is_never_zero,
        case when count(*) = max(weeks.hours) then min(hours.empty_machines) else cast(0 as bigint) end as surplus
    from pool_hours as hours
    inner join {{ ref('int_finding_weeks') }} as weeks
        on hours.cluster = weeks.cluster and hours.zone = weeks.zone and hours.iso_week = weeks.iso_week
    where hours.is_this
    group by
        {% for column in week %}hours.{{ column }}, {% endfor %}
        hours.pool
),

-- Machines that were up for a day or longer and busy for a third of it or less.
seldom as (
    select
        {{ week | join(', ') }},
        machine
    from machine_hours
    where is_this
    group by
        {{ week | join(', ') }},
        machine
    having sum(up_ms) >= 86400000 and sum(busy_ms) * 3 <= sum(up_ms)
),

ranked as (
    select
        hours.*,
        pool_hours.busy_ms as pool_busy_ms,
        cast(row_number() over (
            partition by hours.cluster, hours.zone, hours.iso_week, hours.pool, hours.hour_start_ms
            order by
                case when hours.up_ms = 3600000 and hours.busy_ms = 0 then 0 else 1 end asc nulls last,
                hours.cost_nano asc nulls last,
                hours.machine asc nulls last
        ) as bigint) as place
    from machine_hours as hours
    inner join pool_hours
        on hours.cluster = pool_hours.cluster
        and hours.zone = pool_hours.zone
        and hours.iso_week = pool_hours.iso_week
        and hours.pool = pool_hours.pool
        and hours.hour_start_ms = pool_hours.hour_start_ms
)

select
    hours.cluster,
    hours.zone,
    hours.iso_week,
    hours.is_this,
    hours.pool,
    hours.node_name,
    hours.machine,
    hours.hour_start_ms,
    costs.stage,
    costs.held_ms,
    costs.cpu_nano + costs.memory_nano + costs.gpu_nano as cost_nano,
    case
        when coalesce(pools.is_never_zero, false) and hours.pool_busy_ms = 0 then 'pool_never_zero'
        when hours.place <= coalesce(pools.surplus, cast(0 as bigint)) and costs.stage in ('idle_gap', 'idle_startup', 'idle_tail') then 'pool_minimum_above_need'
        when costs.stage = 'idle_unpacked' then 'unpacked_capacity'
        when seldom.machine is not null and costs.stage in ('idle_gap', 'idle_startup', 'idle_tail') then 'seldom_busy_machines'
        when costs.stage = 'idle_tail' then 'late_scale_down'
        when costs.stage = 'idle_gap' then 'idle_between_work'
        else 'slow_start'
    end as finding
from {{ ref('machine_pod_hours') }} as costs
inner join ranked as hours
    on costs.cluster = hours.cluster and costs.machine = hours.machine and costs.hour_start_ms = hours.hour_start_ms
left join pools
    on hours.cluster = pools.cluster
    and hours.zone = pools.zone
    and hours.iso_week = pools.iso_week
    and hours.pool = pools.pool
left join seldom
    on hours.cluster = seldom.cluster
    and hours.zone = seldom.zone
    and hours.iso_week = seldom.iso_week
    and hours.machine = seldom.machine
where costs.consumer_kind = 'idle'
