-- grain: one row per version of a pod's labels, annotations and owners
-- guarantee: the newest of equal valid_from_ms is chosen by content, not by arrival
-- inputs: lake.pod_identities
select
    cluster,
    pod_uid,
    {{ ms('valid_from_at') }} as valid_from_ms,
    labels,
    annotations,
    {{ last_item('owners') }} as top_owner,
    coalesce({{ content('labels') }}, '') || coalesce({{ content('annotations') }}, '') || coalesce({{ content('owners') }}, '') as tie_break
from {{ source('lake', 'pod_identities') }}
