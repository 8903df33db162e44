-- grain: one row per charge date, provider, billing account and line of the bill
-- guarantee: every charge is in one line; `matched` is what machines, volumes and load balancers that are known were charged for
-- inputs: stg_billed_charges, int_billed_machines, int_billed_services, int_machines, `vars: billing_scope`
{{ config(materialized='view') }}
with matched as (
    select distinct
        provider,
        billing_account_id,
        matched_by,
        group_key,
        charge_start_ms,
        charge_end_ms
    from {{ ref('int_billed_machines') }}
),

services as (
    select distinct
        provider,
        billing_account_id,
        group_key,
        charge_start_ms,
        charge_end_ms
    from {{ ref('int_billed_services') }}
),

known as (
    select distinct
        provider,
        {{ machine_key('coalesce(provider_id, machine)') }} as machine_key
    from {{ ref('int_machines') }}
    where provider is not null
),

charges as (
    select
        *,
        region || ' ' || instance_type || ' ' || case when pricing_category = 'Dynamic' then 'spot' else 'on-demand' end as kind_key,
        charge_start_ms - charge_start_ms % 86400000 as day_start_ms
    from {{ ref('stg_billed_charges') }}
),

lines as (
    select
        charges.day_start_ms,
        charges.provider,
        charges.billing_account_id,
        charges.billed_atto,
        coalesce(charges.effective_atto, charges.billed_atto) as effective_atto,
        case
            when resources.provider is not null or kinds.provider is not null or services.provider is not null then 'matched'
            -- A machine that is known, at a time at which nobody saw it.
            when charges.is_machine and known.provider is not null then 'quantity_variance'
            when not charges.is_in_scope then 'out_of_scope'
            when charges.commitment_discount_status = 'Unused' then 'commitment_unused'
            when charges.charge_category = 'Tax' then 'tax'
            when charges.charge_category = 'Credit' then 'credits'
            when {{ is_support_charge('charges') }} then 'fees'
            when charges.charge_category = 'Purchase' then 'purchases'
            when charges.charge_category = 'Adjustment' then 'adjustments'
            when charges.is_machine then {% if var('billing_scope').exclusive %}'machines_not_seen'{% else %}'out_of_scope'{% endif %}
            when coalesce({{ is_network_charge('charges') }}, false) then 'network'
            else 'other_services'
        end as line
    from charges
    left join matched as resources
        on charges.is_machine
        and charges.effective_atto is not null
        and resources.matched_by = 'resource'
        and charges.provider = resources.provider
        and charges.billing_account_id = resources.billing_account_id
        and charges.machine_key = resources.group_key
        and charges.charge_start_ms = resources.charge_start_ms
        and charges.charge_end_ms = resources.charge_end_ms
    left join services
        on {{ is_service_charge('charges') }}
        and charges.provider = services.provider
        and charges.billing_account_id = services.billing_account_id
        and charges.service_key = services.group_key
        and charges.charge_start_ms = services.charge_start_ms
        and charges.charge_end_ms = services.charge_end_ms
    left join known
        on charges.provider = known.provider and charges.machine_key = known.machine_key
    left join matched as kinds
        on charges.is_machine
        and charges.is_in_scope
        and charges.machine_key is null
        and charges.effective_atto is not null
        and kinds.matched_by = 'kind'
        and charges.provider = kinds.provider
        and charges.billing_account_id = kinds.billing_account_id
        and charges.kind_key = kinds.group_key
        and charges.day_start_ms = kinds.charge_start_ms
        and charges.charge_end_ms <= kinds.charge_end_ms
)

select
    day_start_ms,
    provider,
    billing_account_id,
    line,
    cast(sum(billed_atto) as decimal(38,0)) as billed_atto,
    cast(sum(effective_atto) as decimal(38,0)) as effective_atto
from lines
group by
    day_start_ms,
    provider,
    billing_account_id,
    line
