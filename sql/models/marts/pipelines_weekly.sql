-- grain: one row per zone, ISO week, cluster, team and pipeline
-- guarantee: an hour belongs to the local date on which it starts; the weeks of one zone add up to the whole cost
-- inputs: int_booked_costs, calendar, cost_categories
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_weeks', ['zone', 'iso_week']) }}") }}
select
    calendar.zone,
    calendar.iso_week,
    min(calendar.local_date) as first_local_date,
    costs.cluster,
    costs.team,
    costs.pipeline,
    {{ usd('sum(costs.cost_nano)') }} as cost,
    {{ usd("sum(case when categories.category_group = 'used' then costs.cost_nano else cast(0 as bigint) end)") }} as used_cost,
    {{ usd('sum(case when categories.is_waste then costs.cost_nano else cast(0 as bigint) end)') }} as wasted_cost,
    {{ usd("sum(case when costs.cost_category in ('failed', 'lost', 'stuck') then costs.cost_nano else cast(0 as bigint) end)") }} as failed_cost,
    {{ usd("sum(case when costs.cost_category = 'unused_request' then costs.cost_nano else cast(0 as bigint) end)") }} as unused_request_cost,
    {{ usd("sum(case when categories.category_group = 'idle' then costs.cost_nano else cast(0 as bigint) end)") }} as idle_cost,
    {{ usd("sum(case when categories.category_group = 'storage' then costs.cost_nano else cast(0 as bigint) end)") }} as storage_cost,
    {{ usd("sum(case when categories.category_group = 'unobserved' then costs.cost_nano else cast(0 as bigint) end)") }} as unobserved_cost,
    {{ ratio("sum(case when costs.cost_category = 'used' then costs.cpu_nano else cast(0 as bigint) end)", "sum(case when costs.cost_category in ('used', 'unused_request') then costs.cpu_nano else cast(0 as bigint) end)") }} as cpu_efficiency,
    {{ ratio("sum(case when costs.cost_category = 'used' then costs.memory_nano else cast(0 as bigint) end)", "sum(case when costs.cost_category in ('used', 'unused_request') then costs.memory_nano else cast(0 as bigint) end)") }} as memory_efficiency
from {{ ref('int_booked_costs') }} as costs
inner join {{ ref('cost_categories') }} as categories on costs.cost_category = categories.cost_category
inner join {{ touched_calendar() }} as calendar on costs.hour_start_ms = calendar.hour_start_ms
group by
    calendar.zone,
    calendar.iso_week,
    costs.cluster,
    costs.team,
    costs.pipeline
