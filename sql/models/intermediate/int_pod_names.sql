-- grain: one row per pod: who it worked for, and how it ended
-- guarantee: a changed rule changes this and what is below, and nothing of machine_pod_hours
-- inputs: int_pods, int_pod_identities, int_airflow_texts, stg_container_ends, stg_watermarks; only pods that this build
--     computes: whole runs, and the pods that made or were made by one of them
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_names', ['cluster', 'pod_uid']) }}") }}
with named as {{ once() }} (
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
    left join {{ touched('int_pods') }} as states
        on children.cluster = states.cluster and children.parent_uid = states.pod_uid
),

-- What Airflow wrote as annotations of one pod tells what its labels on another pod were.
airflow_texts as (
    select
        texts.cluster,
        texts.field,
        texts.label,
        min(texts.text) as text
    from {{ ref('int_airflow_texts') }} as texts
    where
        texts.label in (
            select airflow_run_label from named where airflow_run_label is not null
            union all
            select airflow_dag_label from named where airflow_dag_label is not null
        )
    group by
        texts.cluster,
        texts.field,
        texts.label
),

identified as (
    select
        named.cluster,
        named.pod_uid,
        coalesce(inherited.system, named.system) as system,
        coalesce(inherited.installation, named.installation) as installation,
        coalesce(inherited.pipeline, case when named.airflow_dag is null then dags.text end, named.pipeline) as pipeline,
        coalesce(inherited.run, case when named.airflow_run is null then airflow_runs.text end, named.run) as run,
        coalesce(inherited.epoch, named.epoch) as epoch,
        named.job,
        named.attempt,
        named.role,
        named.main_container,
        named.parent_uid,
        coalesce(named.team, inherited.team) as labelled_team,
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

joined as {{ once() }} (
    select
        pods.cluster,
        pods.pod_uid,
        pods.namespace,
        pods.created_ms,
        greatest(
            pods.created_ms,
            coalesce(
                least(
                    coalesce({{ over_ms('pods') }}, watermarks.watermark_ms), coalesce(watermarks.watermark_ms, {{ over_ms('pods') }})
                ),
                pods.created_ms
            )
        ) as busy_to_ms,
        coalesce(identified.system, 'unattributed') as system,
        coalesce(identified.installation, 'unattributed') as installation,
        coalesce(identified.pipeline, 'unattributed') as pipeline,
        coalesce(identified.run, 'unattributed') as run,
        identified.epoch,
        coalesce(identified.job, 'unattributed') as job,
        coalesce(identified.attempt, 'unattributed') as attempt,
        coalesce(identified.role, 'main') as role,
        identified.parent_uid,
        coalesce({{ mapped_team() }}, identified.labelled_team, 'unattributed') as team,
        case
            when pods.is_system then 'system'
{%- if var('platform_namespaces') | length > 0 %}
            when pods.namespace in ({% for namespace in var('platform_namespaces') %}{{ quoted(namespace) }}{% if not loop.last %}, {% endif %}{% endfor %}) then 'platform'
{%- endif %}
            else 'workload'
        end as pod_class,
        case
            when pods.told_outcome is not null then pods.told_outcome
            when {{ over_ms('pods') }} is null and pods.phase not in ('Succeeded', 'Failed') then 'running'
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
        pods.told_outcome is not null as is_told,
        -- Where a pod's own name stands for the try, pods of one job are different tasks.
        coalesce(identified.attempt <> pods.pod_name, false) as is_try_numbered
    from {{ touched('int_pods') }} as pods
    left join {{ ref('stg_watermarks') }} as watermarks on pods.cluster = watermarks.cluster
    inner join identified on pods.cluster = identified.cluster and pods.pod_uid = identified.pod_uid
    left join {{ ref('stg_container_ends') }} as ends
        on pods.cluster = ends.cluster
        and pods.pod_uid = ends.pod_uid
        and identified.main_container = ends.container_name
),

-- A run's name may come again: after more than 24 hours without a pod of it a new epoch begins. Epochs are found
-- between the hours in which pods of the run were created, which is exact, since the gap is longer than an hour.
run_hours as (
    select
        cluster,
        system,
        installation,
        pipeline,
        run,
        created_ms - created_ms % 3600000 as hour_ms,
        min(created_ms) as first_ms,
        max(busy_to_ms) as last_ms
    from joined
    where run <> 'unattributed' and epoch is null
    group by
        cluster,
        system,
        installation,
        pipeline,
        run,
        created_ms - created_ms % 3600000
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

epoched as (
    select
        joined.*,
        coalesce(joined.epoch, cast(coalesce(repeated.earlier_epochs, cast(0 as bigint)) + 1 as string)) as run_epoch
    from joined
    left join repeated
        on joined.cluster = repeated.cluster
        and joined.system = repeated.system
        and joined.pipeline = repeated.pipeline
        and joined.run = repeated.run
        and joined.installation = repeated.installation
        and joined.created_ms - joined.created_ms % 3600000 = repeated.hour_ms
        and joined.epoch is null
),

-- A try that was taken away, or of which nothing tells the end, had failed if the job was tried again.
doubtful as (
    select * from epoched where not is_told and own_outcome in ('unknown', 'retired') and is_try_numbered
),

retried as (
    select distinct
        doubtful.cluster,
        doubtful.pod_uid
    from doubtful
    inner join epoched as later
        on doubtful.cluster = later.cluster
        and doubtful.run = later.run
        and doubtful.job = later.job
        and doubtful.pipeline = later.pipeline
        and doubtful.system = later.system
        and doubtful.installation = later.installation
        and doubtful.run_epoch = later.run_epoch
        and doubtful.role = later.role
    where
        doubtful.run <> 'unattributed'
        -- Nearly no run has a doubtful try: the others need not be looked up by all of their names.
        and later.run in (select run from doubtful)
        and later.attempt <> doubtful.attempt
        and later.created_ms > doubtful.created_ms
),

decided as (
    select
        joined.cluster,
        joined.pod_uid,
        joined.namespace,
        joined.system,
        joined.installation,
        joined.pipeline,
        joined.run,
        joined.run_epoch,
        joined.job,
        joined.attempt,
        joined.role,
        joined.team,
        joined.pod_class,
        joined.parent_uid,
        case when retried.pod_uid is not null then 'failed' else joined.own_outcome end as outcome
    from epoched as joined
    left join retried on joined.cluster = retried.cluster and joined.pod_uid = retried.pod_uid
),

-- One try may have many pods: when one of them failed or was lost, the whole try did. Pods that a pod made (executors of
-- Spark) do not speak for others: a driver makes up for those that it loses, and it speaks for all that it made.
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
    where outcome in ('failed', 'lost') and run <> 'unattributed' and parent_uid is null
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

broken_parents as (
    select
        cluster,
        pod_uid,
        outcome
    from decided
    where outcome in ('failed', 'lost') and parent_uid is null
),

final as (
    select
        pods.*,
        case
            when pods.parent_uid is not null and pods.outcome in ('failed', 'lost') then pods.outcome
            when pods.parent_uid is not null then coalesce(parents.outcome, pods.outcome)
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
    left join broken_parents as parents on pods.cluster = parents.cluster and pods.parent_uid = parents.pod_uid
)

select * from final
