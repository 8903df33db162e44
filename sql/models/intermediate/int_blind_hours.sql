-- grain: one row per cluster and stretch of an hour in which a gap lies: seen, or blind
-- guarantee: the stretches [from_ms, to_ms) of an hour cover it and do not overlap; hours without a gap have none
-- inputs: stg_collection_gaps
{{ config(materialized='table') }}
with hours as (
    select
        cluster,
        start_ms,
        end_ms,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from {{ ref('stg_collection_gaps') }}
),

blind as (
    select
        cluster,
        hour_start_ms,
        greatest(start_ms, hour_start_ms) as from_ms,
        least(end_ms, hour_start_ms + 3600000) as to_ms
    from hours
),

-- What was seen lies before each of them, and after the last.
seen as (
    select
        cluster,
        hour_start_ms,
        coalesce(
            lag(to_ms) over (partition by cluster, hour_start_ms order by from_ms asc nulls last),
            hour_start_ms
        ) as from_ms,
        from_ms as to_ms
    from blind
    union all
    select
        cluster,
        hour_start_ms,
        max(to_ms) as from_ms,
        hour_start_ms + 3600000 as to_ms
    from blind
    group by
        cluster,
        hour_start_ms
)

select
    cluster,
    hour_start_ms,
    from_ms,
    to_ms,
    true as is_blind
from blind
union all
select
    cluster,
    hour_start_ms,
    from_ms,
    to_ms,
    false as is_blind
from seen
where to_ms > from_ms
