-- grain: one row per machine and stretch of its life in which the price of its hour is the same
-- guarantee: the stretches of a machine cover its life; prices are NULL where none is known
-- inputs: int_machine_prices, int_machines
{{ config(materialized='view') }}
select
    prices.cluster,
    prices.machine,
    machines.node_name,
    machines.provider,
    machines.region,
    machines.provider_id,
    machines.labels['kubernetes.io/arch'] as architecture,
    machines.instance_type,
    machines.capacity_type,
    machines.pool,
    machines.gpu_model,
    {{ at('greatest(prices.from_ms, machines.start_ms)') }} as start_at,
    {{ at('least(prices.to_ms, machines.end_ms)') }} as end_at,
    {{ usd('prices.list_price_nano') }} as list_hourly_price,
    {{ usd('prices.price_nano') }} as hourly_price,
    prices.price_source
from {{ ref('int_machine_prices') }} as prices
inner join {{ ref('int_machines') }} as machines
    on prices.cluster = machines.cluster and prices.machine = machines.machine
where prices.from_ms < machines.end_ms and prices.to_ms > machines.start_ms
