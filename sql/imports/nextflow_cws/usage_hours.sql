-- What Nextflow measured inside the container: average CPU over the real time, and the peak of resident memory, which
-- bounds the average from above. Both are spread evenly over the hours from the container's start to its end.
with metered as (
    select
        *,
        cast(round(cpu_pct * 10) as bigint) * realtime_ms as cpu_millicore_ms,
        greatest(complete_ms, start_ms + 1) as to_ms
    from occupied
    where cpu_pct is not null and peak_rss_bytes is not null
),

hours as (
    select
        *,
        unnest(range(start_ms - start_ms % 3600000, to_ms, 3600000)) as hour_ms
    from metered
)

select
    getvariable('cluster') as cluster,
    pod_uid,
    make_timestamp(hour_ms * 1000) as hour_start_at,
    'engine' as source,
    cast(
        cpu_millicore_ms::hugeint * (least(to_ms, hour_ms + 3600000) - start_ms) // (to_ms - start_ms)
        - cpu_millicore_ms::hugeint * greatest(hour_ms - start_ms, 0) // (to_ms - start_ms)
        as bigint
    ) as cpu_usage_millicore_ms,
    cast(
        peak_rss_bytes::hugeint * (least(complete_ms, hour_ms + 3600000) - greatest(start_ms, hour_ms))
        as decimal(38, 0)
    ) as memory_usage_byte_ms,
    peak_rss_bytes as memory_peak_bytes
from hours
order by file_row_number, hour_ms
