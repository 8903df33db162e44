-- grain: one row per machine and hour in which nobody watched its pods for some time: how long, and the capacity of that time
-- guarantee: no more than the machine's capacity of the hour; the time before its node registered and after its end, in
--     which nobody can hold it, is not counted
-- inputs: int_blind_hours, int_machine_lives, int_machine_shapes; only hours that this build computes
{{ config(materialized='view') }}
with stretches as (
    select
        lives.cluster,
        lives.machine,
        blind.hour_start_ms,
        lives.registered_ms,
        lives.first_workload_ms,
        lives.last_workload_ms,
        lives.is_ended,
        greatest(blind.from_ms, least(lives.registered_ms, lives.first_workload_ms)) as from_ms,
        least(blind.to_ms, lives.up_to_ms) as to_ms
    from {{ ref('int_blind_hours') }} as blind
    inner join {{ dirty_hours() }} as dirty
        on blind.cluster = dirty.cluster and blind.hour_start_ms = dirty.hour_start_ms
    inner join {{ ref('int_machine_lives') }} as lives
        on dirty.cluster = lives.cluster and dirty.machine = lives.machine
    where blind.is_blind
),

-- Shapes cover all time, so this cuts and loses nothing; a machine of unknown shape offers nothing.
pieces as (
    select
        stretches.cluster,
        stretches.machine,
        stretches.hour_start_ms,
        stretches.registered_ms,
        stretches.first_workload_ms,
        stretches.last_workload_ms,
        stretches.is_ended,
        greatest(stretches.from_ms, coalesce(shapes.from_ms, stretches.from_ms)) as from_ms,
        least(stretches.to_ms, coalesce(shapes.to_ms, stretches.to_ms)) as to_ms
{%- for resource, amount in [('cpu', 'millicores'), ('memory', 'bytes'), ('gpu', 'milligpus')] %},
        coalesce(shapes.{{ resource }}_capacity_{{ amount }}, cast(0 as bigint)) as {{ resource }}_capacity_{{ amount }},
        coalesce(shapes.{{ resource }}_reserved_{{ amount }}, cast(0 as bigint)) as {{ resource }}_reserved_{{ amount }}
{%- endfor %}
    from stretches
    left join {{ ref('int_machine_shapes') }} as shapes
        on stretches.cluster = shapes.cluster
        and stretches.machine = shapes.machine
        and stretches.from_ms < shapes.to_ms
        and stretches.to_ms > shapes.from_ms
    where stretches.from_ms < stretches.to_ms
)

select
    cluster,
    machine,
    hour_start_ms,
    cast(sum(to_ms - from_ms) as bigint) as unobserved_ms,
    cast(sum(greatest(least(to_ms, first_workload_ms) - from_ms, cast(0 as bigint))) as bigint) as startup_ms,
    cast(sum(case when is_ended then greatest(to_ms - greatest(from_ms, last_workload_ms), cast(0 as bigint)) else cast(0 as bigint) end) as bigint) as tail_ms
{%- for resource, amount, unit in [('cpu', 'millicores', 'millicore_ms'), ('memory', 'bytes', 'byte_ms'), ('gpu', 'milligpus', 'milligpu_ms')] %},
    cast(sum(cast({{ resource }}_capacity_{{ amount }} as decimal(19,0)) * cast(to_ms - from_ms as decimal(19,0))) as decimal(38,0)) as {{ resource }}_capacity_{{ unit }},
    cast(sum(cast({{ resource }}_reserved_{{ amount }} as decimal(19,0)) * cast({{ overlap('from_ms', 'to_ms', 'registered_ms', 'to_ms') }} as decimal(19,0))) as decimal(38,0)) as {{ resource }}_reserved_{{ unit }}
{%- endfor %}
from pieces
group by
    cluster,
    machine,
    hour_start_ms
