-- What the scheduler's log says of a pod: assigned and released, once each.
create temp table scheduled as
select
    run_id,
    pod_name,
    min(event_ms) filter (where event = 'PodAssigned') as assigned_ms,
    max(event_ms) filter (where event = 'PodReleased') as released_ms
from trace_events
where event in ('PodAssigned', 'PodReleased')
group by run_id, pod_name;

-- One row per pod with its occupancy: by the scheduler's log where it has the pod, by its container's times elsewhere.
create temp table occupied as
select
    pods.*,
    -- UIDs are not in the trace: a pod is known by its run and its task.
    regexp_replace(md5(pods.run_id || '/' || pods.task_id), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') as pod_uid,
    least(coalesce(scheduled.assigned_ms, pods.start_ms), pods.start_ms) as bound_ms,
    case when scheduled.assigned_ms is null then 'container' else 'scheduler_log' end as start_source,
    greatest(coalesce(scheduled.released_ms, pods.complete_ms), pods.complete_ms) as end_ms,
    case when scheduled.released_ms is null then 'container' else 'scheduler_log' end as end_source
from trace_pods as pods
left join scheduled on pods.run_id = scheduled.run_id and pods.pod_name = scheduled.pod_name;

create temp table bounds as
select
    least(
        (select min(submit_ms) from trace_pods),
        (select min(launcher_start_ms) from trace_runs)
    ) as start_ms,
    greatest(
        (select max(end_ms) from occupied),
        (select max(launcher_end_ms) from trace_runs)
    ) as end_ms;
