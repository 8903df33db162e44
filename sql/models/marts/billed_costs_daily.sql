-- grain: one row per charge date, account, service, region, category, way of pricing and status of a bill that counts
-- guarantee: adds up to the bill, to the last digit that it carries
-- inputs: stg_billed_charges
{{ config(materialized='table') }}
select
    {{ date_of('charge_start_ms') }} as charge_date,
    bill_source,
    provider,
    billing_account_id,
    coalesce(sub_account_id, '') as sub_account_id,
    coalesce(service_name, '') as service_name,
    coalesce(region, '') as region,
    charge_category,
    coalesce(pricing_category, '') as pricing_category,
    coalesce(commitment_discount_status, '') as commitment_discount_status,
    coalesce(bill_status, '') as bill_status,
    cast(count(*) as bigint) as charges,
    cast(sum(billed_cost) as decimal(38,18)) as billed_cost,
    cast(sum(coalesce(effective_cost, billed_cost)) as decimal(38,18)) as effective_cost,
    cast(sum(list_cost) as decimal(38,18)) as list_cost
from {{ ref('stg_billed_charges') }}
group by
    {{ date_of('charge_start_ms') }},
    bill_source,
    provider,
    billing_account_id,
    coalesce(sub_account_id, ''),
    coalesce(service_name, ''),
    coalesce(region, ''),
    charge_category,
    coalesce(pricing_category, ''),
    coalesce(commitment_discount_status, ''),
    coalesce(bill_status, '')
