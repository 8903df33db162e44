-- grain: one row per charged time of a volume or load balancer that is known
-- guarantee: unseen_nano is what the time costs in which it was there and nobody saw it
-- inputs: int_billed_services
{{ config(materialized='view') }}
with charged as (
    select distinct
        provider,
        billing_account_id,
        group_key,
        charge_start_ms,
        charge_end_ms,
        cost_atto,
        group_ms,
        group_seen_ms
    from {{ ref('int_billed_services') }}
)

select
    *,
    charge_start_ms - charge_start_ms % 86400000 as day_start_ms,
    cast({{ wide_idiv("cost_atto * cast(group_ms - group_seen_ms as decimal(14,0))", "cast(group_ms as decimal(19,0)) * cast(1000000000 as decimal(10,0))") }} as bigint) as unseen_nano
from charged
