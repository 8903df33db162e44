-- grain: one row per closed month, volume, load balancer or control plane, stretch of hours and close that told it: what each of them cost as far as that close
--     knew
-- guarantee: the stretches of one and a month that one close told do not overlap. The month's own close tells all (`is_first`); the close of a month in which
--     one is adjusted tells it once more, and then that counts (`is_newest`)
-- inputs: lake.closed_services, stg_closed_months
{{ config(materialized='table') }}
with facts as (
    select distinct
        {{ ms('month_start_at') }} as closed_with_ms,
        {{ ms('priced_month_at') }} as month_start_ms,
        cluster,
        service_kind,
        service_id,
        {{ ms('start_at') }} as from_ms,
        {{ ms('end_at') }} as to_ms,
        hour_cost_nano,
        price_source = 'billed' as is_billed
    from {{ source('lake', 'closed_services') }}
),

ranked as (
    select
        facts.*,
        cast(rank() over (
            partition by facts.month_start_ms, facts.cluster, facts.service_kind, facts.service_id
            order by months.closed_ms desc nulls last, facts.closed_with_ms desc nulls last
        ) as bigint) as age
    from facts
    inner join {{ ref('stg_closed_months') }} as months on facts.closed_with_ms = months.month_start_ms
)

select
    month_start_ms,
    cluster,
    service_kind,
    service_id,
    from_ms,
    to_ms,
    hour_cost_nano,
    is_billed,
    closed_with_ms = month_start_ms as is_first,
    age = 1 as is_newest
from ranked
