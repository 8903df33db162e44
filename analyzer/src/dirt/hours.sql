-- Hours in which a pod's usage is told anew.
insert into dirty_spans
select spans.cluster, spans.machine, epoch_ms(usage.hour_start_at), epoch_ms(usage.hour_start_at) + 3600000
from raw.usage_hours as usage
inner join intermediate.int_pod_spans as spans
    on usage.cluster = spans.cluster
    and usage.pod_uid = spans.pod_uid
    and spans.start_ms < epoch_ms(usage.hour_start_at) + 3600000
    and spans.end_ms > epoch_ms(usage.hour_start_at)
where usage.build_id = $build;

-- Machines that came, went or became something else: their whole life.
create or replace temp table changed_machines as
with facets as (
    select 'new' as side, cluster, machine, node_name, provider, region, instance_type, capacity_type,
        billing_model, pool, gpu_model, start_ms, registered_ms, is_refunded
    from intermediate.int_machine_lives
    union all
    select 'old', cluster, machine, node_name, provider, region, instance_type, capacity_type,
        billing_model, pool, gpu_model, start_ms, registered_ms, is_refunded
    from old_intermediate_int_machine_lives
),
different as (
    (select * exclude (side) from facets where side = 'new'
     except select * exclude (side) from facets where side = 'old')
    union all
    (select * exclude (side) from facets where side = 'old'
     except select * exclude (side) from facets where side = 'new')
),
shapes as (
    (from staging.stg_node_states except from old_staging_stg_node_states)
    union all
    (from old_staging_stg_node_states except from staging.stg_node_states)
),
services as (
    (from staging.stg_service_prices except from old_staging_stg_service_prices)
    union all
    (from old_staging_stg_service_prices except from staging.stg_service_prices)
),
weights as (
    (from staging.stg_allocation_weights except from old_staging_stg_allocation_weights)
    union all
    (from old_staging_stg_allocation_weights except from staging.stg_allocation_weights)
)
select cluster, machine from different
union
select cluster, machine from shapes
union
select cluster, machine from intermediate.int_machine_lives
where billing_model = 'pod_request' and exists (from services)
union
select cluster, machine from intermediate.int_machine_lives where exists (from weights);

insert into dirty_spans
select lives.cluster, lives.machine, lives.start_ms, lives.end_ms
from (from intermediate.int_machine_lives union all from old_intermediate_int_machine_lives) as lives
semi join changed_machines using (cluster, machine);

-- Stretches in which a machine has another price than before.
insert into dirty_spans
with fresh as (
    from intermediate.int_machine_prices except from old_intermediate_int_machine_prices
)
select
    cluster,
    machine,
    greatest(fresh.from_ms, old.from_ms, lives.start_ms),
    least(fresh.to_ms, old.to_ms, lives.end_ms)
from fresh
inner join old_intermediate_int_machine_prices as old using (cluster, machine)
inner join intermediate.int_machine_lives as lives using (cluster, machine)
where
    fresh.price_nano is distinct from old.price_nano
    and greatest(fresh.from_ms, old.from_ms, lives.start_ms) < least(fresh.to_ms, old.to_ms, lives.end_ms);

-- Ends that moved, and first and last workloads that moved: the time between old and new; where a machine has ended
-- since, the time after its last workload turns from gap to tail.
insert into dirty_spans
with moved as (
    select
        lives.cluster,
        lives.machine,
        unnest([
            {'a': lives.end_ms, 'b': old.end_ms},
            {'a': lives.up_to_ms, 'b': old.up_to_ms},
            {'a': lives.first_workload_ms, 'b': old.first_workload_ms},
            {'a': lives.last_workload_ms, 'b': old.last_workload_ms},
            {
                'a': case when lives.is_ended <> old.is_ended
                    then least(lives.last_workload_ms, old.last_workload_ms) end,
                'b': case when lives.is_ended <> old.is_ended then greatest(lives.end_ms, old.end_ms) end
            }
        ]) as edge
    from intermediate.int_machine_lives as lives
    inner join old_intermediate_int_machine_lives as old using (cluster, machine)
)
select cluster, machine, least(edge.a, edge.b), greatest(edge.a, edge.b)
from moved
where edge.a <> edge.b;

delete from build.dirty_hours;
insert into build.dirty_hours
with hours as (
    select cluster, machine, unnest(range(start_ms - start_ms % 3600000, end_ms, 3600000)) as hour_start_ms
    from dirty_spans
    where machine is not null
    union all
    from build.dirty_busy_hours
)
select distinct cluster, machine, hour_start_ms from hours;

-- Who paid in these hours until now.
create or replace temp table old_payers as
select distinct cluster, pod_uid
from intermediate.machine_pod_hours
semi join build.dirty_hours using (cluster, machine, hour_start_ms)
where pod_uid is not null;
