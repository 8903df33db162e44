-- grain: one row per hour, cluster, node pool, region, instance type and capacity type
-- guarantee: capacity, requests and cost add up to those of the machines; cost is NULL where no price is known
-- inputs: int_machine_hours, machine_pod_hours, int_machines, int_pod_names, stg_usage_hours
{{ config(materialized='view') }}
{%- set resources = [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
{%- set zero = 'cast(0 as decimal(38,0))' %}
with consumers as (
    select
        cluster,
        machine,
        hour_start_ms,
        pod_uid,
        stage,
        consumer_kind,
        cpu_nano + memory_nano + gpu_nano as cost_nano,
        cpu_millicore_ms,
        memory_byte_ms,
        gpu_milligpu_ms
    from {{ ref('machine_pod_hours') }}
),

-- A pod holds one machine, so what it used in an hour belongs to one row.
held as (
    select
        consumers.cluster,
        consumers.machine,
        consumers.hour_start_ms
{%- for resource, unit in resources %},
        sum(case when consumers.consumer_kind = 'pod' then consumers.{{ resource }}_{{ unit }} else {{ zero }} end) as {{ resource }}_request_{{ unit }},
        sum(case
            when consumers.stage = 'running' and pods.pod_class = 'workload' and pods.attempt_outcome not in ('failed', 'lost')
                then consumers.{{ resource }}_{{ unit }}
            else {{ zero }}
        end) as {{ resource }}_work_{{ unit }}
{%- endfor %},
        sum(case when consumers.stage = 'running' then cast(usage.cpu_usage_millicore_ms as decimal(38,0)) end) as cpu_usage_millicore_ms,
        sum(case when consumers.stage = 'running' then cast(usage.memory_usage_byte_ms as decimal(38,0)) end) as memory_usage_byte_ms
{%- for stage in ['idle_boot', 'idle_startup', 'idle_gap', 'idle_tail', 'idle_unpacked', 'unobserved', 'node_reserved'] %},
        cast(sum(case when consumers.stage = '{{ stage }}' then consumers.cost_nano else cast(0 as bigint) end) as bigint) as {{ stage }}_nano
{%- endfor %}
    from consumers
    left join {{ ref('int_pod_names') }} as pods
        on consumers.cluster = pods.cluster and consumers.pod_uid = pods.pod_uid
    left join {{ ref('stg_usage_hours') }} as usage
        on consumers.cluster = usage.cluster
        and consumers.pod_uid = usage.pod_uid
        and consumers.hour_start_ms = usage.hour_start_ms
    group by
        consumers.cluster,
        consumers.machine,
        consumers.hour_start_ms
)

select
    hours.cluster,
    {{ at('hours.hour_start_ms') }} as hour_start_at,
    coalesce(machines.pool, 'unattributed') as pool,
    machines.region,
    machines.instance_type,
    machines.capacity_type,
    count(*) as machines,
    cast(sum(hours.up_ms) as bigint) as up_ms,
    cast(sum(hours.unpriced_ms) as bigint) as unpriced_ms,
    {{ usd('sum(hours.cost_nano)') }} as cost
{%- for stage in ['idle_boot', 'idle_startup', 'idle_gap', 'idle_tail', 'idle_unpacked', 'unobserved', 'node_reserved'] %},
    {{ usd('sum(held.' ~ stage ~ '_nano)') }} as {{ stage }}_cost
{%- endfor %}
{%- for resource, unit in resources %},
    cast(sum(cast(hours.{{ resource }}_capacity_{{ unit }} as decimal(38,0))) as decimal(38,0)) as {{ resource }}_capacity_{{ unit }},
    cast(sum(cast(hours.{{ resource }}_reserved_{{ unit }} as decimal(38,0))) as decimal(38,0)) as {{ resource }}_reserved_{{ unit }},
    cast(sum(held.{{ resource }}_request_{{ unit }}) as decimal(38,0)) as {{ resource }}_request_{{ unit }},
    cast(sum(held.{{ resource }}_work_{{ unit }}) as decimal(38,0)) as {{ resource }}_work_{{ unit }}
{%- endfor %},
    cast(sum(held.cpu_usage_millicore_ms) as decimal(38,0)) as cpu_usage_millicore_ms,
    cast(sum(held.memory_usage_byte_ms) as decimal(38,0)) as memory_usage_byte_ms
from {{ ref('int_machine_hours') }} as hours
inner join {{ ref('int_machines') }} as machines
    on hours.cluster = machines.cluster and hours.machine = machines.machine
left join held
    on hours.cluster = held.cluster and hours.machine = held.machine and hours.hour_start_ms = held.hour_start_ms
group by
    hours.cluster,
    hours.hour_start_ms,
    coalesce(machines.pool, 'unattributed'),
    machines.region,
    machines.instance_type,
    machines.capacity_type
