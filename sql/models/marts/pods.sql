-- grain: one row per pod: what it was, who answers for it, when it held resources and how it ended
-- guarantee: identity holds as of the pod's start; a rule change needs no other model
-- inputs: stg_pod_states, stg_pod_identities, stg_engine_outcomes, stg_watermarks, identity rules
with states as (
    select
        states.*,
        coalesce(states.bound_ms, states.created_ms) as start_ms,
        watermarks.watermark_ms
    from {{ ref('stg_pod_states') }} as states
    left join {{ ref('stg_watermarks') }} as watermarks on states.cluster = watermarks.cluster
    where states.next_observed_ms is null
),

-- Nearly every pod has one version of its identity; only the others need to be ranked.
repeated_identities as (
    select
        cluster,
        pod_uid
    from {{ ref('stg_pod_identities') }}
    group by
        cluster,
        pod_uid
    having count(*) > 1
),

ranked as (
    select
        identities.*,
        cast(row_number() over (
            partition by states.cluster, states.pod_uid
            order by
                case when identities.valid_from_ms <= states.start_ms then identities.valid_from_ms end desc nulls last,
                identities.valid_from_ms asc nulls last,
                identities.tie_break asc nulls last
        ) as bigint) as preference
    from {{ ref('stg_pod_identities') }} as identities
    inner join repeated_identities
        on identities.cluster = repeated_identities.cluster and identities.pod_uid = repeated_identities.pod_uid
    inner join states on identities.cluster = states.cluster and identities.pod_uid = states.pod_uid
),

versions as (
    select
        identities.cluster,
        identities.pod_uid,
        identities.labels,
        identities.annotations,
        identities.top_owner
    from {{ ref('stg_pod_identities') }} as identities
    left join repeated_identities
        on identities.cluster = repeated_identities.cluster and identities.pod_uid = repeated_identities.pod_uid
    where repeated_identities.pod_uid is null
    union all
    select
        cluster,
        pod_uid,
        labels,
        annotations,
        top_owner
    from ranked
    where preference = 1
),

described as (
    select
        states.cluster,
        states.pod_uid,
        states.pod_name,
        states.namespace,
        states.created_ms,
        states.released_ms,
        states.watermark_ms,
        versions.labels,
        versions.annotations,
        versions.top_owner.kind as owner_kind,
        versions.top_owner.name as owner_name,
        versions.top_owner.uid as owner_uid
    from states
    left join versions
        on states.cluster = versions.cluster and states.pod_uid = versions.pod_uid
),

with_system as (
    select
        *,
        {{ identity_system() }} as system
    from described
),

-- Narrow, because it is read twice.
identified as {{ once() }} (
    select
        cluster,
        pod_uid,
        namespace,
        created_ms,
        released_ms,
        watermark_ms,
        owner_kind,
        owner_uid,
        system,
        {{ identity_field('pipeline') }} as pipeline,
        {{ identity_field('run') }} as run,
        {{ identity_field('job') }} as job,
        {{ identity_field('attempt') }} as attempt,
        {{ identity_field('team') }} as labelled_team
    from with_system
),

mapped as (
    select
        states.*,
        identified.owner_kind,
        identified.owner_uid,
        identified.system,
        identified.pipeline,
        identified.run,
        identified.job,
        identified.attempt,
        identified.labelled_team
    from states
    inner join identified on states.cluster = identified.cluster and states.pod_uid = identified.pod_uid
),

-- A run's name may come again: after more than 24 hours without a pod of it a new epoch begins. Epochs are found
-- between the hours in which pods of the run were created, which is exact, since the gap is longer than an hour.
run_hours as (
    select
        cluster,
        system,
        namespace,
        pipeline,
        run,
        created_ms - created_ms % 3600000 as hour_ms,
        min(created_ms) as first_ms,
        max(greatest(
            created_ms,
            coalesce(
                least(coalesce(released_ms, watermark_ms), coalesce(watermark_ms, released_ms)),
                created_ms
            )
        )) as last_ms
    from identified
    where run is not null and owner_uid is null
    group by
        cluster,
        system,
        namespace,
        pipeline,
        run,
        created_ms - created_ms % 3600000
),

gaps as (
    select
        *,
        max(last_ms) over (
            partition by cluster, system, namespace, pipeline, run
            order by hour_ms asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as idle_since_ms
    from run_hours
),

epochs as (
    select
        cluster,
        system,
        namespace,
        pipeline,
        run,
        hour_ms,
        cast(sum(case when first_ms - idle_since_ms > 86400000 then 1 else 0 end) over (
            partition by cluster, system, namespace, pipeline, run
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
        coalesce(pods.system, 'unattributed') as system,
        coalesce(pods.namespace, 'unattributed') as installation,
        coalesce(pods.pipeline, 'unattributed') as pipeline,
        coalesce(pods.run, 'unattributed') as run,
        coalesce(pods.owner_uid, cast(coalesce(repeated.earlier_epochs, cast(0 as bigint)) + 1 as string)) as run_epoch,
        coalesce(pods.job, 'unattributed') as job,
        coalesce(pods.attempt, 'unattributed') as attempt,
        coalesce({{ mapped_team() }}, pods.labelled_team, 'unattributed') as team,
        case
            when pods.namespace = 'kube-system' or pods.owner_kind = 'DaemonSet' then 'system'
{%- if var('platform_namespaces') | length > 0 %}
            when pods.namespace in ({% for namespace in var('platform_namespaces') %}{{ quoted(namespace) }}{% if not loop.last %}, {% endif %}{% endfor %}) then 'platform'
{%- endif %}
            else 'workload'
        end as pod_class,
        case
            when outcomes.outcome is not null then outcomes.outcome
            when pods.phase = 'Succeeded' then 'succeeded'
            when pods.end_reason in (
                'Evicted', 'NodeLost', 'NodeShutdown', 'Terminated', 'Preempting', 'PreemptionByScheduler',
                'DeletionByTaintManager', 'EvictionByEvictionAPI', 'DeletionByPodGC', 'TerminationByKubelet'
            ) and pods.released_ms is not null then 'lost'
            when pods.phase = 'Failed' then 'failed'
            when pods.released_ms is null then 'running'
            else 'unknown'
        end as outcome,
        coalesce(outcomes.reason, pods.end_reason) as end_reason,
        pods.exit_code,
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
    from mapped as pods
    left join {{ ref('stg_engine_outcomes') }} as outcomes on pods.cluster = outcomes.cluster and pods.pod_uid = outcomes.pod_uid
    left join repeated
        on pods.cluster = repeated.cluster
        and pods.system = repeated.system
        and pods.pipeline = repeated.pipeline
        and pods.run = repeated.run
        and coalesce(pods.namespace, '') = coalesce(repeated.namespace, '')
        and pods.created_ms - pods.created_ms % 3600000 = repeated.hour_ms
        and pods.owner_uid is null
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
        -- `failed` speaks before `lost`.
        min(outcome) as outcome
    from joined
    where outcome in ('failed', 'lost')
    group by
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        job,
        attempt
),

final as (
    select
        pods.*,
        case
            when pods.attempt = 'unattributed' or broken.outcome is null then pods.outcome
            else broken.outcome
        end as attempt_outcome
    from joined as pods
    left join broken
        on pods.cluster = broken.cluster
        and pods.run = broken.run
        and pods.attempt = broken.attempt
        and pods.job = broken.job
        and pods.pipeline = broken.pipeline
        and pods.system = broken.system
        and pods.installation = broken.installation
        and pods.run_epoch = broken.run_epoch
)

select * from final
