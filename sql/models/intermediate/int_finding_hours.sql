-- grain: one row per cluster, zone, ISO week and hour that its findings look at: its own hours, and those of the week before
-- guarantee: `is_this` tells which; a cluster that was not observed for all of the week before has no hours of it
-- inputs: calendar, int_finding_weeks
{{ config(materialized='table') }}
select
    weeks.cluster,
    weeks.zone,
    weeks.iso_week,
    calendar.hour_start_ms,
    true as is_this
from {{ ref('int_finding_weeks') }} as weeks
inner join {{ source('build', 'calendar') }} as calendar on weeks.zone = calendar.zone and weeks.iso_week = calendar.iso_week
union all
select
    weeks.cluster,
    weeks.zone,
    weeks.iso_week,
    calendar.hour_start_ms,
    false as is_this
from {{ ref('int_finding_weeks') }} as weeks
inner join {{ source('build', 'calendar') }} as calendar on weeks.zone = calendar.zone and weeks.previous_week = calendar.iso_week
