-- grain: one row per machine: its life and when its first and last workload held it
-- guarantee: start <= registered <= first workload <= last workload <= end, where there is a workload
-- inputs: int_machines, int_busy_hours
with workloads as (
    select
        cluster,
        machine,
        min(first_workload_ms) as first_workload_ms,
        max(last_workload_ms) as last_workload_ms
    from {{ ref('int_busy_hours') }}
    group by
        cluster,
        machine
)

select
    machines.*,
    coalesce(workloads.first_workload_ms, machines.end_ms) as first_workload_ms,
    coalesce(workloads.last_workload_ms, machines.end_ms) as last_workload_ms
from {{ ref('int_machines') }} as machines
left join workloads on machines.cluster = workloads.cluster and machines.machine = workloads.machine
