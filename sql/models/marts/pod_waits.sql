-- grain: one row per workload pod: where its time from creation to the start of its containers went
-- guarantee: machine_order + machine_boot + unschedulable + scheduling = queue_wait (creation to binding), stuck + image_pull + init + setup
--     = startup (binding to running), to the millisecond; what nobody told of (no Event, no container's end) is in scheduling and setup
-- inputs: pods, int_machines, int_pod_spans, stg_cluster_events, lake.container_ends, stg_watermarks
{{ config(materialized='view') }}
with stuck as (
    select
        cluster,
        pod_uid,
        cast(sum(least(end_ms, running_ms) - start_ms) as bigint) as stuck_ms
    from {{ ref('int_pod_spans') }}
    where is_stuck and running_ms > start_ms
    group by
        cluster,
        pod_uid
),

-- A pod that the scheduler once found no room for stays unschedulable until it is bound (its condition PodScheduled is False until then).
-- The first Pulling to the last Pulled: images of one pod are pulled one after the other.
told as (
    select
        cluster,
        involved_uid as pod_uid,
        min(case when reason = 'FailedScheduling' then first_ms end) as refused_ms,
        min(case when reason = 'Pulling' then first_ms end) as pull_from_ms,
        max(case when reason = 'Pulled' then last_ms end) as pull_to_ms
    from {{ ref('stg_cluster_events') }}
    where reason in ('FailedScheduling', 'Pulling', 'Pulled') and involved_kind = 'Pod'
    group by
        cluster,
        involved_uid
),

-- Init containers run one after the other; a sidecar among them runs on and is none.
ends as (
    select distinct
        cluster,
        pod_uid,
        container_name,
        restart_count,
        {{ ms('finished_at') }} - {{ ms('started_at') }} as ran_ms
    from {{ source('lake', 'container_ends') }}
    where container_kind = 'init' and started_at is not null and finished_at is not null
),

inits as (
    select
        cluster,
        pod_uid,
        cast(sum(ran_ms) as bigint) as init_ms
    from ends
    group by
        cluster,
        pod_uid
),

timed as (
    select
        pods.cluster,
        pods.pod_uid,
        pods.team,
        pods.system,
        pods.installation,
        pods.pipeline,
        pods.run,
        pods.run_epoch,
        pods.job,
        pods.created_ms,
        pods.bound_ms,
        pods.bound_ms is not null as is_bound,
        pods.start_source = 'container' as is_upper_bound,
        -- What is deleted before it has a machine waits no longer; nothing is released then.
        coalesce(pods.bound_ms, pods.released_ms, pods.deletion_requested_ms, watermarks.watermark_ms) as bound_to_ms,
        coalesce(pods.running_ms, pods.released_ms, watermarks.watermark_ms) as running_ms,
        machines.start_ms as launched_ms,
        machines.registered_ms,
        coalesce(stuck.stuck_ms, cast(0 as bigint)) as stuck_ms,
        coalesce(inits.init_ms, cast(0 as bigint)) as init_ms,
        told.refused_ms,
        told.pull_from_ms,
        told.pull_to_ms
    from {{ ref('pods') }} as pods
    left join {{ ref('stg_watermarks') }} as watermarks on pods.cluster = watermarks.cluster
    left join {{ ref('int_machines') }} as machines on pods.cluster = machines.cluster and pods.machine = machines.machine
    left join stuck on pods.cluster = stuck.cluster and pods.pod_uid = stuck.pod_uid
    left join inits on pods.cluster = inits.cluster and pods.pod_uid = inits.pod_uid
    left join told on pods.cluster = told.cluster and pods.pod_uid = told.pod_uid
    where pods.pod_class = 'workload'
),

parts as (
    select
        *,
        greatest(bound_to_ms - created_ms, cast(0 as bigint)) as queue_wait_ms,
        -- Until its machine was launched, if that came after the pod did.
        case when launched_ms > created_ms then {{ overlap('created_ms', 'bound_to_ms', 'created_ms', 'launched_ms') }} else cast(0 as bigint) end as machine_order_ms,
        case when launched_ms is not null then {{ overlap('created_ms', 'bound_to_ms', 'launched_ms', 'registered_ms') }} else cast(0 as bigint) end as machine_boot_ms,
        case when is_bound then greatest(running_ms - bound_ms, cast(0 as bigint)) else cast(0 as bigint) end as startup_ms
    from timed
),

-- What one cause explains the next does not: its machine, then the scheduler; stuck, then pulling, then initialising.
without_stuck as (
    select
        *,
        case
            when refused_ms is null then cast(0 as bigint)
            else least(
                {{ overlap('created_ms', 'bound_to_ms', 'greatest(refused_ms, coalesce(registered_ms, created_ms))', 'bound_to_ms') }},
                queue_wait_ms - machine_order_ms - machine_boot_ms
            )
        end as unschedulable_ms,
        least(stuck_ms, startup_ms) as stuck_part_ms,
        startup_ms - least(stuck_ms, startup_ms) as left_ms
    from parts
),

without_pull as (
    select
        *,
        case
            when not is_bound or pull_from_ms is null or pull_to_ms is null then cast(0 as bigint)
            else least({{ overlap('pull_from_ms', 'pull_to_ms', 'bound_ms', 'running_ms') }}, left_ms)
        end as image_pull_ms
    from without_stuck
)

select
    cluster,
    pod_uid,
    team,
    system,
    installation,
    pipeline,
    run,
    run_epoch,
    job,
    {{ at('created_ms') }} as created_at,
    is_bound,
    is_upper_bound,
    queue_wait_ms,
    machine_order_ms,
    machine_boot_ms,
    unschedulable_ms,
    queue_wait_ms - machine_order_ms - machine_boot_ms - unschedulable_ms as scheduling_ms,
    startup_ms,
    stuck_part_ms as stuck_ms,
    image_pull_ms,
    least(init_ms, left_ms - image_pull_ms) as init_ms,
    left_ms - image_pull_ms - least(init_ms, left_ms - image_pull_ms) as setup_ms
from without_pull
