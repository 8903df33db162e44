-- grain: one row per pod: what it was, who answers for it, when it held resources and how it ended
-- guarantee: a rule change needs no model before this one
-- inputs: stg_pod_states, int_pod_identities, stg_engine_outcomes, stg_container_ends, stg_watermarks
with states as (
    select
        states.*,
        coalesce(states.bound_ms, states.created_ms) as start_ms,
        watermarks.watermark_ms
    from {{ ref('stg_pod_states') }} as states
    left join {{ ref('stg_watermarks') }} as watermarks on states.cluster = watermarks.cluster
    where states.next_observed_ms is null
),

named as {{ once() }} (
    select * from {{ ref('int_pod_identities') }}
),

-- A pod that another pod made works for that pod's run: a Spark executor for its driver's.
inherited as (
    select
        children.cluster,
        children.pod_uid,
        parents.system,
        parents.installation,
        parents.pipeline,
        parents.run,
        parents.epoch,
        parents.team,
        states.phase as parent_phase
    from named as children
    inner join named as parents on children.cluster = parents.cluster and children.parent_uid = parents.pod_uid
    left join states on children.cluster = states.cluster and children.parent_uid = states.pod_uid
),

-- What Airflow wrote as annotations of one pod tells what its labels on another pod were.
airflow_texts as (
{%- for field in ['dag', 'run'] %}
    select
        cluster,
        '{{ field }}' as field,
        {{ airflow_label('airflow_' ~ field) }} as label,
        min(airflow_{{ field }}) as text
    from named
    where airflow_{{ field }} is not null
    group by
        cluster,
        {{ airflow_label('airflow_' ~ field) }}
    {% if not loop.last %}union all{% endif %}
{%- endfor %}
),

identified as {{ once() }} (
    select
        named.cluster,
        named.pod_uid,
        named.created_ms,
        coalesce(inherited.system, named.system) as system,
        coalesce(inherited.installation, named.installation) as installation,
        coalesce(inherited.pipeline, case when named.airflow_dag is null then dags.text end, named.pipeline) as pipeline,
        coalesce(inherited.run, case when named.airflow_run is null then airflow_runs.text end, named.run) as run,
        coalesce(inherited.epoch, named.epoch) as epoch,
        named.job,
        named.attempt,
        named.role,
        named.main_container,
        coalesce(named.team, inherited.team) as labelled_team,
        named.is_daemon,
        coalesce(named.owner_outcome = 'succeeded' or inherited.parent_phase = 'Succeeded', false) as is_owner_succeeded
    from named
    left join inherited on named.cluster = inherited.cluster and named.pod_uid = inherited.pod_uid
    left join airflow_texts as dags
        on named.cluster = dags.cluster and dags.field = 'dag' and named.airflow_dag_label = dags.label
    left join airflow_texts as airflow_runs
        on named.cluster = airflow_runs.cluster
        and airflow_runs.field = 'run'
        and named.airflow_run_label = airflow_runs.label
),

-- A run's name may come again: after more than 24 hours without a pod of it a new epoch begins. Epochs are found
-- between the hours in which pods of the run were created, which is exact, since the gap is longer than an hour.
run_hours as (
    select
        identified.cluster,
        identified.system,
        identified.installation,
        identified.pipeline,
        identified.run,
        states.created_ms - states.created_ms % 3600000 as hour_ms,
        min(states.created_ms) as first_ms,
        max(greatest(
            states.created_ms,
            coalesce(
                least(
                    coalesce(states.released_ms, states.watermark_ms),
                    coalesce(states.watermark_ms, states.released_ms)
                ),
                states.created_ms
            )
        )) as last_ms
    from identified
    inner join states on identified.cluster = states.cluster and identified.pod_uid = states.pod_uid
    where identified.run is not null and identified.epoch is null
    group by
        identified.cluster,
        identified.system,
        identified.installation,
        identified.pipeline,
        identified.run,
        states.created_ms - states.created_ms % 3600000
),

