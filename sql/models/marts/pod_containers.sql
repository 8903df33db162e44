-- grain: one row per container of a pod, init containers and sidecars too
-- guarantee: what it asked for last
-- inputs: stg_containers
{{ config(materialized='view') }}
select
    cluster,
    pod_uid,
    container_name,
    container_kind,
    image,
    cpu_request_millicores,
    memory_request_bytes,
    gpu_request_milligpus
from {{ ref('stg_containers') }}
