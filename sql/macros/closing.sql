{# A cell within a line that is hashed: with its length before it, so that no two rows make one line. #}
{% macro told_text(text) %}coalesce(cast(length({{ text }}) as string) || ':' || {{ text }}, '-'){% endmacro %}
{% macro told_number(number) %}coalesce(cast(cast({{ number }} as bigint) as string), '-'){% endmacro %}
{# Of what a week cost: its groups of categories, and how well requests were used. #}
{% macro week_parts() %}{{ usd("sum(case when categories.category_group = 'used' then costs.cost_nano else cast(0 as bigint) end)") }} as used_cost,
    {{ usd('sum(case when categories.is_waste then costs.cost_nano else cast(0 as bigint) end)') }} as wasted_cost,
    {{ usd("sum(case when costs.cost_category in ('failed', 'lost', 'stuck') then costs.cost_nano else cast(0 as bigint) end)") }} as failed_cost,
    {{ usd("sum(case when costs.cost_category = 'unused_request' then costs.cost_nano else cast(0 as bigint) end)") }} as unused_request_cost,
    {{ usd("sum(case when categories.category_group = 'idle' then costs.cost_nano else cast(0 as bigint) end)") }} as idle_cost,
    {{ usd("sum(case when categories.category_group = 'storage' then costs.cost_nano else cast(0 as bigint) end)") }} as storage_cost,
    {{ usd("sum(case when categories.category_group = 'unobserved' then costs.cost_nano else cast(0 as bigint) end)") }} as unobserved_cost,
    {{ ratio("sum(case when costs.cost_category = 'used' then costs.cpu_nano else cast(0 as bigint) end)", "sum(case when costs.cost_category in ('used', 'unused_request') then costs.cpu_nano else cast(0 as bigint) end)") }} as cpu_efficiency,
    {{ ratio("sum(case when costs.cost_category = 'used' then costs.memory_nano else cast(0 as bigint) end)", "sum(case when costs.cost_category in ('used', 'unused_request') then costs.memory_nano else cast(0 as bigint) end)") }} as memory_efficiency{% endmacro %}
{# What teams cost in each week of `calendar`, of such rows as `int_costs_hourly` has. #}
{% macro team_weeks(costs, calendar) %}
select
    calendar.zone,
    calendar.iso_week,
    min(calendar.local_date) as first_local_date,
    costs.cluster,
    costs.team,
    {{ usd('sum(costs.cost_nano)') }} as cost,
    {{ usd("sum(case when categories.is_shared then costs.cost_nano else cast(0 as bigint) end)") }} as shared_cost,
    {{ week_parts() }}
from {{ costs }} as costs
inner join {{ ref('cost_categories') }} as categories on costs.cost_category = categories.cost_category
inner join {{ calendar }} as calendar on costs.hour_start_ms = calendar.hour_start_ms
group by
    calendar.zone,
    calendar.iso_week,
    costs.cluster,
    costs.team
{%- endmacro %}
{# What each hour cost, of such rows. #}
{% macro cost_hours(costs) %}
select
    cluster,
    {{ at('hour_start_ms') }} as hour_start_at,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    {{ usd('cost_nano') }} as cost,
    {{ usd('cpu_nano') }} as cpu_cost,
    {{ usd('memory_nano') }} as memory_cost,
    {{ usd('gpu_nano') }} as gpu_cost,
    {{ usd('service_nano') }} as service_cost,
    {{ usd('unused_nano') }} as unused_cost
from {{ costs }}
{%- endmacro %}
{# What each day cost, of such rows. #}
{% macro cost_days(costs) %}
select
    {{ date_of('hour_start_ms') }} as charge_date,
    cluster,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    {{ usd('sum(cost_nano)') }} as cost,
    {{ usd('sum(cpu_nano)') }} as cpu_cost,
    {{ usd('sum(memory_nano)') }} as memory_cost,
    {{ usd('sum(gpu_nano)') }} as gpu_cost,
    {{ usd('sum(service_nano)') }} as service_cost,
    {{ usd('sum(unused_nano)') }} as unused_cost
from {{ costs }}
group by
    {{ date_of('hour_start_ms') }},
    cluster,
    team,
    pipeline,
    job,
    namespace,
    cost_category
{%- endmacro %}
