create or replace temp table dirty_spans (cluster varchar, machine varchar, start_ms bigint, end_ms bigint);

-- Stretches of pods that are new, gone or different. One that only ended later, or began to run later, is as it was
-- before the first moment that differs.
insert into dirty_spans
with new_spans as (from intermediate.int_pod_spans semi join build.dirty_pods using (cluster, pod_uid)),
come as (from new_spans except from old_spans),
gone as (from old_spans except from new_spans)
select
    coalesce(come.cluster, gone.cluster),
    coalesce(come.machine, gone.machine),
    case
        when come.cluster is null or gone.cluster is null then coalesce(come.start_ms, gone.start_ms)
        else least(
            case when come.end_ms <> gone.end_ms then least(come.end_ms, gone.end_ms) end,
            case when come.running_ms <> gone.running_ms then least(come.running_ms, gone.running_ms) end,
            case when come.finished_ms <> gone.finished_ms then least(come.finished_ms, gone.finished_ms) end,
            come.end_ms
        )
    end,
    greatest(come.end_ms, gone.end_ms)
from come
full outer join gone
    on come.cluster = gone.cluster
    and come.pod_uid = gone.pod_uid
    and come.start_ms = gone.start_ms
    and come.machine is not distinct from gone.machine
    and come.namespace is not distinct from gone.namespace
    and come.is_stuck = gone.is_stuck
    and come.cpu_request_millicores = gone.cpu_request_millicores
    and come.memory_request_bytes = gone.memory_request_bytes
    and come.gpu_request_milligpus = gone.gpu_request_milligpus
    and come.billed_cpu_millicores is not distinct from gone.billed_cpu_millicores
    and come.billed_memory_bytes is not distinct from gone.billed_memory_bytes;

-- Pods that turned out to be system pods, or none.
insert into dirty_spans
select spans.cluster, spans.machine, spans.start_ms, spans.end_ms
from intermediate.int_pod_spans as spans
inner join intermediate.int_pods as pods using (cluster, pod_uid)
inner join old_pods as old using (cluster, pod_uid)
where pods.is_system <> old.is_system;

-- Stretches are cut to the lives of machines: those that came, went, or began or ended at another time.
delete from build.dirty_busy_hours;
insert into build.dirty_busy_hours
with edges as (
    select
        coalesce(machines.cluster, old.cluster) as cluster,
        coalesce(machines.machine, old.machine) as machine,
        unnest([
            {
                'a': least(machines.start_ms, old.start_ms),
                'b': case when machines.start_ms is null or old.start_ms is null
                    then coalesce(machines.end_ms, old.end_ms) else greatest(machines.start_ms, old.start_ms) end
            },
            {'a': least(machines.end_ms, old.end_ms), 'b': greatest(machines.end_ms, old.end_ms)}
        ]) as edge
    from intermediate.int_machines as machines
    full outer join old_intermediate_int_machine_lives as old
        on machines.cluster = old.cluster and machines.machine = old.machine
),
-- Nobody watched then, or did after all.
gaps as (
    (select cluster, start_ms, end_ms from staging.stg_collection_gaps
     except select cluster, start_ms, end_ms from old_staging_stg_collection_gaps)
    union all
    (select cluster, start_ms, end_ms from old_staging_stg_collection_gaps
     except select cluster, start_ms, end_ms from staging.stg_collection_gaps)
),
stretches as (
    select cluster, machine, start_ms, end_ms from dirty_spans where machine is not null
    union all
    select cluster, machine, edge.a, edge.b from edges where edge.a < edge.b
    union all
    select machines.cluster, machines.machine, greatest(machines.start_ms, gaps.start_ms), least(machines.end_ms, gaps.end_ms)
    from intermediate.int_machines as machines
    inner join gaps
        on machines.cluster = gaps.cluster and machines.start_ms < gaps.end_ms and machines.end_ms > gaps.start_ms
)
select distinct cluster, machine, unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000)) from stretches;
