-- grain: one row per machine and hour in which at least one workload pod held the machine
-- guarantee: busy_ms counts every moment that was seen once, however many pods held the machine in it
-- inputs: int_pod_spans, int_machines, int_system_pods, int_blind_hours; only hours in which pods came, went or moved, or a
--     gap did
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

-- Cut where a gap begins or ends.
cut as (
    select
        clipped.cluster,
        clipped.machine,
        clipped.hour_start_ms,
        clipped.pod_uid,
        greatest(clipped.start_ms, coalesce(stretches.from_ms, clipped.start_ms)) as start_ms,
        least(clipped.end_ms, coalesce(stretches.to_ms, clipped.end_ms)) as end_ms,
        coalesce(stretches.is_blind, false) as is_blind
    from clipped
    left join {{ ref('int_blind_hours') }} as stretches
        on clipped.cluster = stretches.cluster
        and clipped.hour_start_ms = stretches.hour_start_ms
        and clipped.start_ms < stretches.to_ms
        and clipped.end_ms > stretches.from_ms
),

ordered as (
    select
        *,
        max(end_ms) over (
            partition by cluster, machine, hour_start_ms, is_blind
            order by start_ms asc nulls last, end_ms asc nulls last, pod_uid asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as busy_to_ms
    from cut
)

select
    cluster,
    machine,
    hour_start_ms,
    cast(sum(case
        when is_blind then cast(0 as bigint)
        else greatest(end_ms - greatest(start_ms, coalesce(busy_to_ms, start_ms)), cast(0 as bigint))
    end) as bigint) as busy_ms,
    min(start_ms) as first_workload_ms,
    max(end_ms) as last_workload_ms
from ordered
group by
    cluster,
    machine,
    hour_start_ms
