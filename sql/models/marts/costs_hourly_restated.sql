-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category
-- guarantee: as `costs_hourly`, but closed months too are what facts, prices, bills and rules of now make of them; there are no adjustments
-- inputs: int_costs_hourly
{{ config(materialized='view') }}
select
    cluster,
    {{ at('hour_start_ms') }} as hour_start_at,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    {{ usd('cost_nano') }} as cost,
    {{ usd('cpu_nano') }} as cpu_cost,
    {{ usd('memory_nano') }} as memory_cost,
    {{ usd('gpu_nano') }} as gpu_cost,
    {{ usd('service_nano') }} as service_cost,
    {{ usd('unused_nano') }} as unused_cost
from {{ ref('int_costs_hourly') }}
