-- grain: one row per machine and hour: capacity and reservation, integrated over the hour, and how its time was spent
-- guarantee: boot + startup + busy + gap + tail = up time of the hour
-- inputs: int_machine_lives, stg_node_states, int_busy_hours; only hours that this build computes
{{ config(materialized='view') }}
with lives as (
    select
        *,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from {{ ref('int_machine_lives') }}
),

machine_hours as (
    select
        lives.*,
        greatest(lives.start_ms, lives.hour_start_ms) as from_ms,
        least(lives.end_ms, lives.hour_start_ms + 3600000) as to_ms
    from lives
    inner join {{ dirty_hours() }} as dirty
        on lives.cluster = dirty.cluster
        and lives.machine = dirty.machine
        and lives.hour_start_ms = dirty.hour_start_ms
),

shapes as (
    select
        cluster,
        machine,
        observed_ms as registered_ms,
        -- The shape that a machine registers with is what was paid for since its launch.
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
),

pieces as (
    select
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        shapes.registered_ms,
        shapes.cpu_capacity_millicores,
        shapes.cpu_reserved_millicores,
        shapes.memory_capacity_bytes,
        shapes.memory_reserved_bytes,
        shapes.gpu_capacity_milligpus,
        shapes.gpu_reserved_milligpus,
        {{ overlap('hours.from_ms', 'hours.to_ms', 'shapes.from_ms', 'shapes.to_ms') }} as shape_ms,
        {{ overlap('greatest(hours.from_ms, hours.registered_ms)', 'hours.to_ms', 'shapes.from_ms', 'shapes.to_ms') }} as reserved_ms
    from machine_hours as hours
    inner join shapes on hours.cluster = shapes.cluster and hours.machine = shapes.machine
    where shapes.from_ms < hours.to_ms and shapes.to_ms > hours.from_ms
),

capacities as (
    select
        cluster,
        machine,
        hour_start_ms,
        cast(sum(cpu_capacity_millicores * shape_ms) as bigint) as cpu_capacity_millicore_ms,
        cast(sum(cpu_reserved_millicores * reserved_ms) as bigint) as cpu_reserved_millicore_ms,
        sum(cast(memory_capacity_bytes as decimal(19,0)) * cast(shape_ms as decimal(19,0))) as memory_capacity_byte_ms,
        sum(cast(memory_reserved_bytes as decimal(19,0)) * cast(reserved_ms as decimal(19,0))) as memory_reserved_byte_ms,
        cast(sum(gpu_capacity_milligpus * shape_ms) as bigint) as gpu_capacity_milligpu_ms,
        cast(sum(gpu_reserved_milligpus * reserved_ms) as bigint) as gpu_reserved_milligpu_ms
    from pieces
    group by
        cluster,
        machine,
        hour_start_ms
),

timed as (
    select
        hours.*,
        coalesce(busy.busy_ms, cast(0 as bigint)) as busy_ms,
        {{ overlap('hours.from_ms', 'hours.to_ms', 'hours.start_ms', 'least(hours.registered_ms, hours.first_workload_ms)') }} as boot_ms,
        {{ overlap('hours.from_ms', 'hours.to_ms', 'least(hours.registered_ms, hours.first_workload_ms)', 'hours.first_workload_ms') }} as startup_ms,
        case
            when hours.is_ended
                then {{ overlap('hours.from_ms', 'hours.to_ms', 'hours.last_workload_ms', 'hours.end_ms') }}
            else cast(0 as bigint)
        end as tail_ms
    from machine_hours as hours
    left join {{ ref('int_busy_hours') }} as busy
        on hours.cluster = busy.cluster
        and hours.machine = busy.machine
        and hours.hour_start_ms = busy.hour_start_ms
)

select
    timed.cluster,
    timed.machine,
    timed.hour_start_ms,
    timed.to_ms - timed.from_ms as up_ms,
    timed.boot_ms,
    timed.startup_ms,
    timed.busy_ms,
    timed.to_ms - timed.from_ms - timed.boot_ms - timed.startup_ms - timed.busy_ms - timed.tail_ms as gap_ms,
    timed.tail_ms,
    coalesce(capacities.cpu_capacity_millicore_ms, cast(0 as bigint)) as cpu_capacity_millicore_ms,
    coalesce(capacities.cpu_reserved_millicore_ms, cast(0 as bigint)) as cpu_reserved_millicore_ms,
    coalesce(capacities.memory_capacity_byte_ms, cast(0 as decimal(38,0))) as memory_capacity_byte_ms,
    coalesce(capacities.memory_reserved_byte_ms, cast(0 as decimal(38,0))) as memory_reserved_byte_ms,
    coalesce(capacities.gpu_capacity_milligpu_ms, cast(0 as bigint)) as gpu_capacity_milligpu_ms,
    coalesce(capacities.gpu_reserved_milligpu_ms, cast(0 as bigint)) as gpu_reserved_milligpu_ms
from timed
left join capacities
    on timed.cluster = capacities.cluster
    and timed.machine = capacities.machine
    and timed.hour_start_ms = capacities.hour_start_ms
