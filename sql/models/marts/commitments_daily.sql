-- grain: one row per charge date, billing account and savings plan or reservation
-- guarantee: used_cost + unused_cost is what the commitment cost effectively that day; the coverage of an account's commitments adds up to what was covered
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
        case when is_machine then machine_ms end as covered_ms,
        commitment_discount_status = 'Used' as is_used
    from {{ ref('stg_billed_charges') }}
    where commitment_discount_status is not null and commitment_discount_id is not null
),

commitments as (
    select
        {{ date_of('charge_start_ms') }} as charge_date,
        provider,
        billing_account_id,
        commitment_discount_id,
        max(commitment_discount_type) as commitment_discount_type,
        cast(sum(case when is_used then effective_cost else cast(0 as decimal(38,18)) end) as decimal(38,18)) as used_cost,
        cast(sum(case when is_used then cast(0 as decimal(38,18)) else effective_cost end) as decimal(38,18)) as unused_cost,
        {{ ratio('sum(case when is_used then effective_atto else cast(0 as decimal(38,0)) end)', 'sum(effective_atto)') }} as utilization,
        cast(sum(case when is_used then covered_ms end) as bigint) as covered_ms
    from charges
    where effective_atto is not null
    group by
        {{ date_of('charge_start_ms') }},
        provider,
        billing_account_id,
        commitment_discount_id
),

-- What could have been covered: no commitment is for spot.
eligible as (
    select
        {{ date_of('charge_start_ms') }} as charge_date,
        provider,
        billing_account_id,
        cast(sum(machine_ms) as bigint) as eligible_ms
    from {{ ref('stg_billed_charges') }}
    where is_machine and coalesce(pricing_category, '') <> 'Dynamic'
    group by
        {{ date_of('charge_start_ms') }},
        provider,
        billing_account_id
)

select
    commitments.*,
    eligible.eligible_ms,
    {{ ratio('commitments.covered_ms', 'eligible.eligible_ms') }} as coverage
from commitments
left join eligible
    on commitments.charge_date = eligible.charge_date
    and commitments.provider = eligible.provider
    and commitments.billing_account_id = eligible.billing_account_id
