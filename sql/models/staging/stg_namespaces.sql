-- grain: one row per version of a namespace's labels
-- guarantee: the versions of one namespace cover all time: the first holds since ever, the last for ever
-- inputs: lake.namespace_states
with facts as (
    select distinct
        cluster,
        namespace,
        {{ ms('valid_from_at') }} as valid_from_ms,
        {{ content('labels') }} as label_content
    from {{ source('lake', 'namespace_states') }}
),

ordered as (
    select
        cluster,
        namespace,
        valid_from_ms,
        label_content,
        cast(row_number() over (
            partition by cluster, namespace order by valid_from_ms asc nulls last, label_content asc nulls last
        ) as bigint) as version,
        lead(valid_from_ms) over (
            partition by cluster, namespace order by valid_from_ms asc nulls last, label_content asc nulls last
        ) as next_from_ms
    from facts
),

-- A map cannot be told apart or ordered by every engine: it comes back by its content.
labelled as (
    select
        cluster,
        namespace,
        {{ ms('valid_from_at') }} as valid_from_ms,
        {{ content('labels') }} as label_content,
        labels,
        cast(row_number() over (
            partition by cluster, namespace, valid_from_at, {{ content('labels') }} order by cluster asc nulls last
        ) as bigint) as repetition
    from {{ source('lake', 'namespace_states') }}
)

select
    ordered.cluster,
    ordered.namespace,
    labelled.labels,
    case when ordered.version = 1 then cast(-9000000000000000 as bigint) else ordered.valid_from_ms end as valid_from_ms,
    coalesce(ordered.next_from_ms, cast(9223372036854775807 as bigint)) as valid_to_ms
from ordered
inner join labelled
    on ordered.cluster = labelled.cluster
    and ordered.namespace = labelled.namespace
    and ordered.valid_from_ms = labelled.valid_from_ms
    and ordered.label_content = labelled.label_content
where labelled.repetition = 1
