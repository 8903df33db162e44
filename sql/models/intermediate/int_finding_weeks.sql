-- grain: one row per cluster, zone and ISO week in which a machine of any cluster was up
-- guarantee: the week before is named only where the cluster was observed for all of it: only then can it be compared with
-- inputs: calendar, clusters
{{ config(materialized='table') }}
with weeks as (
    select
        zone,
        iso_week,
        min(hour_start_ms) as from_ms,
        max(hour_start_ms) + 3600000 as to_ms,
        count(*) as hours
    from {{ source('build', 'calendar') }}
    group by
        zone,
        iso_week
),

followed as (
    select
        *,
        lag(iso_week) over (partition by zone order by iso_week asc nulls last) as before_week,
        lag(from_ms) over (partition by zone order by iso_week asc nulls last) as before_ms
    from weeks
)

select
    clusters.cluster,
    weeks.zone,
    weeks.iso_week,
    weeks.from_ms,
    weeks.to_ms,
    weeks.hours,
    least({{ ms('clusters.observed_through_at') }}, weeks.to_ms) as observed_to_ms,
    case
        when {{ ms('clusters.observed_from_at') }} <= weeks.before_ms and weeks.from_ms - weeks.before_ms between 601200000 and 608400000
            then weeks.before_week
    end as previous_week
from followed as weeks
cross join {{ ref('clusters') }} as clusters
where {{ ms('clusters.observed_through_at') }} > weeks.from_ms and {{ ms('clusters.observed_from_at') }} < weeks.to_ms
