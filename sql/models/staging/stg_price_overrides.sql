-- grain: one row per price that somebody declared for a machine, node, label, pool, instance type, GPU or storage
-- guarantee: one row per selector, region and instant; price_nano is NULL where the declaration ends
-- inputs: lake.price_overrides, `vars: price_overrides` (which speak before facts)
{{ config(materialized='table') }}
with facts as (
    select
        selector,
        coalesce(selector_key, '') as selector_key,
        selector_value,
        coalesce(region, '') as region,
        {{ ms('valid_from_at') }} as valid_from_ms,
        {{ nano('hourly_usd') }} as price_nano,
        source,
        cast(2 as bigint) as rank
    from {{ source('lake', 'price_overrides') }}
{%- for entry in var('price_overrides') %}
    union all
    select
        {{ quoted(entry.selector) }} as selector,
        {{ quoted(entry.selector_key) }} as selector_key,
        {{ quoted(entry.selector_value) }} as selector_value,
        {{ quoted(entry.region) }} as region,
        cast({{ entry.valid_from_ms }} as bigint) as valid_from_ms,
        cast({{ entry.price_nano }} as bigint) as price_nano,
        {{ quoted(entry.source) }} as source,
        cast(1 as bigint) as rank
{%- endfor %}
),

ranked as (
    select
        *,
        cast(row_number() over (
            partition by selector, selector_key, selector_value, region, valid_from_ms
            order by rank asc nulls last, price_nano desc nulls last, source asc nulls last
        ) as bigint) as preference
    from facts
)

select
    selector,
    selector_key,
    selector_value,
    region,
    valid_from_ms,
    price_nano,
    source
from ranked
where preference = 1
