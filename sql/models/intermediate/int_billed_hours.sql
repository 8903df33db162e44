-- grain: one row per machine, hour in which a bill charged for it, and account that was charged
-- guarantee: restated_nano is the part of the hour's cost that rests on the bill: all of it where it was charged for all of its time
-- inputs: int_machine_prices, int_machines, int_machine_hours, int_billed_machines
{{ config(materialized='view') }}
-- A stretch of one price lies in each charge as a whole or not at all.
with charged as (
    select
        prices.cluster,
        prices.machine,
        charges.provider,
        charges.billing_account_id,
        greatest(prices.from_ms, machines.start_ms) as from_ms,
        least(prices.to_ms, machines.end_ms) as to_ms,
        charges.price_nano,
        prices.estimated_price_nano,
        cast(row_number() over (
            partition by prices.cluster, prices.machine, prices.from_ms
            order by
                charges.provider asc nulls last,
                charges.billing_account_id asc nulls last,
                charges.matched_by asc nulls last,
                charges.group_key asc nulls last,
                charges.charge_start_ms asc nulls last,
                charges.charge_end_ms asc nulls last
        ) as bigint) as of_stretch,
        cast(row_number() over (
            partition by prices.cluster, prices.machine, prices.from_ms, charges.provider, charges.billing_account_id
            order by
                charges.matched_by asc nulls last,
                charges.group_key asc nulls last,
                charges.charge_start_ms asc nulls last,
                charges.charge_end_ms asc nulls last
        ) as bigint) as of_account
    from {{ ref('int_machine_prices') }} as prices
    inner join {{ ref('int_billed_machines') }} as charges
        on prices.cluster = charges.cluster
        and prices.machine = charges.machine
        and charges.charge_start_ms <= prices.from_ms
        and charges.charge_end_ms >= prices.to_ms
    inner join {{ ref('int_machines') }} as machines
        on prices.cluster = machines.cluster and prices.machine = machines.machine
    where prices.price_source = 'billed'
),

stretches as (
    select
        *,
        {{ hours('from_ms', 'to_ms') }} as hour_start_ms
    from charged
),

timed as (
    select
        *,
        {{ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') }} as charged_ms
    from stretches
),

billed as (
    select
        cluster,
        machine,
        hour_start_ms,
        provider,
        billing_account_id,
        cast(sum(case when of_account = 1 then charged_ms else cast(0 as bigint) end) as bigint) as billed_ms,
        cast({{ wide_idiv("sum(cast(price_nano as decimal(19,0)) * cast(charged_ms as decimal(19,0)))", 'cast(3600000 as decimal(38,0))') }} as bigint) as billed_nano,
        cast({{ wide_idiv("sum(case when of_stretch = 1 then cast(estimated_price_nano as decimal(19,0)) * cast(charged_ms as decimal(19,0)) end)", 'cast(3600000 as decimal(38,0))') }} as bigint) as estimated_nano
    from timed
    group by
        cluster,
        machine,
        hour_start_ms,
        provider,
        billing_account_id
),

counted as (
    select
        *,
        cast(count(*) over (partition by cluster, machine, hour_start_ms) as bigint) as accounts
    from billed
)

select
    counted.cluster,
    counted.machine,
    counted.hour_start_ms,
    counted.provider,
    counted.billing_account_id,
    counted.billed_ms,
    -- What two accounts paid for is nobody's alone.
    counted.billed_ms = hours.up_ms and counted.accounts = 1 as is_whole,
    least(counted.billed_nano, hours.cost_nano) as restated_nano,
    counted.estimated_nano,
    hours.cost_nano
from counted
inner join {{ ref('int_machine_hours') }} as hours
    on counted.cluster = hours.cluster
    and counted.machine = hours.machine
    and counted.hour_start_ms = hours.hour_start_ms
