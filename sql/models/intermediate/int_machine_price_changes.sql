-- grain: one row per machine, layer of prices and instant at which that layer's price changes
-- guarantee: NULL where a layer's price ends; `discount` stands for changes that have no price of their own
-- inputs: int_machines, stg_prices, stg_price_overrides, int_billed_machine_prices, `vars: discounts`
{{ config(materialized='view') }}
{#- A machine is named by its provider's identifier, or by what follows the last slash in it. #}
{%- set selectors = [
    ('machine', 'coalesce(machines.provider_id, machines.machine)'),
    ('machine', "regexp_extract(machines.provider_id, '/([^/]+)$', 1)"),
    ('node', 'machines.node_name'),
    ('label', 'machines.labels[overrides.selector_key]'),
    ('pool', 'machines.pool'),
    ('instance_type', 'machines.instance_type')
] %}
with machines as (
    select * from {{ ref('int_machines') }} where billing_model not in ('unbilled', 'pod_request')
),

overrides as (
    select * from {{ ref('stg_price_overrides') }}
),

found as (
{%- for selector, value in selectors %}
    select
        machines.cluster,
        machines.machine,
        '{{ selector }}' as layer,
        overrides.valid_from_ms as from_ms,
        overrides.price_nano,
        '{{ selector }} ' || {% if selector == 'label' %}overrides.selector_key || '=' || {% endif %}overrides.selector_value || ': ' || overrides.source as price_source
    from machines
    inner join overrides
        on overrides.selector = '{{ selector }}'
        and {{ value }} = overrides.selector_value
        and overrides.region in ('', coalesce(machines.region, ''))
    union all
{%- endfor %}
{%- for layer in ['zone', 'region'] %}
    select
        machines.cluster,
        machines.machine,
        '{{ layer }}' as layer,
        prices.valid_from_ms as from_ms,
        prices.price_nano,
        prices.source as price_source
    from machines
    inner join {{ ref('stg_prices') }} as prices
        on machines.provider = prices.provider
        and machines.region = prices.region
        and machines.instance_type = prices.instance_type
        and machines.capacity_type = prices.capacity_type
        and {% if layer == 'zone' %}machines.zone = prices.zone{% else %}prices.zone is null{% endif %}
    union all
{%- endfor %}
    -- What a bill charged for; where one stretch follows another, the price that begins holds.
    select
        cluster,
        machine,
        'billed' as layer,
        from_ms,
        price_nano,
        'billed' as price_source
    from {{ ref('int_billed_machine_prices') }}
    union all
    select
        cluster,
        machine,
        'billed' as layer,
        to_ms as from_ms,
        cast(null as bigint) as price_nano,
        'billed' as price_source
    from {{ ref('int_billed_machine_prices') }}
    union all
{%- for entry in var('discounts') %}
    select
        cluster,
        machine,
        'discount' as layer,
        cast({{ entry.valid_from_ms }} as bigint) as from_ms,
        cast(null as bigint) as price_nano,
        '' as price_source
    from machines
    union all
{%- endfor %}
    select
        cluster,
        machine,
        'discount' as layer,
        -- Before any price.
        cast(-9000000000000000 as bigint) as from_ms,
        cast(null as bigint) as price_nano,
        '' as price_source
    from machines
),

-- Two labels of one machine may be declared from the same instant on: the higher price stands.
ranked as (
    select
        *,
        cast(row_number() over (
            partition by cluster, machine, layer, from_ms
            order by price_nano desc nulls last, price_source asc nulls last
        ) as bigint) as preference
    from found
)

select
    cluster,
    machine,
    layer,
    from_ms,
    price_nano,
    price_source
from ranked
where preference = 1
