-- grain: one row per machine, hour and pod, of machines whose provider bills pods: what it was billed
-- guarantee: both resources have a price or none has; an hour is billed at the price of its start
-- inputs: int_pod_hours, int_machines, stg_service_prices
{{ config(materialized='view') }}
with prices as (
    select
        provider,
        region,
        unit,
        valid_from_ms,
        valid_to_ms,
        max(price_nano) as price_nano
    from {{ ref('stg_service_prices') }}
    where
        service in ('Fargate', 'Autopilot', 'ContainerInstances')
        and item in ('vCPU (Linux x86)', 'memory (Linux x86)')
        and unit in ('vCPU-hour', 'GB-hour')
    group by
        provider,
        region,
        unit,
        valid_from_ms,
        valid_to_ms
),

billed as (
    select
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        hours.pod_uid,
        hours.cpu_claim,
        hours.memory_claim,
        hours.gpu_claim,
        cast({{ wide_idiv('cast(cpu_prices.price_nano as decimal(19,0)) * cast(hours.cpu_claim as decimal(19,0))', 'cast(3600000000 as decimal(38,0))') }} as bigint) as cpu_nano,
        -- A GB of these services is a GiB. Whole MiB-milliseconds, so that products stay within 38 digits.
        cast({{ wide_idiv('cast(memory_prices.price_nano as decimal(19,0)) * cast(' ~ wide_idiv('hours.memory_claim', 'cast(1048576 as decimal(38,0))') ~ ' as decimal(19,0))', 'cast(3686400000 as decimal(38,0))') }} as bigint) as memory_nano
    from {{ ref('int_pod_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines
        on hours.cluster = machines.cluster and hours.machine = machines.machine
    left join prices as cpu_prices
        on machines.provider = cpu_prices.provider
        and machines.region = cpu_prices.region
        and cpu_prices.unit = 'vCPU-hour'
        and hours.hour_start_ms >= cpu_prices.valid_from_ms
        and hours.hour_start_ms < cpu_prices.valid_to_ms
    left join prices as memory_prices
        on machines.provider = memory_prices.provider
        and machines.region = memory_prices.region
        and memory_prices.unit = 'GB-hour'
        and hours.hour_start_ms >= memory_prices.valid_from_ms
        and hours.hour_start_ms < memory_prices.valid_to_ms
    where hours.is_billed_by_pod
)

select
    cluster,
    machine,
    hour_start_ms,
    pod_uid,
    cpu_claim,
    memory_claim,
    gpu_claim,
    case when memory_nano is not null then cpu_nano end as cpu_nano,
    case when cpu_nano is not null then memory_nano end as memory_nano
from billed
