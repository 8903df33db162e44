-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category, and one more for each month that is adjusted
-- guarantee: the sum over an hour is the cost of its machines and services; teams that share a team pay their shares; closed
--     months are as they were closed
-- inputs: int_booked_costs
{{ config(materialized='view') }}
{{ cost_hours(ref('int_booked_costs')) }}
