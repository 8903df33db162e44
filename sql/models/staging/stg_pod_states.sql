-- grain: one row per fact of a pod's state, with what the newest fact knows of the whole pod
-- guarantee: order and repetition of facts change nothing: a repeated fact gets an empty time in force
-- inputs: lake.pod_states
{#- Facts of one instant are ordered by their content, never by arrival. #}
{%- set tie_breaks = [
    'released_ms',
    'finished_ms',
    'running_ms',
    'bound_ms',
    'phase',
    'machine',
    'cpu_request_millicores',
    'memory_request_bytes',
    'gpu_request_milligpus',
    'billed_cpu_millicores',
    'billed_memory_bytes',
    'waiting_reason',
    'end_reason',
    'exit_code',
    'deletion_requested_ms',
    'end_latest_ms',
    'end_earliest_ms',
    'pod_name',
    'namespace',
    'created_ms'
] %}
with facts as (
    select
        cluster,
        pod_uid,
        {{ ms('observed_at') }} as observed_ms,
        pod_name,
        namespace,
        machine,
        node_name,
        {{ ms('created_at') }} as created_ms,
        {{ ms('bound_at') }} as bound_ms,
        start_source,
        {{ ms('running_at') }} as running_ms,
        {{ ms('finished_at') }} as finished_ms,
        {{ ms('released_at') }} as released_ms,
        end_source,
        {{ ms('end_earliest_at') }} as end_earliest_ms,
        {{ ms('end_latest_at') }} as end_latest_ms,
        phase,
        waiting_reason,
        end_reason,
        exit_code,
        {{ ms('deletion_requested_at') }} as deletion_requested_ms,
        cpu_request_millicores,
        memory_request_bytes,
        coalesce(gpu_request_milligpus, cast(0 as bigint)) as gpu_request_milligpus,
        billed_cpu_millicores,
        billed_memory_bytes
    from {{ touched_facts('pod_states') }}
),

-- A pod with one fact needs no ordering.
repeated as (
    select
        cluster,
        pod_uid
    from facts
    group by
        cluster,
        pod_uid
    having count(*) > 1
),

ordered as (
    select
        facts.*,
        lag(observed_ms) over newest_first as next_observed_ms,
        lead(observed_ms) over newest_first as previous_observed_ms,
        first_value(machine) over newest_so_far as final_machine,
        first_value(bound_ms) over newest_so_far as final_bound_ms,
        first_value(running_ms) over newest_so_far as final_running_ms,
        first_value(finished_ms) over newest_so_far as final_finished_ms,
        first_value(released_ms) over newest_so_far as final_released_ms
    from facts
    inner join repeated on facts.cluster = repeated.cluster and facts.pod_uid = repeated.pod_uid
    window
{%- for name, frame in [('newest_first', ''), ('newest_so_far', 'rows between unbounded preceding and current row')] %}
        {{ name }} as (
            partition by facts.cluster, facts.pod_uid
            order by
                observed_ms desc nulls last{% for column in tie_breaks %},
                {{ column }} asc nulls last{% endfor %}
            {{ frame }}
        ){% if not loop.last %},{% endif %}
{%- endfor %}
)

select * from ordered
union all
select
    facts.*,
    cast(null as bigint) as next_observed_ms,
    cast(null as bigint) as previous_observed_ms,
    facts.machine as final_machine,
    facts.bound_ms as final_bound_ms,
    facts.running_ms as final_running_ms,
    facts.finished_ms as final_finished_ms,
    facts.released_ms as final_released_ms
from facts
left join repeated on facts.cluster = repeated.cluster and facts.pod_uid = repeated.pod_uid
where repeated.pod_uid is null
