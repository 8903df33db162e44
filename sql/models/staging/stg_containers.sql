-- grain: one row per container of a pod, init containers and sidecars too: its newest request, and what it may take at most
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.container_requests
{{ config(materialized='view') }}
with facts as (
    select
        cluster,
        pod_uid,
        container_name,
        {{ ms('observed_at') }} as observed_ms,
        container_kind,
        coalesce(image, '') as image,
        cpu_request_millicores,
        memory_request_bytes,
        coalesce(gpu_request_milligpus, cast(0 as bigint)) as gpu_request_milligpus,
        coalesce(cpu_limit_millicores, cast(-1 as bigint)) as cpu_limit_millicores,
        coalesce(memory_limit_bytes, cast(-1 as bigint)) as memory_limit_bytes
    from {{ source('lake', 'container_requests') }}
)

select
    cluster,
    pod_uid,
    container_name,
    max_by(container_kind, (observed_ms, container_kind)) as container_kind,
    nullif(max_by(image, (observed_ms, image)), '') as image,
    max_by(cpu_request_millicores, (observed_ms, cpu_request_millicores)) as cpu_request_millicores,
    max_by(memory_request_bytes, (observed_ms, memory_request_bytes)) as memory_request_bytes,
    max_by(gpu_request_milligpus, (observed_ms, gpu_request_milligpus)) as gpu_request_milligpus,
    nullif(max_by(cpu_limit_millicores, (observed_ms, cpu_limit_millicores)), cast(-1 as bigint)) as cpu_limit_millicores,
    -- The ceiling that the kernel enforces; NULL where none is known, and then the request stands for it.
    nullif(max_by(memory_limit_bytes, (observed_ms, memory_limit_bytes)), cast(-1 as bigint)) as memory_limit_bytes,
    -- A peak may be older than the limit that holds now.
    case when min(memory_limit_bytes) >= 0 then max(memory_limit_bytes) end as highest_memory_limit_bytes
from facts
group by
    cluster,
    pod_uid,
    container_name
