-- guards: every mart of costs adds up to the cost of all machines, to the nano-dollar
with totals as (
    select
        cast(coalesce(sum(cpu_nano + memory_nano + gpu_nano), 0) as bigint) as total_nano,
        cast(coalesce(sum(case when consumer_kind = 'pod' then cpu_nano + memory_nano + gpu_nano end), 0) as bigint) as pods_nano
    from {{ ref('machine_pod_hours') }}
),

sums as (
    select 'costs_daily' as mart, cast(coalesce(sum(cost), 0) as decimal(38,9)) as cost, 'all' as scope from {{ ref('costs_daily') }}
    union all
    select 'machines_daily', cast(coalesce(sum(cost), 0) as decimal(38,9)), 'all' from {{ ref('machines_daily') }}
    union all
    select 'teams_weekly ' || zone, cast(coalesce(sum(cost), 0) as decimal(38,9)), 'all' from {{ ref('teams_weekly') }} group by zone
    union all
    select 'pipelines_weekly ' || zone, cast(coalesce(sum(cost), 0) as decimal(38,9)), 'all' from {{ ref('pipelines_weekly') }} group by zone
    union all
    select 'jobs_daily', cast(coalesce(sum(cost), 0) as decimal(38,9)), 'pods' from {{ ref('jobs_daily') }}
)

select sums.*
from sums
cross join totals
where
    sums.cost * 1000000000
    <> case when sums.scope = 'all' then totals.total_nano else totals.pods_nano end
