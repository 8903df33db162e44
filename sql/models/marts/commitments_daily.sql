-- grain: one row per charge date, billing account and savings plan or reservation
-- guarantee: used_cost + unused_cost is what the commitment cost effectively that day
-- inputs: stg_billed_charges
{{ config(materialized='view') }}
with charges as (
    select
        charge_start_ms,
        provider,
        billing_account_id,
        commitment_discount_id,
        commitment_discount_type,
        effective_cost,
        effective_atto,
        commitment_discount_status = 'Used' as is_used
    from {{ ref('stg_billed_charges') }}
    where commitment_discount_status is not null and commitment_discount_id is not null
)

select
    {{ date_of('charge_start_ms') }} as charge_date,
    provider,
    billing_account_id,
    commitment_discount_id,
    max(commitment_discount_type) as commitment_discount_type,
    cast(sum(case when is_used then effective_cost else cast(0 as decimal(38,18)) end) as decimal(38,18)) as used_cost,
    cast(sum(case when is_used then cast(0 as decimal(38,18)) else effective_cost end) as decimal(38,18)) as unused_cost,
    {{ ratio('sum(case when is_used then effective_atto else cast(0 as decimal(38,0)) end)', 'sum(effective_atto)') }} as utilization
from charges
where effective_atto is not null
group by
    {{ date_of('charge_start_ms') }},
    provider,
    billing_account_id,
    commitment_discount_id
