-- grain: one row per charge date (UTC) on which pods were created, cluster, team, pipeline and job
-- guarantee: percentiles are waits that occurred (no interpolation); pods not bound yet are counted, not measured
-- inputs: pods
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_days', ['charge_date']) }}") }}
select
    {{ date_of('created_ms') }} as charge_date,
    cluster,
    team,
    pipeline,
    job,
    count(*) as pods,
    count(bound_ms) as bound_pods,
    -- Where only the container's start is known the wait contains pulling and initialising too.
    cast(sum(case when start_source = 'container' then 1 else 0 end) as bigint) as upper_bound_pods,
    {{ percentile('queue_wait_ms', '0.5') }} as queue_wait_p50_ms,
    {{ percentile('queue_wait_ms', '0.95') }} as queue_wait_p95_ms,
    max(queue_wait_ms) as queue_wait_max_ms,
    cast(sum(queue_wait_ms) as bigint) as queue_wait_total_ms
from {{ ref('pods') }}
where pod_class = 'workload'
group by
    {{ date_of('created_ms') }},
    cluster,
    team,
    pipeline,
    job
