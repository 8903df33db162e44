-- grain: one row per container of a pod, init containers and sidecars too: its newest request
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
    -- The ceiling that the kernel enforces; NULL where none is known, and then the request stands for it.
    nullif(max_by(memory_limit_bytes, (observed_ms, memory_limit_bytes)), cast(-1 as bigint)) as memory_limit_bytes
from facts
group by
    cluster,
    pod_uid,
    container_name
