-- grain: one row per hour of a closed month, cluster, team, pipeline, job, namespace, cost category and month that is adjusted
-- guarantee: as it was when the month was closed; adjusts_month_ms is NULL but for the category adjustment
-- inputs: lake.closed_costs
{{ config(materialized='table') }}
with facts as (
    select distinct
        {{ ms('month_start_at') }} as month_start_ms,
        cluster,
        {{ ms('hour_start_at') }} as hour_start_ms,
        team,
        pipeline,
        job,
        namespace,
        cost_category,
        {{ ms('adjusts_month_at') }} as adjusts_month_ms,
        cpu_nano,
        memory_nano,
        gpu_nano,
        service_nano,
        unused_nano
    from {{ source('lake', 'closed_costs') }}
)

select
    *,
    cpu_nano + memory_nano + gpu_nano + service_nano as cost_nano
from facts
