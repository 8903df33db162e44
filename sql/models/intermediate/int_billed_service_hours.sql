-- grain: one row per volume or load balancer, cost category, hour in which a bill charged for it, and account that was charged
-- guarantee: restated_nano is what int_service_hours has of it for the charged time, of so many `stretches`, each cut off below a nano-dollar
-- inputs: int_service_lives, int_billed_services
{{ config(materialized='view') }}
-- A stretch of one price lies in one charge.
with charged as (
    select
        lives.*,
        charges.provider,
        charges.billing_account_id
    from {{ ref('int_service_lives') }} as lives
    inner join {{ ref('int_billed_services') }} as charges
        on lives.cluster = charges.cluster
        and lives.service_kind = charges.service_kind
        and lives.service_id = charges.service_id
        and charges.charge_start_ms <= lives.start_ms
        and charges.charge_end_ms >= lives.end_ms
    where lives.price_source = 'billed'
),

stretches as (
    select
        *,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from charged
),

timed as (
    select
        *,
        {{ overlap('start_ms', 'end_ms', 'hour_start_ms', 'hour_start_ms + 3600000') }} as held_ms
    from stretches
)

select
    cluster,
    service_kind,
    service_id,
    cost_category,
    hour_start_ms,
    provider,
    billing_account_id,
    cast(sum(cast({{ wide_idiv('cast(price_nano as decimal(19,0)) * cast(held_ms as decimal(19,0)) * cast(quantity as decimal(19,0))', 'cast(price_ms as decimal(19,0)) * cast(price_quantity as decimal(19,0))') }} as bigint)) as bigint) as restated_nano,
    count(*) as stretches
from timed
group by
    cluster,
    service_kind,
    service_id,
    cost_category,
    hour_start_ms,
    provider,
    billing_account_id
