-- grain: one row per closed month and hour of a volume, load balancer or control plane that was there when it was closed, and is now
-- guarantee: cost_nano is what bills say now; where neither now nor then a bill speaks it is closed_cost_nano: other prices, and hours that were seen later,
--     change nothing
-- inputs: stg_closed_services, stg_closed_days, int_service_hours, int_billed_service_hours
{{ config(materialized='view') }}
with known as (
    select
        hours.cluster,
        hours.service_kind,
        hours.service_id,
        hours.hour_start_ms,
        cast(sum(coalesce(hours.cost_nano, cast(0 as bigint))) as bigint) as cost_nano
    from {{ ref('int_service_hours') }} as hours
    inner join {{ ref('stg_closed_days') }} as days on hours.hour_start_ms - hours.hour_start_ms % 86400000 = days.day_start_ms
    group by
        hours.cluster,
        hours.service_kind,
        hours.service_id,
        hours.hour_start_ms
),

billed as (
    select distinct
        cluster,
        service_kind,
        service_id,
        hour_start_ms
    from {{ ref('int_billed_service_hours') }}
)

select
    closed.month_start_ms,
    known.cluster,
    known.service_kind,
    known.service_id,
    known.hour_start_ms,
    coalesce(closed.hour_cost_nano, cast(0 as bigint)) as closed_cost_nano,
    case
        when closed.is_billed or billed.cluster is not null then known.cost_nano
        else coalesce(closed.hour_cost_nano, cast(0 as bigint))
    end as cost_nano,
    billed.cluster is not null as is_billed
from {{ ref('stg_closed_services') }} as closed
inner join known
    on closed.cluster = known.cluster
    and closed.service_kind = known.service_kind
    and closed.service_id = known.service_id
    and closed.from_ms <= known.hour_start_ms
    and closed.to_ms > known.hour_start_ms
left join billed
    on known.cluster = billed.cluster
    and known.service_kind = billed.service_kind
    and known.service_id = billed.service_id
    and known.hour_start_ms = billed.hour_start_ms
where closed.is_newest
