-- grain: one row per container of a pod, and one for each pod as a whole (its name is empty): what it may have taken at most
-- guarantee: of memory no moment had a higher limit, of the CPU it is the newest; NULL where there was none (of memory at some moment), or none
--     was told
-- inputs: stg_containers
{{ config(materialized='view') }}
with kinds as (
    select
        cluster,
        pod_uid,
        container_kind,
        cast(count(*) as bigint) as containers,
        cast(count(cpu_limit_millicores) as bigint) as with_cpu,
        cast(count(highest_memory_limit_bytes) as bigint) as with_memory,
        -- Init containers run one after the other, all others beside each other.
        cast(case when container_kind = 'init' then max(cpu_limit_millicores) else sum(cpu_limit_millicores) end as bigint) as cpu_limit_millicores,
        cast(case when container_kind = 'init' then max(highest_memory_limit_bytes) else sum(highest_memory_limit_bytes) end as bigint) as memory_limit_bytes
    from {{ ref('stg_containers') }}
    group by
        cluster,
        pod_uid,
        container_kind
),

wholes as (
    select
        cluster,
        pod_uid,
        cast(sum(containers) as bigint) as containers,
        cast(sum(with_cpu) as bigint) as with_cpu,
        cast(sum(with_memory) as bigint) as with_memory,
        greatest(
            coalesce(max(case when container_kind = 'container' then cpu_limit_millicores end), cast(0 as bigint)),
            coalesce(max(case when container_kind = 'init' then cpu_limit_millicores end), cast(0 as bigint))
        ) + coalesce(max(case when container_kind = 'sidecar' then cpu_limit_millicores end), cast(0 as bigint)) as cpu_limit_millicores,
        greatest(
            coalesce(max(case when container_kind = 'container' then memory_limit_bytes end), cast(0 as bigint)),
            coalesce(max(case when container_kind = 'init' then memory_limit_bytes end), cast(0 as bigint))
        ) + coalesce(max(case when container_kind = 'sidecar' then memory_limit_bytes end), cast(0 as bigint)) as memory_limit_bytes
    from kinds
    group by
        cluster,
        pod_uid
)

select
    cluster,
    pod_uid,
    container_name,
    cpu_limit_millicores,
    highest_memory_limit_bytes as memory_limit_bytes
from {{ ref('stg_containers') }}
union all
select
    cluster,
    pod_uid,
    '' as container_name,
    case when containers = with_cpu then cpu_limit_millicores end as cpu_limit_millicores,
    case when containers = with_memory then memory_limit_bytes end as memory_limit_bytes
from wholes
