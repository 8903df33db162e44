-- grain: one row per pod that held a machine
-- guarantee: cost_nano is NULL where no hour of the pod has a price
-- inputs: machine_pod_hours, pods
with consumers as (
    select
        hours.cluster,
        hours.pod_uid,
        hours.stage,
        hours.cpu_nano + hours.memory_nano + hours.gpu_nano as cost_nano,
        coalesce(hours.cpu_nano - hours.cpu_used_nano, cast(0 as bigint))
        + coalesce(hours.memory_nano - hours.memory_used_nano, cast(0 as bigint))
        + coalesce(hours.gpu_nano - hours.gpu_used_nano, cast(0 as bigint)) as unused_nano
    from {{ ref('machine_pod_hours') }} as hours
    where hours.consumer_kind = 'pod'
),

summed as (
    select
        cluster,
        pod_uid,
        cast(sum(cost_nano) as bigint) as cost_nano,
        cast(sum(case when stage = 'stuck' then cost_nano else cast(0 as bigint) end) as bigint) as stuck_nano,
        cast(sum(case when stage = 'running' then cost_nano else cast(0 as bigint) end) as bigint) as running_nano,
        cast(sum(case when stage = 'running' then unused_nano else cast(0 as bigint) end) as bigint) as unused_nano
    from consumers
    group by
        cluster,
        pod_uid
)

select
    summed.cluster,
    summed.pod_uid,
    summed.cost_nano,
    case
        when summed.cost_nano is null then cast(null as bigint)
        when pods.pod_class <> 'workload' then cast(0 as bigint)
        when pods.attempt_outcome in ('failed', 'lost') then summed.stuck_nano + summed.running_nano
        else summed.stuck_nano + summed.unused_nano
    end as wasted_nano
from summed
inner join {{ ref('pods') }} as pods on summed.cluster = pods.cluster and summed.pod_uid = pods.pod_uid
