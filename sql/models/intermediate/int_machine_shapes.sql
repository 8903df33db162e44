-- grain: one row per machine and stretch of time in which it offers the same capacity
-- guarantee: the stretches [from_ms, to_ms) of a machine cover all time: the shape that it registers with is what was paid
--     for since its launch
-- inputs: stg_node_states
{{ config(materialized='view') }}
select
    cluster,
    machine,
    case
        when row_number() over (
            partition by cluster, machine order by observed_ms asc nulls last, next_observed_ms asc nulls last
        ) = 1 then cast(-9000000000000000 as bigint)
        else observed_ms
    end as from_ms,
    coalesce(next_observed_ms, cast(9000000000000000 as bigint)) as to_ms,
    cpu_capacity_millicores,
    cpu_capacity_millicores - cpu_allocatable_millicores as cpu_reserved_millicores,
    memory_capacity_bytes,
    memory_capacity_bytes - memory_allocatable_bytes as memory_reserved_bytes,
    gpu_capacity_milligpus,
    gpu_capacity_milligpus - gpu_allocatable_milligpus as gpu_reserved_milligpus
from {{ ref('stg_node_states') }}
