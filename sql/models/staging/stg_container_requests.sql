-- grain: one row per regular or sidecar container of a pod: its newest request
-- guarantee: order and repetition of facts change nothing; init containers hold nothing of their own
-- inputs: lake.container_requests
with facts as (
    select
        cluster,
        pod_uid,
        container_name,
        {{ ms('observed_at') }} as observed_ms,
        coalesce(image, '') as image,
        cpu_request_millicores,
        memory_request_bytes,
        coalesce(gpu_request_milligpus, cast(0 as bigint)) as gpu_request_milligpus
    from {{ source('lake', 'container_requests') }}
    where container_kind <> 'init'
)

select
    cluster,
    pod_uid,
    container_name,
    nullif(max_by(image, (observed_ms, image)), '') as image,
    max_by(cpu_request_millicores, (observed_ms, cpu_request_millicores)) as cpu_request_millicores,
    max_by(memory_request_bytes, (observed_ms, memory_request_bytes)) as memory_request_bytes,
    max_by(gpu_request_milligpus, (observed_ms, gpu_request_milligpus)) as gpu_request_milligpus
from facts
group by
    cluster,
    pod_uid,
    container_name
