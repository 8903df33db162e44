-- Pods with new facts; those whose owners or namespace have; and those whose labels a new text of Airflow explains.
delete from build.dirty_names;
insert into build.dirty_names
with new_namespaces as (
    select
        cluster,
        namespace,
        min(epoch_ms(valid_from_at)) filter (where build_id = $build) as new_from_ms,
        min(epoch_ms(valid_from_at)) filter (where build_id < $build) as old_from_ms
    from raw.namespace_states
    group by all
    having count(*) filter (where build_id = $build) > 0
),
new_owners as (
    select cluster, owner_uid from raw.owner_objects where build_id = $build
),
owned as (
    select cluster, pod_uid, unnest(owners).uid as owner_uid
    from raw.pod_identities
    where len(owners) > 0 and exists (from new_owners)
),
new_texts as (
    from intermediate.int_airflow_texts except from old_airflow_texts
)
select cluster, pod_uid from build.dirty_pods
union
select cluster, pod_uid from raw.container_ends where build_id = $build
union
select owned.cluster, owned.pod_uid from owned semi join new_owners using (cluster, owner_uid)
union
select pods.cluster, pods.pod_uid
from intermediate.int_pods as pods
inner join new_namespaces using (cluster, namespace)
where
    new_namespaces.old_from_ms is null
    or new_namespaces.new_from_ms < new_namespaces.old_from_ms
    or pods.start_ms >= new_namespaces.new_from_ms
union
select names.cluster, names.pod_uid
from intermediate.int_pod_names as names
inner join new_texts
    on names.cluster = new_texts.cluster
    and (names.run = new_texts.label and new_texts.field = 'run' or names.pipeline = new_texts.label and new_texts.field = 'dag');
