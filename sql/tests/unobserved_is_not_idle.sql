-- guards: an hour in which nobody watched has nothing idle, one that was watched throughout nothing unobserved, and the
--     kinds of time of an hour add up to it
with kinds as (
    select
        cluster,
        machine,
        hour_start_ms,
        max(case when consumer_kind = 'idle' then 1 else 0 end) as has_idle,
        max(case when consumer_kind = 'unobserved' then 1 else 0 end) as has_unobserved
    from {{ touched('machine_pod_hours') }}
    group by
        cluster,
        machine,
        hour_start_ms
)

select hours.*
from {{ touched('int_machine_hours') }} as hours
inner join kinds
    on hours.cluster = kinds.cluster
    and hours.machine = kinds.machine
    and hours.hour_start_ms = kinds.hour_start_ms
where
    (hours.unobserved_ms = hours.up_ms and kinds.has_idle = 1)
    or (hours.unobserved_ms = 0 and kinds.has_unobserved = 1)
    or hours.boot_ms + hours.startup_ms + hours.busy_ms + hours.gap_ms + hours.tail_ms + hours.unobserved_ms <> hours.up_ms
    or least(hours.boot_ms, hours.startup_ms, hours.busy_ms, hours.gap_ms, hours.tail_ms, hours.unobserved_ms) < 0
