-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category of which something rests on a bill
-- guarantee: of each row of costs_hourly the part whose machines, volumes and load balancers were billed: all of it where they were charged for all of the hour. Of a closed month what it rested
--     on when it was closed, in each hour and cluster in proportion; adjustments rest on bills
-- inputs: int_allocations, int_pod_names, team_shares, int_billed_hours, int_billed_service_hours, int_service_hours, stg_closed_days, stg_closed_costs, stg_closed_prices, stg_closed_services, int_booked_costs
{{ config(materialized='view') }}
-- What of each hour of a volume or load balancer was charged for, and all of it.
with billed_services as (
    select
        cluster,
        service_kind,
        service_id,
        cost_category,
        hour_start_ms,
        cast(sum(restated_nano) as bigint) as restated_nano
    from {{ ref('int_billed_service_hours') }}
    group by
        cluster,
        service_kind,
        service_id,
        cost_category,
        hour_start_ms
),

service_hours as (
    select
        *,
        cast(sum(cost_nano) over (partition by cluster, service_kind, service_id, cost_category, hour_start_ms) as bigint) as whole_nano
    from {{ ref('int_service_hours') }}
),

parts as (
    select
        costs.cluster,
        costs.hour_start_ms,
        costs.owner_pod_uid,
        costs.namespace,
        costs.cost_category,
        {{ prorate('costs.cost_nano', 'hours.restated_nano', 'hours.cost_nano') }} as billed_nano
    from {{ ref('int_allocations') }} as costs
    inner join {{ ref('int_billed_hours') }} as hours
        on costs.cluster = hours.cluster and costs.machine = hours.machine and costs.hour_start_ms = hours.hour_start_ms
    where hours.cost_nano > 0
    union all
    select
        costs.cluster,
        costs.hour_start_ms,
        costs.owner_pod_uid,
        costs.namespace,
        costs.cost_category,
        {{ prorate('costs.cost_nano', 'hours.restated_nano', 'costs.whole_nano') }} as billed_nano
    from service_hours as costs
    inner join billed_services as hours
        on costs.cluster = hours.cluster
        and costs.service_kind = hours.service_kind
        and costs.service_id = hours.service_id
        and costs.cost_category = hours.cost_category
        and costs.hour_start_ms = hours.hour_start_ms
    where costs.whole_nano > 0
),

named as (
    select
        parts.cluster,
        parts.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
        coalesce(pods.pipeline, 'unattributed') as pipeline,
        coalesce(pods.job, 'unattributed') as job,
        coalesce(pods.namespace, parts.namespace, 'unattributed') as namespace,
        parts.cost_category,
        cast(sum(parts.billed_nano) as bigint) as billed_nano
    from parts
    left join {{ ref('int_pod_names') }} as pods on parts.cluster = pods.cluster and parts.owner_pod_uid = pods.pod_uid
    left join {{ ref('stg_closed_days') }} as closed on parts.hour_start_ms - parts.hour_start_ms % 86400000 = closed.day_start_ms
    where closed.day_start_ms is null
    group by
        parts.cluster,
        parts.hour_start_ms,
        coalesce(pods.team, 'unattributed'),
        coalesce(pods.pipeline, 'unattributed'),
        coalesce(pods.job, 'unattributed'),
        coalesce(pods.namespace, parts.namespace, 'unattributed'),
        parts.cost_category
),

open_costs as (
    select
        named.cluster,
        named.hour_start_ms,
        coalesce(shares.member, named.team) as team,
        named.pipeline,
        named.job,
        named.namespace,
        named.cost_category,
        case
            when shares.member is null then named.billed_nano
            else {{ prorate('named.billed_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('named.billed_nano', 'shares.from_part', 'shares.whole') }}
        end as billed_nano
    from named
    left join {{ ref('team_shares') }} as shares on named.team = shares.team
),

closed_stretches as (
    select
        cluster,
        machine,
        from_ms,
        to_ms,
        price_nano,
        is_billed,
        {{ hours('from_ms', 'to_ms') }} as hour_start_ms
    from {{ ref('stg_closed_prices') }}
    where is_first and price_nano is not null
),

-- Price times time: only the proportion counts.
closed_hours as (
    select
        cluster,
        hour_start_ms,
        cast(sum(cast(price_nano as decimal(19,0)) * cast({{ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') }} as decimal(19,0))) as decimal(38,0)) as whole,
        cast(sum(case when is_billed then cast(price_nano as decimal(19,0)) * cast({{ overlap('from_ms', 'to_ms', 'hour_start_ms', 'hour_start_ms + 3600000') }} as decimal(19,0)) else cast(0 as decimal(38,0)) end) as decimal(38,0)) as billed
    from closed_stretches
    group by
        cluster,
        hour_start_ms
),

-- In millionths of the hour, so that the product fits.
closed_parts as (
    select
        cluster,
        hour_start_ms,
        case
            when billed = whole then cast(1000000 as bigint)
            else least(cast({{ wide_idiv('billed * cast(1000000 as decimal(7,0))', 'whole') }} as bigint), cast(999999 as bigint))
        end as millionths
    from closed_hours
    where billed > 0
),

closed_services as (
    select
        cluster,
        hour_cost_nano,
        is_billed,
        {{ hours('from_ms', 'to_ms') }} as hour_start_ms
    from {{ ref('stg_closed_services') }}
    where is_first and hour_cost_nano > 0
),

closed_service_hours as (
    select
        cluster,
        hour_start_ms,
        cast(sum(hour_cost_nano) as bigint) as whole_nano,
        cast(sum(case when is_billed then hour_cost_nano else cast(0 as bigint) end) as bigint) as billed_nano
    from closed_services
    group by
        cluster,
        hour_start_ms
),

closed_costs as (
    select
        costs.cluster,
        costs.hour_start_ms,
        costs.team,
        costs.pipeline,
        costs.job,
        costs.namespace,
        costs.cost_category,
        {{ prorate('costs.cpu_nano + costs.memory_nano + costs.gpu_nano', 'coalesce(parts.millionths, cast(0 as bigint))', '1000000') }} + {{ prorate('costs.service_nano', 'coalesce(services.billed_nano, cast(0 as bigint))', 'coalesce(services.whole_nano, cast(1 as bigint))') }} as billed_nano
    from {{ ref('stg_closed_costs') }} as costs
    left join closed_parts as parts on costs.cluster = parts.cluster and costs.hour_start_ms = parts.hour_start_ms
    left join closed_service_hours as services on costs.cluster = services.cluster and costs.hour_start_ms = services.hour_start_ms
    where costs.adjusts_month_ms is null
),

billed as (
    select * from open_costs
    union all
    select * from closed_costs
    union all
    select
        cluster,
        hour_start_ms,
        team,
        pipeline,
        job,
        namespace,
        cost_category,
        cost_nano as billed_nano
    from {{ ref('int_booked_costs') }}
    where adjusts_month_ms is not null
)

select
    cluster,
    {{ at('hour_start_ms') }} as hour_start_at,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    {{ usd('sum(billed_nano)') }} as cost
from billed
where billed_nano <> 0
group by
    cluster,
    hour_start_ms,
    team,
    pipeline,
    job,
    namespace,
    cost_category
