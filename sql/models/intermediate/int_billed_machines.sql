-- grain: one row per machine, time that it was charged for, and account that was charged
-- guarantee: price_nano times the machine's time in it is what it was charged for; charges that do not tell their effective cost are
--     left out
-- inputs: stg_billed_charges, int_machines, `vars: billing_scope`
{{ config(materialized='table') }}
with charges as (
    select
        provider,
        billing_account_id,
        machine_key,
        charge_start_ms,
        charge_end_ms,
        cast(sum(effective_atto) as decimal(38,0)) as cost_atto,
        -- Cores and bytes are charged apart, so their hours are not those of the machine.
        case when count(machine_ms) = count(*) then cast(sum(machine_ms) as bigint) end as billed_ms
    from {{ ref('stg_billed_charges') }}
    where
        is_machine
        and machine_key is not null
        -- What takes back a price that was charged beside tells no time.
        and (machine_ms is not null or effective_atto <> 0)
        and effective_atto is not null
        and charge_end_ms > charge_start_ms
    group by
        provider,
        billing_account_id,
        machine_key,
        charge_start_ms,
        charge_end_ms
),

machines as (
    select
        cluster,
        machine,
        provider,
        region,
        instance_type,
        case when capacity_type = 'spot' then 'spot' else 'on-demand' end as purchase,
        {{ machine_key('coalesce(provider_id, machine)') }} as machine_key,
        start_ms,
        end_ms
    from {{ ref('int_machines') }}
    where billing_model in ('instance', 'declared') and not is_refunded and end_ms > start_ms
),

by_resource as (
    select
        machines.cluster,
        machines.machine,
        charges.provider,
        charges.billing_account_id,
        charges.machine_key as group_key,
        'resource' as matched_by,
        charges.charge_start_ms,
        charges.charge_end_ms,
        charges.cost_atto,
        charges.billed_ms,
        {{ overlap('machines.start_ms', 'machines.end_ms', 'charges.charge_start_ms', 'charges.charge_end_ms') }} as seen_ms
    from charges
    inner join machines
        on charges.provider = machines.provider and charges.machine_key = machines.machine_key
    where machines.start_ms < charges.charge_end_ms and machines.end_ms > charges.charge_start_ms
),
{%- if var('billing_scope').exclusive %}

-- Charges without a resource, in a scope where all machines are the clusters': by type, region, way of buying and day.
kinds as (
    select
        provider,
        billing_account_id,
        region,
        instance_type,
        case when pricing_category = 'Dynamic' then 'spot' else 'on-demand' end as purchase,
        charge_start_ms - charge_start_ms % 86400000 as charge_start_ms,
        charge_start_ms - charge_start_ms % 86400000 + 86400000 as charge_end_ms,
        cast(sum(effective_atto) as decimal(38,0)) as cost_atto,
        case when count(machine_ms) = count(*) then cast(sum(machine_ms) as bigint) end as billed_ms
    from {{ ref('stg_billed_charges') }}
    where
        is_machine
        and is_in_scope
        and machine_key is null
        and instance_type is not null
        and (machine_ms is not null or effective_atto <> 0)
        and effective_atto is not null
        and charge_end_ms <= charge_start_ms - charge_start_ms % 86400000 + 86400000
    group by
        provider,
        billing_account_id,
        region,
        instance_type,
        case when pricing_category = 'Dynamic' then 'spot' else 'on-demand' end,
        charge_start_ms - charge_start_ms % 86400000
),

by_kind as (
    select
        machines.cluster,
        machines.machine,
        kinds.provider,
        kinds.billing_account_id,
        kinds.region || ' ' || kinds.instance_type || ' ' || kinds.purchase as group_key,
        'kind' as matched_by,
        kinds.charge_start_ms,
        kinds.charge_end_ms,
        kinds.cost_atto,
        kinds.billed_ms,
        {{ overlap('machines.start_ms', 'machines.end_ms', 'kinds.charge_start_ms', 'kinds.charge_end_ms') }} as seen_ms
    from kinds
    inner join machines
        on kinds.provider = machines.provider
        and kinds.region = machines.region
        and kinds.instance_type = machines.instance_type
        and kinds.purchase = machines.purchase
    -- A charge that names the machine speaks for the time that it is for, and no longer.
    left join (select distinct cluster, machine, charge_start_ms, charge_end_ms from by_resource) as known
        on machines.cluster = known.cluster
        and machines.machine = known.machine
        and known.charge_start_ms < kinds.charge_end_ms
        and known.charge_end_ms > kinds.charge_start_ms
    where
        machines.start_ms < kinds.charge_end_ms
        and machines.end_ms > kinds.charge_start_ms
        and known.machine is null
),
{%- endif %}

found as (
    select * from by_resource
{%- if var('billing_scope').exclusive %}
    union all
    select * from by_kind
{%- endif %}
),

whole as (
    select
        *,
        sum(seen_ms) over (
            partition by provider, billing_account_id, matched_by, group_key, charge_start_ms, charge_end_ms
        ) as group_seen_ms
    from found
)

select
    cluster,
    machine,
    provider,
    billing_account_id,
    matched_by,
    group_key,
    charge_start_ms,
    charge_end_ms,
    seen_ms,
    cast(group_seen_ms as bigint) as group_seen_ms,
    coalesce(nullif(billed_ms, cast(0 as bigint)), cast(group_seen_ms as bigint)) as billed_ms,
    cost_atto,
    -- The nearest nano-dollar of an hour.
    cast({{ wide_idiv('cost_atto * cast(7200000 as decimal(7,0)) + cast(coalesce(nullif(billed_ms, cast(0 as bigint)), cast(group_seen_ms as bigint)) as decimal(19,0)) * cast(1000000000 as decimal(10,0))', 'cast(coalesce(nullif(billed_ms, cast(0 as bigint)), cast(group_seen_ms as bigint)) as decimal(19,0)) * cast(2000000000 as decimal(10,0))') }} as bigint) as price_nano
from whole
where cost_atto >= 0
