-- grain: one row per pod: the newest state, and what an engine said of it; nothing that a rule decides
-- guarantee: rebuilt when facts come, not when rules change
-- inputs: stg_pod_states, stg_pod_identities, stg_engine_outcomes
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_pods', ['cluster', 'pod_uid']) }}") }}
with daemons as (
    select distinct
        cluster,
        pod_uid
    from {{ ref('stg_pod_identities') }}
    where owner_kind_1 = 'DaemonSet' or top_owner_kind = 'DaemonSet'
)

select
    states.cluster,
    states.pod_uid,
    states.pod_name,
    states.namespace,
    states.machine,
    states.node_name,
    states.phase,
    coalesce(states.namespace = 'kube-system', false) or daemons.pod_uid is not null as is_system,
    outcomes.outcome as told_outcome,
    coalesce(outcomes.reason, states.end_reason) as end_reason,
    states.end_reason as pod_end_reason,
    states.exit_code,
    states.deletion_requested_ms,
    states.created_ms,
    states.bound_ms,
    coalesce(states.bound_ms, states.created_ms) as start_ms,
    states.running_ms,
    states.finished_ms,
    states.released_ms,
    states.start_source,
    states.end_source,
    states.end_earliest_ms,
    states.end_latest_ms,
    states.cpu_request_millicores,
    states.memory_request_bytes,
    states.gpu_request_milligpus,
    greatest(states.bound_ms - states.created_ms, cast(0 as bigint)) as queue_wait_ms,
    outcomes.started_ms as engine_started_ms,
    outcomes.finished_ms as engine_finished_ms,
    outcomes.cpu_request_millicore_ms as engine_cpu_request_millicore_ms,
    outcomes.memory_request_byte_ms as engine_memory_request_byte_ms
from {{ ref('stg_pod_states') }} as states
left join {{ ref('stg_engine_outcomes') }} as outcomes
    on states.cluster = outcomes.cluster and states.pod_uid = outcomes.pod_uid
left join daemons on states.cluster = daemons.cluster and states.pod_uid = daemons.pod_uid
where states.next_observed_ms is null
