-- grain: one row per text that Airflow wrote into an annotation of pods, per build that saw it: a dag or a run
-- guarantee: `label` is what Airflow makes of the text where it writes it into a label
-- inputs: lake.pod_identities; only the facts that are new in this build
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget_all() }}") }}
with texts as (
{%- for field in ['dag', 'run'] %}
    select distinct
        cluster,
        '{{ field }}' as field,
        annotations['{{ field }}_id'] as text
    from {{ new_facts('pod_identities') }}
    where annotations['{{ field }}_id'] is not null
    {% if not loop.last %}union all{% endif %}
{%- endfor %}
)

select
    cluster,
    field,
    {{ airflow_label('text') }} as label,
    text
from texts
