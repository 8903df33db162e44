-- grain: one row per container of a workload pod; of pods that live for more than 24 hours, per container and day (UTC)
-- guarantee: by the most trusted source that measured the pod; a container that nobody measured has a row without amounts
-- inputs: pods, stg_watermarks, stg_containers, stg_container_ooms, stg_usage_stretches, int_usage_rates
{{ config(materialized='view') }}
{%- set sources = var('usage_sources') %}
{%- set key = ['cluster', 'pod_uid', 'container_name', 'day_start_ms'] %}
with begun as (
    select
        pods.*,
        coalesce(pods.running_ms, pods.bound_ms, pods.created_ms) as begun_ms,
        coalesce(pods.finished_ms, pods.released_ms) as over_ms,
        greatest(
            coalesce(pods.finished_ms, pods.released_ms, watermarks.watermark_ms),
            coalesce(pods.running_ms, pods.bound_ms, pods.created_ms)
        ) as until_ms
    from {{ ref('pods') }} as pods
    left join {{ ref('stg_watermarks') }} as watermarks on pods.cluster = watermarks.cluster
    where pods.pod_class = 'workload'
),

-- What still runs is told until it was last observed.
pod_days as (
    select
        *,
        until_ms - begun_ms <= 86400000 as is_short
    from begun
),

containers as (
    select
        *,
        cast(sum(case when container_kind = 'init' then 0 else 1 end) over (partition by cluster, pod_uid) as bigint) as beside_init
    from {{ ref('stg_containers') }}
),

ranked as (
    select
        cluster,
        pod_uid,
        min(case source{% for source in sources %} when '{{ source }}' then {{ loop.index }}{% endfor %} end) as best
    from {{ ref('stg_usage_stretches') }}
    group by
        cluster,
        pod_uid
),

-- Who was measured as a whole and has one container is that container.
stretches as (
    select
        usage.cluster,
        usage.pod_uid,
        containers.container_name,
        case when pod_days.is_short then cast(0 as bigint) else usage.hour_start_ms - usage.hour_start_ms % 86400000 end as day_start_ms,
        usage.container_name as measured_name,
        usage.source,
        usage.hour_start_ms,
        usage.from_ms,
        usage.cpu_usage_millicore_ms,
        usage.cpu_measured_ms,
        usage.memory_peak_bytes,
        usage.cpu_periods,
        usage.cpu_throttled_periods
    from {{ ref('stg_usage_stretches') }} as usage
    inner join ranked
        on usage.cluster = ranked.cluster
        and usage.pod_uid = ranked.pod_uid
        and case usage.source{% for source in sources %} when '{{ source }}' then {{ loop.index }}{% endfor %} end = ranked.best
    inner join pod_days on usage.cluster = pod_days.cluster and usage.pod_uid = pod_days.pod_uid
    inner join containers
        on usage.cluster = containers.cluster
        and usage.pod_uid = containers.pod_uid
        and (
            usage.container_name = containers.container_name
            or (usage.container_name = '' and containers.container_kind <> 'init' and containers.beside_init = 1)
        )
),

rates as (
    select
        stretches.cluster,
        stretches.pod_uid,
        stretches.container_name,
        stretches.day_start_ms,
        rates.millicores,
        cast(sum(rates.ms) as bigint) as ms
    from {{ ref('int_usage_rates') }} as rates
    inner join stretches
        on stretches.cluster = rates.cluster
        and stretches.pod_uid = rates.pod_uid
        and coalesce(nullif(stretches.measured_name, ''), '(pod)') = rates.container_name
        and stretches.source = rates.source
        and stretches.hour_start_ms = rates.hour_start_ms
        and stretches.from_ms = rates.from_ms
    group by
{%- for column in key %}
        stretches.{{ column }},
{%- endfor %}
        rates.millicores
),

passed as (
    select
        *,
        cast(sum(ms) over (
            partition by {{ key | join(', ') }}
            order by millicores asc nulls first rows between unbounded preceding and current row
        ) as bigint) as passed_ms,
        cast(sum(ms) over (partition by {{ key | join(', ') }}) as bigint) as all_ms
    from rates
),

percentiles as (
    select
{%- for column in key %}
        {{ column }},
{%- endfor %}
        min(case when passed_ms * 100 >= all_ms * 50 then millicores end) as cpu_p50_millicores,
        min(case when passed_ms * 100 >= all_ms * 90 then millicores end) as cpu_p90_millicores,
        min(case when passed_ms * 100 >= all_ms * 95 then millicores end) as cpu_p95_millicores,
        max(millicores) as cpu_max_millicores
    from passed
    group by
        {{ key | join(',\n        ') }}
),

sums as (
    select
{%- for column in key %}
        {{ column }},
{%- endfor %}
        source,
        cast(sum(cpu_usage_millicore_ms) as bigint) as cpu_usage_millicore_ms,
        cast(sum(cpu_measured_ms) as bigint) as cpu_measured_ms,
        max(memory_peak_bytes) as memory_peak_bytes,
        cast(sum(cpu_periods) as bigint) as cpu_periods,
        cast(sum(cpu_throttled_periods) as bigint) as cpu_throttled_periods
    from stretches
    group by
        {{ key | join(',\n        ') }},
        source
),

