-- grain: one row per version of a pod's labels, annotations and owners
-- guarantee: of versions of one instant the one that knows most comes first by `ignorance`, then by content
-- inputs: lake.pod_identities
select
    cluster,
    pod_uid,
    {{ ms('valid_from_at') }} as valid_from_ms,
    labels,
    annotations,
{%- for number in [1, 2, 3, 4] %}
    {{ item('owners', number) }}.kind as owner_kind_{{ number }},
    {{ item('owners', number) }}.name as owner_name_{{ number }},
    {{ item('owners', number) }}.uid as owner_uid_{{ number }},
{%- endfor %}
    {{ last_item('owners') }}.kind as top_owner_kind,
    {{ last_item('owners') }}.uid as top_owner_uid,
    cast(- coalesce({{ size_of('owners') }}, 0) * 1000 - coalesce({{ size_of('map_keys(labels)') }}, 0) as bigint) as ignorance,
    coalesce({{ content('labels') }}, '') || coalesce({{ content('annotations') }}, '') || coalesce({{ content('owners') }}, '') as tie_break
from {{ touched_facts('pod_identities') }}
