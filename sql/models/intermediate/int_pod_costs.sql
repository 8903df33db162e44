-- grain: one row per pod that held a machine: what it paid, by stage, and for the volumes that it mounted
-- guarantee: cost_nano is NULL where no hour of the pod has a price
-- inputs: machine_pod_hours, int_service_hours
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_pod_costs', ['cluster', 'pod_uid']) }}") }}
with consumers as (
    select
        cluster,
        pod_uid,
        stage,
        cpu_nano + memory_nano + gpu_nano as cost_nano,
        coalesce(cpu_nano - cpu_used_nano - cpu_unmetered_nano, cast(0 as bigint))
        + coalesce(memory_nano - memory_used_nano - memory_unmetered_nano, cast(0 as bigint))
        + coalesce(gpu_nano - gpu_used_nano - gpu_unmetered_nano, cast(0 as bigint)) as unused_nano
    from {{ touched('machine_pod_hours') }}
    where consumer_kind = 'pod'
    union all
    select
        cluster,
        pod_uid,
        'storage' as stage,
        cost_nano,
        cast(0 as bigint) as unused_nano
    from {{ touched('int_service_hours') }}
    where consumer_kind = 'pod'
)

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
