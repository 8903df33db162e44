-- grain: one row per machine, hour, consumer and cost category
-- guarantee: splits the rows of machine_pod_hours, adds nothing and loses nothing
-- inputs: machine_pod_hours, int_pod_names
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
    *,
    cpu_nano + memory_nano + gpu_nano as cost_nano
from parts
