-- grain: one row per zone, ISO week and pod that held a machine in it or the week before: what it paid in each stage
-- guarantee: running is what the categories used, unused_request, unmetered, failed and lost divide; the other stages are the
--     categories of their names
-- inputs: machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
with costs as (
    select
        hours.cluster,
        hours.zone,
        hours.iso_week,
        costs.pod_uid,
        costs.stage,
        hours.is_this,
        costs.held_ms,
        costs.gpu_nano,
        costs.cpu_nano + costs.memory_nano + costs.gpu_nano as cost_nano
    from {{ ref('machine_pod_hours') }} as costs
    inner join {{ ref('int_finding_hours') }} as hours
        on costs.cluster = hours.cluster and costs.hour_start_ms = hours.hour_start_ms
    where costs.consumer_kind = 'pod'
)

select
    cluster,
    zone,
    iso_week,
    pod_uid
{%- for stage in ['stuck', 'running'] %},
    {{ priced_sum('cost_nano', "is_this and stage = '" ~ stage ~ "'") }} as {{ stage }}_nano,
    {{ priced_sum('cost_nano', "not is_this and stage = '" ~ stage ~ "'") }} as previous_{{ stage }}_nano,
    cast(sum(case when is_this and stage = '{{ stage }}' then held_ms else cast(0 as bigint) end) as bigint) as {{ stage }}_ms
{%- endfor %},
    {{ priced_sum('gpu_nano', "is_this and stage = 'running'") }} as running_gpu_nano,
    {{ priced_sum('gpu_nano', "not is_this and stage = 'running'") }} as previous_running_gpu_nano,
    {{ priced_sum('cost_nano', 'is_this') }} as cost_nano,
    {{ priced_sum('cost_nano', 'not is_this') }} as previous_cost_nano,
    max(case when is_this then 1 else 0 end) = 1 as is_this
from costs
group by
    cluster,
    zone,
    iso_week,
    pod_uid
