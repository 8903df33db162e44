-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category, and one more for each team that a team
--     shares with others
-- guarantee: the sum over all rows of an hour is the cost of its machines and services
-- inputs: int_allocations, int_pod_names, team_shares
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_costs', ['cluster', 'hour_start_ms']) }}") }}
with named as (
    select
        costs.cluster,
        costs.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
        coalesce(pods.pipeline, 'unattributed') as pipeline,
        coalesce(pods.job, 'unattributed') as job,
        coalesce(pods.namespace, costs.namespace, 'unattributed') as namespace,
        costs.cost_category,
        costs.cpu_nano,
        costs.memory_nano,
        costs.gpu_nano,
        costs.service_nano,
        costs.unused_nano
    from {{ ref('int_allocations') }} as costs
    left join {{ touched('int_pod_names') }} as pods on costs.cluster = pods.cluster and costs.owner_pod_uid = pods.pod_uid
),

grouped as (
    select
        cluster,
        hour_start_ms,
        team,
        pipeline,
        job,
        namespace,
        cost_category,
        cast(sum(cpu_nano) as bigint) as cpu_nano,
        cast(sum(memory_nano) as bigint) as memory_nano,
        cast(sum(gpu_nano) as bigint) as gpu_nano,
        cast(sum(service_nano) as bigint) as service_nano,
        cast(sum(unused_nano) as bigint) as unused_nano
    from named
    group by
        cluster,
        hour_start_ms,
        team,
        pipeline,
        job,
        namespace,
        cost_category
),

-- What members of a shared team pay each: the differences of running parts, which leave nothing over.
shared as (
    select
        grouped.cluster,
        grouped.hour_start_ms,
        coalesce(shares.member, grouped.team) as team,
        grouped.pipeline,
        grouped.job,
        grouped.namespace,
        grouped.cost_category,
        case
            when shares.member is null then grouped.cpu_nano
            else {{ prorate('grouped.cpu_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('grouped.cpu_nano', 'shares.from_part', 'shares.whole') }}
        end as cpu_nano,
        case
            when shares.member is null then grouped.memory_nano
            else {{ prorate('grouped.memory_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('grouped.memory_nano', 'shares.from_part', 'shares.whole') }}
        end as memory_nano,
        case
            when shares.member is null then grouped.gpu_nano
            else {{ prorate('grouped.gpu_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('grouped.gpu_nano', 'shares.from_part', 'shares.whole') }}
        end as gpu_nano,
        case
            when shares.member is null then grouped.service_nano
            else {{ prorate('grouped.service_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('grouped.service_nano', 'shares.from_part', 'shares.whole') }}
        end as service_nano,
        case
            when shares.member is null then grouped.unused_nano
            else {{ prorate('grouped.unused_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('grouped.unused_nano', 'shares.from_part', 'shares.whole') }}
        end as unused_nano
    from grouped
    left join {{ ref('team_shares') }} as shares on grouped.team = shares.team
)

select
    cluster,
    hour_start_ms,
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    cpu_nano,
    memory_nano,
    gpu_nano,
    service_nano,
    cpu_nano + memory_nano + gpu_nano + service_nano as cost_nano,
    unused_nano
from shared
