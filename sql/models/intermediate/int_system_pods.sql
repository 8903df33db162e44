-- grain: one row per pod that serves the machine or the cluster itself (DaemonSets, kube-system)
-- guarantee: a pod that is not here is a workload: it keeps a machine busy
-- inputs: int_pods
{{ config(materialized='view') }}
select
    cluster,
    pod_uid
from {{ ref('int_pods') }}
where is_system
