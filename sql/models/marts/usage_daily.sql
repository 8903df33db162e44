-- grain: one row per charge date (UTC), cluster, team, pipeline and job that had usage
-- guarantee: the sums of what was measured, whether or not a machine is known
-- inputs: stg_usage_hours, int_pod_names
{{ config(materialized='view') }}
select
    {{ date_of('usage.hour_start_ms') }} as charge_date,
    usage.cluster,
    coalesce(pods.team, 'unattributed') as team,
    coalesce(pods.pipeline, 'unattributed') as pipeline,
    coalesce(pods.job, 'unattributed') as job,
    cast(sum(cast(usage.cpu_usage_millicore_ms as decimal(38,0))) as decimal(38,0)) as cpu_usage_millicore_ms,
    cast(sum(usage.cpu_measured_ms) as bigint) as cpu_measured_ms,
    cast(sum(usage.memory_usage_byte_ms) as decimal(38,0)) as memory_usage_byte_ms,
    cast(sum(usage.memory_measured_ms) as bigint) as memory_measured_ms,
    max(usage.memory_peak_bytes) as memory_peak_bytes
from {{ ref('stg_usage_hours') }} as usage
left join {{ ref('int_pod_names') }} as pods on usage.cluster = pods.cluster and usage.pod_uid = pods.pod_uid
group by
    {{ date_of('usage.hour_start_ms') }},
    usage.cluster,
    coalesce(pods.team, 'unattributed'),
    coalesce(pods.pipeline, 'unattributed'),
    coalesce(pods.job, 'unattributed')
