-- grain: one row per cluster, kind of what costs something (machine, volume, load balancer), provider, region, type that has no known price, and row of the
--     configuration that would price it: what has no type is named one by one
-- guarantee: all time that `data_quality` counts as unpriced is here, with what would price it; it costs NULL, never 0
-- inputs: int_service_lives, int_service_resources, int_machine_hours, int_machines
{{ config(materialized='view') }}
{#- What cannot break a line of TOML. #}
{%- set plain = "'^([A-Za-z0-9_.:/@#+= -]+)$'" %}
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
        'storage_class' as type_selector,
        lives.service_kind as own_selector,
        lives.service_name as own_name,
        false as is_billed_by_pod,
        lives.start_ms,
        lives.end_ms - lives.start_ms as unpriced_ms
    from {{ ref('int_service_lives') }} as lives
    inner join places
        on lives.cluster = places.cluster and lives.service_kind = places.service_kind and lives.service_id = places.service_id
    where lives.price_nano is null and lives.end_ms > lives.start_ms
    union all
    -- A node keeps its name when it boots; its machine does not.
    select
        hours.cluster,
        'machine' as resource_kind,
        machines.provider,
        machines.region,
        machines.instance_type as resource_type,
        hours.machine as resource_id,
        'instance_type' as type_selector,
        case when machines.node_name is null then 'machine' else 'node' end as own_selector,
        coalesce(machines.node_name, machines.provider_id, machines.machine) as own_name,
        machines.billing_model = 'pod_request' as is_billed_by_pod,
        greatest(machines.start_ms, hours.hour_start_ms) as start_ms,
        hours.unpriced_ms
    from {{ ref('int_machine_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines on hours.cluster = machines.cluster and hours.machine = machines.machine
    where hours.unpriced_ms > 0
),

named as (
    select
        *,
        coalesce(regexp_extract(resource_type, {{ plain }}, 1), '') as type_name,
        coalesce(nullif(regexp_extract(own_name, {{ plain }}, 1), ''), '...') as thing_name
    from unpriced
),

selected as (
    select
        *,
        case
            when is_billed_by_pod then cast(null as string)
            when resource_kind = 'load_balancer' then 'load_balancer = "*"'
            when type_name <> '' then type_selector || ' = "' || type_name || '"'
            else own_selector || ' = "' || thing_name || '"'
        end as selection
    from named
)

select
    cluster,
    resource_kind,
    provider,
    region,
    resource_type,
    cast(count(distinct resource_id) as bigint) as resources,
    cast(sum(unpriced_ms) as bigint) as unpriced_ms,
    {{ at('min(start_ms)') }} as since_at,
    case
        when is_billed_by_pod then 'its pods are billed, whatever is said of machines: import what an hour of a vCPU and of a GB costs there (`import query --into service_prices`, units `vCPU-hour` and `GB-hour`)'
        when resource_kind = 'volume' then 'say as what the provider sells the class (`storage_classes`), or what a GiB of it costs an hour (`price_overrides`)'
        when resource_kind = 'load_balancer' then 'say what a load balancer costs an hour (`price_overrides`)'
        else 'import its list price (`podledger import catalogue`, `import prices`), or say what it costs an hour (`price_overrides`)'
    end as mend,
    'price_overrides = [{' || selection || ', hourly_usd = "..."}]' as configuration
from selected
group by
    cluster,
    resource_kind,
    provider,
    region,
    resource_type,
    is_billed_by_pod,
    selection
