-- grain: one row per month of which there are closed rows
-- guarantee: content_hash tells any two contents apart, whatever the order of the facts; what is closed has to hash to what its close noted
-- inputs: lake.closed_costs, lake.closed_prices, lake.closed_services
{{ config(materialized='view') }}
with costs as (
    select distinct
        {{ ms('month_start_at') }} as month_start_ms,
        {{ ms('hour_start_at') }} - {{ ms('hour_start_at') }} % 86400000 as day_start_ms,
        'cost ' || {{ told_text('cluster') }} || ' ' || {{ told_number(ms('hour_start_at')) }} || ' ' || {{ told_text('team') }} || ' ' || {{ told_text('pipeline') }} || ' ' || {{ told_text('job') }} || ' ' || {{ told_text('namespace') }} || ' ' || {{ told_text('cost_category') }} || ' ' || {{ told_number(ms('adjusts_month_at')) }} || ' ' || {{ told_number('cpu_nano') }} || ' ' || {{ told_number('memory_nano') }} || ' ' || {{ told_number('gpu_nano') }} || ' ' || {{ told_number('service_nano') }} || ' ' || {{ told_number('unused_nano') }} as line
    from {{ source('lake', 'closed_costs') }}
),

prices as (
    select distinct
        {{ ms('month_start_at') }} as month_start_ms,
        {{ ms('start_at') }} - {{ ms('start_at') }} % 86400000 as day_start_ms,
        'price ' || {{ told_number(ms('priced_month_at')) }} || ' ' || {{ told_text('cluster') }} || ' ' || {{ told_text('machine') }} || ' ' || {{ told_number(ms('start_at')) }} || ' ' || {{ told_number(ms('end_at')) }} || ' ' || {{ told_number('price_nano') }} || ' ' || {{ told_text('price_source') }} as line
    from {{ source('lake', 'closed_prices') }}
),

services as (
    select distinct
        {{ ms('month_start_at') }} as month_start_ms,
        {{ ms('start_at') }} - {{ ms('start_at') }} % 86400000 as day_start_ms,
        'service ' || {{ told_number(ms('priced_month_at')) }} || ' ' || {{ told_text('cluster') }} || ' ' || {{ told_text('service_kind') }} || ' ' || {{ told_text('service_id') }} || ' ' || {{ told_number(ms('start_at')) }} || ' ' || {{ told_number(ms('end_at')) }} || ' ' || {{ told_number('hour_cost_nano') }} || ' ' || {{ told_text('price_source') }} as line
    from {{ source('lake', 'closed_services') }}
),

lines as (
    select * from costs
    union all
    select * from prices
    union all
    select * from services
),

-- Day by day, so that no text is as large as a month.
daily as (
    select
        month_start_ms,
        {{ told_number('day_start_ms') }} || ' ' || {{ digest('line') }} as line,
        count(*) as closed_rows
    from lines
    group by
        month_start_ms,
        day_start_ms
)

select
    month_start_ms,
    {{ digest('line') }} as content_hash,
    cast(sum(closed_rows) as bigint) as closed_rows
from daily
group by month_start_ms
