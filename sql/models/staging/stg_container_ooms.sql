-- grain: one row per container of a pod that was killed for its memory at least once
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.container_ends
{{ config(materialized='view') }}
with facts as (
    select distinct
        cluster,
        pod_uid,
        container_name,
        restart_count
    from {{ source('lake', 'container_ends') }}
    where reason = 'OOMKilled'
)

select
    cluster,
    pod_uid,
    container_name,
    cast(count(*) as bigint) as oom_kills
from facts
group by
    cluster,
    pod_uid,
    container_name
