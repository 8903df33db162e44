-- Nextflow's own word on how each task ended.
select
    getvariable('cluster') as cluster,
    pod_uid,
    make_timestamp(complete_ms * 1000) as observed_at,
    'nextflow_trace' as source,
    case status when 'COMPLETED' then 'succeeded' else 'failed' end as outcome,
    case when status <> 'COMPLETED' then coalesce('exit code ' || exit_code, status) end as reason
from occupied
order by file_row_number
