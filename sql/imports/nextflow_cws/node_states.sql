-- The trace tells what is allocatable; the capacity is that of the instance type that is paid for.
select
    getvariable('cluster') as cluster,
    node as machine,
    make_timestamp(bounds.start_ms * 1000) as observed_at,
    greatest(cast(allocatable_cpu_cores * 1000 as bigint), getvariable('shape_millicores')) as cpu_capacity_millicores,
    cast(allocatable_cpu_cores * 1000 as bigint) as cpu_allocatable_millicores,
    greatest(allocatable_memory_bytes, getvariable('shape_bytes')) as memory_capacity_bytes,
    allocatable_memory_bytes as memory_allocatable_bytes
from trace_nodes, bounds
order by machine
