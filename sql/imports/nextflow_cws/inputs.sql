-- The trace's files as views, and what is derived from all of them. `$folder` and `$cluster` are session variables.
create view trace_pods as
select * from read_parquet(getvariable('folder') || '/pods.parquet', file_row_number = true);

create view trace_nodes as
select *, row_number() over () + 1 as file_row
from read_csv(getvariable('folder') || '/nodes.csv', header = true, columns = {
    'node': 'varchar', 'allocatable_cpu_cores': 'decimal(18,3)', 'allocatable_memory_bytes': 'bigint',
    'first_seen_utc': 'timestamp', 'last_seen_utc': 'timestamp', 'n_observations': 'bigint'
});

create view trace_runs as
select
    run_id,
    epoch_ms(cast(launcher_start_utc as timestamp)) as launcher_start_ms,
    epoch_ms(cast(launcher_end_utc as timestamp)) as launcher_end_ms
from read_csv(getvariable('folder') || '/runs.csv', header = true, all_varchar = true);

create view trace_events as
select
    run_id,
    pod_name,
    node,
    event,
    epoch_ms(cast(ts_utc as timestamp)) as event_ms
from read_parquet(getvariable('folder') || '/scheduler_events.parquet');

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
