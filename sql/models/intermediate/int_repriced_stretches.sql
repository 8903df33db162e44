-- grain: one row per closed month, machine and stretch of time of which the price was known, or known to be none, when it was closed
-- guarantee: price_nano is what bills say now; where neither now nor then a bill speaks it is closed_price_nano: other prices, and time that
--     was seen later, change nothing
-- inputs: stg_closed_prices, int_machine_prices
{{ config(materialized='view') }}
with closed as (
    select
        *,
        {{ days('from_ms', 'to_ms') }} as day_start_ms
    from {{ ref('stg_closed_prices') }}
    where is_newest
),

spans as (
    select
        cluster,
        machine,
        min(from_ms) as from_ms,
        max(to_ms) as to_ms
    from {{ ref('stg_closed_prices') }}
    group by
        cluster,
        machine
),

known as (
    select
        prices.cluster,
        prices.machine,
        prices.price_nano,
        coalesce(prices.price_source = 'billed', false) as is_billed,
        greatest(prices.from_ms, spans.from_ms) as from_ms,
        least(prices.to_ms, spans.to_ms) as to_ms
    from {{ ref('int_machine_prices') }} as prices
    inner join spans on prices.cluster = spans.cluster and prices.machine = spans.machine
),

known_days as (
    select
        *,
        {{ days('from_ms', 'to_ms') }} as day_start_ms
    from known
)

select
    closed.month_start_ms,
    closed.cluster,
    closed.machine,
    greatest(closed.from_ms, known_days.from_ms, closed.day_start_ms) as from_ms,
    least(closed.to_ms, known_days.to_ms, closed.day_start_ms + 86400000) as to_ms,
    closed.price_nano as closed_price_nano,
    closed.is_billed as closed_is_billed,
    case when closed.is_billed or known_days.is_billed then known_days.price_nano else closed.price_nano end as price_nano,
    known_days.is_billed
from closed
inner join known_days
    on closed.cluster = known_days.cluster
    and closed.machine = known_days.machine
    and closed.day_start_ms = known_days.day_start_ms
where closed.from_ms < known_days.to_ms and closed.to_ms > known_days.from_ms
