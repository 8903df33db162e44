-- grain: one row per machine, hour and pod: resource-time asked for by stage, used, and claimed from the machine, also within
--     the time in which nobody watched
-- guarantee: only time within the machine's life; integers; usage counts in hours in which the pod held the machine
-- inputs: int_pod_spans, int_machines, stg_usage_hours, int_blind_hours; only hours that this build computes
{{ config(materialized='view') }}
with placed as (
    select
        spans.cluster,
        spans.machine,
        spans.pod_uid,
        greatest(spans.start_ms, machines.start_ms) as start_ms,
        least(spans.end_ms, machines.end_ms) as end_ms,
        spans.running_ms as running_from_ms,
        spans.finished_ms as finished_from_ms,
        spans.is_stuck,
        machines.billing_model = 'pod_request' as is_billed_by_pod,
        case
            when machines.billing_model = 'pod_request' then coalesce(spans.billed_cpu_millicores, spans.cpu_request_millicores)
            else spans.cpu_request_millicores
        end as cpu_request_millicores,
        case
            when machines.billing_model = 'pod_request' then coalesce(spans.billed_memory_bytes, spans.memory_request_bytes)
            else spans.memory_request_bytes
        end as memory_request_bytes,
        spans.gpu_request_milligpus
    from {{ touched('int_pod_spans') }} as spans
    inner join {{ ref('int_machines') }} as machines
        on spans.cluster = machines.cluster and spans.machine = machines.machine
    where spans.end_ms > machines.start_ms and spans.start_ms < machines.end_ms
),

exploded as (
    select
        *,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from placed
),

clipped as (
    select
        exploded.*,
        greatest(exploded.start_ms, exploded.hour_start_ms) as from_ms,
        least(exploded.end_ms, exploded.hour_start_ms + 3600000) as to_ms
    from exploded
    inner join {{ dirty_hours() }} as dirty
        on exploded.cluster = dirty.cluster
        and exploded.machine = dirty.machine
        and exploded.hour_start_ms = dirty.hour_start_ms
),

-- Cut where a gap begins or ends.
cut as (
    select
        clipped.cluster,
        clipped.machine,
        clipped.hour_start_ms,
        clipped.pod_uid,
        clipped.is_billed_by_pod,
        clipped.is_stuck,
        clipped.running_from_ms,
        clipped.finished_from_ms,
        clipped.cpu_request_millicores,
        clipped.memory_request_bytes,
        clipped.gpu_request_milligpus,
        greatest(clipped.from_ms, coalesce(stretches.from_ms, clipped.from_ms)) as from_ms,
        least(clipped.to_ms, coalesce(stretches.to_ms, clipped.to_ms)) as to_ms,
        coalesce(stretches.is_blind, false) as is_blind
    from clipped
    left join {{ ref('int_blind_hours') }} as stretches
        on clipped.cluster = stretches.cluster
        and clipped.hour_start_ms = stretches.hour_start_ms
        and clipped.from_ms < stretches.to_ms
        and clipped.to_ms > stretches.from_ms
),

staged as (
    select
        *,
        case when is_stuck then to_ms - from_ms else cast(0 as bigint) end as stuck_ms,
        case when is_stuck then cast(0 as bigint) else greatest(least(running_from_ms, to_ms) - from_ms, cast(0 as bigint)) end as starting_ms,
        case when is_stuck then cast(0 as bigint) else greatest(to_ms - greatest(finished_from_ms, running_from_ms, from_ms), cast(0 as bigint)) end as terminating_ms
    from cut
),

pod_hours as (
    select
        cluster,
        machine,
        hour_start_ms,
        pod_uid,
        is_billed_by_pod,
        cast(sum(to_ms - from_ms) as bigint) as held_ms,
        cast(sum(stuck_ms) as bigint) as stuck_ms,
        cast(sum(starting_ms) as bigint) as starting_ms,
        cast(sum(terminating_ms) as bigint) as terminating_ms,
        cast(sum(case when is_blind then to_ms - from_ms else cast(0 as bigint) end) as bigint) as blind_ms,
        cast(sum(case when is_blind then cpu_request_millicores * (to_ms - from_ms) else cast(0 as bigint) end) as bigint) as cpu_blind_millicore_ms,
        sum(case when is_blind then cast(memory_request_bytes as decimal(19,0)) * cast(to_ms - from_ms as decimal(19,0)) else cast(0 as decimal(38,0)) end) as memory_blind_byte_ms,
        cast(sum(case when is_blind then gpu_request_milligpus * (to_ms - from_ms) else cast(0 as bigint) end) as bigint) as gpu_blind_milligpu_ms,
{%- for stage, part in [('stuck', 'stuck_ms'), ('starting', 'starting_ms'), ('terminating', 'terminating_ms'), ('running', '(to_ms - from_ms - stuck_ms - starting_ms - terminating_ms)')] %}
        cast(sum(cpu_request_millicores * {{ part }}) as bigint) as cpu_{{ stage }}_millicore_ms,
        sum(cast(memory_request_bytes as decimal(19,0)) * cast({{ part }} as decimal(19,0))) as memory_{{ stage }}_byte_ms,
        cast(sum(gpu_request_milligpus * {{ part }}) as bigint) as gpu_{{ stage }}_milligpu_ms{% if not loop.last %},{% endif %}
{%- endfor %}
    from staged
    group by
        cluster,
        machine,
        hour_start_ms,
        pod_uid,
        is_billed_by_pod
),

with_usage as (
    select
        pod_hours.*,
        usage.cpu_usage_millicore_ms,
        usage.memory_usage_byte_ms,
        cast(null as bigint) as gpu_usage_milligpu_ms,
        -- What was asked for while usage is known; nothing where it is not.
        {{ measured('pod_hours.cpu_running_millicore_ms', 'usage.cpu_measured_ms', 'bigint') }} as cpu_measured_millicore_ms,
        {{ measured('pod_hours.memory_running_byte_ms', 'usage.memory_measured_ms', 'decimal(38,0)') }} as memory_measured_byte_ms,
        cast(0 as bigint) as gpu_measured_milligpu_ms
    from pod_hours
    left join {{ ref('stg_usage_hours') }} as usage
        on pod_hours.cluster = usage.cluster
        and pod_hours.pod_uid = usage.pod_uid
        and pod_hours.hour_start_ms = usage.hour_start_ms
),

-- A pod claims what it asked for while it held the machine; while running, by the basis in use (a provider that bills
-- pods asks nobody for it).
charged as (
    select
        *,
{%- for resource, unit in [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
        case
            when is_billed_by_pod then {{ resource }}_running_{{ unit }}
            else {{ charged(resource ~ '_running_' ~ unit, resource ~ '_measured_' ~ unit, resource ~ '_usage_' ~ unit) }}
        end as {{ resource }}_charged{% if not loop.last %},{% endif %}
{%- endfor %}
    from with_usage
),

claimed as (
    select
        *,
{%- for resource, unit in [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
        {{ resource }}_charged + {{ resource }}_stuck_{{ unit }} + {{ resource }}_starting_{{ unit }} + {{ resource }}_terminating_{{ unit }} as {{ resource }}_claim{% if not loop.last %},{% endif %}
{%- endfor %}
    from charged
)

select
    *,
{%- for resource, unit in [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
    {{ blind_claim(resource ~ '_claim', resource ~ '_claim - ' ~ resource ~ '_charged + ' ~ resource ~ '_running_' ~ unit, resource ~ '_blind_' ~ unit) }} as {{ resource }}_blind_claim{% if not loop.last %},{% endif %}
{%- endfor %}
from claimed
