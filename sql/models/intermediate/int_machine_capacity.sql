-- grain: one row per machine and hour: capacity and reservation, integrated over the hour, and how its time was spent
-- guarantee: boot + startup + busy + gap + tail + unobserved = up time of the hour; of a moment in which nobody watched pods
--     nothing else is said
-- inputs: int_machine_lives, int_machine_shapes, int_busy_hours, int_blind_capacity; only hours that this build computes
{{ config(materialized='view') }}
{%- set resources = [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
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

pieces as (
    select
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        shapes.cpu_capacity_millicores,
        shapes.cpu_reserved_millicores,
        shapes.memory_capacity_bytes,
        shapes.memory_reserved_bytes,
        shapes.gpu_capacity_milligpus,
        shapes.gpu_reserved_milligpus,
        {{ overlap('hours.from_ms', 'hours.to_ms', 'shapes.from_ms', 'shapes.to_ms') }} as shape_ms,
        {{ overlap('greatest(hours.from_ms, hours.registered_ms)', 'hours.to_ms', 'shapes.from_ms', 'shapes.to_ms') }} as reserved_ms
    from machine_hours as hours
    inner join {{ ref('int_machine_shapes') }} as shapes
        on hours.cluster = shapes.cluster and hours.machine = shapes.machine
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
        {{ overlap('hours.from_ms', 'hours.to_ms', 'least(hours.registered_ms, hours.first_workload_ms)', 'hours.first_workload_ms') }}
        - coalesce(blind.startup_ms, cast(0 as bigint)) as startup_ms,
        case
            when hours.is_ended
                then {{ overlap('hours.from_ms', 'hours.to_ms', 'hours.last_workload_ms', 'hours.end_ms') }}
            else cast(0 as bigint)
        end - coalesce(blind.tail_ms, cast(0 as bigint)) as tail_ms,
        coalesce(blind.unobserved_ms, cast(0 as bigint)) as unobserved_ms
{%- for resource, unit in resources %},
        coalesce(blind.{{ resource }}_capacity_{{ unit }}, cast(0 as decimal(38,0))) as {{ resource }}_blind_capacity_{{ unit }},
        coalesce(blind.{{ resource }}_reserved_{{ unit }}, cast(0 as decimal(38,0))) as {{ resource }}_blind_reserved_{{ unit }}
{%- endfor %}
    from machine_hours as hours
    left join {{ ref('int_busy_hours') }} as busy
        on hours.cluster = busy.cluster
        and hours.machine = busy.machine
        and hours.hour_start_ms = busy.hour_start_ms
    left join {{ ref('int_blind_capacity') }} as blind
        on hours.cluster = blind.cluster
        and hours.machine = blind.machine
        and hours.hour_start_ms = blind.hour_start_ms
)

select
    timed.cluster,
    timed.machine,
    timed.hour_start_ms,
    timed.to_ms - timed.from_ms as up_ms,
    timed.boot_ms,
    timed.startup_ms,
    timed.busy_ms,
    timed.to_ms - timed.from_ms - timed.boot_ms - timed.startup_ms - timed.busy_ms - timed.tail_ms - timed.unobserved_ms as gap_ms,
    timed.tail_ms,
    timed.unobserved_ms,
{%- for resource, unit in resources %}
    timed.{{ resource }}_blind_capacity_{{ unit }},
    timed.{{ resource }}_blind_reserved_{{ unit }},
{%- endfor %}
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
