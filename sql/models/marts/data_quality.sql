-- grain: one row per cluster and measure
-- guarantee: what is unknown, clipped or uncertain is counted here, never hidden in another figure
-- inputs: pods, int_pod_spans, int_machines, machine_pod_hours, int_pod_costs, int_costs_hourly, int_service_hours, stg_usage_hours,
--     stg_collection_gaps
{{ config(materialized='view') }}
with pod_measures as (
    select
        pods.cluster,
        count(*) as pods,
        cast(sum(case when pods.bound_ms is null then 1 else 0 end) as bigint) as pods_never_bound,
        cast(sum(case when pods.bound_ms is not null and pods.machine is null then 1 else 0 end) as bigint) as pods_without_machine,
        cast(sum(case when pods.machine is not null and machines.machine is null then 1 else 0 end) as bigint) as pods_on_unknown_machines,
        cast(sum(case when pods.released_ms = pods.bound_ms then 1 else 0 end) as bigint) as pods_of_zero_length,
        cast(sum(case when pods.start_source = 'container' then 1 else 0 end) as bigint) as pods_started_by_container_time,
        cast(sum(case when pods.end_source = 'container' then 1 else 0 end) as bigint) as pods_ended_by_container_time,
        cast(sum(case when pods.cpu_request_millicores = 0 and pods.memory_request_bytes = 0 then 1 else 0 end) as bigint) as pods_without_request,
        cast(sum(case when pods.outcome = 'unknown' then 1 else 0 end) as bigint) as pods_of_unknown_outcome,
        cast(sum(case when pods.team = 'unattributed' then 1 else 0 end) as bigint) as pods_without_team,
        cast(sum(case when pods.pipeline = 'unattributed' then 1 else 0 end) as bigint) as pods_without_pipeline,
        cast(sum(pods.end_latest_ms - pods.end_earliest_ms) as bigint) as uncertain_end_ms,
        cast(sum({{ wide_idiv('cast(costs.cost_nano as decimal(38,0)) * cast(pods.end_latest_ms - pods.end_earliest_ms as decimal(19,0))', 'cast(nullif(pods.released_ms - pods.bound_ms, 0) as decimal(38,0))') }}) as bigint) as uncertain_end_nano
    from {{ ref('pods') }} as pods
    left join {{ ref('int_machines') }} as machines
        on pods.cluster = machines.cluster and pods.machine = machines.machine
    left join {{ ref('int_pod_costs') }} as costs on pods.cluster = costs.cluster and pods.pod_uid = costs.pod_uid
    group by pods.cluster
),

span_measures as (
    select
        spans.cluster,
        cast(sum((spans.end_ms - spans.start_ms) - case
            when machines.machine is null then cast(0 as bigint)
            else {{ overlap('spans.start_ms', 'spans.end_ms', 'machines.start_ms', 'machines.end_ms') }}
        end) as bigint) as unplaced_ms,
        cast({{ wide_idiv("sum(cast(spans.cpu_request_millicores as decimal(19,0)) * cast((spans.end_ms - spans.start_ms) - case when machines.machine is null then cast(0 as bigint) else " ~ overlap('spans.start_ms', 'spans.end_ms', 'machines.start_ms', 'machines.end_ms') ~ " end as decimal(19,0)))", 'cast(1000 as decimal(38,0))') }} as bigint) as unplaced_core_ms
    from {{ ref('int_pod_spans') }} as spans
    left join {{ ref('int_machines') }} as machines
        on spans.cluster = machines.cluster and spans.machine = machines.machine
    group by spans.cluster
),

machine_hours as (
    select
        cluster,
        machine,
        hour_start_ms,
        sum(cpu_nano + memory_nano + gpu_nano) as cost_nano
    from {{ ref('machine_pod_hours') }}
    group by
        cluster,
        machine,
        hour_start_ms
),

machine_measures as (
    select
        cluster,
        count(*) as machine_hours,
        cast(sum(case when cost_nano is null then 1 else 0 end) as bigint) as unpriced_machine_hours
    from machine_hours
    group by cluster
),

service_measures as (
    select
        cluster,
        count(*) as service_hours,
        cast(sum(case when cost_nano is null then 1 else 0 end) as bigint) as unpriced_service_hours
    from {{ ref('int_service_hours') }}
    where consumer_kind <> 'pod'
    group by cluster
),

