-- grain: one row per stretch of time within an hour, container and rate: for how long it used so many millicores
-- guarantee: none but that of the facts; read it together with stg_usage_stretches, which leaves out what is told twice
-- inputs: lake.usage_hours
{{ config(materialized='view') }}
with unfolded as (
    select
        cluster,
        pod_uid,
        coalesce(nullif(container_name, ''), '(pod)') as container_name,
        {{ ms('hour_start_at') }} as hour_start_ms,
        source,
        coalesce({{ ms('measured_from_at') }}, {{ ms('hour_start_at') }}) as from_ms,
        {{ unfold('cpu_rates') }} as rate
    from {{ touched_facts('usage_hours') }}
)

-- Of two conflicting facts of one stretch the longer time stands.
select
    cluster,
    pod_uid,
    container_name,
    hour_start_ms,
    source,
    from_ms,
    rate.millicores as millicores,
    max(rate.ms) as ms
from unfolded
group by
    cluster,
    pod_uid,
    container_name,
    hour_start_ms,
    source,
    from_ms,
    rate.millicores
