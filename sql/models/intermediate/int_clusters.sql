-- grain: one row per cluster that has a machine or a watermark: the time that is known of it, where it is and who runs its control plane
-- guarantee: region only where all its machines are in one; control_plane only where labels of its nodes tell a managed one
-- inputs: int_machines, stg_watermarks, lake.collection_watermarks
{{ config(materialized='view') }}
with machines as (
    select
        cluster,
        min(start_ms) as first_start_ms,
        max(end_ms) as last_end_ms,
        case when count(distinct provider) = 1 then max(provider) end as provider,
        case when count(distinct region) = 1 then max(region) end as region,
        max(case when {{ content('labels') }} like '%eks.amazonaws.com/%' then 'EKS' when {{ content('labels') }} like '%cloud.google.com/gke-%' then 'GKE' end) as control_plane
    from {{ ref('int_machines') }}
    group by cluster
),

first_looks as (
    select
        cluster,
        min({{ ms('observed_from_at') }}) as from_ms
    from {{ source('lake', 'collection_watermarks') }}
    group by cluster
)

select
    machines.cluster,
    -- What was there before anybody looked is not counted.
    coalesce(first_looks.from_ms, machines.first_start_ms) as from_ms,
    coalesce(watermarks.watermark_ms, machines.last_end_ms) as to_ms,
    machines.provider,
    machines.region,
    machines.control_plane
from machines
left join first_looks on machines.cluster = first_looks.cluster
left join {{ ref('stg_watermarks') }} as watermarks on machines.cluster = watermarks.cluster
