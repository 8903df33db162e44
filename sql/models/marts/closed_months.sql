-- grain: one row per closed month (UTC)
-- guarantee: the rows of the month hash to content_hash, else the build was rolled back
-- inputs: stg_closed_months, int_booked_costs, int_costs_hourly, stg_closed_days
{{ config(materialized='view') }}
with closed as (
    select
        days.month_start_ms,
        cast(sum(costs.cost_nano) as bigint) as cost_nano
    from {{ ref('int_booked_costs') }} as costs
    inner join {{ ref('stg_closed_days') }} as days on costs.hour_start_ms - costs.hour_start_ms % 86400000 = days.day_start_ms
    group by days.month_start_ms
),

restated as (
    select
        days.month_start_ms,
        cast(sum(costs.cost_nano) as bigint) as cost_nano
    from {{ ref('int_costs_hourly') }} as costs
    inner join {{ ref('stg_closed_days') }} as days on costs.hour_start_ms - costs.hour_start_ms % 86400000 = days.day_start_ms
    group by days.month_start_ms
),

adjusted as (
    select
        adjusts_month_ms,
        cast(sum(cost_nano) as bigint) as cost_nano
    from {{ ref('int_booked_costs') }}
    where adjusts_month_ms is not null
    group by adjusts_month_ms
)

select
    {{ date_of('months.month_start_ms') }} as closed_month,
    {{ at('months.closed_ms') }} as closed_at,
    months.content_hash,
    months.basis,
    {{ usd('closed.cost_nano') }} as cost,
    {{ usd('coalesce(adjusted.cost_nano, cast(0 as bigint))') }} as adjusted_cost,
    {{ usd('restated.cost_nano') }} as restated_cost,
    {{ date_of('months.open_ms') }} as adjusted_in
from {{ ref('stg_closed_months') }} as months
left join closed on months.month_start_ms = closed.month_start_ms
left join restated on months.month_start_ms = restated.month_start_ms
left join adjusted on months.month_start_ms = adjusted.adjusts_month_ms
