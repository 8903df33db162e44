-- grain: one row per machine and hour in which a bill charged for it
-- guarantee: restated_nano is the part of the hour's cost that rests on the bill: all of it where it was charged for all of its time
-- inputs: int_machine_prices, int_machines, int_machine_hours, int_billed_machines
{{ config(materialized='view') }}
with accounts as (
    select
        cluster,
        machine,
        min(provider) as provider,
        min(billing_account_id) as billing_account_id
    from {{ ref('int_billed_machines') }}
    group by
        cluster,
        machine
),

stretches as (
    select
        prices.cluster,
        prices.machine,
        accounts.provider,
        accounts.billing_account_id,
        greatest(prices.from_ms, machines.start_ms) as from_ms,
        least(prices.to_ms, machines.end_ms) as to_ms,
        prices.price_nano,
        prices.estimated_price_nano,
        {{ hours('greatest(prices.from_ms, machines.start_ms)', 'least(prices.to_ms, machines.end_ms)') }} as hour_start_ms
    from {{ ref('int_machine_prices') }} as prices
    inner join accounts
        on prices.cluster = accounts.cluster and prices.machine = accounts.machine
    inner join {{ ref('int_machines') }} as machines
        on prices.cluster = machines.cluster and prices.machine = machines.machine
    where prices.price_source = 'billed'
),

billed as (
    select
        cluster,
        machine,
        hour_start_ms,
        provider,
        billing_account_id,
        cast(sum({{ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') }}) as bigint) as billed_ms,
        cast({{ wide_idiv("sum(cast(price_nano as decimal(19,0)) * cast(" ~ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') ~ " as decimal(19,0)))", 'cast(3600000 as decimal(38,0))') }} as bigint) as billed_nano,
        cast({{ wide_idiv("sum(cast(estimated_price_nano as decimal(19,0)) * cast(" ~ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') ~ " as decimal(19,0)))", 'cast(3600000 as decimal(38,0))') }} as bigint) as estimated_nano
    from stretches
    group by
        cluster,
        machine,
        hour_start_ms,
        provider,
        billing_account_id
)

select
    billed.cluster,
    billed.machine,
    billed.hour_start_ms,
    billed.provider,
    billed.billing_account_id,
    billed.billed_ms,
    billed.billed_ms = hours.up_ms as is_whole,
    least(billed.billed_nano, hours.cost_nano) as restated_nano,
    billed.estimated_nano,
    hours.cost_nano
from billed
inner join {{ ref('int_machine_hours') }} as hours
    on billed.cluster = hours.cluster
    and billed.machine = hours.machine
    and billed.hour_start_ms = hours.hour_start_ms
