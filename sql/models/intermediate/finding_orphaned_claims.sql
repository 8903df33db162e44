-- grain: one row per zone, ISO week, cluster, team, pipeline and namespace with volumes that no run needs any more, or that no claim holds
-- guarantee: the rows add up to the category orphaned_storage
-- inputs: int_service_hours, int_service_lives, stg_claims, stg_volumes, int_pod_names, int_finding_hours
{{ config(materialized='view') }}
with orphans as (
    select
        cluster,
        service_id,
        max(service_name) as volume,
        max(owner_pod_uid) as owner_pod_uid,
        max(namespace) as namespace,
        min(start_ms) as since_ms,
        max(end_ms) as until_ms,
        max(quantity) as capacity_bytes
    from {{ ref('int_service_lives') }}
    where cost_category = 'orphaned_storage'
    group by
        cluster,
        service_id
),

-- A volume keeps the name of its claim after the claim is gone.
claims as (
    select
        volumes.cluster,
        volumes.volume_uid,
        max(claims.claim_name) as claim_name,
        max(case when coalesce(volumes.phase, 'Bound') = 'Bound' then cast(1 as bigint) else cast(0 as bigint) end) as was_bound,
        max_by(case when coalesce(volumes.phase, 'Bound') = 'Bound' then cast(1 as bigint) else cast(0 as bigint) end, volumes.start_ms) as is_bound
    from {{ ref('stg_volumes') }} as volumes
    left join {{ ref('stg_claims') }} as claims on volumes.cluster = claims.cluster and volumes.claim_uid = claims.claim_uid
    group by
        volumes.cluster,
        volumes.volume_uid
),

known as (
    select
        orphans.*,
        case when claims.is_bound = 1 then 'orphaned_claims' else 'orphaned_volumes' end as finding,
        coalesce(case when claims.is_bound = 1 then claims.claim_name end, orphans.volume) as shown_name,
        coalesce(pods.team, 'unattributed') as team,
        coalesce(pods.pipeline, 'unattributed') as pipeline
    from orphans
    left join claims on orphans.cluster = claims.cluster and orphans.service_id = claims.volume_uid
    left join {{ ref('int_pod_names') }} as pods
        on orphans.cluster = pods.cluster and orphans.owner_pod_uid = pods.pod_uid
),

costs as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        hours.service_id,
        cast(sum(case when weeks.is_this then hours.cost_nano end) as bigint) as cost_nano,
        cast(sum(case when not weeks.is_this then hours.cost_nano end) as bigint) as previous_cost_nano,
        max(case when weeks.is_this then 1 else 0 end) as is_now,
        max(weeks.hour_start_ms) as last_hour_ms
    from {{ ref('int_service_hours') }} as hours
    inner join {{ ref('int_finding_hours') }} as weeks
        on hours.cluster = weeks.cluster and hours.hour_start_ms = weeks.hour_start_ms
    where hours.cost_category = 'orphaned_storage'
    group by
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        hours.service_id
),

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
        known.finding,
        known.team,
        known.pipeline,
        known.namespace,
        cast(sum(costs.cost_nano) as bigint) as cost_nano,
        cast(sum(costs.previous_cost_nano) as bigint) as previous_cost_nano,
        min(known.since_ms) as since_ms,
        cast(sum(costs.is_now) as bigint) as volumes,
        cast(sum(case when costs.is_now = 1 and known.until_ms >= least(clusters.to_ms, weeks.to_ms) then 1 else 0 end) as bigint) as left_volumes,
        cast(sum(case when costs.is_now = 1 then known.capacity_bytes else cast(0 as bigint) end) as bigint) as capacity_bytes,
        max_by(known.shown_name, (costs.is_now, known.since_ms, known.shown_name)) as shown_name
    from costs
    inner join known on costs.cluster = known.cluster and costs.service_id = known.service_id
    inner join {{ ref('int_clusters') }} as clusters on costs.cluster = clusters.cluster
    inner join {{ ref('int_finding_weeks') }} as weeks
        on costs.cluster = weeks.cluster and costs.zone = weeks.zone and costs.iso_week = weeks.iso_week
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week,
        known.finding,
        known.team,
        known.pipeline,
        known.namespace
)

select
    cluster,
    zone,
    iso_week,
    finding,
    'pipeline' as subject_kind,
    pipeline as subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cost_nano,
    previous_cost_nano,
    since_ms,
    case when finding = 'orphaned_claims'
        then {{ counted('volumes', 'claim') }} || ' of ' || {{ number_text(idiv('capacity_bytes', '1073741824')) }} || ' GiB outlived the runs that mounted them; '
        else {{ counted('volumes', 'volume') }} || ' of ' || {{ number_text(idiv('capacity_bytes', '1073741824')) }} || ' GiB that no claim holds; '
    end || {{ number_text('left_volumes') }} || ' are still there, the newest ' || shown_name as evidence,
    case when finding = 'orphaned_claims'
        then 'delete them when nobody needs what they hold, and let the engine do so after every run (Argo: volumeClaimGC)'
        else 'delete them when nobody needs what they hold; the reclaim policy Delete does so with their claims'
    end as mend,
    case when finding = 'orphaned_claims' then 'kubectl -n ' || namespace || ' get pvc ' || shown_name else 'kubectl get pv ' || shown_name end as command,
    cast(null as string) as counted_in
from summed
where volumes > 0
