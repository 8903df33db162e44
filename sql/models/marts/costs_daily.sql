-- grain: one row per charge date (UTC), cluster, team, pipeline, job, namespace and cost category
-- guarantee: the sum over a day is the cost of the machines and services in it; idle and overhead are nobody's: `unattributed`;
--     closed months are as they were closed
-- inputs: int_booked_costs
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_days', ['charge_date']) }}") }}
{{ cost_days(touched('int_booked_costs')) }}
