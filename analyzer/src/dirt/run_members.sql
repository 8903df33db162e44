-- All pods of the runs that these pods were or are of: epochs and retries are found among them.
insert into build.dirty_names
with keys as (
    select distinct cluster, system, installation, pipeline, run
    from (
        select cluster, system, installation, pipeline, run from old_names
        union all
        select cluster, system, installation, pipeline, run
        from intermediate.int_pod_names semi join build.dirty_names using (cluster, pod_uid)
    )
    where run <> 'unattributed'
)
select cluster, pod_uid
from intermediate.int_pod_names
semi join keys using (cluster, system, installation, pipeline, run)
except
from build.dirty_names;
