-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category
-- guarantee: the sum over all rows of an hour is the cost of its machines
-- inputs: int_allocations, int_pod_names
with named as (
    select
        costs.cluster,
        costs.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
        coalesce(pods.pipeline, 'unattributed') as pipeline,
        coalesce(pods.job, 'unattributed') as job,
        coalesce(pods.namespace, 'unattributed') as namespace,
        costs.cost_category,
        costs.cpu_nano,
        costs.memory_nano,
        costs.gpu_nano,
        costs.cost_nano,
        costs.unused_nano
    from {{ ref('int_allocations') }} as costs
    left join {{ ref('int_pod_names') }} as pods on costs.cluster = pods.cluster and costs.pod_uid = pods.pod_uid
)

select
    cluster,
    hour_start_ms,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    cast(sum(cpu_nano) as bigint) as cpu_nano,
    cast(sum(memory_nano) as bigint) as memory_nano,
    cast(sum(gpu_nano) as bigint) as gpu_nano,
    cast(sum(cost_nano) as bigint) as cost_nano,
    cast(sum(unused_nano) as bigint) as unused_nano
from named
group by
    cluster,
    hour_start_ms,
    team,
    pipeline,
    job,
    namespace,
    cost_category
