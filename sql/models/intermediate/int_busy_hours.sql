-- grain: one row per machine and hour in which at least one workload pod held the machine
-- guarantee: busy_ms counts every moment once, however many pods held the machine in it
-- inputs: int_pod_spans, int_machines, int_system_pods; only hours in which pods came, went or moved
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_busy_hours', ['cluster', 'machine', 'hour_start_ms']) }}") }}
with placed as (
    select
        spans.cluster,
        spans.machine,
        spans.pod_uid,
        greatest(spans.start_ms, machines.start_ms) as start_ms,
        least(spans.end_ms, machines.end_ms) as end_ms
    from {{ touched('int_pod_spans') }} as spans
    inner join {{ ref('int_machines') }} as machines
        on spans.cluster = machines.cluster and spans.machine = machines.machine
    left join {{ ref('int_system_pods') }} as others
        on spans.cluster = others.cluster and spans.pod_uid = others.pod_uid
    where spans.end_ms > machines.start_ms and spans.start_ms < machines.end_ms and others.pod_uid is null
),

exploded as (
    select
        *,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from placed
),

clipped as (
    select
        exploded.cluster,
        exploded.machine,
        exploded.hour_start_ms,
        exploded.pod_uid,
        greatest(exploded.start_ms, exploded.hour_start_ms) as start_ms,
        least(exploded.end_ms, exploded.hour_start_ms + 3600000) as end_ms
    from exploded
    inner join {{ dirty_hours('dirty_busy_hours') }} as dirty
        on exploded.cluster = dirty.cluster
        and exploded.machine = dirty.machine
        and exploded.hour_start_ms = dirty.hour_start_ms
),

ordered as (
    select
        *,
        max(end_ms) over (
            partition by cluster, machine, hour_start_ms
            order by start_ms asc nulls last, end_ms asc nulls last, pod_uid asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as busy_to_ms
    from clipped
)

select
    cluster,
    machine,
    hour_start_ms,
    cast(sum(greatest(end_ms - greatest(start_ms, coalesce(busy_to_ms, start_ms)), cast(0 as bigint))) as bigint) as busy_ms,
    min(start_ms) as first_workload_ms,
    max(end_ms) as last_workload_ms
from ordered
group by
    cluster,
    machine,
    hour_start_ms
