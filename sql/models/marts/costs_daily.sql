-- grain: one row per charge date (UTC), cluster, team, pipeline, job, namespace and cost category
-- guarantee: the sum over a day is the cost of the machines and services in it; idle and overhead are nobody's: `unattributed`
-- inputs: int_costs_hourly
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_days', ['charge_date']) }}") }}
select
    {{ date_of('hour_start_ms') }} as charge_date,
    cluster,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    {{ usd('sum(cost_nano)') }} as cost,
    {{ usd('sum(cpu_nano)') }} as cpu_cost,
    {{ usd('sum(memory_nano)') }} as memory_cost,
    {{ usd('sum(gpu_nano)') }} as gpu_cost,
    {{ usd('sum(service_nano)') }} as service_cost,
    {{ usd('sum(unused_nano)') }} as unused_cost
from {{ touched('int_costs_hourly') }}
group by
    {{ date_of('hour_start_ms') }},
    cluster,
    team,
    pipeline,
    job,
    namespace,
    cost_category
