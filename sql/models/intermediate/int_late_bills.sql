-- grain: one row per hour of a closed month and machine that bills make cost something else than when it was closed
-- guarantee: change_nano is what the hour costs by the bills of now less what it cost by those of then, each cut off below a nano-dollar
-- inputs: int_repriced_stretches
{{ config(materialized='table') }}
{%- set part = overlap('stretches.from_ms', 'stretches.to_ms', 'changed.hour_start_ms', 'changed.hour_start_ms + 3600000') %}
with stretches as (
    select
        *,
        coalesce(price_nano, cast(0 as bigint)) as now_nano,
        coalesce(closed_price_nano, cast(0 as bigint)) as then_nano,
        from_ms - from_ms % 86400000 as day_start_ms
    from {{ ref('int_repriced_stretches') }}
),

hours_changed as (
    select
        month_start_ms,
        cluster,
        machine,
        {{ hours('from_ms', 'to_ms') }} as hour_start_ms
    from stretches
    where coalesce(price_nano, cast(-1 as bigint)) <> coalesce(closed_price_nano, cast(-1 as bigint))
),

changed as (
    select distinct * from hours_changed
),

costed as (
    select
        changed.month_start_ms,
        changed.cluster,
        changed.machine,
        changed.hour_start_ms,
        cast({{ wide_idiv('sum(cast(stretches.now_nano as decimal(19,0)) * cast(' ~ part ~ ' as decimal(19,0)))', 'cast(3600000 as decimal(38,0))') }} as bigint) as now_nano,
        cast({{ wide_idiv('sum(cast(stretches.then_nano as decimal(19,0)) * cast(' ~ part ~ ' as decimal(19,0)))', 'cast(3600000 as decimal(38,0))') }} as bigint) as then_nano
    from changed
    inner join stretches
        on changed.month_start_ms = stretches.month_start_ms
        and changed.cluster = stretches.cluster
        and changed.machine = stretches.machine
        and changed.hour_start_ms - changed.hour_start_ms % 86400000 = stretches.day_start_ms
    where stretches.from_ms < changed.hour_start_ms + 3600000 and stretches.to_ms > changed.hour_start_ms
    group by
        changed.month_start_ms,
        changed.cluster,
        changed.machine,
        changed.hour_start_ms
)

select
    month_start_ms,
    cluster,
    machine,
    hour_start_ms,
    now_nano - then_nano as change_nano
from costed
where now_nano <> then_nano
