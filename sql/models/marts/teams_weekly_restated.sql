-- grain: one row per zone, ISO week, cluster and team
-- guarantee: as `teams_weekly`, but closed months too are what facts, prices, bills and rules of now make of them; there are no adjustments
-- inputs: int_costs_hourly, calendar, cost_categories
{{ config(materialized='view') }}
{{ team_weeks(ref('int_costs_hourly'), source('build', 'calendar')) }}
