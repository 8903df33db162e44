-- grain: one row per zone, ISO week, cluster and team
-- guarantee: an hour belongs to the local date on which it starts; the weeks of one zone add up to the whole cost
-- inputs: int_booked_costs, calendar, cost_categories
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_weeks', ['zone', 'iso_week']) }}") }}
{{ team_weeks(ref('int_booked_costs'), touched_calendar()) }}
