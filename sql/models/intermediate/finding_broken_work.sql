-- grain: one row per zone, ISO week, cluster, team and job whose tries failed or were lost, and why
-- guarantee: costs add up to the categories failed and lost
-- inputs: int_broken_pods, int_memory_kills, machine_pod_hours, int_finding_hours, int_finding_jobs, stg_usage_hours
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline', 'job'] %}
with told as (
    select
        *,
        -- What its machine did to a job has a mend of its own for each cause; what failed, failed.
        case
            when attempt_outcome = 'lost' then 'evicted_work'
            when cause = 'out_of_memory' then 'oom_kills'
            else 'failed_work'
        end as finding,
        case when attempt_outcome = 'lost' then cause else '' end as kind
    from {{ ref('int_broken_pods') }}
),

ordered as (
    select
        *,
        lag(ended_ms) over (
            partition by cluster, {{ job | join(', ') }}, finding, kind
            order by ended_ms asc nulls last, pod_uid asc nulls last
        ) as previous_ms
    from told
),

events as (
    select
        *,
        {{ job_subject('ordered') }} as subject,
        {{ streak('ended_ms', 'previous_ms', 'cluster, ' ~ job | join(', ') ~ ', finding, kind') }} as since_ms
    from ordered
),

peaks as (
    select
        events.cluster,
        events.pod_uid,
        max(usage.memory_peak_bytes) as memory_peak_bytes
    from events
    inner join {{ ref('stg_usage_hours') }} as usage on events.cluster = usage.cluster and events.pod_uid = usage.pod_uid
    where events.finding = 'oom_kills'
    group by
        events.cluster,
        events.pod_uid
),

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        events.{{ column }},
{%- endfor %}
        events.finding,
        events.kind,
        max(events.subject) as subject,
        max(events.namespace) as namespace,
        cast(sum(costs.running_nano) as bigint) as cost_nano,
        cast(sum(costs.previous_running_nano) as bigint) as previous_cost_nano,
        max(case when costs.is_this then events.since_ms end) as since_ms,
        cast(sum(case when costs.is_this then 1 else 0 end) as bigint) as pods,
        cast(sum(costs.running_ms) as bigint) as running_ms,
        cast(sum(case when costs.is_this and events.cause = 'taken_away' then 1 else 0 end) as bigint) as taken_pods,
        cast(sum(case when costs.is_this and events.cause = 'deadline' then 1 else 0 end) as bigint) as late_pods,
        min(case when costs.is_this then events.exit_code end) as least_exit_code,
        max(case when costs.is_this then events.exit_code end) as most_exit_code,
        max(case when costs.is_this then events.memory_request_bytes end) as memory_request_bytes,
        max(case when costs.is_this then peaks.memory_peak_bytes end) as memory_peak_bytes,
        max(case when costs.is_this then kills.memory_limit_bytes end) as memory_limit_bytes,
        nullif(max_by(coalesce(kills.container_name, ''), (case when costs.is_this then coalesce(kills.memory_limit_bytes, cast(-1 as bigint)) else cast(-2 as bigint) end, coalesce(kills.container_name, ''))), '') as killed_container,
        nullif(max_by(coalesce(events.pod_name, ''), (case when costs.is_this then events.ended_ms else cast(-1 as bigint) end, coalesce(events.pod_name, ''))), '') as pod_name
    from events
    inner join {{ finding_pods('events') }} as costs on events.cluster = costs.cluster and events.pod_uid = costs.pod_uid
    left join peaks on events.cluster = peaks.cluster and events.pod_uid = peaks.pod_uid
    left join {{ ref('int_memory_kills') }} as kills on events.cluster = kills.cluster and events.pod_uid = kills.pod_uid
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        events.{{ column }},
{%- endfor %}
        events.finding,
        events.kind
)

