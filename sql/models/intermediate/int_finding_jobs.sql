-- grain: one row per zone, ISO week, cluster, team and job: its pods that held a machine, and how many of them succeeded
-- guarantee: what findings about a job hold their own pods against
-- inputs: pods, machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
with held as (
    select distinct
        hours.cluster,
        hours.zone,
        hours.iso_week,
        costs.pod_uid
    from {{ ref('machine_pod_hours') }} as costs
    inner join {{ ref('int_finding_hours') }} as hours
        on costs.cluster = hours.cluster and costs.hour_start_ms = hours.hour_start_ms
    where costs.consumer_kind = 'pod' and hours.is_this
)

select
    held.cluster,
    held.zone,
    held.iso_week,
    pods.team,
    pods.installation,
    pods.pipeline,
    pods.job,
    count(*) as pods,
    cast(sum(case when pods.outcome = 'succeeded' then 1 else 0 end) as bigint) as succeeded_pods
from {{ ref('pods') }} as pods
inner join held on pods.cluster = held.cluster and pods.pod_uid = held.pod_uid
where pods.pod_class = 'workload'
group by
    held.cluster,
    held.zone,
    held.iso_week,
    pods.team,
    pods.installation,
    pods.pipeline,
    pods.job
