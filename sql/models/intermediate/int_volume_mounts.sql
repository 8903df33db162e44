-- grain: one row per volume and pod that mounted it: for how long
-- guarantee: a pod holds a volume for as long as its machine; one that never got a machine holds none
-- inputs: stg_claims, lake.pod_claims, int_pods, int_pod_spans, stg_volumes
{{ config(materialized='table') }}
-- Each pod's time stands beside its claims before claims are looked for: by time alone every claim of a cluster would meet every pod.
with mounts as (
    select
        mounts.cluster,
        mounts.pod_uid,
        mounts.namespace,
        mounts.claim_name,
        max(pods.created_ms) as created_ms,
        max(pods.released_ms) as released_ms
    from {{ source('lake', 'pod_claims') }} as mounts
    inner join {{ ref('int_pods') }} as pods on mounts.cluster = pods.cluster and mounts.pod_uid = pods.pod_uid
    group by
        mounts.cluster,
        mounts.pod_uid,
        mounts.namespace,
        mounts.claim_name
),

-- Names are used again: a pod mounts the claim that is there while it is.
mounted as (
    select
        claims.cluster,
        claims.claim_uid,
        mounts.pod_uid
    from {{ ref('stg_claims') }} as claims
    inner join mounts
        on claims.cluster = mounts.cluster
        and claims.namespace = mounts.namespace
        and claims.claim_name = mounts.claim_name
        and coalesce(mounts.released_ms, claims.created_ms) >= claims.created_ms
        and mounts.created_ms <= coalesce(claims.deleted_ms, mounts.created_ms)
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
