-- grain: one row per closed month, machine, stretch of time and close that told it: what an hour of it cost as far as that close knew
-- guarantee: the stretches of a machine and month that one close told do not overlap. The month's own close tells all machines (`is_first`); the close of a
--     month in which it is adjusted tells those that are adjusted once more, and then that counts (`is_newest`)
-- inputs: lake.closed_prices, stg_closed_months
{{ config(materialized='table') }}
with facts as (
    select distinct
        {{ ms('month_start_at') }} as closed_with_ms,
        {{ ms('priced_month_at') }} as month_start_ms,
        cluster,
        machine,
        {{ ms('start_at') }} as from_ms,
        {{ ms('end_at') }} as to_ms,
        price_nano,
        price_source = 'billed' as is_billed
    from {{ source('lake', 'closed_prices') }}
),

ranked as (
    select
        facts.*,
        cast(rank() over (
            partition by facts.month_start_ms, facts.cluster, facts.machine
            order by months.closed_ms desc nulls last, facts.closed_with_ms desc nulls last
        ) as bigint) as age
    from facts
    inner join {{ ref('stg_closed_months') }} as months on facts.closed_with_ms = months.month_start_ms
)

select
    month_start_ms,
    cluster,
    machine,
    from_ms,
    to_ms,
    price_nano,
    is_billed,
    closed_with_ms = month_start_ms as is_first,
    age = 1 as is_newest
from ranked
