-- grain: one row per charge date (UTC), cluster and machine
-- guarantee: cost = allocated_cost + idle_cost + unobserved_cost + node_reserved_cost; NULL where no price is known
-- inputs: machine_pod_hours, int_machine_lives, int_machine_shapes
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_days', ['charge_date']) }}") }}
with all_days as (
    select
        *,
        {{ days('start_ms', 'end_ms') }} as day_start_ms
    from {{ ref('int_machine_lives') }}
),

days as (
    select *
    from all_days
{%- if not var('all_hours') %}
    where day_start_ms in (select day_start_ms from {{ source('build', 'dirty_days') }})
{%- endif %}
),

up as (
    select
        *,
        greatest(start_ms, day_start_ms) as from_ms,
        least(end_ms, day_start_ms + 86400000) as to_ms
    from days
),

capacities as (
    select
        up.cluster,
        up.machine,
        up.day_start_ms,
        sum(cast(shapes.cpu_capacity_millicores as decimal(19,0)) * cast({{ overlap('up.from_ms', 'up.to_ms', 'shapes.from_ms', 'shapes.to_ms') }} as decimal(19,0))) as cpu_capacity_time,
        sum(cast(shapes.memory_capacity_bytes as decimal(19,0)) * cast({{ overlap('up.from_ms', 'up.to_ms', 'shapes.from_ms', 'shapes.to_ms') }} as decimal(19,0))) as memory_capacity_time
    from up
    inner join {{ ref('int_machine_shapes') }} as shapes on up.cluster = shapes.cluster and up.machine = shapes.machine
    group by
        up.cluster,
        up.machine,
        up.day_start_ms
),

costs as (
    select
        cluster,
        machine,
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms,
        cast(sum(cpu_nano + memory_nano + gpu_nano) as bigint) as cost_nano,
        cast(sum(case when consumer_kind = 'pod' then cpu_nano + memory_nano + gpu_nano else cast(0 as bigint) end) as bigint) as allocated_nano,
        cast(sum(case when consumer_kind = 'idle' then cpu_nano + memory_nano + gpu_nano else cast(0 as bigint) end) as bigint) as idle_nano,
        cast(sum(case when consumer_kind = 'unobserved' then cpu_nano + memory_nano + gpu_nano else cast(0 as bigint) end) as bigint) as unobserved_nano,
        cast(sum(case when consumer_kind = 'node_reserved' then cpu_nano + memory_nano + gpu_nano else cast(0 as bigint) end) as bigint) as reserved_nano,
        cast(sum(case when consumer_kind = 'pod' then cpu_millicore_ms else cast(0 as decimal(38,0)) end) as decimal(38,0)) as cpu_claim_time,
        cast(sum(case when consumer_kind = 'pod' then memory_byte_ms else cast(0 as decimal(38,0)) end) as decimal(38,0)) as memory_claim_time,
        cast(sum(case when stage = 'running' then cpu_used_nano else cast(0 as bigint) end) as bigint) as cpu_used_nano,
        cast(sum(case when stage = 'running' then cpu_nano - cpu_unmetered_nano else cast(0 as bigint) end) as bigint) as cpu_metered_nano,
        cast(sum(case when stage = 'running' then memory_used_nano else cast(0 as bigint) end) as bigint) as memory_used_nano,
        cast(sum(case when stage = 'running' then memory_nano - memory_unmetered_nano else cast(0 as bigint) end) as bigint) as memory_metered_nano
    from {{ touched('machine_pod_hours') }}
    group by
        cluster,
        machine,
        hour_start_ms - hour_start_ms % 86400000
)

select
    {{ date_of('up.day_start_ms') }} as charge_date,
    up.cluster,
    up.machine,
    up.node_name,
    up.instance_type,
    up.capacity_type,
    up.pool,
    up.gpu_model,
    up.to_ms - up.from_ms as up_ms,
    {{ usd('costs.cost_nano') }} as cost,
    {{ usd('costs.allocated_nano') }} as allocated_cost,
    {{ usd('costs.idle_nano') }} as idle_cost,
    {{ usd('costs.unobserved_nano') }} as unobserved_cost,
    {{ usd('costs.reserved_nano') }} as node_reserved_cost,
    {{ ratio('costs.cpu_claim_time', 'capacities.cpu_capacity_time') }} as cpu_request_ratio,
    {{ ratio('costs.memory_claim_time', 'capacities.memory_capacity_time') }} as memory_request_ratio,
    {{ ratio('costs.cpu_used_nano', 'costs.cpu_metered_nano') }} as cpu_efficiency,
    {{ ratio('costs.memory_used_nano', 'costs.memory_metered_nano') }} as memory_efficiency
from up
left join costs
    on up.cluster = costs.cluster and up.machine = costs.machine and up.day_start_ms = costs.day_start_ms
left join capacities
    on up.cluster = capacities.cluster
    and up.machine = capacities.machine
    and up.day_start_ms = capacities.day_start_ms
