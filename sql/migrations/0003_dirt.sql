-- What a build computes anew, by the key of the tables that it keeps up to date.
create table build.dirty_pods (cluster varchar not null, pod_uid varchar not null);
create table build.dirty_names (cluster varchar not null, pod_uid varchar not null);
create table build.dirty_pod_costs (cluster varchar not null, pod_uid varchar not null);
create table build.dirty_busy_hours (cluster varchar not null, machine varchar not null, hour_start_ms bigint not null);
create table build.dirty_costs (cluster varchar not null, hour_start_ms bigint not null);
create table build.dirty_days (charge_date date not null, day_start_ms bigint not null);
create table build.dirty_weeks (zone varchar not null, iso_week varchar not null);
create table build.dirty_runs (
    cluster varchar not null,
    system varchar not null,
    installation varchar not null,
    pipeline varchar not null,
    run varchar not null,
    run_epoch varchar not null
);

-- Pods that the models of a step look at.
create table build.touched_pods (cluster varchar not null, pod_uid varchar not null);
