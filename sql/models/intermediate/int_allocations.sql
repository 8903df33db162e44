-- grain: one row per machine (or none), hour, consumer and cost category
-- guarantee: splits the rows of machine_pod_hours, adds those of int_service_hours, and loses nothing; `owner_pod_uid` is the pod whose names tell
--     who answers for it, which for a volume that nobody mounts is the last one that did
-- inputs: machine_pod_hours, int_service_hours, int_pod_names
{{ config(materialized='view') }}
with consumers as (
    select
        hours.*,
        pods.pod_class,
        case
            when hours.consumer_kind <> 'pod' then hours.stage
            when pods.pod_class in ('system', 'platform') then pods.pod_class
            when hours.stage <> 'running' then hours.stage
            when pods.attempt_outcome in ('failed', 'lost') then pods.attempt_outcome
        end as whole_category
    from {{ touched('machine_pod_hours') }} as hours
    left join {{ touched('int_pod_names') }} as pods on hours.cluster = pods.cluster and hours.pod_uid = pods.pod_uid
),

{%- set zero = 'cast(0 as bigint)' %}
parts as (
    select
        cluster,
        machine,
        hour_start_ms,
        consumer_kind,
        pod_uid,
        whole_category as cost_category,
        cpu_nano,
        memory_nano,
        gpu_nano,
        case when stage = 'running' then coalesce(cpu_nano - cpu_used_nano - cpu_unmetered_nano, {{ zero }}) + coalesce(memory_nano - memory_used_nano - memory_unmetered_nano, {{ zero }}) else {{ zero }} end as unused_nano
    from consumers
    where whole_category is not null
    union all
    select
        cluster,
        machine,
        hour_start_ms,
        consumer_kind,
        pod_uid,
        'used' as cost_category,
        coalesce(cpu_used_nano, {{ zero }}) as cpu_nano,
        coalesce(memory_used_nano, {{ zero }}) as memory_nano,
        coalesce(gpu_used_nano, {{ zero }}) as gpu_nano,
        {{ zero }} as unused_nano
    from consumers
    where whole_category is null and (cpu_used_nano is not null or memory_used_nano is not null or gpu_used_nano is not null)
    union all
    select
        cluster,
        machine,
        hour_start_ms,
        consumer_kind,
        pod_uid,
        'unused_request' as cost_category,
        coalesce(cpu_nano - cpu_used_nano - cpu_unmetered_nano, {{ zero }}) as cpu_nano,
        coalesce(memory_nano - memory_used_nano - memory_unmetered_nano, {{ zero }}) as memory_nano,
        coalesce(gpu_nano - gpu_used_nano - gpu_unmetered_nano, {{ zero }}) as gpu_nano,
        coalesce(cpu_nano - cpu_used_nano - cpu_unmetered_nano, {{ zero }}) + coalesce(memory_nano - memory_used_nano - memory_unmetered_nano, {{ zero }}) + coalesce(gpu_nano - gpu_used_nano - gpu_unmetered_nano, {{ zero }}) as unused_nano
    from consumers
    where
        whole_category is null
        and (cpu_nano > cpu_used_nano + cpu_unmetered_nano or memory_nano > memory_used_nano + memory_unmetered_nano or gpu_nano > gpu_used_nano + gpu_unmetered_nano)
    union all
    select
        cluster,
        machine,
        hour_start_ms,
        consumer_kind,
        pod_uid,
        'unmetered' as cost_category,
        cpu_unmetered_nano as cpu_nano,
        memory_unmetered_nano as memory_nano,
        gpu_unmetered_nano as gpu_nano,
        {{ zero }} as unused_nano
    from consumers
    where
        whole_category is null
        and (
            (cpu_used_nano is null and memory_used_nano is null and gpu_used_nano is null)
            or cpu_unmetered_nano > 0
            or memory_unmetered_nano > 0
            or gpu_unmetered_nano > 0
        )
)

select
    cluster,
    machine,
    hour_start_ms,
    consumer_kind,
    pod_uid,
    pod_uid as owner_pod_uid,
    cast(null as string) as namespace,
    cost_category,
    cpu_nano,
    memory_nano,
    gpu_nano,
    cast(0 as bigint) as service_nano,
    unused_nano,
    cpu_nano + memory_nano + gpu_nano as cost_nano
from parts
union all
select
    cluster,
    cast(null as string) as machine,
    hour_start_ms,
    consumer_kind,
    pod_uid,
    owner_pod_uid,
    namespace,
    cost_category,
    cast(0 as bigint) as cpu_nano,
    cast(0 as bigint) as memory_nano,
    cast(0 as bigint) as gpu_nano,
    cost_nano as service_nano,
    cast(0 as bigint) as unused_nano,
    cost_nano
from {{ touched('int_service_hours') }}
