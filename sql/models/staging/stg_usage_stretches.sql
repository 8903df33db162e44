-- grain: one row per stretch of time within an hour in which a source measured a container, or the pod as a whole
-- guarantee: a repeated fact counts once, and no time of a container counts twice for a source: where stretches overlap, the
--     one that began first stands
-- inputs: lake.usage_hours
with facts as (
    select
        cluster,
        pod_uid,
        coalesce(container_name, '') as container_name,
        {{ ms('hour_start_at') }} as hour_start_ms,
        source,
        coalesce({{ ms('measured_from_at') }}, {{ ms('hour_start_at') }}) as from_ms,
        coalesce({{ ms('measured_to_at') }}, {{ ms('hour_start_at') }} + 3600000) as to_ms,
        cpu_usage_millicore_ms,
        case when cpu_usage_millicore_ms is not null then coalesce(cpu_measured_ms, cast(3600000 as bigint)) end as cpu_measured_ms,
        memory_usage_byte_ms,
        case when memory_usage_byte_ms is not null then coalesce(memory_measured_ms, cast(3600000 as bigint)) end as memory_measured_ms,
        memory_peak_bytes,
        samples,
        samples_expected,
        cpu_periods,
        cpu_throttled_periods,
        gpu_usage_milligpu_ms,
        gpu_measured_ms,
        gpu_memory_peak_bytes,
        heap_peak_bytes,
        heap_limit_bytes
    from {{ touched_facts('usage_hours') }}
),

-- Of two conflicting facts of one stretch the larger stands.
stretches as (
    select
        cluster,
        pod_uid,
        container_name,
        hour_start_ms,
        source,
        from_ms,
        max(to_ms) as to_ms,
        max(cpu_usage_millicore_ms) as cpu_usage_millicore_ms,
        max(cpu_measured_ms) as cpu_measured_ms,
        max(memory_usage_byte_ms) as memory_usage_byte_ms,
        max(memory_measured_ms) as memory_measured_ms,
        max(memory_peak_bytes) as memory_peak_bytes,
        max(samples) as samples,
        max(samples_expected) as samples_expected,
        max(cpu_periods) as cpu_periods,
        max(cpu_throttled_periods) as cpu_throttled_periods,
        max(gpu_usage_milligpu_ms) as gpu_usage_milligpu_ms,
        max(gpu_measured_ms) as gpu_measured_ms,
        max(gpu_memory_peak_bytes) as gpu_memory_peak_bytes,
        max(heap_peak_bytes) as heap_peak_bytes,
        max(heap_limit_bytes) as heap_limit_bytes
    from facts
    group by
        cluster,
        pod_uid,
        container_name,
        hour_start_ms,
        source,
        from_ms
),

followed as (
    select
        *,
        max(to_ms) over (
            partition by cluster, pod_uid, container_name, hour_start_ms, source
            order by from_ms asc nulls first rows between unbounded preceding and 1 preceding
        ) as told_to_ms
    from stretches
)

select
    cluster,
    pod_uid,
    container_name,
    hour_start_ms,
    source,
    from_ms,
    to_ms,
    cpu_usage_millicore_ms,
    cpu_measured_ms,
    memory_usage_byte_ms,
    memory_measured_ms,
    memory_peak_bytes,
    samples,
    samples_expected,
    cpu_periods,
    cpu_throttled_periods,
    gpu_usage_milligpu_ms,
    gpu_measured_ms,
    gpu_memory_peak_bytes,
    heap_peak_bytes,
    heap_limit_bytes
from followed
where told_to_ms is null or told_to_ms <= from_ms
