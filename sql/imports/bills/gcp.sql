-- Google's detailed or standard usage cost export. `cost` is before credits, and what is paid is both together. Discounts that are
-- earned by using (committed and sustained use, contracts) lower what the resource costs effectively; promotions and free tiers are
-- credits of their own. So a row becomes the charge and up to two credits.
with charges as (
    select
        *,
        from_json(
            coalesce(credits, '[]'),
            '[{"amount": "VARCHAR", "name": "VARCHAR", "type": "VARCHAR"}]'
        ) as credit_list,
        from_json(coalesce(labels, '[]'), '[{"key": "VARCHAR", "value": "VARCHAR"}]') as label_list,
        from_json(coalesce(system_labels, '[]'), '[{"key": "VARCHAR", "value": "VARCHAR"}]') as system_label_list
    from bill
),

credited as (
    select
        *,
        list_filter(
            credit_list,
            lambda credit: credit.type is null or credit.type in ('PROMOTION', 'FREE_TIER', 'CREDIT_TYPE_UNSPECIFIED')
        ) as promotions,
        list_filter(
            credit_list,
            lambda credit: credit.type is not null and credit.type not in ('PROMOTION', 'FREE_TIER', 'CREDIT_TYPE_UNSPECIFIED')
        ) as discounts
    from charges
),

summed as (
    select
        *,
        coalesce(list_sum(list_transform(promotions, lambda credit: cast(credit.amount as decimal(38,18)))), 0) as promoted,
        coalesce(list_sum(list_transform(discounts, lambda credit: cast(credit.amount as decimal(38,18)))), 0) as discounted
    from credited
),

parts as (
    select
        *,
        0 as source_part,
        cost as billed_cost,
        cost + discounted as effective_cost,
        description as part_description
    from summed
    union all
    select
        *,
        1 as source_part,
        discounted as billed_cost,
        0 as effective_cost,
        discounts[1].name as part_description
    from summed
    where len(discounts) > 0
    union all
    select
        *,
        2 as source_part,
        promoted as billed_cost,
        promoted as effective_cost,
        promotions[1].name as part_description
    from summed
    where len(promotions) > 0
)

select
    row as source_row,
    source_part,
    'gcp' as provider,
    billing_account_id,
    project_id as sub_account_id,
    coalesce(
        try_strptime(replace(invoice_month, '-', ''), '%Y%m'),
        date_trunc('month', usage_start_at)
    ) as billing_period_start_at,
    cast(null as timestamp) as billing_period_end_at,
    usage_start_at as charge_period_start_at,
    usage_end_at as charge_period_end_at,
    service_name,
    case service_name when 'Compute Engine' then 'Compute' end as service_category,
    sku_id,
    region,
    zone,
    coalesce(resource_name, resource_global_name) as resource_id,
    cast(null as varchar) as resource_type,
    case
        when source_part > 0 then 'Credit'
        when cost_type = 'tax' then 'Tax'
        when cost_type in ('adjustment', 'rounding_error') then 'Adjustment'
        else 'Usage'
    end as charge_category,
    case when cost_type = 'adjustment' then 'Correction' end as charge_class,
    part_description as charge_description,
    case
        when source_part > 0 or cost_type <> 'regular' then null
        when regexp_matches(description, '^(Spot )?Preemptible|^Spot ') then 'Dynamic'
        when list_contains(list_transform(discounts, lambda credit: starts_with(credit.type, 'COMMITTED_USAGE')), true) then 'Committed'
        else 'Standard'
    end as pricing_category,
    pricing_quantity,
    pricing_unit,
    case when source_part = 0 then usage_amount end as consumed_quantity,
    usage_unit as consumed_unit,
    cast(null as varchar) as commitment_discount_id,
    cast(null as varchar) as commitment_discount_status,
    cast(null as varchar) as commitment_discount_type,
    case when source_part = 0 then list_cost end as list_cost,
    case when source_part = 0 then cost end as contracted_cost,
    cast(effective_cost as decimal(38,18)) as effective_cost,
    cast(billed_cost as decimal(38,18)) as billed_cost,
    currency,
    map_from_entries(list_transform(list_distinct(label_list), lambda label: struct_pack(k := label.key, v := label.value))) as tags,
    description as usage_type,
    cast(null as varchar) as operation,
    list_filter(system_label_list, lambda label: label.key = 'compute.googleapis.com/machine_spec')[1].value as instance_type,
    cast(null as varchar) as bill_status
from parts
