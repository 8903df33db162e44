-- grain: one row per stretch of time in which a Kubernetes Service was of type LoadBalancer
-- guarantee: the stretches of a Service do not overlap; end_ms is NULL while it is one; order and repetition of facts change nothing
-- inputs: lake.service_states
{{ config(materialized='view') }}
with states as (
    select
        cluster,
        service_uid,
        service_name,
        namespace,
        load_balancer,
        {{ ms('observed_at') }} as observed_ms,
        {{ ms('created_at') }} as created_ms,
        {{ ms('deleted_at') }} as deleted_ms,
        cast(row_number() over (
            partition by cluster, service_uid, observed_at
            order by {{ ms('deleted_at') }} asc nulls last, service_name asc nulls last, namespace asc nulls last, load_balancer asc nulls last
        ) as bigint) as preference
    from {{ source('lake', 'service_states') }}
),

ordered as (
    select
        *,
        lag(observed_ms) over (partition by cluster, service_uid order by observed_ms asc nulls last) as previous_ms,
        lead(observed_ms) over (partition by cluster, service_uid order by observed_ms asc nulls last) as next_ms
    from states
    where preference = 1
),

-- A state that says that it is none any more says so of the time before it, where nothing else is known of that.
known as (
    select
        cluster,
        service_uid,
        service_name,
        namespace,
        load_balancer,
        case when previous_ms is null then least(coalesce(created_ms, observed_ms), observed_ms) else observed_ms end as start_ms,
        case when deleted_ms is null then next_ms else least(deleted_ms, coalesce(next_ms, deleted_ms)) end as end_ms
    from ordered
)

select *
from known
where end_ms is null or end_ms > start_ms
