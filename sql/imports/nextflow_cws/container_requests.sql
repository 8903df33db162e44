-- Nextflow names a pod's one container after the pod.
select
    getvariable('cluster') as cluster,
    pod_uid,
    coalesce(pod_name, pod_uid) as container_name,
    make_timestamp(submit_ms * 1000) as observed_at,
    'container' as container_kind,
    container_image as image,
    cpu_request_cores * 1000 as cpu_request_millicores,
    memory_request_bytes
from occupied
order by file_row_number
