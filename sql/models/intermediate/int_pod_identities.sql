-- grain: one row per pod: who made it and for what, as far as it, its owners and its namespace say
-- guarantee: of every field the first rule of a system that applies decides; NULL where none finds anything
-- inputs: int_pod_descriptions, identity rules
{#- Spark computes a view anew wherever it is read, and this one is read often and costs most. #}
{{ config(materialized='table' if target.type == 'spark' else 'view') }}
select
    cluster,
    pod_uid,
    coalesce({{ identity_field('installation') }}, namespace) as installation,
    case when owner_kind_1 = 'Pod' then owner_uid_1 end as parent_uid,
    near_outcome as owner_outcome,
    {{ identity_system() }} as system,
    {{ identity_field('pipeline') }} as pipeline,
    {{ identity_field('run') }} as run,
    {{ identity_field('epoch') }} as epoch,
    {{ identity_field('job') }} as job,
    {{ identity_field('attempt') }} as attempt,
    {{ identity_field('role') }} as role,
    {{ identity_field('main_container') }} as main_container,
    {{ identity_field('team') }} as team,
    -- Airflow's labels are what is left of the texts in its annotations.
    case when is_airflow then labels['run_id'] end as airflow_run_label,
    case when is_airflow then labels['dag_id'] end as airflow_dag_label,
    case when is_airflow then annotations['run_id'] end as airflow_run,
    case when is_airflow then annotations['dag_id'] end as airflow_dag
from {{ ref('int_pod_descriptions') }}
