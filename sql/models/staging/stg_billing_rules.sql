-- grain: one row per rule of how a provider bills a capacity type, while it holds
-- guarantee: [valid_from_ms, valid_to_ms) of one provider and capacity type do not overlap
-- inputs: lake.billing_rules
{{ config(materialized='table') }}
with facts as (
    select distinct
        provider,
        capacity_type,
        {{ ms('valid_from_at') }} as valid_from_ms,
        minimum_ms,
        rounding_ms,
        interruption_refund_ms
    from {{ source('lake', 'billing_rules') }}
)

select
    *,
    coalesce(
        lead(valid_from_ms) over (
            partition by provider, capacity_type
            order by
                valid_from_ms asc nulls last,
                minimum_ms asc nulls last,
                rounding_ms asc nulls last,
                interruption_refund_ms asc nulls last
        ),
        cast(9223372036854775807 as bigint)
    ) as valid_to_ms
from facts
