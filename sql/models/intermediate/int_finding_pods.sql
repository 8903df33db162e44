-- grain: one row per zone, ISO week and pod that held a machine in it or the week before: what it paid in each stage
-- guarantee: running is what the categories used, unused_request, unmetered, failed and lost divide; the other stages are the
--     categories of their names
-- inputs: machine_pod_hours, int_finding_hours
{{ config(materialized='view') }}
select * from {{ finding_pods(none) }} as pods
