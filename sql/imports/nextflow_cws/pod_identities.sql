-- The labels that Nextflow puts on its pods, from the columns of the trace that they are made of.
select
    getvariable('cluster') as cluster,
    pod_uid,
    make_timestamp(submit_ms * 1000) as valid_from_at,
    map {
        'nextflow.io/app': workflow,
        'nextflow.io/runName': run_id,
        'nextflow.io/processName': process,
        'strategy': strategy
    } as labels
from occupied
order by file_row_number
