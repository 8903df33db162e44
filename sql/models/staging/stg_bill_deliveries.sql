-- grain: one row per delivery of a bill and time that it settles
-- guarantee: exactly one delivery of a source, account and time is the newest; Cost Explorer settles each time of its answers for itself,
--     replaces whatever it had answered of any part of that time, and counts only in months of which there is no other bill of the provider
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
        {{ ms('charge_period_end_at') }} as charge_end_ms,
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
        max(charge_end_ms) as settled_to_ms,
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

-- Times of answers that a later answer, to a question by hours, days or months, tells anew.
replaced as (
    select distinct
        older.bill_source,
        older.provider,
        older.billing_account_id,
        older.delivery,
        older.settled_ms
    from deliveries as older
    inner join deliveries as newer
        on older.bill_source = newer.bill_source
        and older.provider = newer.provider
        and older.billing_account_id = newer.billing_account_id
        and newer.settled_ms < older.settled_to_ms
        and newer.settled_to_ms > older.settled_ms
    where
        older.bill_format = 'cost-explorer'
        and newer.bill_format = 'cost-explorer'
        and (
            coalesce(newer.delivered_ms, cast(0 as bigint)) > coalesce(older.delivered_ms, cast(0 as bigint))
            or (
                coalesce(newer.delivered_ms, cast(0 as bigint)) = coalesce(older.delivered_ms, cast(0 as bigint))
                and newer.delivery > older.delivery
            )
        )
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
    numbered.age = 1 and replaced.delivery is null as is_newest,
    numbered.age = 1 and replaced.delivery is null and (numbered.bill_format <> 'cost-explorer' or months.provider is null) as is_counted,
    numbered.charges,
    numbered.billed_cost,
    numbered.effective_cost
from numbered
left join months
    on numbered.provider = months.provider and numbered.billing_period_start_ms = months.billing_period_start_ms
left join replaced
    on numbered.bill_source = replaced.bill_source
    and numbered.provider = replaced.provider
    and numbered.billing_account_id = replaced.billing_account_id
    and numbered.delivery = replaced.delivery
    and numbered.settled_ms = replaced.settled_ms
