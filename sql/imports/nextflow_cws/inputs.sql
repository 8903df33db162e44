-- The trace's files as views; `folder` is a variable of the connection.
create view trace_pods as
select * from read_parquet(getvariable('folder') || '/pods.parquet', file_row_number = true);

create view trace_nodes as
select *, row_number() over () + 1 as file_row
from read_csv(getvariable('folder') || '/nodes.csv', header = true, columns = {
    'node': 'varchar', 'allocatable_cpu_cores': 'decimal(18,3)', 'allocatable_memory_bytes': 'bigint',
    'first_seen_utc': 'timestamp', 'last_seen_utc': 'timestamp', 'n_observations': 'bigint'
});

create view trace_runs as
select
    run_id,
    epoch_ms(cast(launcher_start_utc as timestamp)) as launcher_start_ms,
    epoch_ms(cast(launcher_end_utc as timestamp)) as launcher_end_ms
from read_csv(getvariable('folder') || '/runs.csv', header = true, all_varchar = true);

create view trace_events as
select
    run_id,
    pod_name,
    node,
    event,
    epoch_ms(cast(ts_utc as timestamp)) as event_ms
from read_parquet(getvariable('folder') || '/scheduler_events.parquet');
