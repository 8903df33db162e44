-- grain: one row per machine, hour, consumer (pod, node_reserved, idle) and stage
-- guarantee: in every machine-hour the rows add up to its cost to the nano-dollar and to its capacity (or, where pods
--     claim more than there is, to what they claim) to the millisecond
-- inputs: int_machine_hours, int_pod_hours, int_pod_charges, int_system_pods; only hours that this build computes
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_hours', ['cluster', 'machine', 'hour_start_ms']) }}") }}
{%- set resources = [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
with pod_hours as (
    select * from {{ ref('int_pod_hours') }}
),

claims as (
    select
        pod_hours.cluster,
        pod_hours.machine,
        pod_hours.hour_start_ms
{%- for resource, unit in resources %},
        cast(sum(pod_hours.{{ resource }}_claim) as decimal(38,0)) as {{ resource }}_claims,
        cast(sum(case when pods.pod_uid is not null then pod_hours.{{ resource }}_claim else cast(0 as bigint) end) as decimal(38,0)) as {{ resource }}_system_claims
{%- endfor %}
    from pod_hours
    left join {{ ref('int_system_pods') }} as pods
        on pod_hours.cluster = pods.cluster and pod_hours.pod_uid = pods.pod_uid
    group by
        pod_hours.cluster,
        pod_hours.machine,
        pod_hours.hour_start_ms
),

machine_hours as (
    select
        hours.*
{%- for resource, unit in resources %},
        coalesce(claims.{{ resource }}_claims, cast(0 as decimal(38,0))) as {{ resource }}_claims,
        coalesce(claims.{{ resource }}_system_claims, cast(0 as decimal(38,0))) as {{ resource }}_system_claims,
        greatest(
            cast(hours.{{ resource }}_capacity_{{ unit }} as decimal(38,0)),
            cast(hours.{{ resource }}_reserved_{{ unit }} as decimal(38,0)) + coalesce(claims.{{ resource }}_claims, cast(0 as decimal(38,0)))
        ) as {{ resource }}_whole
{%- endfor %}
    from {{ touched('int_machine_hours') }} as hours
    left join claims
        on hours.cluster = claims.cluster
        and hours.machine = claims.machine
        and hours.hour_start_ms = claims.hour_start_ms
),

pod_parts as (
    select
        pods.*
{%- for resource, unit in resources %},
{%- if resource != 'gpu' %}
        case
            when pods.is_billed_by_pod and hours.cost_nano is not null then charges.{{ resource }}_nano
            else {{ share('hours.' ~ resource ~ '_nano', 'pods.' ~ resource ~ '_claim', 'hours.' ~ resource ~ '_whole') }}
        end as {{ resource }}_part
{%- else %}
        {{ share('hours.' ~ resource ~ '_nano', 'pods.' ~ resource ~ '_claim', 'hours.' ~ resource ~ '_whole') }} as {{ resource }}_part
{%- endif %}
{%- endfor %}
    from pod_hours as pods
    left join {{ ref('int_pod_charges') }} as charges
        on pods.cluster = charges.cluster
        and pods.machine = charges.machine
        and pods.hour_start_ms = charges.hour_start_ms
        and pods.pod_uid = charges.pod_uid
    inner join machine_hours as hours
        on pods.cluster = hours.cluster
        and pods.machine = hours.machine
        and pods.hour_start_ms = hours.hour_start_ms
),

-- The stages that are not work take their share of the pod's part by resource-time; running absorbs the rest.
staged as (
    select
        *
{%- for resource, unit in resources %}{% for stage in ['stuck', 'starting', 'terminating'] %},
        {{ share(resource ~ '_part', resource ~ '_' ~ stage ~ '_' ~ unit, resource ~ '_claim') }} as {{ resource }}_{{ stage }}_part
{%- endfor %}{% endfor %}
    from pod_parts
),

running as (
    select
        *,
        held_ms - stuck_ms - starting_ms - terminating_ms as running_ms
{%- for resource, unit in resources %},
        {{ resource }}_part - {{ resource }}_stuck_part - {{ resource }}_starting_part - {{ resource }}_terminating_part as {{ resource }}_running_part
{%- endfor %}
    from staged
),

parts as (
    select
        cluster,
        machine,
        hour_start_ms
{%- for resource, unit in resources %},
        cast(sum({{ resource }}_part) as bigint) as {{ resource }}_parts
{%- endfor %}
    from pod_parts
    group by
        cluster,
        machine,
        hour_start_ms
),

machine_parts as (
    select
        hours.*
{%- for resource, unit in resources %},
        {{ share('hours.' ~ resource ~ '_nano', 'hours.' ~ resource ~ '_reserved_' ~ unit, 'hours.' ~ resource ~ '_whole') }} as {{ resource }}_reserved_part,
        coalesce(parts.{{ resource }}_parts, cast(0 as bigint)) as {{ resource }}_parts
{%- endfor %}
    from machine_hours as hours
    left join parts
        on hours.cluster = parts.cluster
        and hours.machine = parts.machine
        and hours.hour_start_ms = parts.hour_start_ms
),

-- What is left of each pool is idle; the stage that absorbs what the others do not explain comes last.
idle as (
    select
        *,
        case
            when busy_ms > 0 then 'idle_unpacked'
            when gap_ms > 0 then 'idle_gap'
            when tail_ms > 0 then 'idle_tail'
            when startup_ms > 0 then 'idle_startup'
            else 'idle_boot'
        end as rest_stage
{%- for resource, unit in resources %},
        {{ resource }}_nano - {{ resource }}_reserved_part - {{ resource }}_parts as {{ resource }}_idle_nano,
        {{ resource }}_whole - cast({{ resource }}_reserved_{{ unit }} as decimal(38,0)) - {{ resource }}_claims as {{ resource }}_idle_time
{%- endfor %}
    from machine_parts
),

free as (
    select
        *
{%- for resource, unit in resources %}{% for kind in ['boot', 'startup', 'gap', 'tail'] %},
        case
            when rest_stage = 'idle_{{ kind }}' or {{ kind }}_ms = 0 then cast(0 as decimal(38,0))
            else {{ free_time(resource ~ '_capacity_' ~ unit, '0' if kind == 'boot' else '(' ~ resource ~ '_reserved_' ~ unit ~ ' + ' ~ resource ~ '_system_claims)', kind ~ '_ms', '(up_ms - boot_ms)', 'up_ms') }}
        end as {{ resource }}_{{ kind }}_free
{%- endfor %}{% endfor %}
    from idle
),

idle_times as (
    select
        *
{%- for resource, unit in resources %},
        least({{ resource }}_boot_free, {{ resource }}_idle_time) as {{ resource }}_boot_time,
        least({{ resource }}_startup_free, {{ resource }}_idle_time - least({{ resource }}_boot_free, {{ resource }}_idle_time)) as {{ resource }}_startup_time,
        least({{ resource }}_gap_free, {{ resource }}_idle_time - least({{ resource }}_boot_free + {{ resource }}_startup_free, {{ resource }}_idle_time)) as {{ resource }}_gap_time,
        least({{ resource }}_tail_free, {{ resource }}_idle_time - least({{ resource }}_boot_free + {{ resource }}_startup_free + {{ resource }}_gap_free, {{ resource }}_idle_time)) as {{ resource }}_tail_time
{%- endfor %}
    from free
),

idle_parts as (
    select
        *
{%- for resource, unit in resources %}{% for kind in ['boot', 'startup', 'gap', 'tail'] %},
        {{ share(resource ~ '_idle_nano', resource ~ '_' ~ kind ~ '_time', resource ~ '_idle_time') }} as {{ resource }}_{{ kind }}_part
{%- endfor %}{% endfor %}
    from idle_times
)
{% for stage in ['stuck', 'starting', 'terminating', 'running'] %}
select
    cluster,
    machine,
    hour_start_ms,
    'pod' as consumer_kind,
    pod_uid,
    '{{ stage }}' as stage,
    {{ stage }}_ms as held_ms
{%- for resource, unit in resources %},
    {{ resource }}_{{ stage }}_part as {{ resource }}_nano,
    {% if stage == 'running' %}{{ used_part(resource ~ '_running_part', resource ~ '_running_' ~ unit, resource ~ '_usage_' ~ unit) }}{% else %}cast(null as bigint){% endif %} as {{ resource }}_used_nano,
    cast({{ resource }}_{{ 'charged' if stage == 'running' else stage ~ '_' ~ unit }} as decimal(38,0)) as {{ resource }}_{{ unit }}
{%- endfor %}
from running
where
    {{ stage }}_ms > 0
{%- if stage == 'running' %}
{%- for resource, unit in resources %}
    or {{ resource }}_charged > 0
    or {{ resource }}_running_part > 0
{%- endfor %}
{%- endif %}
union all
{% endfor %}
select
    cluster,
    machine,
    hour_start_ms,
    'node_reserved' as consumer_kind,
    cast(null as string) as pod_uid,
    'node_reserved' as stage,
    up_ms - boot_ms as held_ms
{%- for resource, unit in resources %},
    {{ resource }}_reserved_part as {{ resource }}_nano,
    cast(null as bigint) as {{ resource }}_used_nano,
    cast({{ resource }}_reserved_{{ unit }} as decimal(38,0)) as {{ resource }}_{{ unit }}
{%- endfor %}
from idle_parts
where cpu_reserved_millicore_ms > 0 or memory_reserved_byte_ms > 0 or gpu_reserved_milligpu_ms > 0
{%- for kind in ['boot', 'startup', 'gap', 'tail'] %}
union all
select
    cluster,
    machine,
    hour_start_ms,
    'idle' as consumer_kind,
    cast(null as string) as pod_uid,
    'idle_{{ kind }}' as stage,
    {{ kind }}_ms as held_ms
{%- for resource, unit in resources %},
    {{ resource }}_{{ kind }}_part as {{ resource }}_nano,
    cast(null as bigint) as {{ resource }}_used_nano,
    {{ resource }}_{{ kind }}_time as {{ resource }}_{{ unit }}
{%- endfor %}
from idle_parts
where cpu_{{ kind }}_time > 0 or memory_{{ kind }}_time > 0 or gpu_{{ kind }}_time > 0
{%- endfor %}
union all
select
    cluster,
    machine,
    hour_start_ms,
    'idle' as consumer_kind,
    cast(null as string) as pod_uid,
    rest_stage as stage,
    case rest_stage
        when 'idle_unpacked' then busy_ms
        when 'idle_gap' then gap_ms
        when 'idle_tail' then tail_ms
        when 'idle_startup' then startup_ms
        else boot_ms
    end as held_ms
{%- for resource, unit in resources %},
    {{ resource }}_idle_nano - {{ resource }}_boot_part - {{ resource }}_startup_part - {{ resource }}_gap_part - {{ resource }}_tail_part as {{ resource }}_nano,
    cast(null as bigint) as {{ resource }}_used_nano,
    {{ resource }}_idle_time - {{ resource }}_boot_time - {{ resource }}_startup_time - {{ resource }}_gap_time - {{ resource }}_tail_time as {{ resource }}_{{ unit }}
{%- endfor %}
from idle_parts
where
    cpu_idle_time > 0
    or memory_idle_time > 0
    or gpu_idle_time > 0
    or coalesce(cpu_idle_nano + memory_idle_nano + gpu_idle_nano, cast(0 as bigint)) > 0
