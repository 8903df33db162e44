-- grain: one row per cluster, kind of what costs something (machine, volume, load balancer), provider, region and type that has no known price
-- guarantee: all time that `data_quality` counts as unpriced is here, with what would price it; it costs NULL, never 0
-- inputs: int_service_lives, int_service_resources, int_machine_hours, int_machines
{{ config(materialized='view') }}
with places as (
    select
        cluster,
        service_kind,
        service_id,
        max(provider) as provider,
        max(region) as region
    from {{ ref('int_service_resources') }}
    group by
        cluster,
        service_kind,
        service_id
),

unpriced as (
    select
        lives.cluster,
        lives.service_kind as resource_kind,
        places.provider,
        places.region,
        lives.service_type as resource_type,
        lives.service_id as resource_id,
        lives.service_name as resource_name,
        lives.start_ms,
        lives.end_ms - lives.start_ms as unpriced_ms
    from {{ ref('int_service_lives') }} as lives
    inner join places
        on lives.cluster = places.cluster and lives.service_kind = places.service_kind and lives.service_id = places.service_id
    where lives.price_nano is null and lives.end_ms > lives.start_ms
    union all
    select
        hours.cluster,
        'machine' as resource_kind,
        machines.provider,
        machines.region,
        machines.instance_type as resource_type,
        hours.machine as resource_id,
        hours.machine as resource_name,
        hours.hour_start_ms as start_ms,
        hours.unpriced_ms
    from {{ ref('int_machine_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines on hours.cluster = machines.cluster and hours.machine = machines.machine
    where hours.unpriced_ms > 0
),

summed as (
    select
        cluster,
        resource_kind,
        provider,
        region,
        resource_type,
        -- Names are what cannot break a line of TOML.
        regexp_extract(min(resource_name), '^([A-Za-z0-9_.:/-]+)$', 1) as resource_name,
        regexp_extract(resource_type, '^([A-Za-z0-9_.:/-]+)$', 1) as named_type,
        count(distinct resource_id) as resources,
        cast(sum(unpriced_ms) as bigint) as unpriced_ms,
        min(start_ms) as since_ms
    from unpriced
    group by
        cluster,
        resource_kind,
        provider,
        region,
        resource_type
)

select
    cluster,
    resource_kind,
    provider,
    region,
    resource_type,
    cast(resources as bigint) as resources,
    unpriced_ms,
    {{ at('since_ms') }} as since_at,
    case resource_kind
        when 'volume' then 'say as what the provider sells the class (`storage_classes`), or what a GiB of it costs an hour (`price_overrides`)'
        when 'load_balancer' then 'say what a load balancer costs an hour (`price_overrides`)'
        else 'import its list price (`podledger import catalogue`, `import prices`), or say what it costs an hour (`price_overrides`)'
    end as mend,
    'price_overrides = [{' || case
        when resource_kind = 'load_balancer' then 'load_balancer = "*"'
        when resource_kind = 'volume' and named_type <> '' then 'storage_class = "' || named_type || '"'
        when resource_kind = 'machine' and named_type <> '' then 'instance_type = "' || named_type || '"'
        else resource_kind || ' = "' || coalesce(nullif(resource_name, ''), '...') || '"'
    end || ', hourly_usd = "..."}]' as configuration
from summed
