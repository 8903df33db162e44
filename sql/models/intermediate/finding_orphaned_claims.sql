-- grain: one row per zone, ISO week, cluster, team, pipeline and namespace with claims that outlived their runs
-- guarantee: cost is storage for the time of the week since the run was over, cut off below a nano-dollar for each claim
-- inputs: int_orphaned_claims, int_finding_weeks
{{ config(materialized='view') }}
with costs as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        claims.team,
        claims.pipeline,
        claims.namespace,
        claims.claim_name,
        claims.since_ms,
        claims.capacity_bytes,
        claims.until_ms >= weeks.observed_to_ms as is_there,
        cast({{ wide_idiv('cast(claims.capacity_bytes as decimal(19,0)) * cast(' ~ overlap('claims.since_ms', 'claims.until_ms', 'weeks.from_ms', 'weeks.observed_to_ms') ~ ' as decimal(19,0)) * cast(claims.price_nano as decimal(19,0))', 'cast(1073741824 as decimal(38,0)) * cast(3600000 as decimal(19,0)) * cast(claims.price_hours as decimal(19,0))') }} as bigint) as cost_nano
    from {{ ref('int_orphaned_claims') }} as claims
    inner join {{ ref('int_finding_weeks') }} as weeks
        on claims.cluster = weeks.cluster and claims.since_ms < weeks.observed_to_ms and claims.until_ms > weeks.from_ms
),

summed as (
    select
        cluster,
        zone,
        iso_week,
        team,
        pipeline,
        namespace,
        cast(sum(cost_nano) as bigint) as cost_nano,
        min(since_ms) as since_ms,
        count(*) as claims,
        cast(sum(case when is_there then 1 else 0 end) as bigint) as left_claims,
        cast(sum(capacity_bytes) as bigint) as capacity_bytes,
        max_by(claim_name, (since_ms, claim_name)) as claim_name
    from costs
    group by
        cluster,
        zone,
        iso_week,
        team,
        pipeline,
        namespace
)

select
    cluster,
    zone,
    iso_week,
    'orphaned_claims' as finding,
    'pipeline' as subject_kind,
    pipeline as subject,
    team,
    namespace,
    cost_nano,
    cast(null as bigint) as previous_cost_nano,
    since_ms,
    {{ counted('claims', 'claim') }} || ' of ' || {{ number_text(idiv('capacity_bytes', '1073741824')) }} || ' GiB outlived the runs that mounted them; ' || {{ number_text('left_claims') }}
    || ' are still there, the newest ' || claim_name as evidence,
    'delete them when nobody needs what they hold, and let the engine do so after every run (Argo: volumeClaimGC)' as mend,
    'kubectl -n ' || namespace || ' get pvc ' || claim_name as command,
    'storage' as counted_in
from summed
