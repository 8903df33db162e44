-- grain: one row per attempt: one try of a job in a run (or of one pod of it, where the system numbers no tries)
-- guarantee: every pod of a job is in exactly one attempt; `released_ms` is when the last was over, also one that never had a machine
-- inputs: pods, int_pod_costs
{{ config(materialized='view') }}
with pods as (
    select
        pods.*,
        {{ over_ms('pods') }} as over_ms,
        costs.cost_nano,
        {{ wasted('pods', 'costs') }} as wasted_nano,
        -- Pods without a number of their try are a try each.
        -- A pod that only watches over another one's try is a try of its own.
        case
            when pods.attempt = 'unattributed' or pods.run = 'unattributed' then pods.pod_uid
            when pods.role = 'worker' then pods.attempt || ' worker'
            else pods.attempt
        end as attempt_key
    from {{ ref('pods') }} as pods
    left join {{ touched('int_pod_costs') }} as costs on pods.cluster = costs.cluster and pods.pod_uid = costs.pod_uid
    where pods.pod_class = 'workload'
)

select
    cluster,
    system,
    installation,
    pipeline,
    run,
    run_epoch,
    job,
    attempt_key,
    max(attempt) as attempt,
    max(team) as team,
    -- Whether a pod made it, which answers for it.
    min(case when parent_uid is null then 0 else 1 end) = 1 as is_made_by_pod,
    count(*) as pods,
    min(created_ms) as created_ms,
    min(bound_ms) as bound_ms,
    min(running_ms) as running_ms,
    case when sum(case when outcome = 'running' then 1 else 0 end) = 0 then max(over_ms) end as released_ms,
    max(finished_ms) as finished_ms,
    greatest(min(bound_ms) - min(created_ms), cast(0 as bigint)) as queue_wait_ms,
    max(engine_finished_ms) - min(engine_started_ms) as engine_duration_ms,
    cast(sum(engine_cpu_request_millicore_ms) as bigint) as engine_cpu_request_millicore_ms,
    cast(sum(engine_memory_request_byte_ms) as decimal(38,0)) as engine_memory_request_byte_ms,
    cast(sum(cost_nano) as bigint) as cost_nano,
    cast(sum(wasted_nano) as bigint) as wasted_nano,
    case
        when sum(case when attempt_outcome = 'failed' then 1 else 0 end) > 0 then 'failed'
        when sum(case when attempt_outcome = 'lost' then 1 else 0 end) > 0 then 'lost'
        when sum(case when outcome = 'running' then 1 else 0 end) > 0 then 'running'
        when sum(case when outcome = 'succeeded' then 1 else 0 end) > 0 then 'succeeded'
        when sum(case when outcome = 'retired' then 1 else 0 end) > 0 then 'retired'
        when sum(case when outcome = 'cancelled' then 1 else 0 end) > 0 then 'cancelled'
        else 'unknown'
    end as outcome,
    max(end_reason) as end_reason
from pods
group by
    cluster,
    system,
    installation,
    pipeline,
    run,
    run_epoch,
    job,
    attempt_key
