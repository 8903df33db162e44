-- AWS's own report (legacy CUR, and CUR 2.0 of Data Exports). Billed is the unblended cost; effective is what AWS calls amortised:
-- https://docs.aws.amazon.com/cur/latest/userguide/amortized-cost.html. Both are net where the report has the columns of that, "the actual
-- after-discount cost": https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2-line-item.html. A discount's own line is net of
-- nothing then, for it is in the lines that it lowers. Fees of commitments become two charges, as in FOCUS: the
-- purchase, which has no effective cost, and what of it nobody used. Rows of split cost allocation repeat their parent's cost.
with charges as (
    select
        * replace (coalesce(net_unblended_cost, unblended_cost) as unblended_cost),
        coalesce(reservation_net_unused_upfront_fee, reservation_unused_upfront_fee, 0)
        + coalesce(reservation_net_unused_recurring_fee, reservation_unused_recurring_fee, 0) as reservation_unused_cost,
        savings_plan_total_commitment - savings_plan_used_commitment as savings_plan_unused_commitment,
        coalesce(savings_plan_upfront_commitment, 0) + coalesce(savings_plan_recurring_commitment, 0) as savings_plan_commitment,
        coalesce(savings_plan_net_upfront_commitment, savings_plan_upfront_commitment, 0)
        + coalesce(savings_plan_net_recurring_commitment, savings_plan_recurring_commitment, 0) as savings_plan_net_commitment,
        line_item_type in ('RIFee', 'SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee')
        or (line_item_type = 'Fee' and reservation_arn is not null) as is_purchase,
        coalesce(
            usage_end_at,
            cast(cast(nullif(split_part(time_interval, '/', 2), '') as timestamptz) as timestamp),
            usage_start_at
        ) as end_at,
        coalesce(savings_plan_arn, reservation_arn) as commitment_id
    from bill
    where split_parent_resource_id is null or unblended_cost <> 0
),

parts as (
    select
        *,
        0 as source_part,
        unblended_cost as billed_cost,
        case
            when is_purchase or line_item_type = 'SavingsPlanNegation' then 0
            when line_item_type = 'SavingsPlanCoveredUsage' then coalesce(savings_plan_net_effective_cost, savings_plan_effective_cost)
            when line_item_type = 'DiscountedUsage' then coalesce(reservation_net_effective_cost, reservation_effective_cost)
            else unblended_cost
        end as effective_cost,
        case when line_item_type in ('SavingsPlanCoveredUsage', 'DiscountedUsage') then 'Used' end as commitment_status,
        case
            when is_purchase or line_item_type = 'Fee' then 'Purchase'
            when line_item_type = 'Tax' then 'Tax'
            when line_item_type in ('Credit', 'Refund') then 'Credit'
            when line_item_type in ('Usage', 'DiscountedUsage', 'SavingsPlanCoveredUsage', 'SavingsPlanNegation') then 'Usage'
            else 'Adjustment'
        end as charge_category
    from charges
    union all
    select
        *,
        1 as source_part,
        0 as billed_cost,
        -- What is unused of a savings plan is told before discounts: they lower it as they lower the fee. Ten decimals, as AWS has them.
        case
            when line_item_type <> 'SavingsPlanRecurringFee' then reservation_unused_cost
            when savings_plan_commitment in (0, savings_plan_net_commitment) then savings_plan_unused_commitment
            else cast(cast(
                cast(savings_plan_unused_commitment * 10000000000 as hugeint) * cast(savings_plan_net_commitment * 10000000000 as hugeint)
                // cast(savings_plan_commitment * 10000000000 as hugeint) as decimal(38,0)
            ) * cast(0.0000000001 as decimal(10,10)) as decimal(38,18))
        end as effective_cost,
        'Unused' as commitment_status,
        'Usage' as charge_category
    from charges
    where
        (line_item_type = 'SavingsPlanRecurringFee' and savings_plan_unused_commitment <> 0)
        or (line_item_type = 'RIFee' and reservation_unused_cost <> 0)
)

select
    row as source_row,
    source_part,
    'aws' as provider,
    payer_account_id as billing_account_id,
    usage_account_id as sub_account_id,
    coalesce(billing_period_start_at, date_trunc('month', usage_start_at)) as billing_period_start_at,
    billing_period_end_at,
    usage_start_at as charge_period_start_at,
    end_at as charge_period_end_at,
    coalesce(product_name, service_code, product_code) as service_name,
    case product_code when 'AmazonEC2' then 'Compute' end as service_category,
    coalesce(sku, rate_id) as sku_id,
    region,
    zone,
    resource_id,
    product_family as resource_type,
    charge_category,
    case when line_item_type = 'Refund' then 'Correction' end as charge_class,
    description as charge_description,
    case
        when charge_category <> 'Usage' then null
        when commitment_status is not null then 'Committed'
        when regexp_matches(usage_type, 'SpotUsage') then 'Dynamic'
        else 'Standard'
    end as pricing_category,
    usage_amount as pricing_quantity,
    pricing_unit,
    case when source_part = 0 and not is_purchase and line_item_type <> 'SavingsPlanNegation' then usage_amount end as consumed_quantity,
    pricing_unit as consumed_unit,
    commitment_id as commitment_discount_id,
    commitment_status as commitment_discount_status,
    case
        when savings_plan_arn is not null then 'Savings Plan'
        when reservation_arn is not null then 'Reserved Instance'
    end as commitment_discount_type,
    public_on_demand_cost as list_cost,
    cast(null as decimal(38,18)) as contracted_cost,
    cast(effective_cost as decimal(38,18)) as effective_cost,
    cast(billed_cost as decimal(38,18)) as billed_cost,
    currency,
    -- Whose tag it is goes before its name in every form of the report: `user:team`, `user_team`.
    map_from_entries(list_transform(
        map_entries(cast(cast(tags as json) as map(varchar, varchar))),
        lambda tag: struct_pack(k := regexp_replace(tag.key, '^user[:_]', ''), v := tag.value)
    )) as tags,
    usage_type,
    operation,
    coalesce(
        instance_type,
        nullif(regexp_extract(usage_type, '(?:BoxUsage|SpotUsage|DedicatedUsage):(.+)$', 1), '')
    ) as instance_type,
    -- An invoice has a number once the month is closed.
    case when invoice_id is not null then 'final' end as bill_status
from parts
