-- grain: one row per workload pod that held GPUs of which it was measured how busy they were
-- guarantee: measured for half of the pod's time and ten minutes or longer; tries that failed or were lost are left out. Of sources that
--     disagree the one that saw more speaks; a sample is of one GPU, a thousand thousandths of it
-- inputs: stg_usage_stretches, pods, clusters
{{ config(materialized='view') }}
with by_source as (
    select
        cluster,
        pod_uid,
        source,
        sum(cast(gpu_usage_milligpu_ms as decimal(38,0))) as usage_milligpu_ms,
        sum(cast(gpu_measured_ms as decimal(38,0))) as measured_ms,
        -- The average of its fullest hour.
        max({{ idiv('gpu_usage_milligpu_ms', 'gpu_measured_ms') }}) as fullest_milligpus,
        max(gpu_memory_peak_bytes) as memory_peak_bytes
    from {{ ref('stg_usage_stretches') }}
    where gpu_usage_milligpu_ms is not null and gpu_measured_ms > 0
    group by
        cluster,
        pod_uid,
        source
),

measured as (
    select
        cluster,
        pod_uid,
        max(usage_milligpu_ms) as usage_milligpu_ms,
        max(measured_ms) as measured_ms,
        max(fullest_milligpus) as fullest_milligpus,
        max(memory_peak_bytes) as memory_peak_bytes
    from by_source
    group by
        cluster,
        pod_uid
)

select
    pods.cluster,
    pods.pod_uid,
    pods.pod_name,
    pods.namespace,
    pods.team,
    pods.installation,
    pods.pipeline,
    pods.job,
    {{ job_subject('pods') }} as subject,
    pods.running_ms,
    pods.gpu_request_milligpus,
    measured.usage_milligpu_ms,
    measured.measured_ms,
    measured.fullest_milligpus,
    measured.memory_peak_bytes
from measured
inner join {{ ref('pods') }} as pods on measured.cluster = pods.cluster and measured.pod_uid = pods.pod_uid
inner join {{ ref('clusters') }} as clusters on pods.cluster = clusters.cluster
where
    pods.pod_class = 'workload'
    and pods.gpu_request_milligpus > 0
    and pods.running_ms is not null
    and coalesce(pods.attempt_outcome, '') not in ('failed', 'lost')
    and measured.measured_ms >= 600000
    and measured.measured_ms * 2000 >= cast(pods.gpu_request_milligpus as decimal(19,0)) * cast(
        least(coalesce(pods.finished_ms, pods.released_ms, {{ ms('clusters.observed_through_at') }}), {{ ms('clusters.observed_through_at') }}) - pods.running_ms
        as decimal(19,0))
