-- grain: one row per hour, cluster, team, pipeline, job, namespace and cost category
-- guarantee: as `costs_hourly`, but closed months too are what facts, prices, bills and rules of now make of them; there are no adjustments
-- inputs: int_costs_hourly
{{ config(materialized='view') }}
{{ cost_hours(ref('int_costs_hourly')) }}
