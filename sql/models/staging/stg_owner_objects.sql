-- grain: one row per object that owns pods: the newest thing observed of it
-- guarantee: the same row whatever the order or repetition of the facts
-- inputs: lake.owner_objects
with facts as (
    select
        cluster,
        owner_uid,
        {{ ms('valid_from_at') }} as valid_from_ms,
        kind,
        name,
        namespace,
        labels,
        annotations,
        outcome,
        reason,
        {{ ms('deleted_at') }} as deleted_ms,
        active_deadline_ms
    from {{ source('lake', 'owner_objects') }}
),

ranked as (
    select
        *,
        cast(row_number() over (
            partition by cluster, owner_uid
            order by
                valid_from_ms desc nulls last,
                outcome asc nulls last,
                deleted_ms asc nulls last,
                reason asc nulls last,
                {{ content('labels') }} asc nulls last,
                {{ content('annotations') }} asc nulls last,
                active_deadline_ms asc nulls last
        ) as bigint) as newest
    from facts
)

select * from ranked where newest = 1
