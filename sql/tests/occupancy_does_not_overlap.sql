-- guards: a pod holds resources once at a time
with ordered as (
    select
        cluster,
        pod_uid,
        start_ms,
        end_ms,
        lead(start_ms) over (
            partition by cluster, pod_uid order by start_ms asc nulls last, end_ms asc nulls last
        ) as next_start_ms
    from {{ touched('int_pod_spans') }}
)

select * from ordered where next_start_ms < end_ms
