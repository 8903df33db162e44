-- guards: every mart of costs adds up to the cost of all machines and services, and of closed months to what was closed, to the nano-dollar
with paid as (
    select
        cpu_nano + memory_nano + gpu_nano as machine_nano,
        cast(0 as bigint) as service_nano,
        consumer_kind = 'pod' as is_direct,
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms
    from {{ ref('machine_pod_hours') }}
    union all
    select
        cast(0 as bigint) as machine_nano,
        cost_nano as service_nano,
        service_kind = 'volume' as is_direct,
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms
    from {{ ref('int_service_hours') }}
),

booked as (
    select
        paid.machine_nano + paid.service_nano as cost_nano,
        paid.is_direct
    from paid
    left join {{ ref('stg_closed_days') }} as closed on paid.day_start_ms = closed.day_start_ms
    where closed.day_start_ms is null
    union all
    select
        costs.cost_nano,
        categories.category_group not in ('idle', 'unobserved', 'fixed') and costs.cost_category <> 'node_reserved' as is_direct
    from {{ ref('stg_closed_costs') }} as costs
    inner join {{ ref('cost_categories') }} as categories on costs.cost_category = categories.cost_category
    union all
    select
        change_nano as cost_nano,
        false as is_direct
    from {{ ref('int_late_bills') }}
    union all
    select
        cost_nano - closed_cost_nano as cost_nano,
        false as is_direct
    from {{ ref('int_repriced_services') }}
),

machine_totals as (
    select cast(coalesce(sum(machine_nano), 0) as bigint) as machines_nano from paid
),

totals as (
    select
        cast(coalesce(sum(cost_nano), 0) as bigint) as total_nano,
        cast(coalesce(sum(case when is_direct then cost_nano end), 0) as bigint) as direct_nano
    from booked
),

sums as (
    select 'costs_daily' as mart, cast(coalesce(sum(cost), 0) as decimal(38,9)) as cost, 'all' as scope from {{ ref('costs_daily') }}
    union all
    select 'machines_daily', cast(coalesce(sum(cost), 0) as decimal(38,9)), 'machines' from {{ ref('machines_daily') }}
    union all
    select 'teams_weekly ' || zone, cast(coalesce(sum(cost), 0) as decimal(38,9)), 'all' from {{ ref('teams_weekly') }} group by zone
    union all
    select 'pipelines_weekly ' || zone, cast(coalesce(sum(cost), 0) as decimal(38,9)), 'all' from {{ ref('pipelines_weekly') }} group by zone
    union all
    select 'jobs_daily', cast(coalesce(sum(cost), 0) as decimal(38,9)), 'direct' from {{ ref('jobs_daily') }}
)

select sums.*
from sums
cross join totals
cross join machine_totals
where
    sums.cost * 1000000000
    <> case sums.scope when 'all' then totals.total_nano when 'machines' then machine_totals.machines_nano else totals.direct_nano end
