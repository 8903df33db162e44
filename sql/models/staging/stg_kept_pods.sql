-- grain: one row per pod that was there a day after it ended: when it ended, since when it is kept, and when it was removed
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.kept_pods
{{ config(materialized='view') }}
select
    cluster,
    pod_uid,
    max({{ ms('released_at') }}) as released_ms,
    min({{ ms('observed_at') }}) as kept_ms,
    max({{ ms('removed_at') }}) as removed_ms
from {{ source('lake', 'kept_pods') }}
group by
    cluster,
    pod_uid
