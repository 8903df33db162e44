-- grain: one row per pod: what it was, who answers for it, when it held resources and how it ended
-- guarantee: what rules decide is joined here, so a changed rule writes none of the rest
-- inputs: int_pods, int_pod_names
{{ config(materialized='view') }}
select
    pods.cluster,
    pods.pod_uid,
    pods.pod_name,
    pods.namespace,
    pods.machine,
    pods.node_name,
    names.system,
    names.installation,
    names.pipeline,
    names.run,
    names.run_epoch,
    names.job,
    names.attempt,
    names.role,
    names.parent_uid,
    names.team,
    names.pod_class,
    names.outcome,
    names.attempt_outcome,
    pods.end_reason,
    pods.exit_code,
    pods.created_ms,
    pods.bound_ms,
    pods.running_ms,
    pods.finished_ms,
    pods.released_ms,
    pods.start_source,
    pods.end_source,
    pods.end_earliest_ms,
    pods.end_latest_ms,
    pods.cpu_request_millicores,
    pods.memory_request_bytes,
    pods.gpu_request_milligpus,
    pods.queue_wait_ms
from {{ touched('int_pods') }} as pods
inner join {{ touched('int_pod_names') }} as names on pods.cluster = names.cluster and pods.pod_uid = names.pod_uid
