-- grain: one row per attempt and container that was measured, by the most trusted source that did
-- guarantee: the containers of an attempt's pods add up; percentiles are of all their time together, and off by one percent of
--     their value at most
-- inputs: stg_usage_stretches, int_usage_rates, int_container_limits, pods
{{ config(materialized='view') }}
{%- set sources = var('usage_sources') %}
{%- set attempt = ['cluster', 'team', 'system', 'installation', 'pipeline', 'run', 'run_epoch', 'job', 'attempt'] %}
with ranked as (
    select
        cluster,
        pod_uid,
        min(case source{% for source in sources %} when '{{ source }}' then {{ loop.index }}{% endfor %} end) as best
    from {{ ref('stg_usage_stretches') }}
    group by
        cluster,
        pod_uid
),

stretches as (
    select
{%- for column in attempt %}
        pods.{{ column }},
{%- endfor %}
        coalesce(nullif(usage.container_name, ''), '(pod)') as container_name,
        usage.source,
        usage.pod_uid,
        usage.hour_start_ms,
        usage.from_ms,
        usage.cpu_usage_millicore_ms,
        usage.cpu_measured_ms,
        usage.memory_usage_byte_ms,
        usage.memory_measured_ms,
        usage.memory_peak_bytes,
        usage.samples,
        usage.samples_expected,
        usage.cpu_periods,
        usage.cpu_throttled_periods,
        usage.gpu_usage_milligpu_ms,
        usage.gpu_measured_ms,
        usage.gpu_memory_peak_bytes,
        limits.cpu_limit_millicores,
        limits.memory_limit_bytes
    from {{ ref('stg_usage_stretches') }} as usage
    inner join ranked
        on usage.cluster = ranked.cluster
        and usage.pod_uid = ranked.pod_uid
        and case usage.source{% for source in sources %} when '{{ source }}' then {{ loop.index }}{% endfor %} end = ranked.best
    inner join {{ ref('pods') }} as pods on usage.cluster = pods.cluster and usage.pod_uid = pods.pod_uid
    left join {{ ref('int_container_limits') }} as limits
        on usage.cluster = limits.cluster
        and usage.pod_uid = limits.pod_uid
        and coalesce(usage.container_name, '') = limits.container_name
    where pods.pod_class = 'workload'
),

rates as (
    select
{%- for column in attempt %}
        stretches.{{ column }},
{%- endfor %}
        stretches.container_name,
        stretches.source,
        rates.millicores,
        cast(sum(rates.ms) as bigint) as ms
    from stretches
    inner join {{ ref('int_usage_rates') }} as rates
        on stretches.cluster = rates.cluster
        and stretches.pod_uid = rates.pod_uid
        and stretches.container_name = rates.container_name
        and stretches.source = rates.source
        and stretches.hour_start_ms = rates.hour_start_ms
        and stretches.from_ms = rates.from_ms
    group by
{%- for column in attempt %}
        stretches.{{ column }},
{%- endfor %}
        stretches.container_name,
        stretches.source,
        rates.millicores
),

passed as (
    select
        *,
        cast(sum(ms) over (
            partition by {{ attempt | join(', ') }}, container_name, source
            order by millicores asc nulls first rows between unbounded preceding and current row
        ) as bigint) as passed_ms,
        cast(sum(ms) over (partition by {{ attempt | join(', ') }}, container_name, source) as bigint) as all_ms
    from rates
),

percentiles as (
    select
{%- for column in attempt %}
        {{ column }},
{%- endfor %}
        container_name,
        source,
        min(case when passed_ms * 100 >= all_ms * 50 then millicores end) as cpu_p50_millicores,
        min(case when passed_ms * 100 >= all_ms * 95 then millicores end) as cpu_p95_millicores,
        max(millicores) as cpu_max_millicores
    from passed
    group by
{%- for column in attempt %}
        {{ column }},
{%- endfor %}
        container_name,
        source
),

sums as (
    select
{%- for column in attempt %}
        {{ column }},
{%- endfor %}
        container_name,
        source,
        cast(sum(cast(cpu_usage_millicore_ms as decimal(38,0))) as decimal(38,0)) as cpu_usage_millicore_ms,
        cast(sum(cpu_measured_ms) as bigint) as cpu_measured_ms,
        cast(sum(memory_usage_byte_ms) as decimal(38,0)) as memory_usage_byte_ms,
        cast(sum(memory_measured_ms) as bigint) as memory_measured_ms,
        max(memory_peak_bytes) as memory_peak_bytes,
        case when count(*) = count(memory_limit_bytes) then max(memory_limit_bytes) end as memory_limit_bytes,
        cast(sum(samples) as bigint) as samples,
        cast(sum(samples_expected) as bigint) as samples_expected,
        cast(sum(cpu_periods) as bigint) as cpu_periods,
        cast(sum(cpu_throttled_periods) as bigint) as cpu_throttled_periods,
        cast(sum(gpu_usage_milligpu_ms) as bigint) as gpu_usage_milligpu_ms,
        cast(sum(gpu_measured_ms) as bigint) as gpu_measured_ms,
        max(gpu_memory_peak_bytes) as gpu_memory_peak_bytes,
        case when count(*) = count(cpu_limit_millicores) then max(cpu_limit_millicores) end as cpu_limit_millicores
    from stretches
    group by
{%- for column in attempt %}
        {{ column }},
{%- endfor %}
        container_name,
        source
)

select
{%- for column in attempt %}
    sums.{{ column }},
{%- endfor %}
    sums.container_name,
    sums.source,
    sums.cpu_usage_millicore_ms,
    sums.cpu_measured_ms,
    percentiles.cpu_p50_millicores,
    percentiles.cpu_p95_millicores,
    percentiles.cpu_max_millicores,
    sums.memory_usage_byte_ms,
    sums.memory_measured_ms,
    sums.memory_peak_bytes,
    sums.samples,
    sums.samples_expected,
    sums.cpu_periods,
    sums.cpu_throttled_periods,
    sums.gpu_usage_milligpu_ms,
    sums.gpu_measured_ms,
    sums.gpu_memory_peak_bytes,
    sums.cpu_limit_millicores,
    sums.memory_limit_bytes
from sums
left join percentiles
    on sums.container_name = percentiles.container_name
    and sums.source = percentiles.source
{%- for column in attempt %}
    and coalesce(cast(sums.{{ column }} as string), '') = coalesce(cast(percentiles.{{ column }} as string), '')
{%- endfor %}
