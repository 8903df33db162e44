-- grain: one row per change of the list price of an instance type in a region, or in one zone of it (else zone is NULL)
-- guarantee: one row per price and instant; price_nano is NULL where the provider withdrew it
-- inputs: lake.prices
{{ config(materialized='table') }}
with facts as (
    select
        provider,
        region,
        zone,
        instance_type,
        capacity_type,
        {{ ms('valid_from_at') }} as valid_from_ms,
        {{ nano('hourly_usd') }} as price_nano,
        source
    from {{ source('lake', 'prices') }}
),

-- Of conflicting facts the higher price stands.
ranked as (
    select
        *,
        cast(row_number() over (
            partition by provider, region, zone, instance_type, capacity_type, valid_from_ms
            order by price_nano desc nulls last, source asc nulls last
        ) as bigint) as preference
    from facts
)

select
    provider,
    region,
    zone,
    instance_type,
    capacity_type,
    valid_from_ms,
    price_nano,
    source
from ranked
where preference = 1
