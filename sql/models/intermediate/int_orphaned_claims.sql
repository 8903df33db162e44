-- grain: one row per claim that outlived its run by an hour or longer: since when nobody needs it, and what a GiB of it costs
-- guarantee: every pod that is known to have mounted it is of a run, and all of these runs are over; price_nano is of a GiB for 730 hours (the
--     month of the list prices) or for an hour, as `price_hours` says, and NULL where none is known
-- inputs: stg_claims, lake.pod_claims, pods, runs, int_machines, stg_service_prices, stg_price_overrides, stg_watermarks
{{ config(materialized='view') }}
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
        pods.team,
        pods.pipeline,
        pods.created_ms,
        pods.pod_uid,
        {{ ms('runs.ended_at') }} as run_ended_ms
    from {{ ref('stg_claims') }} as claims
    inner join mounts
        on claims.cluster = mounts.cluster and claims.namespace = mounts.namespace and claims.claim_name = mounts.claim_name
    -- Names are used again: a pod mounts the claim that is there while it is.
    inner join {{ ref('pods') }} as pods
        on mounts.cluster = pods.cluster
        and mounts.pod_uid = pods.pod_uid
        and coalesce(pods.released_ms, claims.created_ms) >= claims.created_ms
        and pods.created_ms <= coalesce(claims.deleted_ms, pods.created_ms)
    -- What belongs to no run is never over.
    left join {{ ref('runs') }} as runs
        on pods.cluster = runs.cluster
        and pods.system = runs.system
        and pods.installation = runs.installation
        and pods.pipeline = runs.pipeline
        and pods.run = runs.run
        and pods.run_epoch = runs.run_epoch
),

over as (
    select
        cluster,
        claim_uid,
        max_by(team, (created_ms, pod_uid)) as team,
        max_by(pipeline, (created_ms, pod_uid)) as pipeline,
        max(run_ended_ms) as since_ms
    from mounted
    group by
        cluster,
        claim_uid
    having count(*) = count(run_ended_ms)
),

-- Storage is priced by region, and volumes name a zone.
zones as (
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

regions as (
    select
        cluster,
        max(provider) as provider,
        max(region) as region
    from {{ ref('int_machines') }}
    where region is not null
    group by cluster
    having count(distinct region) = 1
),

placed as (
    select
        claims.*,
        over.team,
        over.pipeline,
        over.since_ms,
        coalesce(claims.deleted_ms, watermarks.watermark_ms) as until_ms,
        coalesce(zones.provider, regions.provider) as provider,
        coalesce(zones.region, regions.region) as region
    from over
    inner join {{ ref('stg_claims') }} as claims on over.cluster = claims.cluster and over.claim_uid = claims.claim_uid
    inner join {{ ref('stg_watermarks') }} as watermarks on over.cluster = watermarks.cluster
    left join zones on claims.cluster = zones.cluster and claims.zone = zones.zone
    left join regions on claims.cluster = regions.cluster
    where coalesce(claims.deleted_ms, watermarks.watermark_ms) - over.since_ms >= 3600000
),

-- A class that has the name of what the provider sells is that; any other needs a declared price.
listed as (
    select
        placed.cluster,
        placed.claim_uid,
        max(prices.price_nano) as price_nano
    from placed
    inner join {{ ref('stg_service_prices') }} as prices
        on placed.provider = prices.provider
        and placed.region = prices.region
        and prices.unit = 'GB-month'
        and prices.item in (placed.storage_class, placed.storage_class || ' storage')
        and placed.since_ms >= prices.valid_from_ms
        and placed.since_ms < prices.valid_to_ms
    group by
        placed.cluster,
        placed.claim_uid
),

declared as (
    select
        placed.cluster,
        placed.claim_uid,
        -- The newest declaration; one of the volume speaks before one of its class.
        nullif(max_by(
            coalesce(prices.price_nano, cast(-1 as bigint)),
            (case when prices.selector = 'volume' then 1 else 0 end, prices.valid_from_ms, coalesce(prices.price_nano, cast(-1 as bigint)))
        ), cast(-1 as bigint)) as price_nano
    from placed
    inner join {{ ref('stg_price_overrides') }} as prices
        on (
            prices.selector = 'volume' and prices.selector_value = placed.volume
            or prices.selector = 'storage_class' and prices.selector_value = placed.storage_class
        )
        and placed.since_ms >= prices.valid_from_ms
    group by
        placed.cluster,
        placed.claim_uid
)

select
    placed.cluster,
    placed.claim_uid,
    placed.claim_name,
    placed.namespace,
    placed.storage_class,
    placed.capacity_bytes,
    placed.team,
    placed.pipeline,
    placed.since_ms,
    placed.until_ms,
    coalesce(declared.price_nano, listed.price_nano) as price_nano,
    case when declared.price_nano is not null then cast(1 as bigint) else cast(730 as bigint) end as price_hours
from placed
left join listed on placed.cluster = listed.cluster and placed.claim_uid = listed.claim_uid
left join declared on placed.cluster = declared.cluster and placed.claim_uid = declared.claim_uid