-- Engines alone tell of heaps, whoever measured the container.
heaps as (
    select
        usage.cluster,
        usage.pod_uid,
        usage.container_name,
        case when pod_days.is_short then cast(0 as bigint) else usage.hour_start_ms - usage.hour_start_ms % 86400000 end as day_start_ms,
        max(usage.heap_peak_bytes) as heap_peak_bytes,
        max(usage.heap_limit_bytes) as heap_limit_bytes
    from {{ ref('stg_usage_stretches') }} as usage
    inner join pod_days on usage.cluster = pod_days.cluster and usage.pod_uid = pod_days.pod_uid
    where usage.heap_peak_bytes is not null
    group by
        usage.cluster,
        usage.pod_uid,
        usage.container_name,
        case when pod_days.is_short then cast(0 as bigint) else usage.hour_start_ms - usage.hour_start_ms % 86400000 end
),

-- A container is killed on one day.
ooms as (
    select
        pod_days.cluster,
        pod_days.pod_uid,
        ends.container_name,
        case when pod_days.is_short then cast(0 as bigint) else ends.ended_ms - ends.ended_ms % 86400000 end as day_start_ms,
        count(*) as oom_kills
    from {{ ref('stg_container_ooms') }} as ends
    inner join pod_days on ends.cluster = pod_days.cluster and ends.pod_uid = pod_days.pod_uid
    group by
        pod_days.cluster,
        pod_days.pod_uid,
        ends.container_name,
        case when pod_days.is_short then cast(0 as bigint) else ends.ended_ms - ends.ended_ms % 86400000 end
),

days as (
    select
        {{ key | join(',\n        ') }}
    from sums
    union
    select
        {{ key | join(',\n        ') }}
    from ooms
)

select
    pod_days.cluster,
    pod_days.team,
    pod_days.system,
    pod_days.installation,
    pod_days.namespace,
    pod_days.pipeline,
    pod_days.run,
    pod_days.run_epoch,
    pod_days.job,
    pod_days.attempt,
    pod_days.pod_uid,
    pod_days.pod_name,
    containers.container_name,
    containers.container_kind,
    containers.image,
    -- How many containers share the pod, init containers apart.
    containers.beside_init as pod_containers,
    sums.source,
    {{ at('case when days.day_start_ms > pod_days.begun_ms then days.day_start_ms else pod_days.begun_ms end') }} as started_at,
    {{ at('case
        when days.day_start_ms > 0 and days.day_start_ms + 86400000 < pod_days.until_ms then days.day_start_ms + 86400000
        else pod_days.over_ms
    end') }} as ended_at,
    -- Whether the row is a day of a pod that lives longer.
    coalesce(days.day_start_ms > 0, false) as is_day,
    containers.cpu_request_millicores,
    containers.memory_request_bytes,
    containers.memory_limit_bytes,
    sums.cpu_usage_millicore_ms,
    -- A stretch is told in whole hours where nobody says how much of it was measured: no longer than the container ran.
    case
        when pod_days.is_short and sums.cpu_measured_ms is not null then least(sums.cpu_measured_ms, pod_days.until_ms - pod_days.begun_ms)
        else sums.cpu_measured_ms
    end as cpu_measured_ms,
    percentiles.cpu_p50_millicores,
    percentiles.cpu_p90_millicores,
    percentiles.cpu_p95_millicores,
    percentiles.cpu_max_millicores,
    sums.cpu_periods,
    sums.cpu_throttled_periods,
    sums.memory_peak_bytes,
    heaps.heap_peak_bytes,
    heaps.heap_limit_bytes,
    coalesce(ooms.oom_kills, cast(0 as bigint)) as oom_kills,
    pod_days.outcome
from containers
inner join pod_days on containers.cluster = pod_days.cluster and containers.pod_uid = pod_days.pod_uid
left join days
    on containers.cluster = days.cluster
    and containers.pod_uid = days.pod_uid
    and containers.container_name = days.container_name
left join sums
    on days.cluster = sums.cluster
    and days.pod_uid = sums.pod_uid
    and days.container_name = sums.container_name
    and days.day_start_ms = sums.day_start_ms
left join percentiles
    on sums.cluster = percentiles.cluster
    and sums.pod_uid = percentiles.pod_uid
    and sums.container_name = percentiles.container_name
    and sums.day_start_ms = percentiles.day_start_ms
left join ooms
    on days.cluster = ooms.cluster
    and days.pod_uid = ooms.pod_uid
    and days.container_name = ooms.container_name
    and days.day_start_ms = ooms.day_start_ms
left join heaps
    on days.cluster = heaps.cluster
    and days.pod_uid = heaps.pod_uid
    and days.container_name = heaps.container_name
    and days.day_start_ms = heaps.day_start_ms
