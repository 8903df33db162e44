{# A text as a JSON string. #}
{% macro json_text(text) %}{{ return(adapter.dispatch('json_text')(text)) }}{% endmacro %}
{# First moment of the month (UTC) in which an instant lies, or of the one after it. #}
{% macro month_of(instant) %}cast(date_trunc('month', {{ instant }}) as timestamp){% endmacro %}
{% macro month_after(instant) %}cast(date_trunc('month', {{ instant }}) + interval 1 month as timestamp){% endmacro %}
{# A number of the 18th decimals as a decimal, and as text. #}
{% macro of_atto(atto) %}cast(cast({{ atto }} as decimal(20,0)) * cast(0.000000000000000001 as decimal(18,18)) as decimal(38,18)){% endmacro %}
{% macro atto_text(atto) %}case when {{ atto }} >= 1000000000000000000 then '1' else '0.' || lpad(cast(cast({{ atto }} as bigint) as string), 18, '0') end{% endmacro %}
{# Of `hours_atto` (or 1) what falls to [to_part - part, to_part) of `whole`: differences of running parts leave nothing over. #}
{% macro running_part(hours_atto) %}{{ wide_idiv("cast(to_part as decimal(19,0)) * cast(" ~ hours_atto ~ " as decimal(19,0))", 'cast(whole_part as decimal(38,0))') }} - {{ wide_idiv("cast(to_part - part as decimal(19,0)) * cast(" ~ hours_atto ~ " as decimal(19,0))", 'cast(whole_part as decimal(38,0))') }}{% endmacro %}
{# A member of a JSON object with a comma before it, or nothing where marts say that it is unknown. #}
{% macro tag(key, value) %}case when coalesce({{ value }}, 'unattributed') <> 'unattributed' then ',"podledger/{{ key }}":' || {{ json_text(value) }} else '' end{% endmacro %}
{# Whether an hour is one that is exported. #}
{% macro exported(hour_start_ms) %}{{ hour_start_ms }} >= {{ var('focus_from_ms', 0) }} and {{ hour_start_ms }} < {{ var('focus_to_ms', 253402300800000) }}{% endmacro %}

{# What each hour of a machine, volume, load balancer or control plane cost each consumer, of months that are open. #}
{% macro focus_costs() %}
select
    costs.cluster,
    'machine' as origin_kind,
    costs.machine as origin,
    costs.hour_start_ms,
    costs.consumer_kind,
    costs.pod_uid,
    costs.owner_pod_uid,
    cast(null as string) as namespace,
    costs.cost_category,
    cast(sum(costs.cost_nano) as bigint) as cost_nano
from {{ ref('int_allocations') }} as costs
left join {{ ref('stg_closed_days') }} as closed on costs.hour_start_ms - costs.hour_start_ms % 86400000 = closed.day_start_ms
where costs.machine is not null and costs.cost_nano is not null and closed.day_start_ms is null and {{ exported('costs.hour_start_ms') }}
group by
    costs.cluster,
    costs.machine,
    costs.hour_start_ms,
    costs.consumer_kind,
    costs.pod_uid,
    costs.owner_pod_uid,
    costs.cost_category
union all
select
    costs.cluster,
    costs.service_kind as origin_kind,
    costs.service_id as origin,
    costs.hour_start_ms,
    costs.consumer_kind,
    costs.pod_uid,
    costs.owner_pod_uid,
    costs.namespace,
    costs.cost_category,
    costs.cost_nano
from {{ ref('int_service_hours') }} as costs
left join {{ ref('stg_closed_days') }} as closed on costs.hour_start_ms - costs.hour_start_ms % 86400000 = closed.day_start_ms
where costs.cost_nano is not null and closed.day_start_ms is null and {{ exported('costs.hour_start_ms') }}
{%- endmacro %}

{# The hours of machines: how long each was paid for, at which price, and what the machine was. `unit_nano` is NULL where the price changed within the hour. #}
{% macro focus_machine_hours() %}
select
    hours.cluster,
    'machine' as origin_kind,
    hours.machine as origin,
    hours.hour_start_ms,
    max(hours.up_ms - hours.unpriced_ms) as priced_ms,
    case when max(machines.billing_model) <> 'pod_request' and min(prices.price_nano) = max(prices.price_nano) then max(prices.price_nano) end as unit_nano,
    case
        when max(machines.billing_model) <> 'pod_request' and min(coalesce(prices.list_price_nano, prices.price_nano)) = max(coalesce(prices.list_price_nano, prices.price_nano))
            then max(coalesce(prices.list_price_nano, prices.price_nano))
    end as list_unit_nano,
    {{ cost_basis('prices.price_source') }} as cost_basis,
    max(coalesce(machines.provider_id, machines.machine)) as resource_id,
    max(machines.node_name) as resource_name,
    max(machines.provider) as provider,
    max(machines.region) as region,
    max(machines.zone) as zone,
    max(machines.instance_type) as item,
    max(machines.capacity_type) as capacity_type,
    max(machines.pool) as pool
from {{ ref('int_machine_hours') }} as hours
inner join {{ ref('int_machines') }} as machines on hours.cluster = machines.cluster and hours.machine = machines.machine
left join {{ ref('int_machine_prices') }} as prices
    on hours.cluster = prices.cluster
    and hours.machine = prices.machine
    and prices.price_nano is not null
    and prices.from_ms < least(hours.hour_start_ms + 3600000, machines.end_ms)
    and prices.to_ms > greatest(hours.hour_start_ms, machines.start_ms)
where {{ exported('hours.hour_start_ms') }}
group by
    hours.cluster,
    hours.machine,
    hours.hour_start_ms
{%- endmacro %}

{# The same of volumes, load balancers and control planes, from rows as `focus_costs` makes them. #}
{% macro focus_service_hours(costs) %}
select
    origins.cluster,
    origins.origin_kind,
    origins.origin,
    origins.hour_start_ms,
    cast(sum({{ overlap('lives.start_ms', 'lives.end_ms', 'origins.hour_start_ms', 'origins.hour_start_ms + 3600000') }}) as bigint) as priced_ms,
    cast(null as bigint) as unit_nano,
    cast(null as bigint) as list_unit_nano,
    {{ cost_basis('lives.price_source') }} as cost_basis,
    origins.origin as resource_id,
    max(lives.service_name) as resource_name,
    max(resources.provider) as provider,
    max(resources.region) as region,
    cast(null as string) as zone,
    max(lives.service_type) as item,
    cast(null as string) as capacity_type,
    cast(null as string) as pool
from (select distinct cluster, origin_kind, origin, hour_start_ms from {{ costs }} where origin_kind <> 'machine') as origins
inner join {{ ref('int_service_lives') }} as lives
    on origins.cluster = lives.cluster
    and origins.origin_kind = lives.service_kind
    and origins.origin = lives.service_id
    and lives.start_ms < origins.hour_start_ms + 3600000
    and lives.end_ms > origins.hour_start_ms
    and lives.price_nano is not null
left join (select cluster, service_kind, service_id, max(provider) as provider, max(region) as region from {{ ref('int_service_resources') }} group by cluster, service_kind, service_id) as resources
    on origins.cluster = resources.cluster
    and origins.origin_kind = resources.service_kind
    and origins.origin = resources.service_id
group by
    origins.cluster,
    origins.origin_kind,
    origins.origin,
    origins.hour_start_ms
{%- endmacro %}

{# On what the cost of an hour rests, of the sources of its prices. #}
{% macro cost_basis(source) %}case when min({{ source }}) = 'billed' and max({{ source }}) = 'billed' then 'billed' when max(case when {{ source }} = 'billed' then 1 else 0 end) = 1 then 'partly billed' else 'estimated' end{% endmacro %}

{# Closed months as they were closed, and adjustments of them in later ones: no machine and no pod is kept of these. #}
{% macro focus_booked() %}
select
    costs.*,
    case when costs.adjusts_month_ms is null then 'closed_month' else 'adjustment' end as origin_kind,
    case when costs.adjusts_month_ms is null then 'closed' else 'billed' end as cost_basis
from {{ ref('int_booked_costs') }} as costs
left join {{ ref('stg_closed_days') }} as closed on costs.hour_start_ms - costs.hour_start_ms % 86400000 = closed.day_start_ms
where costs.cost_nano is not null and (closed.day_start_ms is not null or costs.adjusts_month_ms is not null) and {{ exported('costs.hour_start_ms') }}
{%- endmacro %}
