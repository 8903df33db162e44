-- Hours whose booked costs are others: where costs changed, where closed months are adjusted, and all of months that were closed.
create or replace temp table booked_hours as
with new_adjustments as (from intermediate.int_adjustments except from old_intermediate_int_adjustments),
old_adjustments as (from old_intermediate_int_adjustments except from intermediate.int_adjustments),
closed as (from staging.stg_closed_months except from old_staging_stg_closed_months),
reopened as (from old_staging_stg_closed_months except from staging.stg_closed_months)
select hour_start_ms from build.dirty_costs
union
select hour_start_ms from new_adjustments
union
select hour_start_ms from old_adjustments
union
select unnest(range(month_start_ms, month_end_ms, 3600000)) from (from closed union all from reopened);

delete from build.dirty_days;
insert into build.dirty_days
with touched as (
    from build.dirty_pods union from changed_names
),
instants as (
    select hour_start_ms as instant_ms from booked_hours
    union all
    select created_ms from intermediate.int_pods semi join touched using (cluster, pod_uid)
    union all
    select created_ms from old_pods
)
select distinct
    cast(make_timestamp((instant_ms - instant_ms % 86400000) * 1000) as date),
    instant_ms - instant_ms % 86400000
from instants;

delete from build.dirty_weeks;
insert into build.dirty_weeks
select distinct zone, iso_week
from build.calendar
where hour_start_ms in (from booked_hours);

delete from build.dirty_runs;
insert into build.dirty_runs
with touched as (
    from build.dirty_pods union from changed_names union from build.dirty_pod_costs
),
names as (
    select cluster, system, installation, pipeline, run, run_epoch
    from old_names semi join changed_names using (cluster, pod_uid)
    union
    select cluster, system, installation, pipeline, run, run_epoch
    from intermediate.int_pod_names semi join touched using (cluster, pod_uid)
)
from names where run <> 'unattributed';

delete from build.touched_pods;
insert into build.touched_pods
select cluster, pod_uid
from intermediate.int_pod_names
semi join build.dirty_runs using (cluster, system, installation, pipeline, run, run_epoch);
