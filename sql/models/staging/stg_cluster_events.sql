-- grain: one row per Event: its newest occurrence
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.cluster_events
{{ config(materialized='view') }}
select
    cluster,
    event_uid,
    max(reason) as reason,
    max(involved_kind) as involved_kind,
    max(involved_name) as involved_name,
    max(involved_uid) as involved_uid,
    max(component) as component,
    nullif(max_by(coalesce(message, ''), ({{ ms('last_at') }}, coalesce(message, ''))), '') as message,
    min({{ ms('coalesce(first_at, last_at)') }}) as first_ms,
    max({{ ms('last_at') }}) as last_ms
from {{ source('lake', 'cluster_events') }}
group by
    cluster,
    event_uid
