-- grain: one row per machine and hour: what it cost and how the cost is split into CPU, memory and accelerators
-- guarantee: cpu_nano + memory_nano + gpu_nano = cost_nano; NULL where no price is known
-- inputs: int_machine_capacity, int_machines, int_machine_prices, int_pod_request_hours, stg_allocation_weights
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_hours', ['cluster', 'machine', 'hour_start_ms']) }}") }}
{%- set resources = [('cpu', 'millicore_ms'), ('memory', 'byte_ms'), ('gpu', 'milligpu_ms')] %}
with capacities as (
    select
        hours.*,
        machines.provider,
        machines.region,
        machines.instance_type,
        machines.capacity_type,
        machines.billing_model,
        machines.is_refunded,
        greatest(machines.start_ms, hours.hour_start_ms) as from_ms
    from {{ ref('int_machine_capacity') }} as hours
    inner join {{ ref('int_machines') }} as machines
        on hours.cluster = machines.cluster and hours.machine = machines.machine
),

price_days as (
    select
        prices.cluster,
        prices.machine,
        prices.from_ms,
        prices.to_ms,
        prices.price_nano,
        {{ days('greatest(prices.from_ms, machines.start_ms)', 'least(prices.to_ms, machines.end_ms)') }} as day_start_ms
    from {{ ref('int_machine_prices') }} as prices
    inner join {{ ref('int_machines') }} as machines
        on prices.cluster = machines.cluster and prices.machine = machines.machine
    where prices.price_nano is not null
),

-- Price times time is added up before it is divided: one truncation per hour, however often the price changes.
priced as (
    select
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        cast({{ wide_idiv("sum(cast(prices.price_nano as decimal(19,0)) * cast(" ~ overlap('hours.from_ms', 'hours.from_ms + hours.up_ms', 'prices.from_ms', 'prices.to_ms') ~ " as decimal(19,0)))", 'cast(3600000 as decimal(38,0))') }} as bigint) as price_nano,
        cast(sum({{ overlap('hours.from_ms', 'hours.from_ms + hours.up_ms', 'prices.from_ms', 'prices.to_ms') }}) as bigint) as priced_ms
    from capacities as hours
    inner join price_days as prices
        on hours.cluster = prices.cluster
        and hours.machine = prices.machine
        and hours.hour_start_ms - hours.hour_start_ms % 86400000 = prices.day_start_ms
    where
        prices.from_ms < hours.from_ms + hours.up_ms
        and prices.to_ms > hours.from_ms
    group by
        hours.cluster,
        hours.machine,
        hours.hour_start_ms
),

costed as (
    select
        hours.*,
        case
            when hours.billing_model = 'unbilled' or hours.is_refunded then cast(0 as bigint)
            else priced.price_nano
        end as cost_nano,
        case
            when hours.billing_model = 'unbilled' or hours.is_refunded then cast(0 as bigint)
            else hours.up_ms - coalesce(priced.priced_ms, cast(0 as bigint))
        end as unpriced_ms
    from capacities as hours
    left join priced
        on hours.cluster = priced.cluster
        and hours.machine = priced.machine
        and hours.hour_start_ms = priced.hour_start_ms
    where hours.billing_model <> 'pod_request'
),

weighted_providers as (
    select distinct provider from {{ ref('stg_allocation_weights') }}
),

-- One scale for both, in integers: millicores times 1024 beside MiB times 1000.
weighted as (
    select
        hours.*,
        cast(hours.cpu_capacity_millicore_ms as decimal(38,0))
        * cast(weights.cpu_core_hour_nano * 1024 as decimal(19,0)) as cpu_weight,
        {{ wide_idiv('hours.memory_capacity_byte_ms', 'cast(1048576 as decimal(38,0))') }}
        * cast(weights.memory_gib_hour_nano * 1000 as decimal(19,0)) as memory_weight,
        cast(hours.gpu_capacity_milligpu_ms as decimal(38,0))
        * cast(weights.gpu_hour_nano * 1024 as decimal(19,0)) as gpu_weight
    from costed as hours
    left join weighted_providers as known on hours.provider = known.provider
    inner join {{ ref('stg_allocation_weights') }} as weights
        on coalesce(known.provider, '') = coalesce(weights.provider, '')
        and hours.hour_start_ms >= weights.valid_from_ms
        and hours.hour_start_ms < weights.valid_to_ms
),

