-- grain: one row per price of an instance type while it holds
-- guarantee: [valid_from_ms, valid_to_ms) of one price key do not overlap; price_nano is NULL where the provider withdrew it
-- inputs: lake.prices
{{ config(materialized='table') }}
with facts as (
    select distinct
        provider,
        region,
        instance_type,
        capacity_type,
        {{ ms('valid_from_at') }} as valid_from_ms,
        {{ nano('hourly_usd') }} as price_nano,
        source
    from {{ source('lake', 'prices') }}
)

select
    provider,
    region,
    instance_type,
    capacity_type,
    valid_from_ms,
    coalesce(
        lead(valid_from_ms) over (
            partition by provider, region, instance_type, capacity_type
            order by valid_from_ms asc nulls last, price_nano asc nulls first, source asc nulls last
        ),
        cast(9223372036854775807 as bigint)
    ) as valid_to_ms,
    price_nano,
    source
from facts
