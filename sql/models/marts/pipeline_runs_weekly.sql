-- grain: one row per zone, ISO week, cluster, system, installation and pipeline with runs that ended in it
-- guarantee: cost per successful run is the cost of all runs that ended and whose cost is known, divided by those of them that succeeded: NULL where none did
--     Runs are on target that succeeded within `target_duration_ms`; NULL where no target is declared
-- inputs: runs, int_finding_weeks, `vars: targets` (the first that names the pipeline holds)
{{ config(materialized='view') }}
{%- set pipeline = ['cluster', 'system', 'installation', 'pipeline'] %}
with ended as (
    select
        weeks.zone,
        weeks.iso_week,
{%- for column in pipeline %}
        runs.{{ column }},
{%- endfor %}
        runs.status = 'succeeded' as is_success,
        {{ nano('runs.cost') }} as cost_nano,
        {{ nano('runs.wasted_cost') }} as wasted_nano,
        {{ ms('runs.ended_at') }} - {{ ms('runs.created_at') }} as duration_ms
    from {{ ref('runs') }} as runs
    inner join {{ ref('int_finding_weeks') }} as weeks
        on runs.cluster = weeks.cluster
        and {{ ms('runs.ended_at') }} >= weeks.from_ms
        and {{ ms('runs.ended_at') }} < weeks.to_ms
),

aimed as (
    select
        *,
{%- if var('targets') %}
        case
{%- for target in var('targets') %}
            when {% if target.pipeline == '*' %}true{% else %}pipeline = {{ quoted(target.pipeline) }}{% endif %} then cast({{ target.within_ms }} as bigint)
{%- endfor %}
        end as target_duration_ms
{%- else %}
        cast(null as bigint) as target_duration_ms
{%- endif %}
    from ended
)

select
    zone,
    iso_week,
{%- for column in pipeline %}
    {{ column }},
{%- endfor %}
    count(*) as runs,
    cast(sum(case when is_success then 1 else 0 end) as bigint) as succeeded_runs,
    -- Runs whose cost is known: the others are in no figure.
    cast(sum(case when cost_nano is not null then 1 else 0 end) as bigint) as priced_runs,
    {{ usd('sum(cost_nano)') }} as cost,
    {{ usd('sum(wasted_nano)') }} as wasted_cost,
    {{ usd(wide_idiv('cast(sum(cost_nano) as decimal(38,0))', 'nullif(cast(sum(case when is_success and cost_nano is not null then 1 else 0 end) as decimal(38,0)), cast(0 as decimal(38,0)))')) }} as cost_per_success,
    {{ usd(percentile('case when is_success then cost_nano end', '0.5')) }} as cost_p50,
    {{ usd(percentile('case when is_success then cost_nano end', '0.95')) }} as cost_p95,
    {{ percentile('case when is_success then duration_ms end', '0.5') }} as duration_p50_ms,
    {{ percentile('case when is_success then duration_ms end', '0.95') }} as duration_p95_ms,
    target_duration_ms,
    case when target_duration_ms is not null then cast(sum(case when is_success and duration_ms <= target_duration_ms then 1 else 0 end) as bigint) end as runs_on_target
from aimed
group by
    zone,
    iso_week,
    {{ pipeline | join(', ') }},
    target_duration_ms
