-- grain: one row per workload pod that broke because memory ran out and whose container is known that was killed for it
-- guarantee: of several containers that were killed, the one with the highest limit
-- inputs: int_broken_pods, stg_container_ooms, stg_containers
{{ config(materialized='view') }}
with killed as (
    select
        broken.cluster,
        broken.pod_uid,
        ends.container_name,
        coalesce(limits.memory_limit_bytes, cast(-1 as bigint)) as memory_limit_bytes
    from {{ ref('int_broken_pods') }} as broken
    inner join {{ ref('stg_container_ooms') }} as ends
        on broken.cluster = ends.cluster and broken.pod_uid = ends.pod_uid
    left join {{ ref('stg_containers') }} as limits
        on ends.cluster = limits.cluster
        and ends.pod_uid = limits.pod_uid
        and ends.container_name = limits.container_name
    where broken.cause = 'out_of_memory'
)

select
    cluster,
    pod_uid,
    max_by(container_name, (memory_limit_bytes, container_name)) as container_name,
    nullif(max(memory_limit_bytes), cast(-1 as bigint)) as memory_limit_bytes
from killed
group by
    cluster,
    pod_uid
