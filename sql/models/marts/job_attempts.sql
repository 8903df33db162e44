-- grain: one row per attempt: one try of a job in a run
-- guarantee: costs of all attempts add up to the costs of all workload pods
-- inputs: int_attempts
{{ config(materialized='view') }}
select
    cluster,
    team,
    system,
    installation,
    pipeline,
    run,
    run_epoch,
    job,
    attempt,
    pods,
    {{ at('created_ms') }} as created_at,
    {{ at('bound_ms') }} as scheduled_at,
    {{ at('running_ms') }} as started_at,
    {{ at('coalesce(finished_ms, released_ms)') }} as ended_at,
    coalesce(finished_ms, released_ms) - running_ms as duration_ms,
    queue_wait_ms,
    engine_duration_ms,
    engine_cpu_request_millicore_ms,
    engine_memory_request_byte_ms,
    {{ usd('cost_nano') }} as cost,
    {{ usd('wasted_nano') }} as wasted_cost,
    outcome,
    end_reason
from {{ ref('int_attempts') }}
