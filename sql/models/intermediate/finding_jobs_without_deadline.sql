-- grain: one row per zone, ISO week, cluster, team and pipeline whose Jobs or Workflows may run for ever
-- guarantee: told only of objects that were seen to have no deadline, neither themselves nor in their parts; what ran away is told as
--     `runaway_attempts`
-- inputs: pods, stg_pod_identities, stg_owner_objects, int_finding_pods
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline'] %}
with owners as (
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

summed as (
    select
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        pods.{{ column }},
{%- endfor %}
        owners.kind,
        max(pods.namespace) as namespace,
        max_by(owners.name, (pods.created_ms, owners.name)) as name,
        min(pods.created_ms) as since_ms,
        count(distinct owners.owner_uid) as owners,
        max(costs.running_ms) as longest_ms
    from owners
    inner join {{ ref('pods') }} as pods on owners.cluster = pods.cluster and owners.pod_uid = pods.pod_uid
    inner join {{ ref('int_finding_pods') }} as costs on owners.cluster = costs.cluster and owners.pod_uid = costs.pod_uid
    where pods.pod_class = 'workload' and costs.is_this
    group by
        costs.cluster,
        costs.zone,
        costs.iso_week,
{%- for column in job %}
        pods.{{ column }},
{%- endfor %}
        owners.kind
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
    cast(0 as bigint) as cost_nano,
    cast(null as bigint) as previous_cost_nano,
    since_ms,
    {{ counted('owners', 'object') }} || ' of kind ' || kind || ' without a deadline, the newest ' || name || '; their pods ran for up to ' || {{ hours_text('longest_ms') }} as evidence,
    'set a deadline: one pod that hangs is paid for until somebody sees it' as mend,
    'spec: {activeDeadlineSeconds: ' || {{ number_text(idiv('greatest(3 * longest_ms, cast(3600000 as bigint))', '1000')) }} || '}' as command,
    cast(null as string) as counted_in
from summed
