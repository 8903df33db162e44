-- grain: one row per cluster that was observed
-- guarantee: nothing outside [observed_from_at, observed_through_at) is counted in any figure
-- inputs: int_machines, stg_watermarks, lake.machines
{{ config(materialized='view') }}
with sights as (
    select
        cluster,
        min({{ ms('observed_at') }}) as first_sight_ms
    from {{ source('lake', 'machines') }}
    group by cluster
)

select
    machines.cluster,
    {{ at('min(sights.first_sight_ms)') }} as observed_from_at,
    {{ at('max(coalesce(watermarks.watermark_ms, machines.end_ms))') }} as observed_through_at,
    count(*) as machines
from {{ ref('int_machines') }} as machines
inner join sights on machines.cluster = sights.cluster
left join {{ ref('stg_watermarks') }} as watermarks on machines.cluster = watermarks.cluster
group by machines.cluster
