-- grain: one row per volume or load balancer, time that it was charged for, and account that was charged
-- guarantee: the times of one do not overlap: what is charged for times that do, as hours and days, restates nothing. cost_atto is what all that have the key
--     were charged for together, and group_ms how long they were there in that time, seen or not
-- inputs: stg_billed_charges, stg_volumes, stg_load_balancers, int_service_resources
{{ config(materialized='table') }}
{%- set forever = 'cast(9223372036854775807 as bigint)' %}
with named as (
    select
        cluster,
        'volume' as service_kind,
        volume_uid as service_id,
        -- Google's and Azure's disks are called as the volume, if nobody tells their handle.
        coalesce({{ machine_key('max(volume_handle)') }}, max(lower(volume))) as group_key,
        min(start_ms) as start_ms,
        max(coalesce(end_ms, {{ forever }})) as end_ms
    from {{ ref('stg_volumes') }}
    group by
        cluster,
        volume_uid
    union all
    select
        cluster,
        'load_balancer' as service_kind,
        service_uid as service_id,
        {{ balancer_key('max(load_balancer)') }} as group_key,
        min(start_ms) as start_ms,
        max(coalesce(end_ms, {{ forever }})) as end_ms
    from {{ ref('stg_load_balancers') }}
    group by
        cluster,
        service_uid
),

services as (
    select
        named.cluster,
        named.service_kind,
        named.service_id,
        named.group_key,
        named.start_ms,
        named.end_ms,
        max(resources.provider) as provider
    from named
    inner join {{ ref('int_service_resources') }} as resources
        on named.cluster = resources.cluster
        and named.service_kind = resources.service_kind
        and named.service_id = resources.service_id
    where named.group_key is not null
    group by
        named.cluster,
        named.service_kind,
        named.service_id,
        named.group_key,
        named.start_ms,
        named.end_ms
    having max(resources.provider) is not null and min(resources.quantity) > 0
),

charges as (
    select
        charges.provider,
        charges.billing_account_id,
        charges.service_key as group_key,
        charges.charge_start_ms,
        charges.charge_end_ms,
        cast(sum(charges.effective_atto) as decimal(38,0)) as cost_atto
    from {{ ref('stg_billed_charges') }} as charges
    inner join (select distinct provider, group_key from services) as keys
        on charges.provider = keys.provider and charges.service_key = keys.group_key
    where {{ is_service_charge('charges') }}
    group by
        charges.provider,
        charges.billing_account_id,
        charges.service_key,
        charges.charge_start_ms,
        charges.charge_end_ms
),

ordered as (
    select
        *,
        max(charge_end_ms) over (
            partition by provider, group_key
            order by charge_start_ms asc nulls last, charge_end_ms asc nulls last, billing_account_id asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as before_ms,
        lead(charge_start_ms) over (
            partition by provider, group_key
            order by charge_start_ms asc nulls last, charge_end_ms asc nulls last, billing_account_id asc nulls last
        ) as after_ms
    from charges
),

held as (
    select
        services.cluster,
        services.service_kind,
        services.service_id,
        ordered.provider,
        ordered.billing_account_id,
        ordered.group_key,
        ordered.charge_start_ms,
        ordered.charge_end_ms,
        ordered.cost_atto,
        {{ overlap('services.start_ms', 'services.end_ms', 'ordered.charge_start_ms', 'ordered.charge_end_ms') }} as held_ms
    from ordered
    inner join services on ordered.provider = services.provider and ordered.group_key = services.group_key
    where
        ordered.cost_atto >= 0
        and coalesce(ordered.before_ms <= ordered.charge_start_ms, true)
        and coalesce(ordered.after_ms >= ordered.charge_end_ms, true)
        and services.start_ms < ordered.charge_end_ms
        and services.end_ms > ordered.charge_start_ms
),

seen as (
    select
        held.cluster,
        held.service_kind,
        held.service_id,
        held.charge_start_ms,
        cast(sum({{ overlap('resources.start_ms', 'resources.end_ms', 'held.charge_start_ms', 'held.charge_end_ms') }}) as bigint) as seen_ms
    from held
    inner join {{ ref('int_service_resources') }} as resources
        on held.cluster = resources.cluster
        and held.service_kind = resources.service_kind
        and held.service_id = resources.service_id
    group by
        held.cluster,
        held.service_kind,
        held.service_id,
        held.charge_start_ms
)

select
    held.*,
    coalesce(seen.seen_ms, cast(0 as bigint)) as seen_ms,
    cast(sum(held.held_ms) over (partition by held.provider, held.group_key, held.charge_start_ms) as bigint) as group_ms,
    cast(sum(coalesce(seen.seen_ms, cast(0 as bigint))) over (partition by held.provider, held.group_key, held.charge_start_ms) as bigint) as group_seen_ms,
    cast({{ wide_idiv('held.cost_atto', 'cast(1000000000 as decimal(38,0))') }} as bigint) as cost_nano
from held
left join seen
    on held.cluster = seen.cluster
    and held.service_kind = seen.service_kind
    and held.service_id = seen.service_id
    and held.charge_start_ms = seen.charge_start_ms
