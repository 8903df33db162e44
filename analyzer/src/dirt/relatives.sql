-- The pods that made one of these, and those that one of these made: what one is called hangs on the other.
insert into build.dirty_names
select identities.cluster, identities.owners[1].uid
from raw.pod_identities as identities
semi join build.dirty_names using (cluster, pod_uid)
where identities.owners[1].kind = 'Pod'
union
select names.cluster, names.pod_uid
from intermediate.int_pod_names as names
inner join build.dirty_names as parents on names.cluster = parents.cluster and names.parent_uid = parents.pod_uid
except
from build.dirty_names;
