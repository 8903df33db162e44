-- grain: one row per pod of an attempt
-- guarantee: occupancy with the sources of its ends and the bounds they must lie in
-- inputs: pods, int_pod_costs
{{ config(materialized='view') }}
select
    pods.cluster,
    pods.team,
    pods.system,
    pods.installation,
    pods.pipeline,
    pods.run,
    pods.run_epoch,
    pods.job,
    pods.attempt,
    pods.pod_uid,
    pods.pod_name,
    pods.namespace,
    pods.machine,
    pods.node_name,
    {{ at('pods.created_ms') }} as created_at,
    {{ at('pods.bound_ms') }} as scheduled_at,
    {{ at('pods.running_ms') }} as started_at,
    {{ at('pods.finished_ms') }} as finished_at,
    {{ at('pods.released_ms') }} as released_at,
    pods.start_source,
    pods.end_source,
    {{ at('pods.end_earliest_ms') }} as end_earliest_at,
    {{ at('pods.end_latest_ms') }} as end_latest_at,
    pods.queue_wait_ms,
    pods.cpu_request_millicores,
    pods.memory_request_bytes,
    pods.gpu_request_milligpus,
    pods.exit_code,
    pods.outcome,
    pods.end_reason,
    {{ usd('costs.cost_nano') }} as cost,
    {{ usd(wasted('pods', 'costs')) }} as wasted_cost
from {{ ref('pods') }} as pods
left join {{ ref('int_pod_costs') }} as costs on pods.cluster = costs.cluster and pods.pod_uid = costs.pod_uid
where pods.pod_class = 'workload'
