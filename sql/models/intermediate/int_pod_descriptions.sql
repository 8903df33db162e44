-- grain: one row per pod: its labels, annotations and owners, those of its owners and namespace, and which systems apply
-- guarantee: all hold as of the pod's start
-- inputs: int_pods, stg_pod_identities, stg_owner_objects, stg_namespaces, identity rules
{{ config(materialized='view') }}
-- Nearly every pod has one version of its identity; only the others need to be ranked.
with repeated as (
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
                identities.ignorance asc nulls last,
                identities.tie_break asc nulls last
        ) as bigint) as preference
    from {{ ref('stg_pod_identities') }} as identities
    inner join repeated on identities.cluster = repeated.cluster and identities.pod_uid = repeated.pod_uid
    inner join {{ touched('int_pods') }} as states
        on identities.cluster = states.cluster and identities.pod_uid = states.pod_uid
),

{%- set columns = ['cluster', 'pod_uid', 'labels', 'annotations', 'owner_kind_1', 'owner_name_1', 'owner_uid_1', 'owner_kind_2', 'owner_name_2', 'owner_uid_2', 'owner_kind_3', 'owner_name_3', 'owner_uid_3', 'owner_kind_4', 'owner_name_4', 'owner_uid_4', 'top_owner_kind', 'top_owner_uid'] %}
versions as (
    select
{%- for column in columns %}
        identities.{{ column }}{% if not loop.last %},{% endif %}
{%- endfor %}
    from {{ ref('stg_pod_identities') }} as identities
    left join repeated on identities.cluster = repeated.cluster and identities.pod_uid = repeated.pod_uid
    where repeated.pod_uid is null
    union all
    select
{%- for column in columns %}
        {{ column }}{% if not loop.last %},{% endif %}
{%- endfor %}
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
{%- for column in columns %}{% if not loop.first and column != 'pod_uid' %}
        versions.{{ column }},
{%- endif %}{% endfor %}
        near_owners.labels as near_labels,
        near_owners.annotations as near_annotations,
        near_owners.outcome as near_outcome,
        top_owners.labels as top_labels,
        top_owners.annotations as top_annotations,
        namespaces.labels as namespace_labels
    from {{ touched('int_pods') }} as states
    left join versions on states.cluster = versions.cluster and states.pod_uid = versions.pod_uid
    left join {{ ref('stg_owner_objects') }} as near_owners
        on versions.cluster = near_owners.cluster and versions.owner_uid_1 = near_owners.owner_uid
    left join {{ ref('stg_owner_objects') }} as top_owners
        on versions.cluster = top_owners.cluster and versions.top_owner_uid = top_owners.owner_uid
    left join {{ ref('stg_namespaces') }} as namespaces
        on states.cluster = namespaces.cluster
        and states.namespace = namespaces.namespace
        and states.start_ms >= namespaces.valid_from_ms
        and states.start_ms < namespaces.valid_to_ms
),

flagged as (
    select
        *,
        {{ system_flags() }}
    from described
)

select * from flagged
