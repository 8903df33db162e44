-- grain: one row per cluster, hour, machine and consumer (a pod, node_reserved, idle, unobserved)
-- guarantee: resource-time of a machine's hour adds up to its capacity or, where pods claim more than there is, to what they claim
-- inputs: machine_pod_hours, stg_usage_hours
{{ config(materialized='view') }}
with consumers as (
    select
        cluster,
        machine,
        hour_start_ms,
        consumer_kind,
        pod_uid,
        cast(sum(held_ms) as bigint) as held_ms,
        cast(sum(cpu_millicore_ms) as decimal(38,0)) as cpu_millicore_ms,
        cast(sum(memory_byte_ms) as decimal(38,0)) as memory_byte_ms,
        cast(sum(gpu_milligpu_ms) as decimal(38,0)) as gpu_milligpu_ms
    from {{ ref('machine_pod_hours') }}
    group by
        cluster,
        machine,
        hour_start_ms,
        consumer_kind,
        pod_uid
)

select
    consumers.cluster,
    {{ at('consumers.hour_start_ms') }} as hour_start_at,
    consumers.machine,
    consumers.consumer_kind,
    consumers.pod_uid,
    consumers.held_ms,
    consumers.cpu_millicore_ms,
    consumers.memory_byte_ms,
    consumers.gpu_milligpu_ms,
    usage.cpu_usage_millicore_ms,
    usage.cpu_measured_ms,
    usage.memory_usage_byte_ms,
    usage.memory_measured_ms
from consumers
left join {{ ref('stg_usage_hours') }} as usage
    on consumers.cluster = usage.cluster
    and consumers.pod_uid = usage.pod_uid
    and consumers.hour_start_ms = usage.hour_start_ms
