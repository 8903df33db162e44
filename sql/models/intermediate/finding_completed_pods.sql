-- grain: one row per zone, ISO week, cluster, team, pipeline, namespace and kind of owner with a hundred pods or more that were there a day
--     after they ended, and still are at the end of the week
-- guarantee: costs nothing: such pods hold no machine
-- inputs: stg_kept_pods, stg_pod_identities, int_pod_names, int_finding_weeks
{{ config(materialized='view') }}
{%- set key = ['cluster', 'zone', 'iso_week', 'team', 'subject', 'pipeline', 'namespace', 'kind'] %}
with owners as (
    select
        cluster,
        pod_uid,
        max(owner_kind_1) as kind
    from {{ ref('stg_pod_identities') }}
    group by
        cluster,
        pod_uid
),

kept as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        pods.team,
        case when pods.pipeline = 'unattributed' then coalesce(pods.namespace, 'unattributed') else pods.pipeline end as subject,
        nullif(pods.pipeline, 'unattributed') as pipeline,
        pods.namespace,
        coalesce(owners.kind, 'none') as kind,
        weeks.observed_to_ms,
        kept.released_ms
    from {{ ref('stg_kept_pods') }} as kept
    inner join {{ ref('int_finding_weeks') }} as weeks
        on kept.cluster = weeks.cluster
        and kept.kept_ms < weeks.observed_to_ms
        and coalesce(kept.removed_ms >= weeks.observed_to_ms, true)
    inner join {{ ref('int_pod_names') }} as pods on kept.cluster = pods.cluster and kept.pod_uid = pods.pod_uid
    left join owners on kept.cluster = owners.cluster and kept.pod_uid = owners.pod_uid
),

summed as (
    select
        {{ key | join(',\n        ') }},
        count(*) as pods,
        min(released_ms) as since_ms,
        max(observed_to_ms) - min(released_ms) as oldest_ms
    from kept
    group by
        {{ key | join(',\n        ') }}
)

select
    cluster,
    zone,
    iso_week,
    'completed_pods' as finding,
    'pipeline' as subject_kind,
    subject,
    team,
    namespace,
    pipeline,
    cast(0 as bigint) as cost_nano,
    cast(null as bigint) as previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' ended more than a day ago and are still there, the oldest for ' || {{ hours_text('oldest_ms') }}
    || case when kind = 'none' then '; no object owns them' else '; objects of kind ' || kind || ' own them' end as evidence,
    'have them deleted when they are done: they hold no machine, but the API server keeps and lists them all' as mend,
    case kind
        when 'Job' then 'spec: {ttlSecondsAfterFinished: 3600}'
        when 'Workflow' then 'spec: {podGC: {strategy: OnPodCompletion}}'
        else 'kubectl -n ' || namespace || ' delete pods --field-selector=status.phase=Succeeded'
    end as command,
    cast(null as string) as counted_in
from summed
where pods >= 100
