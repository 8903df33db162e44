-- grain: one row per pod of which an engine said how it ended: the newest word
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.engine_outcomes
with facts as (
    select
        cluster,
        pod_uid,
        {{ ms('observed_at') }} as observed_ms,
        source,
        outcome,
        coalesce(reason, '') as reason
    from {{ source('lake', 'engine_outcomes') }}
)

select
    cluster,
    pod_uid,
    max_by(outcome, (observed_ms, outcome)) as outcome,
    nullif(max_by(reason, (observed_ms, outcome, reason)), '') as reason
from facts
group by
    cluster,
    pod_uid
