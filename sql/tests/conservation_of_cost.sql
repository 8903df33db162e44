-- guards: in every machine-hour the rows of all consumers add up to the hour's price times its time, to the nano-dollar
with allocated as (
    select
        cluster,
        machine,
        hour_start_ms,
        sum(cpu_nano) as cpu_nano,
        sum(memory_nano) as memory_nano,
        sum(gpu_nano) as gpu_nano
    from {{ touched('machine_pod_hours') }}
    group by
        cluster,
        machine,
        hour_start_ms
)

select
    hours.cluster,
    hours.machine,
    hours.hour_start_ms,
    hours.cost_nano,
    allocated.cpu_nano + allocated.memory_nano + allocated.gpu_nano as allocated_nano
from {{ touched('int_machine_hours') }} as hours
left join allocated
    on hours.cluster = allocated.cluster
    and hours.machine = allocated.machine
    and hours.hour_start_ms = allocated.hour_start_ms
where
    coalesce(hours.cost_nano, cast(-1 as bigint))
    <> coalesce(allocated.cpu_nano + allocated.memory_nano + allocated.gpu_nano, case when hours.cost_nano = 0 then 0 else -1 end)
