-- Azure's cost details, actual or amortised. An actual export charges nothing for what a reservation or savings plan covers, and
-- does not tell what that cost effectively.
with charges as (
    select
        *,
        coalesce(lower(charge_type), 'usage') as kind,
        coalesce(lower(pricing_model), '') in ('reservation', 'savingsplan', 'savings plan') as is_committed,
        -- A machine of a scale set is named in what is told of it besides; the resource is the set.
        case
            when regexp_matches(resource, '(?i)/virtualMachineScaleSets/[^/]+$')
                then resource || coalesce('/virtualMachines/' || nullif(regexp_extract(additional_info, '"VMName"[ ]*:[ ]*"[^"]*_([0-9]+)"', 1), ''), '')
            else resource
        end as machine_resource
    from bill
)

select
    row as source_row,
    0 as source_part,
    'azure' as provider,
    billing_account_id,
    subscription_id as sub_account_id,
    coalesce(billing_period_start_at, date_trunc('month', usage_at)) as billing_period_start_at,
    cast(null as timestamp) as billing_period_end_at,
    usage_at as charge_period_start_at,
    usage_at + interval 1 day as charge_period_end_at,
    coalesce(meter_category, product_name) as service_name,
    case meter_category when 'Virtual Machines' then 'Compute' else service_family end as service_category,
    meter_id as sku_id,
    lower(replace(region, ' ', '')) as region,
    zone,
    machine_resource as resource_id,
    coalesce(resource_type, consumed_service) as resource_type,
    case
        when kind in ('purchase', 'credit', 'tax') then concat(upper(kind[1]), kind[2:])
        when kind in ('refund', 'adjustment', 'roundingadjustment') then 'Adjustment'
        else 'Usage'
    end as charge_category,
    case when kind = 'refund' then 'Correction' end as charge_class,
    coalesce(meter_name, product_name) as charge_description,
    case
        when kind not in ('usage', 'unusedreservation', 'unusedsavingsplan') then null
        when is_committed or kind <> 'usage' then 'Committed'
        when lower(pricing_model) = 'spot' or regexp_matches(meter_name, ' Spot$') then 'Dynamic'
        else 'Standard'
    end as pricing_category,
    quantity as pricing_quantity,
    unit as pricing_unit,
    quantity as consumed_quantity,
    unit as consumed_unit,
    coalesce(reservation_id, benefit_id) as commitment_discount_id,
    case
        when kind in ('unusedreservation', 'unusedsavingsplan') then 'Unused'
        when is_committed then 'Used'
    end as commitment_discount_status,
    case when is_committed or kind in ('unusedreservation', 'unusedsavingsplan') then pricing_model end as commitment_discount_type,
    payg_cost as list_cost,
    cast(null as decimal(38,18)) as contracted_cost,
    case when is_committed and cost = 0 then null else cost end as effective_cost,
    cost as billed_cost,
    currency,
    cast(cast(tags as json) as map(varchar, varchar)) as tags,
    meter_subcategory as usage_type,
    cast(null as varchar) as operation,
    nullif(regexp_extract(additional_info, '"ServiceType"[ ]*:[ ]*"([^"]*)"', 1), '') as instance_type,
    cast(null as varchar) as bill_status
from charges
