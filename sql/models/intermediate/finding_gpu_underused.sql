-- grain: one row per zone, ISO week, cluster, team and job with pods that held whole GPUs and used half of them or less
-- guarantee: only pods of `int_finding_gpus` that used more than one percent, so none of `finding_gpu_held_idle`. Cost is what they paid in the week for
--     the part of GPUs that they did not use while they ran: the most that sharing them can save
-- inputs: int_finding_gpus, machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline', 'job'] %}
with underused as (
    select
        *,
        cast(1000 - {{ wide_idiv('usage_milligpu_ms', 'measured_ms') }} as bigint) as unused_milligpus
    from {{ ref('int_finding_gpus') }}
    where
        gpu_request_milligpus >= 1000
        and usage_milligpu_ms > measured_ms * 10
        and usage_milligpu_ms <= measured_ms * 500
),

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        underused.{{ column }},
{%- endfor %}
        max(underused.subject) as subject,
        max(underused.namespace) as namespace,
        cast(sum({{ prorate('costs.running_gpu_nano', 'underused.unused_milligpus', '1000') }}) as bigint) as cost_nano,
        cast(sum({{ prorate('costs.previous_running_gpu_nano', 'underused.unused_milligpus', '1000') }}) as bigint) as previous_cost_nano,
        min(underused.running_ms) as since_ms,
        cast(sum(case when costs.is_this then 1 else 0 end) as bigint) as pods,
        cast(sum(case when costs.is_this then costs.running_ms else cast(0 as bigint) end) as bigint) as held_ms,
        sum(case when costs.is_this then underused.usage_milligpu_ms else cast(0 as decimal(38,0)) end) as usage_milligpu_ms,
        sum(case when costs.is_this then underused.measured_ms * 1000 else cast(0 as decimal(38,0)) end) as measured_milligpu_ms,
        max(case when costs.is_this then underused.fullest_milligpus end) as fullest_milligpus,
        max(case when costs.is_this then underused.memory_peak_bytes end) as memory_peak_bytes,
        max(case when costs.is_this then underused.pod_name end) as pod_name
    from underused
    inner join {{ finding_pods('underused') }} as costs on underused.cluster = costs.cluster and underused.pod_uid = costs.pod_uid
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week{% for column in job %},
        underused.{{ column }}
{%- endfor %}
)

select
    cluster,
    zone,
    iso_week,
    'gpu_underused' as finding,
    'job' as subject_kind,
    subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cost_nano,
    case when cost_nano is not null then coalesce(previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' held GPUs for ' || {{ hours_text('held_ms') }} || ' and used ' || {{ percent_text('usage_milligpu_ms', 'measured_milligpu_ms') }}
    || ' of what was measured of them, ' || {{ percent_text('fullest_milligpus', '1000') }} || ' in the fullest hour, and '
    || coalesce({{ mebibytes('memory_peak_bytes') }} || ' MiB', 'an unknown part') || ' of their memory' as evidence,
    'let several share one, by slices (MIG) or in turns (time slices), ask for a smaller kind, or give it larger batches: its memory decides which fits' as mend,
    'kubectl -n ' || coalesce(namespace, 'default') || ' exec ' || pod_name || ' -- nvidia-smi' as command,
    'runs' as counted_in
from summed
where pods > 0