gaps as (
    select
        *,
        max(last_ms) over (
            partition by cluster, system, installation, pipeline, run
            order by hour_ms asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as idle_since_ms
    from run_hours
),

epochs as (
    select
        cluster,
        system,
        installation,
        pipeline,
        run,
        hour_ms,
        cast(sum(case when first_ms - idle_since_ms > 86400000 then 1 else 0 end) over (
            partition by cluster, system, installation, pipeline, run
            order by hour_ms asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as earlier_epochs
    from gaps
),

repeated as (
    select * from epochs where earlier_epochs > 0
),

joined as (
    select
        pods.cluster,
        pods.pod_uid,
        pods.pod_name,
        pods.namespace,
        pods.machine,
        pods.node_name,
        coalesce(identified.system, 'unattributed') as system,
        coalesce(identified.installation, 'unattributed') as installation,
        coalesce(identified.pipeline, 'unattributed') as pipeline,
        coalesce(identified.run, 'unattributed') as run,
        coalesce(identified.epoch, cast(coalesce(repeated.earlier_epochs, cast(0 as bigint)) + 1 as string)) as run_epoch,
        coalesce(identified.job, 'unattributed') as job,
        coalesce(identified.attempt, 'unattributed') as attempt,
        coalesce(identified.role, 'main') as role,
        coalesce({{ mapped_team() }}, identified.labelled_team, 'unattributed') as team,
        case
            when pods.namespace = 'kube-system' or identified.is_daemon then 'system'
{%- if var('platform_namespaces') | length > 0 %}
            when pods.namespace in ({% for namespace in var('platform_namespaces') %}{{ quoted(namespace) }}{% if not loop.last %}, {% endif %}{% endfor %}) then 'platform'
{%- endif %}
            else 'workload'
        end as pod_class,
        case
            when outcomes.outcome is not null then outcomes.outcome
            when pods.released_ms is null and pods.phase not in ('Succeeded', 'Failed') then 'running'
            when coalesce(ends.exit_code = 0, pods.phase = 'Succeeded') then 'succeeded'
            when identified.is_owner_succeeded and pods.phase <> 'Failed' then 'retired'
            when pods.end_reason in (
                'Evicted', 'NodeLost', 'NodeShutdown', 'Terminated', 'Preempting', 'PreemptionByScheduler',
                'DeletionByTaintManager', 'EvictionByEvictionAPI', 'DeletionByPodGC', 'TerminationByKubelet'
            ) then 'lost'
            when
                pods.deletion_requested_ms is not null
                and coalesce(ends.exit_code, pods.exit_code) in (130, 137, 143)
                and coalesce(ends.reason, pods.end_reason, '') <> 'OOMKilled' then 'retired'
            when coalesce(ends.exit_code, pods.exit_code) <> 0 or pods.phase = 'Failed' then 'failed'
            when pods.exit_code = 0 then 'succeeded'
            else 'unknown'
        end as own_outcome,
        outcomes.outcome is not null as is_told,
        coalesce(outcomes.reason, pods.end_reason) as end_reason,
        coalesce(ends.exit_code, pods.exit_code) as exit_code,
        pods.created_ms,
        pods.bound_ms,
        pods.running_ms,
        pods.finished_ms,
        pods.released_ms,
        pods.start_source,
        pods.end_source,
        pods.end_earliest_ms,
        pods.end_latest_ms,
        pods.cpu_request_millicores,
        pods.memory_request_bytes,
        pods.gpu_request_milligpus,
        greatest(pods.bound_ms - pods.created_ms, cast(0 as bigint)) as queue_wait_ms
    from states as pods
    inner join identified on pods.cluster = identified.cluster and pods.pod_uid = identified.pod_uid
    left join {{ ref('stg_engine_outcomes') }} as outcomes
        on pods.cluster = outcomes.cluster and pods.pod_uid = outcomes.pod_uid
    left join {{ ref('stg_container_ends') }} as ends
        on pods.cluster = ends.cluster
        and pods.pod_uid = ends.pod_uid
        and identified.main_container = ends.container_name
    left join repeated
        on identified.cluster = repeated.cluster
        and identified.system = repeated.system
        and identified.pipeline = repeated.pipeline
        and identified.run = repeated.run
        and coalesce(identified.installation, '') = coalesce(repeated.installation, '')
        and pods.created_ms - pods.created_ms % 3600000 = repeated.hour_ms
        and identified.epoch is null
),

-- A try that was taken away, or of which nothing tells the end, had failed if the job was tried again.
doubtful as (
    select * from joined where not is_told and own_outcome in ('unknown', 'retired') and attempt <> 'unattributed'
),

retried as (
    select distinct
        doubtful.cluster,
        doubtful.pod_uid
    from doubtful
    inner join joined as later
        on doubtful.cluster = later.cluster
        and doubtful.run = later.run
        and doubtful.job = later.job
        and doubtful.pipeline = later.pipeline
        and doubtful.system = later.system
        and doubtful.installation = later.installation
        and doubtful.run_epoch = later.run_epoch
        and doubtful.role = later.role
    where doubtful.run <> 'unattributed' and later.attempt <> doubtful.attempt and later.created_ms > doubtful.created_ms
),

decided as (
    select
        joined.*,
        case when retried.pod_uid is not null then 'failed' else joined.own_outcome end as outcome
    from joined
    left join retried on joined.cluster = retried.cluster and joined.pod_uid = retried.pod_uid
),

-- One try may have many pods: when one of them failed or was lost, the whole try did.
broken as (
    select
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        job,
        attempt,
        role,
        -- `failed` speaks before `lost`.
        min(outcome) as outcome
    from decided
    where outcome in ('failed', 'lost')
    group by
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        job,
        attempt,
        role
),

final as (
    select
        pods.*,
        case
            when pods.attempt = 'unattributed' or broken.outcome is null then pods.outcome
            else broken.outcome
        end as attempt_outcome
    from decided as pods
    left join broken
        on pods.cluster = broken.cluster
        and pods.run = broken.run
        and pods.attempt = broken.attempt
        and pods.job = broken.job
        and pods.pipeline = broken.pipeline
        and pods.system = broken.system
        and pods.installation = broken.installation
        and pods.run_epoch = broken.run_epoch
        and pods.role = broken.role
)

select * from final
