-- guards: every mart of costs adds up to the cost of all machines and services, to the nano-dollar
with paid as (
    select
        cpu_nano + memory_nano + gpu_nano as machine_nano,
        cast(0 as bigint) as service_nano,
        consumer_kind = 'pod' as is_direct
    from {{ ref('machine_pod_hours') }}
    union all
    select
        cast(0 as bigint) as machine_nano,
        cost_nano as service_nano,
        service_kind = 'volume' as is_direct
    from {{ ref('int_service_hours') }}
),

totals as (
    select
        cast(coalesce(sum(machine_nano), 0) as bigint) as machines_nano,
        cast(coalesce(sum(machine_nano), 0) + coalesce(sum(service_nano), 0) as bigint) as total_nano,
        cast(coalesce(sum(case when is_direct then machine_nano end), 0) + coalesce(sum(case when is_direct then service_nano end), 0) as bigint) as direct_nano
    from paid
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
where
    sums.cost * 1000000000
    <> case sums.scope when 'all' then totals.total_nano when 'machines' then totals.machines_nano else totals.direct_nano end
