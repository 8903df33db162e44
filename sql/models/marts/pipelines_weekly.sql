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
    {{ week_parts() }}
from {{ ref('int_booked_costs') }} as costs
inner join {{ ref('cost_categories') }} as categories on costs.cost_category = categories.cost_category
inner join {{ touched_calendar() }} as calendar on costs.hour_start_ms = calendar.hour_start_ms
group by
    calendar.zone,
    calendar.iso_week,
    costs.cluster,
    costs.team,
    costs.pipeline
