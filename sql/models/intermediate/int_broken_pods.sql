-- grain: one row per workload pod whose try failed or was lost: why
-- guarantee: every such pod has exactly one cause, so causes divide the categories failed and lost
-- inputs: pods, int_machines, stg_cluster_events
{{ config(materialized='view') }}
with broken as (
    select
        *,
        -- Pods without a number of their try are a try each.
        case
            when attempt = 'unattributed' or run = 'unattributed' then pod_uid
            else attempt || ' ' || role
        end as try_key
    from {{ ref('pods') }}
    where pod_class = 'workload' and attempt_outcome in ('failed', 'lost')
),

-- Karpenter says so of a node before it drains it to save money.
disrupted as (
    select distinct
        broken.cluster,
        broken.pod_uid
    from broken
    inner join {{ ref('stg_cluster_events') }} as events
        on broken.cluster = events.cluster
        and broken.node_name = events.involved_name
        and events.last_ms >= broken.bound_ms
        and events.last_ms <= broken.released_ms
    where events.reason = 'DisruptionTerminating' and events.involved_kind = 'Node'
),

-- The kubelet says so of a pod that it evicts. Of a machine that shuts down it ends pods too, with the same reason and without this.
-- Karpenter says it in the same word of every pod that it drains.
evicted as (
    select distinct
        cluster,
        involved_uid as pod_uid
    from {{ ref('stg_cluster_events') }}
    where reason = 'Evicted' and involved_kind = 'Pod' and component = 'kubelet'
),

own as (
    select
        broken.*,
        case
            when broken.outcome not in ('failed', 'lost') then cast(null as string)
            when broken.outcome = 'lost' and evicted.pod_uid is not null then 'node_pressure'
            when broken.outcome = 'lost' and machines.end_reason = 'SpotInterrupted' and broken.released_ms >= machines.end_ms - 120000 then 'spot_interruption'
            when broken.outcome = 'lost' and broken.pod_end_reason in ('TerminationByKubelet', 'Evicted') then 'node_pressure'
            when broken.outcome = 'lost' and broken.pod_end_reason in ('PreemptionByScheduler', 'Preempting') then 'preemption'
            when broken.outcome = 'lost' and broken.pod_end_reason = 'EvictionByEvictionAPI' and disrupted.pod_uid is not null then 'consolidation'
            when broken.outcome = 'lost' and broken.pod_end_reason = 'EvictionByEvictionAPI' then 'drain'
            when broken.outcome = 'lost' then 'node_lost'
            when broken.pod_end_reason = 'OOMKilled' then 'out_of_memory'
            when broken.pod_end_reason = 'DeadlineExceeded' then 'deadline'
            when coalesce(broken.exit_code, 143) in (130, 137, 143) and coalesce(broken.pod_end_reason, 'Deleted') <> 'Error' then 'taken_away'
            else 'error'
        end as own_cause
    from broken
    left join {{ ref('int_machines') }} as machines
        on broken.cluster = machines.cluster and broken.machine = machines.machine
    left join disrupted on broken.cluster = disrupted.cluster and broken.pod_uid = disrupted.pod_uid
    left join evicted on broken.cluster = evicted.cluster and broken.pod_uid = evicted.pod_uid
),

-- What broke a try breaks all of its pods: memory that ran out speaks before an exit code does.
tries as (
    select
        own.*,
        min(case
            when own_cause is not null and own.outcome = own.attempt_outcome
                then case own_cause when 'out_of_memory' then '1' when 'deadline' then '2' when 'error' then '3' when 'taken_away' then '4' else '5' end || own_cause
        end) over (
            partition by cluster, system, installation, pipeline, run, run_epoch, job, try_key
        ) as try_cause
    from own
)

select
    pods.cluster,
    pods.pod_uid,
    pods.namespace,
    pods.system,
    pods.installation,
    pods.pipeline,
    pods.run,
    pods.run_epoch,
    pods.job,
    pods.team,
    pods.pod_name,
    pods.attempt_outcome,
    pods.exit_code,
    pods.memory_request_bytes,
    coalesce(pods.finished_ms, pods.released_ms, pods.created_ms) as ended_ms,
    -- A driver speaks for its executors, unless it was their own memory that ran out.
    coalesce(
        case when pods.own_cause = 'out_of_memory' and pods.attempt_outcome = 'failed' then pods.own_cause end,
        parents.own_cause,
        case when pods.outcome = pods.attempt_outcome then pods.own_cause end,
        substring(pods.try_cause, 2),
        'unknown'
    ) as cause
from tries as pods
left join own as parents
    on pods.cluster = parents.cluster and pods.parent_uid = parents.pod_uid and pods.attempt_outcome = parents.attempt_outcome
