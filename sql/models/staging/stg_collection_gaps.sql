-- grain: one row per cluster and stretch of time in which nobody watched its pods
-- guarantee: stretches [start_ms, end_ms) of one cluster neither overlap nor touch, whatever the order or repetition of the facts
-- inputs: lake.collection_gaps; blindness for other resources leaves what pods hold known
--     lake.collection_watermarks, stg_machines: before the first look at a cluster nobody watched the machines that it found
{{ config(materialized='table') }}
with first_looks as (
    select
        cluster,
        min({{ ms('observed_from_at') }}) as from_ms
    from {{ source('lake', 'collection_watermarks') }}
    where observed_from_at is not null
    group by cluster
),

facts as (
    select
        cluster,
        {{ ms('gap_start_at') }} as start_ms,
        max({{ ms('gap_end_at') }}) as end_ms,
        max(coalesce(recovered_pods, cast(0 as bigint))) as recovered_pods,
        cast(1 as bigint) as gaps
    from {{ source('lake', 'collection_gaps') }}
    where resource = 'pods'
    group by
        cluster,
        {{ ms('gap_start_at') }}
    union all
    select
        machines.cluster,
        min(machines.launched_ms) as start_ms,
        max(first_looks.from_ms) as end_ms,
        cast(0 as bigint) as recovered_pods,
        cast(0 as bigint) as gaps
    from {{ ref('stg_machines') }} as machines
    inner join first_looks on machines.cluster = first_looks.cluster
    group by machines.cluster
),

reached as (
    select
        *,
        max(end_ms) over (
            partition by cluster order by start_ms asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as reached_ms
    from facts
    where end_ms > start_ms
),

numbered as (
    select
        *,
        cast(sum(case when start_ms <= reached_ms then 0 else 1 end) over (
            partition by cluster order by start_ms asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as stretch
    from reached
)

select
    cluster,
    min(start_ms) as start_ms,
    max(end_ms) as end_ms,
    cast(sum(gaps) as bigint) as gaps,
    cast(sum(recovered_pods) as bigint) as recovered_pods
from numbered
group by
    cluster,
    stretch
