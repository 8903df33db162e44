-- grain: one row per charge of the bills that count: of each source, account and billing period the newest delivery
-- guarantee: a charge that is told twice is one; machine_key is NULL where a charge names no resource
-- inputs: lake.billed_charges, stg_bill_deliveries
{{ config(materialized='table') }}
with charges as (
    select
        bill_source,
        bill_format,
        delivery,
        source_file,
        source_row,
        source_part,
        {{ ms('delivered_at') }} as delivered_ms,
        provider,
        coalesce(billing_account_id, '') as billing_account_id,
        sub_account_id,
        {{ ms('billing_period_start_at') }} as billing_period_start_ms,
        {{ ms('charge_period_start_at') }} as charge_start_ms,
        {{ ms('charge_period_end_at') }} as charge_end_ms,
        case
            when bill_format = 'cost-explorer' then {{ ms('charge_period_start_at') }}
            else {{ ms('billing_period_start_at') }}
        end as settled_ms,
        service_name,
        service_category,
        sku_id,
        region,
        zone,
        resource_id,
        charge_category,
        charge_class,
        charge_description,
        pricing_category,
        consumed_quantity,
        consumed_unit,
        commitment_discount_id,
        commitment_discount_status,
        commitment_discount_type,
        list_cost,
        effective_cost,
        billed_cost,
        tags,
        usage_type,
        instance_type,
        bill_status
    from {{ source('lake', 'billed_charges') }}
),

numbered as (
    select
        charges.*,
        cast(row_number() over (
            partition by charges.bill_source, charges.delivery, charges.source_file, charges.source_row, charges.source_part
            order by charges.delivered_ms desc nulls last, charges.billing_account_id asc nulls last
        ) as bigint) as occurrence
    from charges
    inner join {{ ref('stg_bill_deliveries') }} as deliveries
        on charges.bill_source = deliveries.bill_source
        and charges.provider = deliveries.provider
        and charges.billing_account_id = deliveries.billing_account_id
        and charges.settled_ms = deliveries.settled_ms
        and charges.billing_period_start_ms = deliveries.billing_period_start_ms
        and charges.delivery = deliveries.delivery
    where deliveries.is_counted
)

select
    charges.bill_source,
    charges.bill_format,
    charges.delivery,
    charges.source_file,
    charges.source_row,
    charges.source_part,
    charges.provider,
    charges.billing_account_id,
    charges.sub_account_id,
    charges.billing_period_start_ms,
    charges.charge_start_ms,
    charges.charge_end_ms,
    charges.service_name,
    charges.service_category,
    charges.sku_id,
    charges.region,
    charges.zone,
    charges.resource_id,
    {{ machine_key('charges.resource_id') }} as machine_key,
    {{ service_key('charges.resource_id') }} as service_key,
    charges.charge_category,
    charges.charge_class,
    charges.charge_description,
    charges.pricing_category,
    charges.commitment_discount_id,
    charges.commitment_discount_status,
    charges.commitment_discount_type,
    charges.instance_type,
    charges.usage_type,
    charges.bill_status,
    coalesce({{ is_machine_charge('charges') }}, false) as is_machine,
    {{ in_billing_scope('charges') }} as is_in_scope,
    -- How long a machine was billed for; NULL where the charge does not count hours of machines.
    case
        when {{ hours_unit('charges') }} and charges.consumed_quantity >= 0
            then cast({{ wide_idiv(atto('charges.consumed_quantity') ~ " * cast(3600000 as decimal(7,0)) + cast(500000000000000000 as decimal(18,0))", 'cast(1000000000000000000 as decimal(38,0))') }} as bigint)
    end as machine_ms,
    {{ atto('charges.billed_cost') }} as billed_atto,
    {{ atto('charges.effective_cost') }} as effective_atto,
    charges.list_cost,
    charges.billed_cost,
    charges.effective_cost
from numbered as charges
where charges.occurrence = 1
