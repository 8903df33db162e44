-- grain: one row per price of a service's item while it holds
-- guarantee: [valid_from_ms, valid_to_ms) of one item do not overlap; NULL where withdrawn
-- inputs: lake.service_prices
{{ config(materialized='table') }}
with facts as (
    select
        provider,
        region,
        service,
        item,
        unit,
        {{ ms('valid_from_at') }} as valid_from_ms,
        {{ nano('price_usd') }} as price_nano,
        source
    from {{ source('lake', 'service_prices') }}
),

ranked as (
    select
        *,
        cast(row_number() over (
            partition by provider, region, service, item, unit, valid_from_ms
            order by price_nano desc nulls last, source asc nulls last
        ) as bigint) as preference
    from facts
)

select
    provider,
    region,
    service,
    item,
    unit,
    valid_from_ms,
    coalesce(
        lead(valid_from_ms) over (
            partition by provider, region, service, item, unit
            order by valid_from_ms asc nulls last
        ),
        cast(9223372036854775807 as bigint)
    ) as valid_to_ms,
    price_nano,
    source
from ranked
where preference = 1
