-- A FOCUS export (1.0 to 1.4): one charge per row. What AWS adds (`x_UsageType`, `x_Operation`) is taken where it is there.
select
    row as source_row,
    0 as source_part,
    case
        when lower(provider) in ('aws', 'amazon web services', 'amazon') then 'aws'
        when lower(provider) in ('microsoft', 'azure', 'microsoft azure') then 'azure'
        when lower(provider) in ('google', 'gcp', 'google cloud', 'google cloud platform') then 'gcp'
        else lower(provider)
    end as provider,
    billing_account_id,
    sub_account_id,
    billing_period_start_at,
    billing_period_end_at,
    charge_period_start_at,
    charge_period_end_at,
    service_name,
    service_category,
    sku_id,
    region,
    zone,
    resource_id,
    resource_type,
    charge_category,
    charge_class,
    charge_description,
    pricing_category,
    pricing_quantity,
    pricing_unit,
    consumed_quantity,
    consumed_unit,
    commitment_discount_id,
    commitment_discount_status,
    commitment_discount_type,
    list_cost,
    contracted_cost,
    effective_cost,
    billed_cost,
    currency,
    cast(cast(tags as json) as map(varchar, varchar)) as tags,
    usage_type,
    operation,
    coalesce(
        instance_type,
        cast(sku_price_details as json) ->> '$.InstanceType',
        nullif(regexp_extract(usage_type, '(?:BoxUsage|SpotUsage|DedicatedUsage):(.+)$', 1), '')
    ) as instance_type,
    cast(null as varchar) as bill_status
from bill
