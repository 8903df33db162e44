-- grain: one row per machine and stretch of time in which the price of its hour is the same
-- guarantee: the stretches of a machine cover all time; prices are NULL where none is known
-- inputs: int_machine_price_changes, int_billed_machine_prices, int_machines, stg_node_states, stg_price_overrides, `vars: discounts`
{{ config(materialized='table') }}
{#- From the most particular to the most general: what a bill says comes first, and the others are the estimate that it replaces. #}
{%- set estimates = ['machine', 'node', 'label', 'pool', 'instance_type', 'zone', 'region'] %}
{%- set layers = ['billed'] + estimates %}
with instants as (
    select
        cluster,
        machine,
        from_ms
{%- for layer in layers %},
        max(case when layer = '{{ layer }}' and price_nano is not null then from_ms end) as {{ layer }}_given_ms,
        max(case when layer = '{{ layer }}' and price_nano is null then from_ms end) as {{ layer }}_ended_ms
{%- endfor %}
    from {{ ref('int_machine_price_changes') }}
    group by
        cluster,
        machine,
        from_ms
),

-- Since when each layer has had its price, and since when none.
running as (
    select
        cluster,
        machine,
        from_ms,
        lead(from_ms) over (partition by cluster, machine order by from_ms asc nulls last) as next_from_ms
{%- for layer in layers %}{% for change in ['given', 'ended'] %},
        max({{ layer }}_{{ change }}_ms) over (
            partition by cluster, machine order by from_ms asc nulls last
            rows between unbounded preceding and current row
        ) as {{ layer }}_{{ change }}_ms
{%- endfor %}{% endfor %}
    from instants
),

-- The first layer that has a price holds.
chosen as (
    select
        cluster,
        machine,
        from_ms,
        next_from_ms,
{%- for column, among, text in [('layer', layers, true), ('given_ms', layers, false), ('estimate_layer', estimates, true), ('estimate_given_ms', estimates, false)] %}
        case
{%- for layer in among %}
            when {{ layer }}_given_ms > coalesce({{ layer }}_ended_ms, {{ layer }}_given_ms - 1) then {% if text %}'{{ layer }}'{% else %}{{ layer }}_given_ms{% endif %}
{%- endfor %}
        end as {{ column }}{% if not loop.last %},{% endif %}
{%- endfor %}
    from running
),

gpu_counts as (
    select
        cluster,
        machine,
        max(gpu_capacity_milligpus) as gpu_milligpus
    from {{ ref('stg_node_states') }}
    group by
        cluster,
        machine
),

-- What one GPU costs, where that was declared apart from its machine: for the region, else for all.
gpu_prices as (
    select
        machines.cluster,
        machines.machine,
        max_by(overrides.price_nano, (overrides.region, overrides.valid_from_ms)) as gpu_nano
    from {{ ref('int_machines') }} as machines
    inner join {{ ref('stg_price_overrides') }} as overrides
        on lower(case when overrides.selector_key = '' then machines.gpu_model else machines.labels[overrides.selector_key] end) = lower(overrides.selector_value)
        and overrides.region in ('', coalesce(machines.region, ''))
    where overrides.selector = 'gpu_model' and overrides.price_nano is not null
    group by
        machines.cluster,
        machines.machine
),

priced as (
    select
        chosen.cluster,
        chosen.machine,
        chosen.from_ms,
        coalesce(chosen.next_from_ms, cast(9223372036854775807 as bigint)) as to_ms,
        chosen.layer,
        billed.price_nano as billed_nano,
        changes.price_nano,
        changes.price_source,
        case
            when chosen.estimate_layer in ('zone', 'region') then {{ discount('machines', 'chosen.from_ms') }}
            else cast(0 as bigint)
        end as discount_parts_per_million,
        case
            when chosen.estimate_layer in ('zone', 'region') then cast(0 as bigint)
            else coalesce(
                cast({{ wide_idiv('cast(gpu_prices.gpu_nano as decimal(38,0)) * cast(gpu_counts.gpu_milligpus as decimal(19,0))', 'cast(1000 as decimal(38,0))') }} as bigint),
                cast(0 as bigint)
            )
        end as gpu_nano
    from chosen
    inner join {{ ref('int_machines') }} as machines
        on chosen.cluster = machines.cluster and chosen.machine = machines.machine
    left join {{ ref('int_machine_price_changes') }} as changes
        on chosen.cluster = changes.cluster
        and chosen.machine = changes.machine
        and chosen.estimate_layer = changes.layer
        and chosen.estimate_given_ms = changes.from_ms
    left join {{ ref('int_billed_machine_prices') }} as billed
        on chosen.layer = 'billed'
        and chosen.cluster = billed.cluster
        and chosen.machine = billed.machine
        and chosen.given_ms = billed.from_ms
    left join gpu_counts
        on chosen.cluster = gpu_counts.cluster and chosen.machine = gpu_counts.machine
    left join gpu_prices
        on chosen.cluster = gpu_prices.cluster and chosen.machine = gpu_prices.machine
),

estimated as (
    select
        *,
        price_nano - {{ prorate('price_nano', 'discount_parts_per_million', '1000000') }} + gpu_nano as estimated_price_nano
    from priced
)

select
    cluster,
    machine,
    from_ms,
    to_ms,
    price_nano + gpu_nano as list_price_nano,
    estimated_price_nano,
    case when layer = 'billed' then billed_nano else estimated_price_nano end as price_nano,
    case when layer = 'billed' then 'billed' else price_source end as price_source
from estimated
