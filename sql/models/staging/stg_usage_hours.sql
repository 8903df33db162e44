-- grain: one row per pod and hour: what it used, by the most trusted source that measured it
-- guarantee: a pod's containers add up, unless a source told of the pod as a whole; how long it was measured is how long
--     its most measured container was
-- inputs: stg_usage_stretches
{%- set sources = var('usage_sources') %}
{%- set measures = [('cpu_usage_millicore_ms', 'sum'), ('cpu_measured_ms', 'max'), ('memory_usage_byte_ms', 'sum'), ('memory_measured_ms', 'max'), ('memory_peak_bytes', 'sum')] %}
with containers as (
    select
        cluster,
        pod_uid,
        container_name,
        hour_start_ms,
        source,
        cast(sum(cpu_usage_millicore_ms) as bigint) as cpu_usage_millicore_ms,
        cast(sum(cpu_measured_ms) as bigint) as cpu_measured_ms,
        sum(memory_usage_byte_ms) as memory_usage_byte_ms,
        cast(sum(memory_measured_ms) as bigint) as memory_measured_ms,
        max(memory_peak_bytes) as memory_peak_bytes
    from {{ ref('stg_usage_stretches') }}
    group by
        cluster,
        pod_uid,
        container_name,
        hour_start_ms,
        source
)

-- A kubelet measures what the kernel charges, an engine reports what it saw from inside: the first source that has a
-- value speaks.
select
    cluster,
    pod_uid,
    hour_start_ms
{%- for measure, how in measures %},
    cast(coalesce(
{%- for source in sources %}
        max(case when source = '{{ source }}' and container_name = '' then {{ measure }} end),
        {{ how }}(case when source = '{{ source }}' then {{ measure }} end){% if not loop.last %},{% endif %}
{%- endfor %}
    ) as {% if measure == 'memory_usage_byte_ms' %}decimal(38,0){% else %}bigint{% endif %}) as {{ measure }}
{%- endfor %}
from containers
group by
    cluster,
    pod_uid,
    hour_start_ms
