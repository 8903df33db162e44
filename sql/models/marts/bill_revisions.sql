-- grain: one row per delivery of a bill and time that it settles
-- guarantee: of the deliveries of one source, account and time the differences add up to what the newest says
-- inputs: stg_bill_deliveries
{{ config(materialized='view') }}
select
    bill_source,
    bill_format,
    provider,
    billing_account_id,
    {{ date_of('billing_period_start_ms') }} as billing_period_start_date,
    {{ date_of('settled_ms') }} as settled_date,
    delivery,
    {{ at('delivered_ms') }} as delivered_at,
    revision,
    is_newest,
    is_counted,
    cast(charges as bigint) as charges,
    billed_cost,
    effective_cost,
    cast(billed_cost - coalesce(lag(billed_cost) over (
        partition by bill_source, provider, billing_account_id, settled_ms order by revision asc nulls last
    ), cast(0 as decimal(38,18))) as decimal(38,18)) as billed_cost_change
from {{ ref('stg_bill_deliveries') }}
