-- Hours of a cluster in which what volumes, load balancers and control planes cost, or who mounts a volume, changed.
create table build.dirty_service_hours (cluster varchar not null, hour_start_ms bigint not null);
