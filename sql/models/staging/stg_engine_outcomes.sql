-- grain: one row per pod of which an engine said how it ended: the newest word, and what it counted of the work
-- guarantee: order and repetition of facts change nothing
-- inputs: lake.engine_outcomes
with facts as (
    select
        cluster,
        pod_uid,
        {{ ms('observed_at') }} as observed_ms,
        source,
        outcome,
        coalesce(reason, '') as reason,
        {{ ms('started_at') }} as started_ms,
        {{ ms('finished_at') }} as finished_ms,
        cpu_request_millicore_ms,
        memory_request_byte_ms
    from {{ touched_facts('engine_outcomes') }}
),

-- Nearly always there is one fact; only the others need to be ordered.
repeated as (
    select
        cluster,
        pod_uid
    from facts
    group by
        cluster,
        pod_uid
    having count(*) > 1
)

select
    facts.cluster,
    facts.pod_uid,
    facts.outcome,
    nullif(facts.reason, '') as reason,
    facts.started_ms,
    facts.finished_ms,
    facts.cpu_request_millicore_ms,
    facts.memory_request_byte_ms
from facts
left join repeated on facts.cluster = repeated.cluster and facts.pod_uid = repeated.pod_uid
where repeated.pod_uid is null
union all
select
    facts.cluster,
    facts.pod_uid,
    max_by(facts.outcome, (facts.observed_ms, facts.outcome)) as outcome,
    nullif(max_by(facts.reason, (facts.observed_ms, facts.outcome, facts.reason)), '') as reason,
    min(facts.started_ms) as started_ms,
    max(facts.finished_ms) as finished_ms,
    max(facts.cpu_request_millicore_ms) as cpu_request_millicore_ms,
    max(facts.memory_request_byte_ms) as memory_request_byte_ms
from facts
inner join repeated on facts.cluster = repeated.cluster and facts.pod_uid = repeated.pod_uid
group by
    facts.cluster,
    facts.pod_uid
