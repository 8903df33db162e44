-- grain: one row per machine, hour and savings plan or reservation that covered it
-- guarantee: covered_nano and estimated_nano are of the time that was seen and, of each charged time, of as large a part as was covered
-- inputs: stg_billed_charges, int_billed_machines, int_machines, int_billed_hours
{{ config(materialized='view') }}
with covered as (
    select
        provider,
        billing_account_id,
        machine_key,
        charge_start_ms,
        charge_end_ms,
        commitment_discount_id,
        max(commitment_discount_type) as commitment_discount_type,
        cast(sum(effective_atto) as decimal(38,0)) as covered_atto,
        cast(sum(machine_ms) as bigint) as covered_ms
    from {{ ref('stg_billed_charges') }}
    where
        is_machine
        and machine_key is not null
        and machine_ms is not null
        and effective_atto is not null
        and commitment_discount_status = 'Used'
        and commitment_discount_id is not null
    group by
        provider,
        billing_account_id,
        machine_key,
        charge_start_ms,
        charge_end_ms,
        commitment_discount_id
),

charged as (
    select
        covered.*,
        billed.cluster,
        billed.machine,
        billed.billed_ms,
        greatest(machines.start_ms, covered.charge_start_ms) as from_ms,
        least(machines.end_ms, covered.charge_end_ms) as to_ms
    from covered
    inner join {{ ref('int_billed_machines') }} as billed
        on covered.provider = billed.provider
        and covered.billing_account_id = billed.billing_account_id
        and covered.machine_key = billed.group_key
        and covered.charge_start_ms = billed.charge_start_ms
        and covered.charge_end_ms = billed.charge_end_ms
    inner join {{ ref('int_machines') }} as machines
        on billed.cluster = machines.cluster and billed.machine = machines.machine
    where billed.matched_by = 'resource' and billed.billed_ms > 0
),

charged_hours as (
    select
        *,
        {{ hours('from_ms', 'to_ms') }} as hour_start_ms
    from charged
),

seen as (
    select
        *,
        {{ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') }} as seen_ms
    from charged_hours
)

select
    seen.cluster,
    seen.machine,
    seen.hour_start_ms,
    seen.provider,
    seen.billing_account_id,
    seen.commitment_discount_id,
    max(seen.commitment_discount_type) as commitment_discount_type,
    cast(sum(cast({{ wide_idiv('seen.covered_atto * cast(seen.seen_ms as decimal(19,0))', 'cast(seen.billed_ms as decimal(19,0)) * cast(1000000000 as decimal(10,0))') }} as bigint)) as bigint) as covered_nano,
    cast(sum({{ prorate(prorate('hours.estimated_nano', 'least(seen.seen_ms, hours.billed_ms)', 'hours.billed_ms'), 'least(seen.covered_ms, seen.billed_ms)', 'seen.billed_ms') }}) as bigint) as estimated_nano
from seen
inner join {{ ref('int_billed_hours') }} as hours
    on seen.cluster = hours.cluster and seen.machine = hours.machine and seen.hour_start_ms = hours.hour_start_ms
where hours.billed_ms > 0
group by
    seen.cluster,
    seen.machine,
    seen.hour_start_ms,
    seen.provider,
    seen.billing_account_id,
    seen.commitment_discount_id
