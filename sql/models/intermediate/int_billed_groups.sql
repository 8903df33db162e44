-- grain: one row per charged time of a resource (or of machines of a kind) that is known
-- guarantee: unseen_nano is what time was charged for that nobody saw; negative where less was charged for than was seen
-- inputs: int_billed_machines
{{ config(materialized='view') }}
with charged as (
    select distinct
        provider,
        billing_account_id,
        matched_by,
        group_key,
        charge_start_ms,
        charge_end_ms,
        price_nano,
        cost_atto,
        group_seen_ms,
        billed_ms - group_seen_ms as unseen_ms
    from {{ ref('int_billed_machines') }}
)

select
    *,
    charge_start_ms - charge_start_ms % 86400000 as day_start_ms,
    -- What the charge has left when the seen time is paid at the price, which is rounded: so the rounding of many hours is not in it.
    case
        when unseen_ms = 0 then cast(0 as bigint)
        else cast({{ wide_idiv('cost_atto * cast(3600000 as decimal(7,0)) - cast(price_nano as decimal(19,0)) * cast(group_seen_ms as decimal(19,0)) * cast(1000000000 as decimal(10,0))', 'cast(3600000000000000 as decimal(38,0))') }} as bigint)
    end as unseen_nano
from charged
