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
        billed_ms - group_seen_ms as unseen_ms
    from {{ ref('int_billed_machines') }}
)

select
    *,
    charge_start_ms - charge_start_ms % 86400000 as day_start_ms,
    cast({{ wide_idiv('cast(price_nano as decimal(19,0)) * cast(unseen_ms as decimal(19,0))', 'cast(3600000 as decimal(38,0))') }} as bigint) as unseen_nano
from charged
