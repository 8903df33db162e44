-- grain: one row per cluster, hour, machine (or none), consumer and cost category
-- guarantee: sums to the cost of the machine, or of a volume, load balancer or control plane, in every hour; costs are NULL where no price is known
-- inputs: int_allocations, pods, int_machines, stg_watermarks
{{ config(materialized='view') }}
select
    costs.cluster,
    {{ at('costs.hour_start_ms') }} as hour_start_at,
    costs.machine,
    machines.node_name,
    machines.gpu_model,
    costs.consumer_kind,
    costs.pod_uid,
    case when costs.pod_uid is not null then pods.pod_name end as pod_name,
    coalesce(pods.namespace, costs.namespace, 'unattributed') as namespace,
    coalesce(pods.team, 'unattributed') as team,
    coalesce(pods.pipeline, 'unattributed') as pipeline,
    coalesce(pods.run, 'unattributed') as run,
    coalesce(pods.job, 'unattributed') as job,
    coalesce(pods.attempt, 'unattributed') as attempt,
    costs.cost_category,
    {{ usd('costs.cpu_nano') }} as cpu_cost,
    {{ usd('costs.memory_nano') }} as memory_cost,
    {{ usd('costs.gpu_nano') }} as gpu_cost,
    {{ usd('costs.service_nano') }} as service_cost,
    {{ usd('costs.cost_nano') }} as total_cost,
    {{ usd('costs.unused_nano') }} as unused_cost,
    coalesce(costs.hour_start_ms + 3600000 > watermarks.watermark_ms, true) as is_provisional
from {{ ref('int_allocations') }} as costs
left join {{ ref('pods') }} as pods on costs.cluster = pods.cluster and costs.owner_pod_uid = pods.pod_uid
left join {{ ref('int_machines') }} as machines
    on costs.cluster = machines.cluster and costs.machine = machines.machine
left join {{ ref('stg_watermarks') }} as watermarks on costs.cluster = watermarks.cluster
