-- guards: each machine's hours cover its life, and no row stands outside of it
with rows_of as (
    select distinct
        cluster,
        machine,
        hour_start_ms
    from {{ touched('machine_pod_hours') }}
)

select
    rows_of.cluster,
    rows_of.machine,
    rows_of.hour_start_ms
from rows_of
left join {{ ref('int_machine_lives') }} as lives
    on rows_of.cluster = lives.cluster and rows_of.machine = lives.machine
where
    lives.machine is null
    or rows_of.hour_start_ms + 3600000 <= lives.start_ms
    or rows_of.hour_start_ms >= lives.end_ms
