-- grain: one row per zone, ISO week, cluster, team and job with pods that held GPUs and did not use them
-- guarantee: only pods whose GPUs were measured for half of their time and ten minutes or longer, at one percent or less of it; tries that failed or
--     were lost are told there, not here. Cost is the GPUs' part of what these pods paid in the week while they ran
-- inputs: int_finding_gpus, machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline', 'job'] %}
with idle as (
    select *
    from {{ ref('int_finding_gpus') }}
    where usage_milligpu_ms <= measured_ms * 10
),

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        idle.{{ column }},
{%- endfor %}
        max(idle.subject) as subject,
        max(idle.namespace) as namespace,
        cast(sum(costs.running_gpu_nano) as bigint) as cost_nano,
        cast(sum(costs.previous_running_gpu_nano) as bigint) as previous_cost_nano,
        min(idle.running_ms) as since_ms,
        cast(sum(case when costs.is_this then 1 else 0 end) as bigint) as pods,
        cast(sum(case when costs.is_this then costs.running_ms else cast(0 as bigint) end) as bigint) as held_ms,
        sum(case when costs.is_this then idle.usage_milligpu_ms else cast(0 as decimal(38,0)) end) as usage_milligpu_ms,
        sum(case when costs.is_this then idle.measured_ms * 1000 else cast(0 as decimal(38,0)) end) as measured_milligpu_ms,
        max(case when costs.is_this then idle.pod_name end) as pod_name
    from idle
    inner join {{ finding_pods('idle') }} as costs on idle.cluster = costs.cluster and idle.pod_uid = costs.pod_uid
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week{% for column in job %},
        idle.{{ column }}
{%- endfor %}
)

select
    cluster,
    zone,
    iso_week,
    'gpu_held_idle' as finding,
    'job' as subject_kind,
    subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cost_nano,
    case when cost_nano is not null then coalesce(previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' held GPUs for ' || {{ hours_text('held_ms') }} || ' and used ' || {{ percent_text('usage_milligpu_ms', 'measured_milligpu_ms') }}
    || ' of what was measured of them' as evidence,
    'ask for no GPU where the work needs none, or find why it does not reach it: a driver, a library without CUDA, a wait for data' as mend,
    'kubectl -n ' || coalesce(namespace, 'default') || ' exec ' || pod_name || ' -- nvidia-smi' as command,
    'runs' as counted_in
from summed
where pods > 0
