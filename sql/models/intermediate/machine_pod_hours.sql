-- grain: one row per machine, hour, consumer (pod, node_reserved, idle, unobserved) and stage
-- guarantee: in every machine-hour the rows add up to its cost to the nano-dollar and to its capacity (or, where pods
--     claim more than there is, to what they claim) to the millisecond
-- inputs: int_machine_hours, int_pod_hours, int_pod_charges, int_system_pods; only hours that this build computes
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_hours', ['cluster', 'machine', 'hour_start_ms']) }}") }}
{%- set resources = [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
{#- What of a pool nobody is known to have held, by why; the first takes what it explains before the others do. #}
{%- set kinds = [('unobserved', 'unobserved'), ('boot', 'idle_boot'), ('startup', 'idle_startup'), ('gap', 'idle_gap'), ('tail', 'idle_tail')] %}
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
        cast(sum(case when pods.pod_uid is not null then pod_hours.{{ resource }}_claim else cast(0 as bigint) end) as decimal(38,0)) as {{ resource }}_system_claims,
        cast(sum(pod_hours.{{ resource }}_blind_claim) as decimal(38,0)) as {{ resource }}_blind_claims,
        cast(sum(case when pods.pod_uid is not null then pod_hours.{{ resource }}_blind_claim else cast(0 as decimal(38,0)) end) as decimal(38,0)) as {{ resource }}_blind_system_claims
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
        greatest(
            hours.{{ resource }}_blind_capacity_{{ unit }} - hours.{{ resource }}_blind_reserved_{{ unit }}
            - coalesce(claims.{{ resource }}_blind_claims, cast(0 as decimal(38,0))),
            cast(0 as decimal(38,0))
        ) as {{ resource }}_unobserved,
        -- What of the time that was seen is nobody's to be free: reservations and system pods.
        cast(hours.{{ resource }}_reserved_{{ unit }} as decimal(38,0))
        - hours.{{ resource }}_blind_reserved_{{ unit }}
        + coalesce(claims.{{ resource }}_system_claims - claims.{{ resource }}_blind_system_claims, cast(0 as decimal(38,0))) as {{ resource }}_overhead,
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

ran as (
    select
        *,
        held_ms - stuck_ms - starting_ms - terminating_ms as running_ms
{%- for resource, unit in resources %},
        {{ resource }}_part - {{ resource }}_stuck_part - {{ resource }}_starting_part - {{ resource }}_terminating_part as {{ resource }}_running_part
{%- endfor %}
    from staged
),

running as (
    select
        *
{%- for resource, unit in resources %},
        {{ unmetered_part(resource ~ '_running_part', resource ~ '_running_' ~ unit, resource ~ '_measured_' ~ unit, resource ~ '_charged', resource ~ '_usage_' ~ unit) }} as {{ resource }}_unmetered_part
{%- endfor %}
    from ran
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

-- What is left of each pool is idle or unobserved; the stage that absorbs what the others do not explain comes last.
idle as (
    select
        *,
        case
            when busy_ms > 0 then 'idle_unpacked'
            when gap_ms > 0 then 'idle_gap'
            when tail_ms > 0 then 'idle_tail'
            when startup_ms > 0 then 'idle_startup'
            when boot_ms > 0 then 'idle_boot'
            else 'unobserved'
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
{%- for resource, unit in resources %}{% for kind, stage in kinds %},
        case
            when rest_stage = '{{ stage }}' or {{ kind }}_ms = 0 then cast(0 as decimal(38,0))
            else {% if kind == 'unobserved' %}{{ resource }}_unobserved{% else %}{{ free_time('(' ~ resource ~ '_capacity_' ~ unit ~ ' - ' ~ resource ~ '_blind_capacity_' ~ unit ~ ')', '0' if kind == 'boot' else resource ~ '_overhead', kind ~ '_ms', '(up_ms - boot_ms - unobserved_ms)', '(up_ms - unobserved_ms)') }}{% endif %}
        end as {{ resource }}_{{ kind }}_free
{%- endfor %}{% endfor %}
    from idle
),

idle_times as (
    select
        *
{%- for resource, unit in resources %}{% for kind, stage in kinds %},
        least(
            {{ resource }}_{{ kind }}_free,
            {{ resource }}_idle_time - least({% for before, other in kinds[:loop.index0] %}{{ resource }}_{{ before }}_free + {% endfor %}cast(0 as decimal(38,0)), {{ resource }}_idle_time)
        ) as {{ resource }}_{{ kind }}_time
{%- endfor %}{% endfor %}
    from free
),

idle_parts as (
    select
        *
{%- for resource, unit in resources %}{% for kind, stage in kinds %},
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
    {% if stage == 'running' %}{{ used_part('(' ~ resource ~ '_running_part - ' ~ resource ~ '_unmetered_part)', resource ~ '_measured_' ~ unit, resource ~ '_usage_' ~ unit) }}{% else %}cast(null as bigint){% endif %} as {{ resource }}_used_nano,
    {% if stage == 'running' %}{{ resource }}_unmetered_part{% else %}cast(0 as bigint){% endif %} as {{ resource }}_unmetered_nano,
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
    cast(0 as bigint) as {{ resource }}_unmetered_nano,
    cast({{ resource }}_reserved_{{ unit }} as decimal(38,0)) as {{ resource }}_{{ unit }}
{%- endfor %}
from idle_parts
where cpu_reserved_millicore_ms > 0 or memory_reserved_byte_ms > 0 or gpu_reserved_milligpu_ms > 0
{%- for kind, stage in kinds %}
union all
select
    cluster,
    machine,
    hour_start_ms,
    '{{ 'unobserved' if kind == 'unobserved' else 'idle' }}' as consumer_kind,
    cast(null as string) as pod_uid,
    '{{ stage }}' as stage,
    {{ kind }}_ms as held_ms
{%- for resource, unit in resources %},
    {{ resource }}_{{ kind }}_part as {{ resource }}_nano,
    cast(null as bigint) as {{ resource }}_used_nano,
    cast(0 as bigint) as {{ resource }}_unmetered_nano,
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
    case when rest_stage = 'unobserved' then 'unobserved' else 'idle' end as consumer_kind,
    cast(null as string) as pod_uid,
    rest_stage as stage,
    case rest_stage
        when 'idle_unpacked' then busy_ms
        when 'idle_gap' then gap_ms
        when 'idle_tail' then tail_ms
        when 'idle_startup' then startup_ms
        when 'idle_boot' then boot_ms
        else unobserved_ms
    end as held_ms
{%- for resource, unit in resources %},
    {{ resource }}_idle_nano{% for kind, stage in kinds %} - {{ resource }}_{{ kind }}_part{% endfor %} as {{ resource }}_nano,
    cast(null as bigint) as {{ resource }}_used_nano,
    cast(0 as bigint) as {{ resource }}_unmetered_nano,
    {{ resource }}_idle_time{% for kind, stage in kinds %} - {{ resource }}_{{ kind }}_time{% endfor %} as {{ resource }}_{{ unit }}
{%- endfor %}
from idle_parts
where
    cpu_idle_time > 0
    or memory_idle_time > 0
    or gpu_idle_time > 0
    or coalesce(cpu_idle_nano + memory_idle_nano + gpu_idle_nano, cast(0 as bigint)) > 0
