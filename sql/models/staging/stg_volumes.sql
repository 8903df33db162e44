-- grain: one row per stretch of time in which a volume had one size, class and claim
-- guarantee: the stretches [start_ms, end_ms) of a volume do not overlap; end_ms is NULL while it is there. A claim of which no volume is known
--     stands for its volume from when it was bound
-- inputs: lake.volume_states, lake.volume_claims
{{ config(materialized='table') }}
with states as (
    select
        cluster,
        volume_uid,
        volume,
        volume_handle,
        {{ ms('observed_at') }} as observed_ms,
        phase,
        storage_class,
        zone,
        capacity_bytes,
        claim_uid,
        claim_namespace as namespace,
        {{ ms('created_at') }} as created_ms,
        {{ ms('deleted_at') }} as deleted_ms
    from {{ source('lake', 'volume_states') }}
    union all
    select
        claims.cluster,
        claims.claim_uid as volume_uid,
        coalesce(claims.volume, claims.claim_name) as volume,
        cast(null as string) as volume_handle,
        {{ ms('claims.observed_at') }} as observed_ms,
        'Bound' as phase,
        claims.storage_class,
        cast(null as string) as zone,
        claims.requested_bytes as capacity_bytes,
        claims.claim_uid,
        claims.namespace,
        case when waited.claim_uid is null then {{ ms('claims.created_at') }} end as created_ms,
        {{ ms('claims.deleted_at') }} as deleted_ms
    from {{ source('lake', 'volume_claims') }} as claims
    left join (select distinct cluster, claim_uid from {{ source('lake', 'volume_states') }} where claim_uid is not null) as bound
        on claims.cluster = bound.cluster and claims.claim_uid = bound.claim_uid
    -- Who was seen to wait had no volume before it was seen to be bound.
    left join (select distinct cluster, claim_uid from {{ source('lake', 'volume_claims') }} where phase = 'Pending') as waited
        on claims.cluster = waited.cluster and claims.claim_uid = waited.claim_uid
    where bound.claim_uid is null and coalesce(claims.phase, 'Bound') <> 'Pending'
),

ranked as (
    select
        *,
        cast(row_number() over (
            partition by cluster, volume_uid, observed_ms
            order by deleted_ms asc nulls last, capacity_bytes desc nulls last, phase asc nulls last, claim_uid asc nulls last
        ) as bigint) as preference
    from states
),

ordered as (
    select
        *,
        lag(observed_ms) over (partition by cluster, volume_uid order by observed_ms asc nulls last) as previous_ms,
        lead(observed_ms) over (partition by cluster, volume_uid order by observed_ms asc nulls last) as next_ms,
        min(deleted_ms) over (partition by cluster, volume_uid) as gone_ms
    from ranked
    where preference = 1
)

select
    cluster,
    volume_uid,
    volume,
    volume_handle,
    phase,
    storage_class,
    zone,
    capacity_bytes,
    claim_uid,
    namespace,
    case when previous_ms is null then coalesce(least(created_ms, observed_ms), observed_ms) else observed_ms end as start_ms,
    coalesce(least(next_ms, gone_ms), next_ms, gone_ms) as end_ms
from ordered
