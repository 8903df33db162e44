-- grain: one row per cluster, hour, resource that is no machine (volume, load balancer, control plane), cost category, and pod that pays for it (or none)
-- guarantee: the rows of a resource's hour add up to what it costs, and all rows to those of `allocations_hourly` without a machine
-- inputs: int_service_hours, pods
{{ config(materialized='view') }}
select
    hours.cluster,
    {{ at('hours.hour_start_ms') }} as hour_start_at,
    hours.service_kind,
    hours.service_id,
    hours.cost_category,
    hours.pod_uid,
    case when hours.pod_uid is not null then pods.pod_name end as pod_name,
    coalesce(pods.namespace, hours.namespace, 'unattributed') as namespace,
    coalesce(pods.team, 'unattributed') as team,
    coalesce(pods.pipeline, 'unattributed') as pipeline,
    {{ usd('hours.cost_nano') }} as cost
from {{ ref('int_service_hours') }} as hours
left join {{ ref('pods') }} as pods on hours.cluster = pods.cluster and hours.owner_pod_uid = pods.pod_uid
