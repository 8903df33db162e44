-- guards: in every machine-hour resource-time adds up to the capacity, or to what is claimed where that is more
{%- set resources = [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
with allocated as (
    select
        cluster,
        machine,
        hour_start_ms
{%- for resource, unit in resources %},
        sum({{ resource }}_{{ unit }}) as {{ resource }}_time,
        sum(case when consumer_kind in ('idle', 'unobserved') then {{ resource }}_{{ unit }} else cast(0 as decimal(38,0)) end) as {{ resource }}_idle_time
{%- endfor %}
    from {{ touched('machine_pod_hours') }}
    group by
        cluster,
        machine,
        hour_start_ms
)

select hours.*
from {{ touched('int_machine_hours') }} as hours
left join allocated
    on hours.cluster = allocated.cluster
    and hours.machine = allocated.machine
    and hours.hour_start_ms = allocated.hour_start_ms
where
{%- for resource, unit in resources %}
    -- Short of the capacity, or beyond it although something is idle or unobserved.
    coalesce(allocated.{{ resource }}_time, cast(0 as decimal(38,0))) < hours.{{ resource }}_capacity_{{ unit }}
    or (
        coalesce(allocated.{{ resource }}_time, cast(0 as decimal(38,0))) > hours.{{ resource }}_capacity_{{ unit }}
        and allocated.{{ resource }}_idle_time > 0
    ){% if not loop.last %} or{% endif %}
{%- endfor %}
