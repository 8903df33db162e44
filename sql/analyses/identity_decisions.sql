-- grain: one row per pod: of every field the value, and the rule that decided it
-- guarantee: rules are numbered from 1, a user's own first; 0 where none found anything
-- inputs: int_pod_descriptions, identity rules
select
    cluster,
    pod_uid,
    pod_name,
    namespace,
{%- for field in ['system', 'installation', 'pipeline', 'run', 'epoch', 'job', 'attempt', 'role', 'main_container', 'team'] %}
    {% if field == 'system' %}{{ identity_system() }}{% else %}{{ identity_field(field) }}{% endif %} as {{ field }},
    {{ identity_decider(field) }} as {{ field }}_rule{% if not loop.last %},{% endif %}
{%- endfor %}
from {{ ref('int_pod_descriptions') }}
