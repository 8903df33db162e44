-- Answers of AWS's Cost Explorer: one charge per time and group, as coarse as what was asked.
select
    row as source_row,
    0 as source_part,
    'aws' as provider,
    cast(null as varchar) as billing_account_id,
    linked_account as sub_account_id,
    date_trunc('month', start_at) as billing_period_start_at,
    cast(null as timestamp) as billing_period_end_at,
    start_at as charge_period_start_at,
    end_at as charge_period_end_at,
    service as service_name,
    cast(null as varchar) as service_category,
    cast(null as varchar) as sku_id,
    region,
    zone,
    cast(null as varchar) as resource_id,
    cast(null as varchar) as resource_type,
    case
        when record_type in ('Credit', 'Refund') then 'Credit'
        when record_type = 'Tax' or service = 'Tax' then 'Tax'
        when record_type in ('Fee', 'RIFee', 'SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee', 'Recurring', 'Upfront') then 'Purchase'
        when record_type in ('Support', 'Other') or record_type like '%Discount' then 'Adjustment'
        else 'Usage'
    end as charge_category,
    case when record_type = 'Refund' then 'Correction' end as charge_class,
    record_type as charge_description,
    case when regexp_matches(usage_type, 'SpotUsage') then 'Dynamic' end as pricing_category,
    cast(null as decimal(38,18)) as pricing_quantity,
    cast(null as varchar) as pricing_unit,
    usage_quantity as consumed_quantity,
    nullif(usage_unit, 'N/A') as consumed_unit,
    cast(null as varchar) as commitment_discount_id,
    cast(null as varchar) as commitment_discount_status,
    cast(null as varchar) as commitment_discount_type,
    cast(null as decimal(38,18)) as list_cost,
    cast(null as decimal(38,18)) as contracted_cost,
    amortized_cost as effective_cost,
    unblended_cost as billed_cost,
    currency,
    cast(cast(tags as json) as map(varchar, varchar)) as tags,
    usage_type,
    operation,
    -- Cost Explorer answers by two things at most; the usage type tells the instance type too.
    coalesce(instance_type, nullif(regexp_extract(usage_type, '(?:BoxUsage|SpotUsage|DedicatedUsage):(.+)$', 1), '')) as instance_type,
    case estimated when 'true' then 'estimated' else 'final' end as bill_status
from bill
