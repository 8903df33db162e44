-- guards: in every hour what consumers pay for a volume, load balancer or control plane is its price times its time, to the nano-dollar,
--     and no hour of one is forgotten
with stretches as (
    select
        *,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from {{ touched('int_service_lives') }}
),

owed as (
    select
        cluster,
        hour_start_ms,
        service_kind,
        service_id,
        cast(sum(cast({{ wide_idiv('cast(price_nano as decimal(19,0)) * cast(' ~ overlap('start_ms', 'end_ms', 'hour_start_ms', 'hour_start_ms + 3600000') ~ ' as decimal(19,0)) * cast(quantity as decimal(19,0))', 'cast(price_ms as decimal(19,0)) * cast(price_quantity as decimal(19,0))') }} as bigint)) as bigint) as cost_nano
    from stretches
{%- if not var('all_hours') %}
    where (cluster, hour_start_ms) in (select cluster, hour_start_ms from {{ source('build', 'dirty_service_hours') }})
{%- endif %}
    group by
        cluster,
        hour_start_ms,
        service_kind,
        service_id
),

paid as (
    select
        cluster,
        hour_start_ms,
        service_kind,
        service_id,
        cast(sum(cost_nano) as bigint) as cost_nano,
        min(cost_nano) as least_nano
    from {{ touched('int_service_hours') }}
    group by
        cluster,
        hour_start_ms,
        service_kind,
        service_id
)

select
    coalesce(paid.cluster, owed.cluster) as cluster,
    coalesce(paid.hour_start_ms, owed.hour_start_ms) as hour_start_ms,
    coalesce(paid.service_kind, owed.service_kind) as service_kind,
    coalesce(paid.service_id, owed.service_id) as service_id,
    paid.cost_nano as paid_nano,
    owed.cost_nano as owed_nano
from paid
full outer join owed
    on paid.cluster = owed.cluster
    and paid.hour_start_ms = owed.hour_start_ms
    and paid.service_kind = owed.service_kind
    and paid.service_id = owed.service_id
where
    coalesce(paid.cost_nano, cast(-1 as bigint)) <> coalesce(owed.cost_nano, cast(-1 as bigint))
    or paid.service_id is null
    or paid.least_nano < 0
