-- grain: one row per pod: who controls it, and its labels
-- guarantee: as of the pod's start; maps are JSON objects of texts
-- inputs: int_pod_descriptions
{{ config(materialized='view') }}
select
    cluster,
    pod_uid,
    -- A ReplicaSet is a version of its Deployment.
    case when owner_kind_1 = 'ReplicaSet' and owner_kind_2 is not null then owner_kind_2 else owner_kind_1 end as controller_kind,
    case when owner_kind_1 = 'ReplicaSet' and owner_kind_2 is not null then owner_name_2 else owner_name_1 end as controller_name,
    {{ json_of('labels') }} as labels,
    {{ json_of('annotations') }} as annotations,
    {{ json_of('namespace_labels') }} as namespace_labels
from {{ ref('int_pod_descriptions') }}
