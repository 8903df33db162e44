-- grain: one row per volume and pod that mounted it: for how long
-- guarantee: a pod holds a volume for as long as its machine; one that never got a machine holds none
-- inputs: stg_claims, lake.pod_claims, int_pods, int_pod_spans, stg_volumes
{{ config(materialized='table') }}
with mounts as (
    select distinct
        cluster,
        pod_uid,
        namespace,
        claim_name
    from {{ source('lake', 'pod_claims') }}
),

mounted as (
    select
        claims.cluster,
        claims.claim_uid,
        mounts.pod_uid
    from {{ ref('stg_claims') }} as claims
    inner join mounts
        on claims.cluster = mounts.cluster and claims.namespace = mounts.namespace and claims.claim_name = mounts.claim_name
    -- Names are used again: a pod mounts the claim that is there while it is.
    inner join {{ ref('int_pods') }} as pods
        on mounts.cluster = pods.cluster
        and mounts.pod_uid = pods.pod_uid
        and coalesce(pods.released_ms, claims.created_ms) >= claims.created_ms
        and pods.created_ms <= coalesce(claims.deleted_ms, pods.created_ms)
),

held as (
    select
        mounted.cluster,
        mounted.claim_uid,
        mounted.pod_uid,
        min(spans.start_ms) as start_ms,
        max(spans.end_ms) as end_ms
    from mounted
    left join {{ ref('int_pod_spans') }} as spans on mounted.cluster = spans.cluster and mounted.pod_uid = spans.pod_uid
    group by
        mounted.cluster,
        mounted.claim_uid,
        mounted.pod_uid
)

select
    held.cluster,
    volumes.volume_uid,
    held.claim_uid,
    held.pod_uid,
    held.start_ms,
    held.end_ms
from held
inner join (select distinct cluster, claim_uid, volume_uid from {{ ref('stg_volumes') }}) as volumes
    on held.cluster = volumes.cluster and held.claim_uid = volumes.claim_uid
