-- grain: one row per pod and hour: what it used, by the most trusted source that measured it
-- guarantee: a repeated fact counts once
-- inputs: lake.usage_hours
with facts as (
    select
        cluster,
        pod_uid,
        {{ ms('hour_start_at') }} as hour_start_ms,
        source,
        cpu_usage_millicore_ms,
        memory_usage_byte_ms
    from {{ touched_facts('usage_hours') }}
)

{%- set sources = ['kubelet', 'prometheus', 'metrics_api', 'engine', 'declared'] %}
-- A kubelet measures what the kernel charges, an engine reports what it saw from inside: the first source that has a
-- value speaks. Of two conflicting facts of one source the larger stands.
select
    cluster,
    pod_uid,
    hour_start_ms
{%- for measure in ['cpu_usage_millicore_ms', 'memory_usage_byte_ms'] %},
    coalesce(
{%- for source in sources %}
        max(case when source = '{{ source }}' then {{ measure }} end){% if not loop.last %},{% endif %}
{%- endfor %}
    ) as {{ measure }}
{%- endfor %}
from facts
group by
    cluster,
    pod_uid,
    hour_start_ms
