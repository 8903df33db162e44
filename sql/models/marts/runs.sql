-- grain: one row per run: one execution of a pipeline (keyed by cluster, system, installation, pipeline, run, run_epoch)
-- guarantee: the status is that of the last attempt of every job; pods of no known run are not here
-- inputs: int_attempts
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_runs', ['cluster', 'system', 'installation', 'pipeline', 'run', 'run_epoch']) }}") }}
with attempts as (
    select * from {{ ref('int_attempts') }} where run <> 'unattributed'
),

jobs as (
    select
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        job,
        min(created_ms) as created_ms,
        min(bound_ms) as bound_ms,
        max(released_ms) as released_ms,
        cast(sum(pods) as bigint) as pods,
        count(*) as attempts,
        cast(sum(case when outcome in ('failed', 'lost') then 1 else 0 end) as bigint) as failed_attempts,
        cast(sum(case when outcome = 'running' then 1 else 0 end) as bigint) as running_attempts,
        cast(sum(case when outcome = 'unknown' then 1 else 0 end) as bigint) as unknown_attempts,
        max(case when outcome = 'failed' and not is_made_by_pod then created_ms end) as last_failed_ms,
        max(case when outcome = 'lost' and not is_made_by_pod then created_ms end) as last_lost_ms,
        coalesce(
            max(case when outcome in ('succeeded', 'running') then created_ms end), cast(-9000000000000000 as bigint)
        ) as mended_ms,
        cast(sum(cost_nano) as bigint) as cost_nano,
        cast(sum(wasted_nano) as bigint) as wasted_nano,
        cast(sum(queue_wait_ms) as bigint) as queue_wait_ms
    from attempts
    group by
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        job
),

summed as (
    select
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        min(created_ms) as created_ms,
        min(bound_ms) as started_ms,
        case when sum(running_attempts) = 0 then max(released_ms) end as ended_ms,
        cast(sum(pods) as bigint) as pods,
        cast(sum(attempts) as bigint) as attempts,
        cast(sum(failed_attempts) as bigint) as failed_attempts,
        cast(sum(running_attempts) as bigint) as running_attempts,
        cast(sum(unknown_attempts) as bigint) as unknown_attempts,
        -- Within a job a later success mends an earlier failure.
        cast(sum(case when last_failed_ms > mended_ms then 1 else 0 end) as bigint) as failed_jobs,
        cast(sum(case when last_lost_ms > mended_ms then 1 else 0 end) as bigint) as lost_jobs,
        cast(sum(cost_nano) as bigint) as cost_nano,
        cast(sum(wasted_nano) as bigint) as wasted_nano,
        cast(sum(queue_wait_ms) as bigint) as queue_wait_ms
    from jobs
    group by
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch
)

select
    cluster,
    system,
    installation,
    pipeline,
    run,
    run_epoch,
    {{ at('created_ms') }} as created_at,
    {{ at('started_ms') }} as started_at,
    {{ at('ended_ms') }} as ended_at,
    case
        when running_attempts > 0 then 'running'
        when failed_jobs > 0 then 'failed'
        when lost_jobs > 0 then 'lost'
        when unknown_attempts > 0 then 'unknown'
        else 'succeeded'
    end as status,
    pods,
    attempts,
    failed_attempts,
    {{ usd('cost_nano') }} as cost,
    {{ usd('wasted_nano') }} as wasted_cost,
    queue_wait_ms
from summed
