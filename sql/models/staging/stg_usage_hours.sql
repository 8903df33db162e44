-- grain: one row per pod and hour: what it used, by the most trusted source that measured it
-- guarantee: a repeated fact counts once
-- inputs: lake.usage_hours
with facts as (
    select
        cluster,
        pod_uid,
        {{ ms('hour_start_at') }} as hour_start_ms,
        source,
        -- A kubelet measures what the kernel charges; an engine reports what it saw from inside.
        cast(case source
            when 'kubelet' then 1
            when 'prometheus' then 2
            when 'metrics_api' then 3
            when 'engine' then 4
            else 5
        end as bigint) as distrust,
        cpu_usage_millicore_ms,
        memory_usage_byte_ms
    from {{ source('lake', 'usage_hours') }}
)

select
    cluster,
    pod_uid,
    hour_start_ms,
    -- Within the most trusted source the larger of two conflicting facts stands.
    max_by(cpu_usage_millicore_ms, (0 - distrust, cpu_usage_millicore_ms)) filter (
        where cpu_usage_millicore_ms is not null
    ) as cpu_usage_millicore_ms,
    max_by(memory_usage_byte_ms, (0 - distrust, memory_usage_byte_ms)) filter (
        where memory_usage_byte_ms is not null
    ) as memory_usage_byte_ms
from facts
group by
    cluster,
    pod_uid,
    hour_start_ms
