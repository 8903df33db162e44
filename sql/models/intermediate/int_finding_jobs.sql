-- grain: one row per zone, ISO week, cluster, team and job: its pods that held a machine, and how many of them succeeded
-- guarantee: what findings about a job hold their own pods against
-- inputs: pods, int_finding_pods
{{ config(materialized='view') }}
select
    costs.cluster,
    costs.zone,
    costs.iso_week,
    pods.team,
    pods.installation,
    pods.pipeline,
    pods.job,
    count(*) as pods,
    cast(sum(case when pods.outcome = 'succeeded' then 1 else 0 end) as bigint) as succeeded_pods
from {{ ref('pods') }} as pods
inner join {{ ref('int_finding_pods') }} as costs on pods.cluster = costs.cluster and pods.pod_uid = costs.pod_uid
where pods.pod_class = 'workload' and costs.is_this
group by
    costs.cluster,
    costs.zone,
    costs.iso_week,
    pods.team,
    pods.installation,
    pods.pipeline,
    pods.job
