-- grain: one row per stretch in which at least one workload pod held the machine
-- guarantee: the stretches of one machine do not overlap
-- inputs: int_pod_spans, int_machines, int_system_pods
with others as (
    select * from {{ ref('int_system_pods') }}
),

placed as (
    select
        spans.cluster,
        spans.machine,
        spans.pod_uid,
        greatest(spans.start_ms, machines.start_ms) as start_ms,
        least(spans.end_ms, machines.end_ms) as end_ms
    from {{ ref('int_pod_spans') }} as spans
    inner join {{ ref('int_machines') }} as machines
        on spans.cluster = machines.cluster and spans.machine = machines.machine
    left join others on spans.cluster = others.cluster and spans.pod_uid = others.pod_uid
    where spans.end_ms > machines.start_ms and spans.start_ms < machines.end_ms and others.pod_uid is null
),

ordered as (
    select
        cluster,
        machine,
        start_ms,
        end_ms,
        max(end_ms) over (
            partition by cluster, machine
            order by start_ms asc nulls last, end_ms asc nulls last, pod_uid asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as busy_to_ms
    from placed
)

select
    cluster,
    machine,
    greatest(start_ms, coalesce(busy_to_ms, start_ms)) as start_ms,
    end_ms
from ordered
where busy_to_ms is null or end_ms > busy_to_ms
