-- grain: one row per zone, ISO week, cluster, team and pipeline whose Jobs may run for ever
-- guarantee: told only of Jobs that were seen to have no deadline, neither themselves nor in their pods; what ran away is told as
--     `runaway_attempts`
-- inputs: pods, stg_pod_identities, stg_owner_objects, machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline'] %}
with owned as (
    select distinct
        identities.cluster,
        identities.pod_uid,
        owners.owner_uid,
        owners.kind,
        owners.name
    from {{ ref('stg_pod_identities') }} as identities
    inner join {{ ref('stg_owner_objects') }} as owners
        on identities.cluster = owners.cluster and identities.owner_uid_1 = owners.owner_uid
    where owners.active_deadline_ms = 0
),

-- A deadline is of the whole object: from its first pod to the end of its last.
owners as (
    select
        owned.cluster,
        owned.owner_uid,
        case when count(*) = count({{ over_ms('pods') }}) then max({{ over_ms('pods') }}) - min(pods.created_ms) end as took_ms
    from owned
    inner join {{ ref('pods') }} as pods on owned.cluster = pods.cluster and owned.pod_uid = pods.pod_uid
    group by
        owned.cluster,
        owned.owner_uid
),

weekly as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        pods.{{ column }},
{%- endfor %}
        owned.kind,
        owned.owner_uid,
        max(owned.name) as name,
        max(pods.namespace) as namespace,
        min(pods.created_ms) as since_ms
    from owned
    inner join {{ ref('pods') }} as pods on owned.cluster = pods.cluster and owned.pod_uid = pods.pod_uid
    inner join {{ finding_pods('owned') }} as costs on owned.cluster = costs.cluster and owned.pod_uid = costs.pod_uid
    where pods.pod_class = 'workload' and costs.is_this
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        pods.{{ column }},
{%- endfor %}
        owned.kind,
        owned.owner_uid
),

summed as (
    select
        weekly.cluster,
        weekly.zone,
        weekly.iso_week,
{%- for column in job %}
        weekly.{{ column }},
{%- endfor %}
        weekly.kind,
        max(weekly.namespace) as namespace,
        max_by(weekly.name, (weekly.since_ms, weekly.name)) as name,
        min(weekly.since_ms) as since_ms,
        count(*) as owners,
        max(owners.took_ms) as longest_ms
    from weekly
    inner join owners on weekly.cluster = owners.cluster and weekly.owner_uid = owners.owner_uid
    group by
        weekly.cluster,
        weekly.zone,
        weekly.iso_week,
{%- for column in job %}
        weekly.{{ column }},
{%- endfor %}
        weekly.kind
)

select
    cluster,
    zone,
    iso_week,
    'jobs_without_deadline' as finding,
    'pipeline' as subject_kind,
    case when pipeline = 'unattributed' then name else pipeline end as subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cast(0 as bigint) as cost_nano,
    cast(null as bigint) as previous_cost_nano,
    since_ms,
    {{ counted('owners', 'object') }} || ' of kind ' || kind || ' without a deadline, the newest ' || name || '; '
    || coalesce('they took up to ' || {{ hours_text('longest_ms') }}, 'none has ended yet') as evidence,
    'set a deadline: one pod that hangs is paid for until somebody sees it' as mend,
    case
        when longest_ms is not null
            then 'spec: {activeDeadlineSeconds: ' || {{ number_text(idiv('greatest(3 * longest_ms, cast(3600000 as bigint))', '1000')) }} || '}'
    end as command,
    cast(null as string) as counted_in
from summed
