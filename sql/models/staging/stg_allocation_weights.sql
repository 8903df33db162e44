-- grain: one row per version of the weights of the method in use, for one provider or (provider is NULL) for all others
-- guarantee: the versions of one provider cover all time: the first holds since ever, the last for ever
-- inputs: the built-in methods below, lake.allocation_weights
{{ config(materialized='table') }}
with built_in as (
    -- OpenCost's default prices: 0.031611 USD per core-hour, 0.004237 per GiB-hour, 0.95 per GPU-hour
    -- (opencost configs/default.json). `fitted` has weights per provider in the lake, and these where it has none.
    select
        {% if var('weights_method') == 'fitted' %}'fitted'{% else %}'opencost'{% endif %} as method,
        cast(null as string) as provider,
        cast(0 as bigint) as valid_from_ms,
        cast(31611000 as bigint) as cpu_core_hour_nano,
        cast(4237000 as bigint) as memory_gib_hour_nano,
        cast(950000000 as bigint) as gpu_hour_nano
    union all
    -- AWS split cost allocation data: CPU to memory 9 : 1 per vCPU and GB where the instance has no accelerator
    -- (AWS Cost and Usage Report user guide, "Understanding split cost allocation data").
    select
        'aws-split-cost',
        cast(null as string),
        cast(0 as bigint),
        cast(9000000 as bigint),
        cast(1000000 as bigint),
        cast(0 as bigint)
),

declared as (
    select distinct
        method,
        provider,
        {{ ms('valid_from_at') }} as valid_from_ms,
        cpu_core_hour_nano,
        memory_gib_hour_nano,
        gpu_hour_nano
    from {{ source('lake', 'allocation_weights') }}
),

versions as (
    select * from built_in where method = {{ quoted(var('weights_method')) }}
    union all
    select * from declared where method = {{ quoted(var('weights_method')) }}
),
{% set order = "valid_from_ms asc nulls last, cpu_core_hour_nano asc nulls last, memory_gib_hour_nano asc nulls last, gpu_hour_nano asc nulls last" %}
ordered as (
    select
        *,
        lead(valid_from_ms) over (partition by provider order by {{ order }}) as next_from_ms,
        cast(row_number() over (partition by provider order by {{ order }}) as bigint) as version
    from versions
)

select
    method,
    provider,
    case when version = 1 then cast(-9000000000000000 as bigint) else valid_from_ms end as valid_from_ms,
    coalesce(next_from_ms, cast(9223372036854775807 as bigint)) as valid_to_ms,
    cpu_core_hour_nano,
    memory_gib_hour_nano,
    gpu_hour_nano
from ordered