cost_measures as (
    select
        cluster,
        cast(sum(cost_nano) as bigint) as cost_nano,
        cast(sum(case when pipeline <> 'unattributed' then cost_nano else cast(0 as bigint) end) as bigint) as cost_of_known_pipelines_nano,
        cast(sum(case when team <> 'unattributed' then cost_nano else cast(0 as bigint) end) as bigint) as cost_of_known_teams_nano,
        cast(sum(case when cost_category = 'unmetered' then cost_nano else cast(0 as bigint) end) as bigint) as unmetered_nano,
        cast(sum(case when cost_category = 'unobserved' then cost_nano else cast(0 as bigint) end) as bigint) as unobserved_nano
    from {{ ref('int_costs_hourly') }}
    group by cluster
),

-- Pods that were too short, or whose node was not asked, are unknown.
metered as (
    select distinct
        cluster,
        pod_uid
    from {{ ref('stg_usage_hours') }}
),

usage_measures as (
    select
        pods.cluster,
        cast(sum(case when pods.running_ms is not null and metered.pod_uid is null then 1 else 0 end) as bigint) as pods_unmetered,
        cast(sum(case when metered.pod_uid is not null then 1 else 0 end) as bigint) as pods_metered
    from {{ ref('pods') }} as pods
    left join metered on pods.cluster = metered.cluster and pods.pod_uid = metered.pod_uid
    group by pods.cluster
),

gap_measures as (
    select
        cluster,
        cast(sum(gaps) as bigint) as collection_gaps,
        cast(sum(end_ms - start_ms) as bigint) as blind_ms,
        cast(sum(recovered_pods) as bigint) as recovered_pods
    from {{ ref('stg_collection_gaps') }}
    group by cluster
)
{%- set measures = [
    ('pod_measures', 'pods', 'pods'),
    ('pod_measures', 'pods_never_bound', 'pods'),
    ('pod_measures', 'pods_without_machine', 'pods'),
    ('pod_measures', 'pods_on_unknown_machines', 'pods'),
    ('pod_measures', 'pods_of_zero_length', 'pods'),
    ('pod_measures', 'pods_started_by_container_time', 'pods'),
    ('pod_measures', 'pods_ended_by_container_time', 'pods'),
    ('pod_measures', 'pods_without_request', 'pods'),
    ('pod_measures', 'pods_of_unknown_outcome', 'pods'),
    ('pod_measures', 'pods_without_team', 'pods'),
    ('pod_measures', 'pods_without_pipeline', 'pods'),
    ('pod_measures', 'uncertain_end_ms', 'ms'),
    ('pod_measures', 'uncertain_end_nano', 'nano-usd'),
    ('span_measures', 'unplaced_ms', 'ms'),
    ('span_measures', 'unplaced_core_ms', 'core-ms'),
    ('machine_measures', 'machine_hours', 'machine-hours'),
    ('machine_measures', 'unpriced_machine_hours', 'machine-hours'),
    ('service_measures', 'service_hours', 'service-hours'),
    ('service_measures', 'unpriced_service_hours', 'service-hours'),
    ('cost_measures', 'cost_nano', 'nano-usd'),
    ('cost_measures', 'cost_of_known_pipelines_nano', 'nano-usd'),
    ('cost_measures', 'cost_of_known_teams_nano', 'nano-usd'),
    ('cost_measures', 'unmetered_nano', 'nano-usd'),
    ('cost_measures', 'unobserved_nano', 'nano-usd'),
    ('usage_measures', 'pods_metered', 'pods'),
    ('usage_measures', 'pods_unmetered', 'pods'),
    ('gap_measures', 'collection_gaps', 'gaps'),
    ('gap_measures', 'blind_ms', 'ms'),
    ('gap_measures', 'recovered_pods', 'pods'),
] %}
{% for inputs, measure, unit in measures %}
select
    cluster,
    '{{ measure }}' as measure,
    '{{ unit }}' as unit,
    coalesce({{ measure }}, cast(0 as bigint)) as value
from {{ inputs }}
{% if not loop.last %}union all{% endif %}
{% endfor %}
