-- grain: one row per change of a machine's capacity
-- guarantee: [valid_from_ms, valid_to_ms) of one machine do not overlap; the last is open (NULL)
-- inputs: lake.node_states
{{ config(materialized='table') }}
with facts as (
    select distinct
        cluster,
        machine,
        {{ ms('observed_at') }} as observed_ms,
        cpu_capacity_millicores,
        cpu_allocatable_millicores,
        memory_capacity_bytes,
        memory_allocatable_bytes,
        coalesce(gpu_capacity_milligpus, cast(0 as bigint)) as gpu_capacity_milligpus,
        coalesce(gpu_allocatable_milligpus, gpu_capacity_milligpus, cast(0 as bigint)) as gpu_allocatable_milligpus
    from {{ source('lake', 'node_states') }}
)

select
    cluster,
    machine,
    observed_ms,
    -- Nodes publish allocatable <= capacity; where a kubelet says otherwise nothing is reserved.
    cpu_capacity_millicores,
    least(cpu_allocatable_millicores, cpu_capacity_millicores) as cpu_allocatable_millicores,
    memory_capacity_bytes,
    least(memory_allocatable_bytes, memory_capacity_bytes) as memory_allocatable_bytes,
    gpu_capacity_milligpus,
    least(gpu_allocatable_milligpus, gpu_capacity_milligpus) as gpu_allocatable_milligpus,
    lead(observed_ms) over (
        partition by cluster, machine
        order by
            observed_ms asc nulls last,
            cpu_capacity_millicores asc nulls last,
            memory_capacity_bytes asc nulls last,
            gpu_capacity_milligpus asc nulls last,
            cpu_allocatable_millicores asc nulls last,
            memory_allocatable_bytes asc nulls last,
            gpu_allocatable_milligpus asc nulls last
    ) as next_observed_ms
from facts
