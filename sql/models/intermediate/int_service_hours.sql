-- grain: one row per hour, resource (volume, load balancer, control plane), cost category and consumer: what it paid
-- guarantee: the rows of a resource's hour add up to what it costs, cut off below a nano-dollar for each of its stretches; what division leaves, and the
--     time in which nobody mounts a volume, is the volume's own
-- inputs: int_service_lives, int_volume_mounts
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_service_hours', ['cluster', 'hour_start_ms']) }}") }}
with stretches as (
    select
        *,
        {{ hours('start_ms', 'end_ms') }} as hour_start_ms
    from {{ touched('int_service_lives') }}
),

stretch_hours as (
    select
        stretches.*,
        {{ overlap('stretches.start_ms', 'stretches.end_ms', 'stretches.hour_start_ms', 'stretches.hour_start_ms + 3600000') }} as held_ms
    from stretches
{%- if not var('all_hours') %}
    inner join {{ source('build', 'dirty_service_hours') }} as dirty
        on stretches.cluster = dirty.cluster and stretches.hour_start_ms = dirty.hour_start_ms
{%- endif %}
),

costed as (
    select
        *,
        cast({{ wide_idiv('cast(price_nano as decimal(19,0)) * cast(held_ms as decimal(19,0)) * cast(quantity as decimal(19,0))', 'cast(price_ms as decimal(19,0)) * cast(price_quantity as decimal(19,0))') }} as bigint) as cost_nano
    from stretch_hours
),

mounted as (
    select
        costed.*,
        mounts.pod_uid as mounting_uid,
        {{ overlap('greatest(costed.start_ms, costed.hour_start_ms)', 'least(costed.end_ms, costed.hour_start_ms + 3600000)', 'mounts.start_ms', 'mounts.end_ms') }} as mounted_ms
    from costed
    inner join {{ ref('int_volume_mounts') }} as mounts
        on costed.cluster = mounts.cluster
        and costed.service_id = mounts.volume_uid
        and mounts.start_ms < least(costed.end_ms, costed.hour_start_ms + 3600000)
        and mounts.end_ms > greatest(costed.start_ms, costed.hour_start_ms)
    where costed.cost_category = 'storage'
),

-- Pods that mount a volume at the same time share it, as they share a machine that is full.
totals as (
    select
        cluster,
        service_id,
        start_ms,
        hour_start_ms,
        cast(sum(mounted_ms) as bigint) as mounted_ms
    from mounted
    group by
        cluster,
        service_id,
        start_ms,
        hour_start_ms
),

paid as (
    select
        mounted.*,
        {{ prorate('mounted.cost_nano', 'mounted.mounted_ms', 'greatest(mounted.held_ms, totals.mounted_ms)') }} as paid_nano
    from mounted
    inner join totals
        on mounted.cluster = totals.cluster
        and mounted.service_id = totals.service_id
        and mounted.start_ms = totals.start_ms
        and mounted.hour_start_ms = totals.hour_start_ms
),

paid_by_all as (
    select
        cluster,
        service_id,
        start_ms,
        hour_start_ms,
        cast(sum(paid_nano) as bigint) as paid_nano
    from paid
    group by
        cluster,
        service_id,
        start_ms,
        hour_start_ms
),

consumers as (
    select
        cluster,
        hour_start_ms,
        service_kind,
        service_id,
        'pod' as consumer_kind,
        mounting_uid as pod_uid,
        mounting_uid as owner_pod_uid,
        namespace,
        cost_category,
        paid_nano as cost_nano
    from paid
    union all
    select
        costed.cluster,
        costed.hour_start_ms,
        costed.service_kind,
        costed.service_id,
        costed.service_kind as consumer_kind,
        cast(null as string) as pod_uid,
        costed.owner_pod_uid,
        costed.namespace,
        costed.cost_category,
        costed.cost_nano - coalesce(paid_by_all.paid_nano, cast(0 as bigint)) as cost_nano
    from costed
    left join paid_by_all
        on costed.cluster = paid_by_all.cluster
        and costed.service_id = paid_by_all.service_id
        and costed.start_ms = paid_by_all.start_ms
        and costed.hour_start_ms = paid_by_all.hour_start_ms
)

select
    cluster,
    hour_start_ms,
    service_kind,
    service_id,
    consumer_kind,
    pod_uid,
    owner_pod_uid,
    namespace,
    cost_category,
    cast(sum(cost_nano) as bigint) as cost_nano
from consumers
group by
    cluster,
    hour_start_ms,
    service_kind,
    service_id,
    consumer_kind,
    pod_uid,
    owner_pod_uid,
    namespace,
    cost_category
