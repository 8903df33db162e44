-- One state per pod. Times of containers are whole seconds, cut off: such an end lies up to 999 ms later.
select
    getvariable('cluster') as cluster,
    pod_uid,
    make_timestamp(end_ms * 1000) as observed_at,
    pod_name,
    node as machine,
    node as node_name,
    make_timestamp(submit_ms * 1000) as created_at,
    make_timestamp(bound_ms * 1000) as bound_at,
    start_source,
    make_timestamp(start_ms * 1000) as running_at,
    make_timestamp(complete_ms * 1000) as finished_at,
    make_timestamp(end_ms * 1000) as released_at,
    end_source,
    make_timestamp(end_ms * 1000) as end_earliest_at,
    make_timestamp((end_ms + case when end_source = 'container' then 999 else 0 end) * 1000) as end_latest_at,
    exit_code,
    cpu_request_cores * 1000 as cpu_request_millicores,
    memory_request_bytes
from occupied
order by file_row_number
