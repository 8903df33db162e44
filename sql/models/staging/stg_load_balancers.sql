-- grain: one row per Kubernetes Service of type LoadBalancer
-- guarantee: end_ms is NULL while it is there; order and repetition of facts change nothing
-- inputs: lake.service_states
{{ config(materialized='view') }}
select
    cluster,
    service_uid,
    max(service_name) as service_name,
    max(namespace) as namespace,
    min(coalesce({{ ms('created_at') }}, {{ ms('observed_at') }})) as start_ms,
    min({{ ms('deleted_at') }}) as end_ms
from {{ source('lake', 'service_states') }}
group by
    cluster,
    service_uid
