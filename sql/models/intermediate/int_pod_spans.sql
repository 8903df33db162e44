-- grain: one row per stretch of a pod's occupancy with one request, whatever machine it claims
-- guarantee: the stretches [start_ms, end_ms) of one pod do not overlap
-- inputs: stg_pod_states, stg_watermarks
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_pods', ['cluster', 'pod_uid']) }}") }}
with states as (
    select
        states.*,
        -- What lies beyond the watermark has not been observed yet.
        greatest(
            least(
                coalesce(states.final_released_ms, watermarks.watermark_ms, states.final_bound_ms),
                coalesce(watermarks.watermark_ms, states.final_released_ms, states.final_bound_ms)
            ),
            states.final_bound_ms
        ) as occupied_to_ms
    from {{ ref('stg_pod_states') }} as states
    left join {{ ref('stg_watermarks') }} as watermarks on states.cluster = watermarks.cluster
),

spans as (
    select
        *,
        -- The first state holds since the pod was bound, each later one since it was observed.
        case
            when previous_observed_ms is null then final_bound_ms
            else least(greatest(observed_ms, final_bound_ms), occupied_to_ms)
        end as start_ms,
        case
            when next_observed_ms is null then occupied_to_ms
            else greatest(least(next_observed_ms, occupied_to_ms), final_bound_ms)
        end as end_ms
    from states
    where final_bound_ms is not null
)

select
    cluster,
    pod_uid,
    -- A pod is bound to its machine some time before anybody sees it.
    coalesce(machine, final_machine) as machine,
    namespace,
    start_ms,
    end_ms,
    -- A pod that never ran was starting all along; one whose containers have not finished still runs.
    least(greatest(coalesce(final_running_ms, occupied_to_ms), start_ms), end_ms) as running_ms,
    least(greatest(coalesce(final_finished_ms, occupied_to_ms), start_ms), end_ms) as finished_ms,
    coalesce(waiting_reason in ({{ stuck_reasons() }}), false) as is_stuck,
    cpu_request_millicores,
    memory_request_bytes,
    gpu_request_milligpus,
    billed_cpu_millicores,
    billed_memory_bytes
from spans
where end_ms > start_ms
