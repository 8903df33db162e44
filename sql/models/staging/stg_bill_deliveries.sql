-- grain: one row per delivery of a bill and time that it settles
-- guarantee: exactly one delivery of a source, account and time is the newest; Cost Explorer settles each time of its answers for itself,
--     and counts only in months of which there is no other bill of the provider
-- inputs: lake.billed_charges
{{ config(materialized='table') }}
with facts as (
    select distinct
        bill_source,
        bill_format,
        provider,
        coalesce(billing_account_id, '') as billing_account_id,
        delivery,
        source_file,
        source_row,
        source_part,
        {{ ms('delivered_at') }} as delivered_ms,
        {{ ms('billing_period_start_at') }} as billing_period_start_ms,
        case
            when bill_format = 'cost-explorer' then {{ ms('charge_period_start_at') }}
            else {{ ms('billing_period_start_at') }}
        end as settled_ms,
        billed_cost,
        coalesce(effective_cost, billed_cost) as effective_cost
    from {{ source('lake', 'billed_charges') }}
),

deliveries as (
    select
        bill_source,
        bill_format,
        provider,
        billing_account_id,
        billing_period_start_ms,
        settled_ms,
        delivery,
        max(delivered_ms) as delivered_ms,
        count(*) as charges,
        cast(sum(billed_cost) as decimal(38,18)) as billed_cost,
        cast(sum(effective_cost) as decimal(38,18)) as effective_cost
    from facts
    group by
        bill_source,
        bill_format,
        provider,
        billing_account_id,
        billing_period_start_ms,
        settled_ms,
        delivery
),

months as (
    select distinct
        provider,
        billing_period_start_ms
    from deliveries
    where bill_format <> 'cost-explorer'
),

numbered as (
    select
        *,
        cast(row_number() over (
            partition by bill_source, provider, billing_account_id, settled_ms
            order by delivered_ms asc nulls first, delivery asc nulls first
        ) as bigint) as revision,
        cast(row_number() over (
            partition by bill_source, provider, billing_account_id, settled_ms
            order by delivered_ms desc nulls last, delivery desc nulls last
        ) as bigint) as age
    from deliveries
)

select
    numbered.bill_source,
    numbered.bill_format,
    numbered.provider,
    numbered.billing_account_id,
    numbered.billing_period_start_ms,
    numbered.settled_ms,
    numbered.delivery,
    numbered.delivered_ms,
    numbered.revision,
    numbered.age = 1 as is_newest,
    numbered.age = 1 and (numbered.bill_format <> 'cost-explorer' or months.provider is null) as is_counted,
    numbered.charges,
    numbered.billed_cost,
    numbered.effective_cost
from numbered
left join months
    on numbered.provider = months.provider and numbered.billing_period_start_ms = months.billing_period_start_ms
