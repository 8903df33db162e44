-- grain: one row per zone, ISO week, cluster, team and job with pods that run, or ran, far longer than it ever took
-- guarantee: tries that failed or were lost are told there, not here; cost is what these pods paid in the week while they ran
-- inputs: pods, machine_pod_hours, int_finding_hours, clusters
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline', 'job'] %}
with ran as (
    select
        pods.cluster,
        pods.pod_uid,
        pods.pod_name,
        pods.namespace,
        pods.team,
        pods.installation,
        pods.pipeline,
        pods.job,
        pods.running_ms,
        pods.outcome,
        pods.attempt_outcome,
        pods.released_ms is null as is_running,
        least(coalesce(pods.finished_ms, pods.released_ms, {{ ms('clusters.observed_through_at') }}), {{ ms('clusters.observed_through_at') }}) - pods.running_ms as ran_ms
    from {{ ref('pods') }} as pods
    inner join {{ ref('clusters') }} as clusters on pods.cluster = clusters.cluster
    -- What belongs to no run is a service: it may run for ever. A driver's executors live as long as it does.
    where pods.pod_class = 'workload' and pods.running_ms is not null and pods.run <> 'unattributed' and pods.parent_uid is null
),

placed as (
    select
        cluster,
        installation,
        pipeline,
        job,
        pod_uid,
        ran_ms,
        cast(row_number() over (
            partition by cluster, installation, pipeline, job order by ran_ms desc nulls last, pod_uid asc nulls last
        ) as bigint) as place
    from ran
    where outcome = 'succeeded'
),

usual as (
    select
        cluster,
        installation,
        pipeline,
        job,
        count(*) as pods,
        {{ percentile('ran_ms', '0.99') }} as p99_ms,
        max(ran_ms) as longest_ms,
        max(case when place = 1 then pod_uid end) as longest_pod_uid,
        max(case when place = 2 then ran_ms end) as second_ms
    from placed
    group by
        cluster,
        installation,
        pipeline,
        job
),

-- Nothing is usual because it happened itself.
compared as (
    select
        ran.*,
        case when usual.longest_pod_uid = ran.pod_uid then usual.pods - 1 else usual.pods end as usual_pods,
        case when usual.longest_pod_uid = ran.pod_uid then least(usual.p99_ms, usual.second_ms) else usual.p99_ms end as p99_ms,
        case when usual.longest_pod_uid = ran.pod_uid then usual.second_ms else usual.longest_ms end as longest_other_ms
    from ran
    left join usual
        on ran.cluster = usual.cluster
        and ran.installation = usual.installation
        and ran.pipeline = usual.pipeline
        and ran.job = usual.job
),

-- Four times what 99 of 100 took, and six hours; with fewer than ten to compare, four times the longest, and a day.
lasting as (
    select
        *,
        {{ job_subject('compared') }} as subject
    from compared
    where
        attempt_outcome not in ('failed', 'lost')
        and ran_ms > case
            when coalesce(usual_pods, cast(0 as bigint)) >= 10 then greatest(4 * p99_ms, cast(21600000 as bigint))
            else greatest(4 * coalesce(longest_other_ms, cast(0 as bigint)), cast(86400000 as bigint))
        end
),

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        lasting.{{ column }},
{%- endfor %}
        max(lasting.subject) as subject,
        max(lasting.namespace) as namespace,
        cast(sum(costs.running_nano) as bigint) as cost_nano,
        cast(sum(costs.previous_running_nano) as bigint) as previous_cost_nano,
        min(case when costs.is_this then lasting.running_ms end) as since_ms,
        cast(sum(case when costs.is_this then 1 else 0 end) as bigint) as pods,
        cast(sum(case when costs.is_this and lasting.is_running then 1 else 0 end) as bigint) as running_pods,
        max(case when costs.is_this then lasting.ran_ms end) as longest_ms,
        max(lasting.p99_ms) as p99_ms,
        max(lasting.usual_pods) as usual_pods
    from lasting
    inner join {{ finding_pods('lasting') }} as costs on lasting.cluster = costs.cluster and lasting.pod_uid = costs.pod_uid
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week{% for column in job %},
        lasting.{{ column }}
{%- endfor %}
)

select
    cluster,
    zone,
    iso_week,
    'runaway_attempts' as finding,
    'job' as subject_kind,
    subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cost_nano,
    case when cost_nano is not null then coalesce(previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' (' || {{ number_text('running_pods') }} || ' still running) ran for up to ' || {{ hours_text('longest_ms') }}
    || coalesce('; 99 of 100 of ' || {{ number_text('usual_pods') }} || ' others were done after ' || {{ number_text(idiv('p99_ms', '60000')) }} || ' min', '; none was ever done') as evidence,
    'set a deadline, and end what runs too long' as mend,
    case
        when p99_ms is not null
            then 'spec: {template: {spec: {activeDeadlineSeconds: ' || {{ number_text(idiv('greatest(3 * p99_ms, cast(3600000 as bigint))', '1000')) }} || '}}}'
    end as command,
    cast(null as string) as counted_in
from summed
where pods > 0
