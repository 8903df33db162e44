-- grain: one row per zone, ISO week, cluster, team and job with pods that run, or ran, far longer than it ever took
-- guarantee: tries that failed or were lost are told there, not here; cost is all that these pods paid in the week
-- inputs: pods, int_finding_pods, clusters
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

usual as (
    select
        cluster,
        installation,
        pipeline,
        job,
        count(*) as pods,
        {{ percentile('ran_ms', '0.99') }} as p99_ms,
        max(ran_ms) as longest_ms
    from ran
    where outcome = 'succeeded'
    group by
        cluster,
        installation,
        pipeline,
        job
),

-- Four times what 99 of 100 took, and six hours; with fewer than ten to compare, four times the longest, and a day.
lasting as (
    select
        ran.*,
        usual.pods as usual_pods,
        usual.p99_ms,
        {{ job_subject('ran') }} as subject
    from ran
    left join usual
        on ran.cluster = usual.cluster
        and ran.installation = usual.installation
        and ran.pipeline = usual.pipeline
        and ran.job = usual.job
    where
        ran.attempt_outcome not in ('failed', 'lost')
        and ran.ran_ms > case
            when coalesce(usual.pods, cast(0 as bigint)) >= 10 then greatest(4 * usual.p99_ms, cast(21600000 as bigint))
            else greatest(4 * coalesce(usual.longest_ms, cast(0 as bigint)), cast(86400000 as bigint))
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
        cast(sum(costs.cost_nano) as bigint) as cost_nano,
        cast(sum(costs.previous_cost_nano) as bigint) as previous_cost_nano,
        min(case when costs.is_this then lasting.running_ms end) as since_ms,
        cast(sum(case when costs.is_this then 1 else 0 end) as bigint) as pods,
        cast(sum(case when costs.is_this and lasting.is_running then 1 else 0 end) as bigint) as running_pods,
        max(case when costs.is_this then lasting.ran_ms end) as longest_ms,
        max(lasting.p99_ms) as p99_ms,
        max(lasting.usual_pods) as usual_pods
    from lasting
    inner join {{ ref('int_finding_pods') }} as costs on lasting.cluster = costs.cluster and lasting.pod_uid = costs.pod_uid
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
    cost_nano,
    previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' (' || {{ number_text('running_pods') }} || ' still running) ran for up to ' || {{ hours_text('longest_ms') }}
    || coalesce('; 99 of 100 of ' || {{ number_text('usual_pods') }} || ' others were done after ' || {{ number_text(idiv('p99_ms', '60000')) }} || ' min', '; none was ever done') as evidence,
    'set a deadline, and end what runs too long' as mend,
    'spec: {activeDeadlineSeconds: ' || {{ number_text(idiv('greatest(3 * coalesce(p99_ms, cast(0 as bigint)), cast(3600000 as bigint))', '1000')) }} || '}' as command,
    cast(null as string) as counted_in
from summed
where pods > 0
