-- grain: one row per closed month (UTC)
-- guarantee: a month is closed once: the first counts, should two be told; `open_ms` is the start of the first month after it that is not closed
-- inputs: lake.closed_months
{{ config(materialized='table') }}
with facts as (
    select distinct
        {{ ms('month_start_at') }} as month_start_ms,
        {{ ms('month_end_at') }} as month_end_ms,
        {{ ms('closed_at') }} as closed_ms,
        content_hash,
        basis
    from {{ source('lake', 'closed_months') }}
),

numbered as (
    select
        *,
        cast(row_number() over (
            partition by month_start_ms order by closed_ms asc nulls last, content_hash asc nulls last, basis asc nulls last
        ) as bigint) as occurrence
    from facts
),

months as (
    select * from numbered where occurrence = 1
),

-- Where a month that is not closed follows.
edges as (
    select
        months.month_start_ms,
        months.month_end_ms
    from months
    left join months as next_months on months.month_end_ms = next_months.month_start_ms
    where next_months.month_start_ms is null
)

select
    months.month_start_ms,
    months.month_end_ms,
    months.closed_ms,
    months.content_hash,
    months.basis,
    min(edges.month_end_ms) as open_ms
from months
inner join edges on edges.month_start_ms >= months.month_start_ms
group by
    months.month_start_ms,
    months.month_end_ms,
    months.closed_ms,
    months.content_hash,
    months.basis
