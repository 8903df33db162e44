-- grain: one row per machine and stretch of time in which what it is charged for an hour is the same
-- guarantee: the stretches of a machine do not overlap; charges of one time add up
-- inputs: int_billed_machines
{{ config(materialized='table') }}
with changes as (
    select
        cluster,
        machine,
        charge_start_ms as at_ms,
        price_nano,
        cast(1 as bigint) as charges
    from {{ ref('int_billed_machines') }}
    union all
    select
        cluster,
        machine,
        charge_end_ms as at_ms,
        cast(0 as bigint) - price_nano as price_nano,
        cast(-1 as bigint) as charges
    from {{ ref('int_billed_machines') }}
),

instants as (
    select
        cluster,
        machine,
        at_ms,
        cast(sum(price_nano) as bigint) as price_nano,
        cast(sum(charges) as bigint) as charges
    from changes
    group by
        cluster,
        machine,
        at_ms
),

running as (
    select
        cluster,
        machine,
        at_ms as from_ms,
        lead(at_ms) over (partition by cluster, machine order by at_ms asc nulls last) as to_ms,
        cast(sum(price_nano) over (
            partition by cluster, machine order by at_ms asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as price_nano,
        cast(sum(charges) over (
            partition by cluster, machine order by at_ms asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as charges
    from instants
)

select
    cluster,
    machine,
    from_ms,
    to_ms,
    price_nano
from running
where charges > 0
