-- grain: one row per stretch of time in which something that is paid for beside machines is the same: a volume, a load balancer, a cluster's control plane
-- guarantee: the stretches [start_ms, end_ms) of one resource do not overlap and lie within the time that is known of its cluster
-- inputs: stg_volumes, int_volume_owners, stg_load_balancers, int_clusters, int_machines
{{ config(materialized='table') }}
with zones as (
    select
        cluster,
        zone,
        max(provider) as provider,
        max(region) as region
    from {{ ref('int_machines') }}
    where zone is not null and region is not null
    group by
        cluster,
        zone
),

volumes as (
    select
        volumes.*,
        owners.pod_uid as owner_pod_uid,
        owners.orphaned_ms,
        coalesce(zones.provider, clusters.provider) as provider,
        coalesce(zones.region, clusters.region) as region,
        greatest(volumes.start_ms, clusters.from_ms) as from_ms,
        least(coalesce(volumes.end_ms, clusters.to_ms), clusters.to_ms) as to_ms
    from {{ ref('stg_volumes') }} as volumes
    inner join {{ ref('int_clusters') }} as clusters on volumes.cluster = clusters.cluster
    left join zones on volumes.cluster = zones.cluster and volumes.zone = zones.zone
    left join {{ ref('int_volume_owners') }} as owners
        on volumes.cluster = owners.cluster and volumes.volume_uid = owners.volume_uid
),
{%- set of_volume %}
        cluster,
        'volume' as service_kind,
        volume_uid as service_id,
        volume as service_name,
        storage_class as service_type,
        namespace,
        owner_pod_uid,
        provider,
        region,
        capacity_bytes as quantity
{%- endset %}

resources as (
    select
        {{ of_volume }},
        -- A volume that no claim holds is nobody's, as one whose runs are over.
        case when coalesce(phase, 'Bound') = 'Bound' then 'storage' else 'orphaned_storage' end as cost_category,
        from_ms as start_ms,
        least(to_ms, coalesce(orphaned_ms, to_ms)) as end_ms
    from volumes
    union all
    select
        {{ of_volume }},
        'orphaned_storage' as cost_category,
        greatest(from_ms, orphaned_ms) as start_ms,
        to_ms as end_ms
    from volumes
    where orphaned_ms is not null
    union all
    select
        services.cluster,
        'load_balancer' as service_kind,
        services.service_uid as service_id,
        services.service_name,
        cast(null as string) as service_type,
        services.namespace,
        cast(null as string) as owner_pod_uid,
        clusters.provider,
        clusters.region,
        cast(1 as bigint) as quantity,
        'load_balancer' as cost_category,
        greatest(services.start_ms, clusters.from_ms) as start_ms,
        least(coalesce(services.end_ms, clusters.to_ms), clusters.to_ms) as end_ms
    from {{ ref('stg_load_balancers') }} as services
    inner join {{ ref('int_clusters') }} as clusters on services.cluster = clusters.cluster
    union all
    select
        cluster,
        'control_plane' as service_kind,
        cluster as service_id,
        cluster as service_name,
        control_plane as service_type,
        cast(null as string) as namespace,
        cast(null as string) as owner_pod_uid,
        provider,
        region,
        cast(1 as bigint) as quantity,
        'control_plane' as cost_category,
        from_ms as start_ms,
        to_ms as end_ms
    from {{ ref('int_clusters') }}
)

select * from resources where start_ms < end_ms
