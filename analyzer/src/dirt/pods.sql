-- Pods with new facts, and those that were open at the last watermark of a cluster whose watermark has moved.
delete from build.dirty_pods;
insert into build.dirty_pods
with moved as (
    select
        cluster,
        max(observed_through_at) filter (where build_id < $build) as last_at
    from raw.collection_watermarks
    group by cluster
    having count(*) filter (where build_id = $build) > 0
)
select cluster, pod_uid from raw.pod_states where build_id = $build
union
select cluster, pod_uid from raw.pod_identities where build_id = $build
union
select cluster, pod_uid from raw.engine_outcomes where build_id = $build
union
select pods.cluster, pods.pod_uid
from intermediate.int_pods as pods
inner join moved using (cluster)
where pods.released_ms is null or moved.last_at is null or pods.released_ms > epoch_ms(moved.last_at);

create or replace temp table old_pods as from intermediate.int_pods semi join build.dirty_pods using (cluster, pod_uid);
create or replace temp table old_spans as from intermediate.int_pod_spans semi join build.dirty_pods using (cluster, pod_uid);
