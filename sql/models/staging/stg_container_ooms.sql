-- grain: one row per time that a container of a pod was killed for its memory
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.container_ends
{{ config(materialized='view') }}
select
    cluster,
    pod_uid,
    container_name,
    restart_count,
    min(coalesce({{ ms('finished_at') }}, {{ ms('observed_at') }})) as ended_ms
from {{ source('lake', 'container_ends') }}
where reason = 'OOMKilled'
group by
    cluster,
    pod_uid,
    container_name,
    restart_count
