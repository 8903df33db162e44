-- grain: one row per resource (volume, load balancer, control plane) and price that may hold for it
-- guarantee: [valid_from_ms, valid_to_ms) of one rank do not overlap; the least rank holds: what was declared of the thing itself, of its kind, the list price.
--     A price is of `price_quantity` (a GiB of a volume) for `price_ms`
-- inputs: int_service_resources, stg_price_overrides, stg_service_prices
{{ config(materialized='table') }}
{#- Rank, kind, selector, what it names. #}
{%- set declarations = [
    (1, 'volume', 'volume', 'resources.service_name'),
    (2, 'volume', 'storage_class', 'resources.service_type'),
    (1, 'load_balancer', 'load_balancer', "resources.namespace || '/' || resources.service_name"),
    (2, 'load_balancer', 'load_balancer', "'*'"),
    (1, 'control_plane', 'control_plane', 'resources.cluster'),
    (2, 'control_plane', 'control_plane', "'*'")
] %}
with resources as (
    select distinct
        cluster,
        service_kind,
        service_id,
        service_name,
        service_type,
        namespace,
        provider,
        region
    from {{ ref('int_service_resources') }}
),

declared as (
    select
        *,
        lead(valid_from_ms) over (partition by selector, selector_key, selector_value, region order by valid_from_ms asc nulls last) as next_from_ms
    from {{ ref('stg_price_overrides') }}
    where selector in ('volume', 'storage_class', 'load_balancer', 'control_plane')
),

listed as (
    select
        *,
        case
            when unit = 'GB-month' then 'volume'
            when unit = 'hour' and item in ('Network Load Balancer', 'forwarding rule (additional-rule tier)') then 'load_balancer'
            when unit = 'cluster-hour' and item in ('control plane, standard support', 'cluster management fee') then 'control_plane'
        end as service_kind
    from {{ ref('stg_service_prices') }}
),

candidates as (
{%- for rank, kind, selector, value in declarations %}
    select
        resources.cluster,
        resources.service_kind,
        resources.service_id,
        cast({{ rank * 2 }} as bigint) - case when declared.region = '' then cast(0 as bigint) else cast(1 as bigint) end as rank,
        declared.valid_from_ms,
        coalesce(declared.next_from_ms, cast(9223372036854775807 as bigint)) as valid_to_ms,
        declared.price_nano,
        cast(3600000 as bigint) as price_ms,
        declared.source
    from resources
    inner join declared
        on declared.selector = '{{ selector }}'
        and declared.selector_value = {{ value }}
        and declared.region in ('', coalesce(resources.region, ''))
    where resources.service_kind = '{{ kind }}'
    union all
{%- endfor %}
    select
        resources.cluster,
        resources.service_kind,
        resources.service_id,
        -- A class that has the name of what the provider sells is that; any other needs a declared price.
        case when listed.item = resources.service_type then cast(5 as bigint) else cast(6 as bigint) end as rank,
        listed.valid_from_ms,
        listed.valid_to_ms,
        listed.price_nano,
        -- A month of the list prices has 730 hours.
        case when listed.unit = 'GB-month' then cast(2628000000 as bigint) else cast(3600000 as bigint) end as price_ms,
        listed.source
    from resources
    inner join listed
        on resources.provider = listed.provider
        and resources.region = listed.region
        and resources.service_kind = listed.service_kind
        and (
            resources.service_kind = 'load_balancer'
            or resources.service_kind = 'volume' and listed.item in (resources.service_type, resources.service_type || ' storage')
            or resources.service_kind = 'control_plane' and listed.service = resources.service_type
        )
)

select
    *,
    case when service_kind = 'volume' then cast(1073741824 as bigint) else cast(1 as bigint) end as price_quantity
from candidates
where price_nano is not null
