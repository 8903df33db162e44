-- grain: one row per zone, ISO week, cluster, team, job and reason for which its pods held a machine without running
-- guarantee: costs add up to the category stuck; each pod has one reason: its first stands for all that follow
-- inputs: stg_pod_states, stg_cluster_events, pods, machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline', 'job'] %}
with states as (
    select
        cluster,
        pod_uid,
        min_by(waiting_reason, (observed_ms, waiting_reason)) as reason,
        min(observed_ms) as stuck_from_ms
    from {{ ref('stg_pod_states') }}
    where waiting_reason in ({{ stuck_reasons() }})
    group by
        cluster,
        pod_uid
),

messages as (
    select
        cluster,
        involved_uid as pod_uid,
        max_by(message, (last_ms, message)) as message
    from {{ ref('stg_cluster_events') }}
    where reason in ('BackOff', 'Failed') and involved_kind = 'Pod' and message is not null
    group by
        cluster,
        involved_uid
),

ordered as (
    select
        pods.cluster,
        pods.namespace,
{%- for column in job %}
        pods.{{ column }},
{%- endfor %}
        {{ job_subject('pods') }} as subject,
        states.reason,
        states.stuck_from_ms,
        pods.pod_uid,
        pods.pod_name,
        pods.running_ms as ran_from_ms,
        messages.message,
        lag(states.stuck_from_ms) over (
            partition by pods.cluster, {% for column in job %}pods.{{ column }}, {% endfor %}states.reason
            order by states.stuck_from_ms asc nulls last, pods.pod_uid asc nulls last
        ) as previous_ms
    from states
    inner join {{ ref('pods') }} as pods on states.cluster = pods.cluster and states.pod_uid = pods.pod_uid
    left join messages on states.cluster = messages.cluster and states.pod_uid = messages.pod_uid
    where pods.pod_class = 'workload'
),

events as (
    select
        *,
        {{ streak('stuck_from_ms', 'previous_ms', 'cluster, ' ~ job | join(', ') ~ ', reason') }} as since_ms
    from ordered
),

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        events.{{ column }},
{%- endfor %}
        events.reason,
        max(events.subject) as subject,
        max(events.namespace) as namespace,
        cast(sum(costs.stuck_nano) as bigint) as cost_nano,
        cast(sum(costs.previous_stuck_nano) as bigint) as previous_cost_nano,
        max(case when costs.stuck_ms > 0 then events.since_ms end) as since_ms,
        cast(sum(case when costs.stuck_ms > 0 then 1 else 0 end) as bigint) as pods,
        cast(sum(case when costs.stuck_ms > 0 and events.ran_from_ms is null then 1 else 0 end) as bigint) as never_ran_pods,
        cast(sum(costs.stuck_ms) as bigint) as stuck_ms,
        max(case when costs.stuck_ms > 0 then events.message end) as message,
        nullif(max_by(coalesce(events.pod_name, ''), (case when costs.stuck_ms > 0 then events.stuck_from_ms else cast(-1 as bigint) end, coalesce(events.pod_name, ''))), '') as pod_name
    from events
    inner join {{ finding_pods('events') }} as costs on events.cluster = costs.cluster and events.pod_uid = costs.pod_uid
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        events.{{ column }},
{%- endfor %}
        events.reason
)

select
    cluster,
    zone,
    iso_week,
    'stuck_pods' as finding,
    'job' as subject_kind,
    subject || ' (' || reason || ')' as subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cost_nano,
    case when cost_nano is not null then coalesce(previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' held machines for ' || {{ hours_text('stuck_ms') }} || ' in ' || reason || ', '
    || {{ number_text('never_ran_pods') }} || ' of them never ran' || coalesce(': ' || message, '') as evidence,
    case
        when reason in ('ImagePullBackOff', 'ErrImagePull', 'InvalidImageName', 'ErrImageNeverPull', 'RegistryUnavailable')
            then 'mend the name of the image, its registry or the pull secret'
        when reason = 'CreateContainerConfigError' then 'make the ConfigMap or Secret that it names'
        when reason = 'CrashLoopBackOff' then 'mend what makes its container end at once'
        else 'mend what keeps its container from starting'
    end || ', and set a deadline' as mend,
    'kubectl -n ' || namespace || ' describe pod ' || pod_name as command,
    cast(null as string) as counted_in
from summed
where pods > 0
