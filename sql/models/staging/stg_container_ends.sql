-- grain: one row per container of a pod: how it ended the last time
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.container_ends
with facts as (
    select distinct
        cluster,
        pod_uid,
        container_name,
        restart_count,
        exit_code,
        reason
    from {{ touched_facts('container_ends') }}
),

ranked as (
    select
        *,
        cast(row_number() over (
            partition by cluster, pod_uid, container_name
            order by restart_count desc nulls last, exit_code asc nulls last, reason asc nulls last
        ) as bigint) as newest
    from facts
)

select * from ranked where newest = 1
