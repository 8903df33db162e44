-- grain: one row per cluster that was observed
-- guarantee: nothing outside [observed_from_at, observed_through_at) is counted in any figure
-- inputs: int_machines, stg_watermarks
{{ config(materialized='view') }}
select
    machines.cluster,
    {{ at('min(machines.start_ms)') }} as observed_from_at,
    {{ at('max(coalesce(watermarks.watermark_ms, machines.end_ms))') }} as observed_through_at,
    count(*) as machines
from {{ ref('int_machines') }} as machines
left join {{ ref('stg_watermarks') }} as watermarks on machines.cluster = watermarks.cluster
group by machines.cluster
