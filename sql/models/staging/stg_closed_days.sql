-- grain: one row per day (UTC) of a closed month
-- inputs: stg_closed_months
{{ config(materialized='view') }}
select
    month_start_ms,
    {{ days('month_start_ms', 'month_end_ms') }} as day_start_ms
from {{ ref('stg_closed_months') }}
