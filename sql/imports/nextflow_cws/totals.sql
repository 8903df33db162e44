-- Pods, and core-milliseconds asked for: while containers ran, and while pods held their machines.
select
    count(*) as pods,
    count(*) filter (where node is null) as without_node,
    count(*) filter (where start_source = 'scheduler_log') as by_log,
    cast(sum(cpu_request_cores * (complete_ms - start_ms)) as bigint) as container_core_ms,
    cast(sum(cpu_request_cores * (end_ms - bound_ms)) as bigint) as occupied_core_ms
from occupied
