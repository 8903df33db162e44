-- grain: one row per volume that a pod ever mounted: the pod that did so last, and since when no run needs it
-- guarantee: orphaned_ms only where every pod that is known to have mounted it is of a run, and all these runs are over by an hour or longer
-- inputs: int_volume_mounts, int_pods, int_pod_names, stg_volumes, int_clusters
{{ config(materialized='table') }}
with mounted as (
    select
        mounts.cluster,
        mounts.volume_uid,
        mounts.pod_uid,
        pods.created_ms,
        names.system,
        names.installation,
        names.pipeline,
        names.run,
        names.run_epoch
    from {{ ref('int_volume_mounts') }} as mounts
    inner join {{ ref('int_pods') }} as pods on mounts.cluster = pods.cluster and mounts.pod_uid = pods.pod_uid
    inner join {{ ref('int_pod_names') }} as names on mounts.cluster = names.cluster and mounts.pod_uid = names.pod_uid
),

wanted_runs as (
    select distinct
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch
    from mounted
    -- What belongs to no run is never over.
    where run <> 'unattributed'
),

runs as (
    select
        wanted.cluster,
        wanted.system,
        wanted.installation,
        wanted.pipeline,
        wanted.run,
        wanted.run_epoch,
        case when sum(case when names.outcome = 'running' then 1 else 0 end) = 0 then max(pods.released_ms) end as ended_ms
    from wanted_runs as wanted
    inner join {{ ref('int_pod_names') }} as names
        on wanted.cluster = names.cluster
        and wanted.system = names.system
        and wanted.installation = names.installation
        and wanted.pipeline = names.pipeline
        and wanted.run = names.run
        and wanted.run_epoch = names.run_epoch
        and names.pod_class = 'workload'
    inner join {{ ref('int_pods') }} as pods on names.cluster = pods.cluster and names.pod_uid = pods.pod_uid
    group by
        wanted.cluster,
        wanted.system,
        wanted.installation,
        wanted.pipeline,
        wanted.run,
        wanted.run_epoch
),

owned as (
    select
        mounted.cluster,
        mounted.volume_uid,
        max_by(mounted.pod_uid, (mounted.created_ms, mounted.pod_uid)) as pod_uid,
        case when count(*) = count(runs.ended_ms) then max(runs.ended_ms) end as over_ms
    from mounted
    left join runs
        on mounted.cluster = runs.cluster
        and mounted.system = runs.system
        and mounted.installation = runs.installation
        and mounted.pipeline = runs.pipeline
        and mounted.run = runs.run
        and mounted.run_epoch = runs.run_epoch
    group by
        mounted.cluster,
        mounted.volume_uid
),

lives as (
    select
        volumes.cluster,
        volumes.volume_uid,
        -- NULL is last: it is there.
        max(coalesce(volumes.end_ms, clusters.to_ms)) as end_ms
    from {{ ref('stg_volumes') }} as volumes
    inner join {{ ref('int_clusters') }} as clusters on volumes.cluster = clusters.cluster
    group by
        volumes.cluster,
        volumes.volume_uid
)

select
    owned.cluster,
    owned.volume_uid,
    owned.pod_uid,
    case when lives.end_ms - owned.over_ms >= 3600000 then owned.over_ms end as orphaned_ms
from owned
inner join lives on owned.cluster = lives.cluster and owned.volume_uid = lives.volume_uid
