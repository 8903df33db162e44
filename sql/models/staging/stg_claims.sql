-- grain: one row per PersistentVolumeClaim: the newest thing observed of it, and of the volume that it is bound to
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.volume_claims, lake.volume_states
{{ config(materialized='view') }}
with claims as (
    select
        cluster,
        claim_uid,
        {{ ms('observed_at') }} as observed_ms,
        claim_name,
        namespace,
        storage_class,
        requested_bytes,
        {{ ms('created_at') }} as created_ms,
        {{ ms('deleted_at') }} as deleted_ms
    from {{ source('lake', 'volume_claims') }}
),

newest_claims as (
    select
        *,
        cast(row_number() over (
            partition by cluster, claim_uid
            order by observed_ms desc nulls last, deleted_ms asc nulls last, requested_bytes desc nulls last
        ) as bigint) as newest
    from claims
),

volumes as (
    select
        cluster,
        claim_uid,
        volume,
        {{ ms('observed_at') }} as observed_ms,
        storage_class,
        driver,
        zone,
        capacity_bytes,
        {{ ms('deleted_at') }} as deleted_ms
    from {{ source('lake', 'volume_states') }}
    where claim_uid is not null
),

newest_volumes as (
    select
        *,
        cast(row_number() over (
            partition by cluster, claim_uid
            order by observed_ms desc nulls last, deleted_ms asc nulls last, volume asc nulls last
        ) as bigint) as newest
    from volumes
)

select
    claims.cluster,
    claims.claim_uid,
    claims.claim_name,
    claims.namespace,
    coalesce(volumes.storage_class, claims.storage_class) as storage_class,
    volumes.volume,
    volumes.driver,
    volumes.zone,
    coalesce(volumes.capacity_bytes, claims.requested_bytes) as capacity_bytes,
    claims.created_ms,
    claims.deleted_ms
from newest_claims as claims
left join newest_volumes as volumes
    on claims.cluster = volumes.cluster and claims.claim_uid = volumes.claim_uid and volumes.newest = 1
where claims.newest = 1
