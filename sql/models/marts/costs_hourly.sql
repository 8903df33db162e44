-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category, and one more for each month that is adjusted
-- guarantee: the sum over an hour is the cost of its machines and services; teams that share a team pay their shares; closed
--     months are as they were closed
-- inputs: int_booked_costs
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
from {{ ref('int_booked_costs') }}
