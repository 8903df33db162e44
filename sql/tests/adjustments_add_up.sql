-- guards: adjustments of months that are open are what late bills change, to the nano-dollar, and lie in no closed month
with late as (
    select month_start_ms, cluster, change_nano from {{ ref('int_late_bills') }}
    union all
    select month_start_ms, cluster, cost_nano - closed_cost_nano as change_nano from {{ ref('int_repriced_services') }}
    where cost_nano <> closed_cost_nano
),

changes as (
    select
        month_start_ms,
        cluster,
        cast(sum(change_nano) as bigint) as change_nano
    from late
    group by
        month_start_ms,
        cluster
),

adjusted as (
    select
        adjusts_month_ms,
        cluster,
        cast(sum(cost_nano) as bigint) as cost_nano,
        cast(sum(cpu_nano + memory_nano + gpu_nano + service_nano) as bigint) as parts_nano,
        min(hour_start_ms) as first_hour_ms,
        max(hour_start_ms) as last_hour_ms
    from {{ ref('int_adjustments') }}
    group by
        adjusts_month_ms,
        cluster
)

select
    changes.month_start_ms,
    changes.cluster,
    changes.change_nano,
    adjusted.cost_nano
from changes
full outer join adjusted on changes.month_start_ms = adjusted.adjusts_month_ms and changes.cluster = adjusted.cluster
left join {{ ref('stg_closed_days') }} as closed on adjusted.first_hour_ms = closed.day_start_ms
where
    coalesce(changes.change_nano, cast(0 as bigint)) <> coalesce(adjusted.cost_nano, cast(0 as bigint))
    or adjusted.cost_nano <> adjusted.parts_nano
    or adjusted.first_hour_ms <> adjusted.last_hour_ms
    or adjusted.first_hour_ms < adjusted.adjusts_month_ms
    or closed.day_start_ms is not null
