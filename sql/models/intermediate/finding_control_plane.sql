-- grain: one row per zone, ISO week and cluster whose managed control plane was paid for in hours in which no workload ran, a quarter of them or more
-- guarantee: cost is that of the control plane in these hours: a part of the category control_plane, which is no waste by itself
-- inputs: int_service_hours, int_busy_hours, int_finding_hours
{{ config(materialized='view') }}
with busy as (
    select distinct
        cluster,
        hour_start_ms
    from {{ ref('int_busy_hours') }}
    where busy_ms > 0
),

summed as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        cast(sum(case when weeks.is_this and busy.cluster is null then hours.cost_nano else cast(0 as bigint) end) as bigint) as cost_nano,
        cast(sum(case when not weeks.is_this and busy.cluster is null then hours.cost_nano end) as bigint) as previous_cost_nano,
        cast(sum(case when weeks.is_this and busy.cluster is null then 1 else 0 end) as bigint) as free_hours,
        cast(sum(case when weeks.is_this then 1 else 0 end) as bigint) as hours,
        min(case when busy.cluster is null then hours.hour_start_ms end) as since_ms
    from {{ ref('int_service_hours') }} as hours
    inner join {{ ref('int_finding_hours') }} as weeks
        on hours.cluster = weeks.cluster and hours.hour_start_ms = weeks.hour_start_ms
    left join busy on hours.cluster = busy.cluster and hours.hour_start_ms = busy.hour_start_ms
    where hours.service_kind = 'control_plane'
    group by
        weeks.cluster,
        weeks.zone,
        weeks.iso_week
)

select
    cluster,
    zone,
    iso_week,
    'control_plane_without_work' as finding,
    'cluster' as subject_kind,
    cluster as subject,
    'unattributed' as team,
    cast(null as string) as namespace,
    cast(null as string) as pipeline,
    cost_nano,
    previous_cost_nano,
    since_ms,
    'no workload ran in ' || {{ number_text('free_hours') }} || ' of ' || {{ counted('hours', 'hour') }} as evidence,
    'let several small clusters be one, or delete a cluster that only runs now and then and make it anew' as mend,
    cast(null as string) as command,
    'control_plane' as counted_in
from summed
where free_hours * 4 >= hours and hours > 0
