-- What the ledger knows of itself. Fact tables in `raw` follow the fact schema and are made from it.
create schema if not exists build;
create schema if not exists raw;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists marts;

-- One row per build that committed; `fingerprint` is of what decides the rows of machine_pod_hours beside the facts,
-- `configuration` of all that was configured.
create table build.builds (
    build_id bigint not null,
    fingerprint varchar not null,
    configuration varchar not null,
    is_full boolean not null,
    ingested_rows bigint not null,
    dirty_hours bigint not null
);

-- How far each origin's segments of a table have been ingested: numbers have no holes.
create table build.ingested (
    table_name varchar not null,
    origin varchar not null,
    last_seq bigint not null
);

create table build.dirty_hours (
    cluster varchar not null,
    machine varchar not null,
    hour_start_ms bigint not null
);

create table build.calendar (
    hour_start_ms bigint not null,
    zone varchar not null,
    local_date date not null,
    iso_week varchar not null
);
