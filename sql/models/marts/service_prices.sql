-- grain: one row per resource that is no machine (volume, load balancer, control plane) and stretch of its life in which it is the same and has one price
-- guarantee: the stretches of a resource do not overlap; the price is NULL where none is known
-- inputs: int_service_lives
{{ config(materialized='view') }}
select
    cluster,
    service_kind,
    service_id,
    service_name,
    service_type,
    namespace,
    {{ at('start_ms') }} as start_at,
    {{ at('end_ms') }} as end_at,
    quantity,
    {{ usd('cast(' ~ wide_idiv('cast(price_nano as decimal(19,0)) * cast(3600000 as decimal(19,0)) * cast(quantity as decimal(19,0))', 'cast(price_ms as decimal(19,0)) * cast(price_quantity as decimal(19,0))') ~ ' as bigint)') }} as hourly_price,
    price_source
from {{ ref('int_service_lives') }}