select
    summed.cluster,
    summed.zone,
    summed.iso_week,
    summed.finding,
    'job' as subject_kind,
    summed.subject || case when summed.kind = '' then '' else ' (' || summed.kind || ')' end as subject,
    summed.team,
    summed.namespace,
    nullif(summed.pipeline, 'unattributed') as pipeline,
    summed.cost_nano,
    case when summed.cost_nano is not null then coalesce(summed.previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    summed.since_ms,
    {{ number_text('summed.pods') }} || ' of ' || {{ counted('jobs.pods', 'pod') }} || ' '
    || case summed.finding
        when 'evicted_work' then 'lost ' || {{ hours_text('summed.running_ms') }} || ' of work to '
            || case summed.kind
                when 'spot_interruption' then 'spot interruptions'
                when 'node_pressure' then 'evictions by the kubelet: the node ran short of memory or disk'
                when 'preemption' then 'pods of higher priority'
                when 'consolidation' then 'Karpenter, which consolidated their machines'
                when 'drain' then 'drains of their machines'
                else 'machines that went away'
            end
        when 'oom_kills' then 'were killed for memory at a '
            || case
                when summed.memory_limit_bytes > 0 then 'limit of ' || {{ mebibytes('summed.memory_limit_bytes') }} || ' MiB of ' || summed.killed_container
                else 'request of ' || {{ mebibytes('summed.memory_request_bytes') }} || ' MiB'
            end
            || coalesce(' (largest seen: ' || {{ mebibytes('summed.memory_peak_bytes') }} || ' MiB)', '')
            || case when jobs.succeeded_pods = 0 then '; none got through' else '; ' || {{ number_text('jobs.succeeded_pods') }} || ' got through' end
        else 'failed (exit code '
            || case
                when summed.least_exit_code = summed.most_exit_code then {{ number_text('summed.least_exit_code') }}
                else coalesce({{ number_text('summed.least_exit_code') }} || ' to ' || {{ number_text('summed.most_exit_code') }}, 'unknown')
            end || ')'
            || case when summed.late_pods > 0 then ', ' || {{ number_text('summed.late_pods') }} || ' of them at their deadline' else '' end
            || case when summed.taken_pods > 0 then ', ' || {{ number_text('summed.taken_pods') }} || ' of them were taken away and tried again' else '' end
            || case when jobs.succeeded_pods = 0 then '; none got through' else '; ' || {{ number_text('jobs.succeeded_pods') }} || ' got through' end
    end as evidence,
    case summed.finding
        when 'oom_kills' then 'ask for more memory, or use less'
        when 'failed_work' then 'mend what makes it fail'
        else case summed.kind
            when 'consolidation' then 'keep Karpenter from disrupting its pods'
            when 'spot_interruption' then 'keep checkpoints, or run it on demand'
            when 'node_pressure' then 'let requests be what its pods use'
            when 'preemption' then 'give it a priority, or a queue'
            else 'set a PodDisruptionBudget, and keep checkpoints'
        end
    end as mend,
    case summed.finding
        when 'oom_kills'
            then case
                when summed.memory_limit_bytes > 0
                    then 'resources: {requests: {memory: ' || {{ number_text(idiv('summed.memory_limit_bytes * 3', '2097152')) }}
                        || 'Mi}, limits: {memory: ' || {{ number_text(idiv('summed.memory_limit_bytes * 3', '2097152')) }} || 'Mi}} for ' || summed.killed_container
                when summed.memory_peak_bytes > 0
                    then 'resources: {requests: {memory: ' || {{ number_text(idiv('greatest(summed.memory_request_bytes, summed.memory_peak_bytes) * 3', '2097152')) }}
                        || 'Mi}} for all containers of the pod together, and limits no lower'
            end
        when 'failed_work' then 'kubectl -n ' || summed.namespace || ' logs ' || summed.pod_name || ' --all-containers'
        else case summed.kind
            when 'consolidation' then 'metadata: {annotations: {karpenter.sh/do-not-disrupt: "true"}}'
            when 'spot_interruption' then 'spec: {nodeSelector: {karpenter.sh/capacity-type: on-demand}}'
        end
    end as command,
    cast(null as string) as counted_in
from summed
inner join {{ ref('int_finding_jobs') }} as jobs
    on summed.cluster = jobs.cluster
    and summed.zone = jobs.zone
    and summed.iso_week = jobs.iso_week
{%- for column in job %}
    and summed.{{ column }} = jobs.{{ column }}
{%- endfor %}
where summed.pods > 0