split as (
    select
        *,
        case
            when cpu_weight + memory_weight + gpu_weight > 0
                then {{ prorate('cost_nano', 'cpu_weight', '(cpu_weight + memory_weight + gpu_weight)') }}
            else cost_nano - cost_nano
        end as cpu_nano,
        case
            when cpu_weight + memory_weight + gpu_weight > 0
                then {{ prorate('cost_nano', 'gpu_weight', '(cpu_weight + memory_weight + gpu_weight)') }}
            else cost_nano - cost_nano
        end as gpu_nano
    from weighted
)

select
    cluster,
    machine,
    hour_start_ms,
    up_ms,
    boot_ms,
    startup_ms,
    busy_ms,
    gap_ms,
    tail_ms,
    unobserved_ms,
    unpriced_ms,
    cost_nano,
    cpu_nano,
    cost_nano - cpu_nano - gpu_nano as memory_nano,
    gpu_nano,
    cpu_capacity_millicore_ms,
    cpu_reserved_millicore_ms,
    memory_capacity_byte_ms,
    memory_reserved_byte_ms,
    gpu_capacity_milligpu_ms,
    gpu_reserved_milligpu_ms
{%- for resource, unit in resources %},
    {{ resource }}_blind_capacity_{{ unit }},
    {{ resource }}_blind_reserved_{{ unit }}
{%- endfor %}
from split
union all
-- Where pods are billed and not machines, an hour has what its pods were billed for and nothing else.
select
    hours.cluster,
    hours.machine,
    hours.hour_start_ms,
    hours.up_ms,
    hours.boot_ms,
    hours.startup_ms,
    hours.busy_ms,
    hours.gap_ms,
    hours.tail_ms,
    hours.unobserved_ms,
    case
        when billed.cpu_nano is null and billed.cpu_claim_millicore_ms > 0 then hours.up_ms
        else cast(0 as bigint)
    end as unpriced_ms,
    case when billed.cpu_claim_millicore_ms > 0 then billed.cpu_nano + billed.memory_nano else cast(0 as bigint) end as cost_nano,
    case when billed.cpu_claim_millicore_ms > 0 then billed.cpu_nano else cast(0 as bigint) end as cpu_nano,
    case when billed.cpu_claim_millicore_ms > 0 then billed.memory_nano else cast(0 as bigint) end as memory_nano,
    cast(0 as bigint) as gpu_nano,
    coalesce(billed.cpu_claim_millicore_ms, cast(0 as bigint)) as cpu_capacity_millicore_ms,
    cast(0 as bigint) as cpu_reserved_millicore_ms,
    coalesce(billed.memory_claim_byte_ms, cast(0 as decimal(38,0))) as memory_capacity_byte_ms,
    cast(0 as decimal(38,0)) as memory_reserved_byte_ms,
    coalesce(billed.gpu_claim_milligpu_ms, cast(0 as bigint)) as gpu_capacity_milligpu_ms,
    cast(0 as bigint) as gpu_reserved_milligpu_ms
{%- for resource, unit in resources %},
    cast(0 as decimal(38,0)) as {{ resource }}_blind_capacity_{{ unit }},
    cast(0 as decimal(38,0)) as {{ resource }}_blind_reserved_{{ unit }}
{%- endfor %}
from capacities as hours
left join {{ ref('int_pod_request_hours') }} as billed
    on hours.cluster = billed.cluster
    and hours.machine = billed.machine
    and hours.hour_start_ms = billed.hour_start_ms
where hours.billing_model = 'pod_request'
