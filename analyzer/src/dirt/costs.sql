create or replace temp table changed_names as
with new_names as (from intermediate.int_pod_names semi join build.dirty_names using (cluster, pod_uid))
select distinct cluster, pod_uid
from ((from new_names except from old_names) union all (from old_names except from new_names));

delete from build.dirty_pod_costs;
insert into build.dirty_pod_costs
select distinct cluster, pod_uid
from intermediate.machine_pod_hours
semi join build.dirty_hours using (cluster, machine, hour_start_ms)
where pod_uid is not null
union
from old_payers
union
from old_mounters
union
select distinct cluster, pod_uid
from intermediate.int_service_hours
semi join build.dirty_service_hours using (cluster, hour_start_ms)
where pod_uid is not null;

delete from build.dirty_costs;
insert into build.dirty_costs
select cluster, hour_start_ms from build.dirty_hours
union
from build.dirty_service_hours
union
select cluster, hour_start_ms from intermediate.machine_pod_hours semi join changed_names using (cluster, pod_uid)
union
select hours.cluster, hours.hour_start_ms
from intermediate.int_service_hours as hours
semi join changed_names on hours.cluster = changed_names.cluster and hours.owner_pod_uid = changed_names.pod_uid;
