-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category, and more where teams share a team or several months are adjusted
-- guarantee: closed months are what they were when they were closed, whatever facts, prices and rules say now; what later bills say of them is in
--     adjustments, in months that are open
-- inputs: int_costs_hourly, stg_closed_days, stg_closed_costs, int_adjustments
{{ config(materialized='view') }}
select
    costs.cluster,
    costs.hour_start_ms,
    costs.team,
    costs.pipeline,
    costs.job,
    costs.namespace,
    costs.cost_category,
    cast(null as bigint) as adjusts_month_ms,
    costs.cpu_nano,
    costs.memory_nano,
    costs.gpu_nano,
    costs.service_nano,
    costs.cost_nano,
    costs.unused_nano
from {{ ref('int_costs_hourly') }} as costs
left join {{ ref('stg_closed_days') }} as closed on costs.hour_start_ms - costs.hour_start_ms % 86400000 = closed.day_start_ms
where closed.day_start_ms is null
union all
select
    cluster,
    hour_start_ms,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    adjusts_month_ms,
    cpu_nano,
    memory_nano,
    gpu_nano,
    service_nano,
    cost_nano,
    unused_nano
from {{ ref('stg_closed_costs') }}
union all
select
    cluster,
    hour_start_ms,
    team,
    'unattributed' as pipeline,
    'unattributed' as job,
    'unattributed' as namespace,
    'adjustment' as cost_category,
    adjusts_month_ms,
    cpu_nano,
    memory_nano,
    gpu_nano,
    service_nano,
    cost_nano,
    cast(0 as bigint) as unused_nano
from {{ ref('int_adjustments') }}
