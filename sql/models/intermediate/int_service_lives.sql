-- grain: one row per stretch of time in which a resource (volume, load balancer, control plane) is the same and has the same price
-- guarantee: the stretches of a resource are those of int_service_resources, cut where its price changes; price_nano is NULL where none is known.
--     A control plane that nobody prices is left out: it may be the user's own machines, which are priced as such
-- inputs: int_service_resources, int_service_prices
{{ config(materialized='table') }}
with cuts as (
    select
        cluster,
        service_kind,
        service_id,
        start_ms,
        start_ms as from_ms
    from {{ ref('int_service_resources') }}
    union
{%- for edge in ['valid_from_ms', 'valid_to_ms'] %}
    select
        resources.cluster,
        resources.service_kind,
        resources.service_id,
        resources.start_ms,
        prices.{{ edge }} as from_ms
    from {{ ref('int_service_resources') }} as resources
    inner join {{ ref('int_service_prices') }} as prices
        on resources.cluster = prices.cluster
        and resources.service_kind = prices.service_kind
        and resources.service_id = prices.service_id
        and resources.quantity > prices.over_quantity
        and resources.quantity <= prices.up_to_quantity
        and prices.{{ edge }} > resources.start_ms
        and prices.{{ edge }} < resources.end_ms
    {% if not loop.last %}union{% endif %}
{%- endfor %}
),

pieces as (
    select
        *,
        lead(from_ms) over (
            partition by cluster, service_kind, service_id, start_ms order by from_ms asc nulls last
        ) as next_ms
    from cuts
),

priced as (
    select
        resources.*,
        pieces.from_ms as piece_start_ms,
        coalesce(pieces.next_ms, resources.end_ms) as piece_end_ms,
        prices.price_nano,
        prices.price_ms,
        coalesce(prices.price_quantity, greatest(resources.quantity, cast(1 as bigint))) as price_quantity,
        prices.source as price_source,
        cast(row_number() over (
            partition by resources.cluster, resources.service_kind, resources.service_id, pieces.from_ms
            order by prices.rank asc nulls last, prices.valid_from_ms desc nulls last, prices.price_nano desc nulls last
        ) as bigint) as preference
    from {{ ref('int_service_resources') }} as resources
    inner join pieces
        on resources.cluster = pieces.cluster
        and resources.service_kind = pieces.service_kind
        and resources.service_id = pieces.service_id
        and resources.start_ms = pieces.start_ms
    left join {{ ref('int_service_prices') }} as prices
        on resources.cluster = prices.cluster
        and resources.service_kind = prices.service_kind
        and resources.service_id = prices.service_id
        and resources.quantity > prices.over_quantity
        and resources.quantity <= prices.up_to_quantity
        and prices.valid_from_ms <= pieces.from_ms
        and prices.valid_to_ms > pieces.from_ms
)

select
    cluster,
    service_kind,
    service_id,
    service_name,
    service_type,
    namespace,
    owner_pod_uid,
    cost_category,
    piece_start_ms as start_ms,
    piece_end_ms as end_ms,
    quantity,
    price_nano,
    price_ms,
    price_quantity,
    price_source
from priced
where preference = 1 and (service_kind <> 'control_plane' or price_nano is not null)
