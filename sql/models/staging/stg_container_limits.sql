-- grain: one row per container of a pod, init containers included: what it may take at most
-- guarantee: order and repetition of facts change nothing; NULL where a container has no limit, or none was told
-- inputs: lake.container_requests
with facts as (
    select
        cluster,
        pod_uid,
        container_name,
        container_kind,
        {{ ms('observed_at') }} as observed_ms,
        coalesce(cpu_limit_millicores, cast(-1 as bigint)) as cpu_limit_millicores,
        coalesce(memory_limit_bytes, cast(-1 as bigint)) as memory_limit_bytes
    from {{ source('lake', 'container_requests') }}
)

select
    cluster,
    pod_uid,
    container_name,
    max_by(container_kind, (observed_ms, container_kind)) as container_kind,
    nullif(max_by(cpu_limit_millicores, (observed_ms, cpu_limit_millicores)), cast(-1 as bigint)) as cpu_limit_millicores,
    nullif(max_by(memory_limit_bytes, (observed_ms, memory_limit_bytes)), cast(-1 as bigint)) as memory_limit_bytes,
    -- A peak may be older than the limit that holds now.
    case when min(memory_limit_bytes) >= 0 then max(memory_limit_bytes) end as highest_memory_limit_bytes
from facts
group by
    cluster,
    pod_uid,
    container_name
