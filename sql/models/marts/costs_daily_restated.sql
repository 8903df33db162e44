-- grain: one row per charge date (UTC), cluster, team, pipeline, job, namespace and cost category
-- guarantee: as `costs_daily`, but closed months too are what facts, prices, bills and rules of now make of them; there are no adjustments
-- inputs: int_costs_hourly
{{ config(materialized='view') }}
{{ cost_days(ref('int_costs_hourly')) }}
