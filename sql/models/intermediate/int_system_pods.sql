-- grain: one row per pod that serves the machine or the cluster itself (DaemonSets, kube-system)
-- guarantee: a pod that is not here is a workload: it keeps a machine busy
-- inputs: pods
{{ config(materialized='view') }}
select
    cluster,
    pod_uid
from {{ ref('pods') }}
where pod_class = 'system'
