-- grain: one row per cluster, team, month that is adjusted and month in which it is
-- guarantee: of a closed month they add up to what bills say now of the machine time, volumes and load balancers that were seen when it was closed, less what they
--     cost then
-- inputs: int_booked_costs, stg_closed_days
{{ config(materialized='view') }}
select
    {{ date_of('costs.adjusts_month_ms') }} as adjusts_month,
    {{ date_of('costs.hour_start_ms') }} as charge_date,
    costs.cluster,
    costs.team,
    {{ usd('costs.cost_nano') }} as cost,
    {{ usd('costs.cpu_nano') }} as cpu_cost,
    {{ usd('costs.memory_nano') }} as memory_cost,
    {{ usd('costs.gpu_nano') }} as gpu_cost,
    {{ usd('costs.service_nano') }} as service_cost,
    closed.day_start_ms is not null as is_closed
from {{ ref('int_booked_costs') }} as costs
left join {{ ref('stg_closed_days') }} as closed on costs.hour_start_ms = closed.day_start_ms
where costs.adjusts_month_ms is not null
