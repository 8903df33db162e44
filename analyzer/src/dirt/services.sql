-- Hours in which a volume, a load balancer or a control plane costs something else than before, or is mounted by others. What only lasts
-- longer is as it was before its old end.
delete from build.dirty_service_hours;
insert into build.dirty_service_hours
with new_lives as (from intermediate.int_service_lives except from old_intermediate_int_service_lives),
old_lives as (from old_intermediate_int_service_lives except from intermediate.int_service_lives),
new_mounts as (from intermediate.int_volume_mounts except from old_intermediate_int_volume_mounts),
old_mounts as (from old_intermediate_int_volume_mounts except from intermediate.int_volume_mounts),
stretches as (
    select
        coalesce(come.cluster, gone.cluster) as cluster,
        case when come.cluster is null or gone.cluster is null or come.end_ms = gone.end_ms then coalesce(come.start_ms, gone.start_ms)
            else least(come.end_ms, gone.end_ms) end as start_ms,
        greatest(come.end_ms, gone.end_ms) as end_ms
    from new_lives as come
    full outer join old_lives as gone
        on come.cluster = gone.cluster
        and come.service_kind = gone.service_kind
        and come.service_id = gone.service_id
        and come.start_ms = gone.start_ms
        and come.cost_category = gone.cost_category
        and come.namespace is not distinct from gone.namespace
        and come.owner_pod_uid is not distinct from gone.owner_pod_uid
        and come.quantity = gone.quantity
        and come.price_nano is not distinct from gone.price_nano
        and come.price_ms is not distinct from gone.price_ms
        and come.price_quantity is not distinct from gone.price_quantity
    union all
    select
        coalesce(come.cluster, gone.cluster),
        case when come.cluster is null or gone.cluster is null or come.end_ms = gone.end_ms then coalesce(come.start_ms, gone.start_ms)
            else least(come.end_ms, gone.end_ms) end,
        greatest(come.end_ms, gone.end_ms)
    from new_mounts as come
    full outer join old_mounts as gone
        on come.cluster = gone.cluster
        and come.volume_uid = gone.volume_uid
        and come.pod_uid = gone.pod_uid
        and come.start_ms = gone.start_ms
)
select distinct cluster, unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000))
from stretches
where start_ms is not null;

-- Who paid for volumes in these hours until now.
create or replace temp table old_mounters as
select distinct cluster, pod_uid
from intermediate.int_service_hours
semi join build.dirty_service_hours using (cluster, hour_start_ms)
where pod_uid is not null;
