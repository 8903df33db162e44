-- grain: one row per charge date (UTC), cluster, pod and container; the surplus of init containers is `(pod)`
-- guarantee: the containers of a pod and its surplus add up to the pod's cost to the nano-dollar
-- inputs: machine_pod_hours, stg_containers, pods
{{ config(materialized='view') }}
with pod_days as (
    select
        cluster,
        pod_uid,
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms,
        cast(sum(cpu_nano) as bigint) as cpu_nano,
        cast(sum(memory_nano) as bigint) as memory_nano,
        cast(sum(gpu_nano) as bigint) as gpu_nano
    from {{ ref('machine_pod_hours') }}
    where consumer_kind = 'pod'
    group by
        cluster,
        pod_uid,
        hour_start_ms - hour_start_ms % 86400000
),

totals as (
    select
        cluster,
        pod_uid,
        cast(sum(cpu_request_millicores) as bigint) as cpu_request_millicores,
        cast(sum(memory_request_bytes) as bigint) as memory_request_bytes,
        cast(sum(gpu_request_milligpus) as bigint) as gpu_request_milligpus
    from {{ ref('stg_containers') }}
    where container_kind <> 'init'
    group by
        cluster,
        pod_uid
),

shared as (
    select
        days.cluster,
        days.pod_uid,
        days.day_start_ms,
        containers.container_name,
        containers.image,
        {{ share('days.cpu_nano', 'containers.cpu_request_millicores', 'greatest(totals.cpu_request_millicores, pods.cpu_request_millicores)') }} as cpu_nano,
        {{ share('days.memory_nano', 'containers.memory_request_bytes', 'greatest(totals.memory_request_bytes, pods.memory_request_bytes)') }} as memory_nano,
        {{ share('days.gpu_nano', 'containers.gpu_request_milligpus', 'greatest(totals.gpu_request_milligpus, pods.gpu_request_milligpus)') }} as gpu_nano
    from pod_days as days
    -- Init containers hold nothing of their own.
    inner join {{ ref('stg_containers') }} as containers
        on days.cluster = containers.cluster and days.pod_uid = containers.pod_uid and containers.container_kind <> 'init'
    inner join totals on days.cluster = totals.cluster and days.pod_uid = totals.pod_uid
    inner join {{ ref('pods') }} as pods on days.cluster = pods.cluster and days.pod_uid = pods.pod_uid
),

shared_sums as (
    select
        cluster,
        pod_uid,
        day_start_ms,
        cast(sum(cpu_nano) as bigint) as cpu_nano,
        cast(sum(memory_nano) as bigint) as memory_nano,
        cast(sum(gpu_nano) as bigint) as gpu_nano
    from shared
    group by
        cluster,
        pod_uid,
        day_start_ms
),

rows_of_both as (
    select * from shared
    union all
    select
        days.cluster,
        days.pod_uid,
        days.day_start_ms,
        '(pod)' as container_name,
        cast(null as string) as image,
        days.cpu_nano - coalesce(sums.cpu_nano, cast(0 as bigint)) as cpu_nano,
        days.memory_nano - coalesce(sums.memory_nano, cast(0 as bigint)) as memory_nano,
        days.gpu_nano - coalesce(sums.gpu_nano, cast(0 as bigint)) as gpu_nano
    from pod_days as days
    left join shared_sums as sums
        on days.cluster = sums.cluster and days.pod_uid = sums.pod_uid and days.day_start_ms = sums.day_start_ms
    where
        coalesce(days.cpu_nano - sums.cpu_nano, days.cpu_nano, cast(1 as bigint)) <> 0
        or coalesce(days.memory_nano - sums.memory_nano, days.memory_nano, cast(1 as bigint)) <> 0
        or coalesce(days.gpu_nano - sums.gpu_nano, days.gpu_nano, cast(1 as bigint)) <> 0
)

select
    {{ date_of('day_start_ms') }} as charge_date,
    cluster,
    pod_uid,
    container_name,
    image,
    {{ usd('cpu_nano') }} as cpu_cost,
    {{ usd('memory_nano') }} as memory_cost,
    {{ usd('gpu_nano') }} as gpu_cost,
    {{ usd('cpu_nano + memory_nano + gpu_nano') }} as cost
from rows_of_both
