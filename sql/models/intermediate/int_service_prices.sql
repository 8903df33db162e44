-- grain: one row per resource (volume, load balancer, control plane) and price that may hold for it
-- guarantee: [valid_from_ms, valid_to_ms) of one rank do not overlap; the least rank holds: what a bill says, what was declared of the thing itself, of its kind, the list price.
--     A price is of `price_quantity` (a GiB of a volume; the whole of it where that is NULL) for `price_ms`, and holds for more than `over_quantity`
--     and for `up_to_quantity` at most
-- inputs: int_service_resources, int_billed_services, stg_price_overrides, stg_service_prices, `vars: storage_classes`
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
{#- Managed disks of Azure are sold by size: a disk costs what the next larger size costs. Number of the size and GiB, the same for every kind
    (learn.microsoft.com/azure/virtual-machines/disks-types); standard HDDs begin with the fourth. #}
{%- set disk_sizes = [(1, 4), (2, 8), (3, 16), (4, 32), (6, 64), (10, 128), (15, 256), (20, 512), (30, 1024), (40, 2048), (50, 4096), (60, 8192), (70, 16384), (80, 32767)] %}
{%- set disk_kinds = [('Premium_LRS', 'P', 'LRS'), ('Premium_ZRS', 'P', 'ZRS'), ('StandardSSD_LRS', 'E', 'LRS'), ('StandardSSD_ZRS', 'E', 'ZRS'), ('Standard_LRS', 'S', 'LRS')] %}
with resources as (
    select distinct
        cluster,
        service_kind,
        service_id,
        service_name,
        service_type,
        {% if var('storage_classes') -%}
        case
{%- for class in var('storage_classes') %}
            when service_kind = 'volume' and service_type = {{ quoted(class.storage_class) }} then {{ quoted(class.sold_as) }}
{%- endfor %}
            else service_type
        end
        {%- else -%}
        service_type
        {%- endif %} as sold_as,
        namespace,
        provider,
        region
    from {{ ref('int_service_resources') }}
),

disk_sizes as (
{%- for number, gib in disk_sizes %}
    select cast({{ number }} as bigint) as number, cast({{ disk_sizes[loop.index0 - 1][1] if loop.index0 > 0 else 0 }} as bigint) * 1073741824 as over_bytes, cast({{ gib }} as bigint) * 1073741824 as up_to_bytes
    {% if not loop.last %}union all{% endif %}
{%- endfor %}
),

disk_kinds as (
{%- for sold_as, letter, redundancy in disk_kinds %}
    select '{{ sold_as }}' as sold_as, '{{ letter }}' as letter, '{{ redundancy }}' as redundancy
    {% if not loop.last %}union all{% endif %}
{%- endfor %}
),

disks as (
    select
        kinds.sold_as,
        kinds.letter || {{ number_text('sizes.number') }} || ' ' || kinds.redundancy as disk,
        case when kinds.letter = 'S' and sizes.number = 4 then cast(0 as bigint) else sizes.over_bytes end as over_quantity,
        sizes.up_to_bytes as up_to_quantity
    from disk_kinds as kinds
    cross join disk_sizes as sizes
    where kinds.letter <> 'S' or sizes.number >= 4
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
            when unit in ('GB-month', 'disk-month') then 'volume'
            when unit = 'hour' and item in ('Network Load Balancer', 'forwarding rule (additional-rule tier)') then 'load_balancer'
            when unit = 'cluster-hour' and item in ('control plane, standard support', 'cluster management fee') then 'control_plane'
        end as service_kind
    from {{ ref('stg_service_prices') }}
),

candidates as (
    -- All of what is charged, for all of the time in which it was there.
    select
        cluster,
        service_kind,
        service_id,
        cast(0 as bigint) as rank,
        charge_start_ms as valid_from_ms,
        charge_end_ms as valid_to_ms,
        cost_nano as price_nano,
        group_ms as price_ms,
        cast(null as bigint) as price_quantity,
        cast(-1 as bigint) as over_quantity,
        cast(9223372036854775807 as bigint) as up_to_quantity,
        'billed' as source
    from {{ ref('int_billed_services') }}
    union all
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
        case when resources.service_kind = 'volume' then cast(1073741824 as bigint) else cast(1 as bigint) end as price_quantity,
        cast(-1 as bigint) as over_quantity,
        cast(9223372036854775807 as bigint) as up_to_quantity,
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
        case when listed.item = resources.sold_as then cast(5 as bigint) else cast(6 as bigint) end as rank,
        listed.valid_from_ms,
        listed.valid_to_ms,
        listed.price_nano,
        -- A month of the list prices has 730 hours.
        case when listed.unit = 'GB-month' then cast(2628000000 as bigint) else cast(3600000 as bigint) end as price_ms,
        case when resources.service_kind = 'volume' then cast(1073741824 as bigint) else cast(1 as bigint) end as price_quantity,
        cast(-1 as bigint) as over_quantity,
        cast(9223372036854775807 as bigint) as up_to_quantity,
        listed.source
    from resources
    inner join listed
        on resources.provider = listed.provider
        and resources.region = listed.region
        and resources.service_kind = listed.service_kind
        and (
            resources.service_kind = 'load_balancer'
            or resources.service_kind = 'volume' and listed.unit = 'GB-month' and listed.item in (resources.sold_as, resources.sold_as || ' storage')
            or resources.service_kind = 'control_plane' and listed.service = resources.service_type
        )
    union all
    select
        resources.cluster,
        resources.service_kind,
        resources.service_id,
        cast(5 as bigint) as rank,
        listed.valid_from_ms,
        listed.valid_to_ms,
        listed.price_nano,
        cast(2628000000 as bigint) as price_ms,
        cast(null as bigint) as price_quantity,
        disks.over_quantity,
        disks.up_to_quantity,
        listed.source
    from resources
    inner join disks on resources.service_kind = 'volume' and resources.sold_as = disks.sold_as
    inner join listed
        on listed.provider = 'azure'
        and resources.provider = listed.provider
        and resources.region = listed.region
        and listed.unit = 'disk-month'
        -- The disk itself (`P10 LRS`, `P10 LRS Disk`), and no mount of it nor what is done with it.
        and regexp_extract(listed.item, '^([PES][0-9]+ [LZ]RS)( Disk)?( [(].*)?$', 1) = disks.disk
)

select *
from candidates
where price_nano is not null
