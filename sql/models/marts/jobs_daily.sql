-- grain: one row per charge date (UTC), cluster, team, pipeline and job
-- guarantee: counts pods by the date on which they were created; costs by the date on which they arose
-- inputs: int_booked_costs, cost_categories, pods
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_days', ['charge_date']) }}") }}
with costs as (
    select
        {{ date_of('costs.hour_start_ms') }} as charge_date,
        costs.cluster,
        costs.team,
        costs.pipeline,
        costs.job,
        cast(sum(costs.cost_nano) as bigint) as cost_nano,
        cast(sum(case when categories.is_waste then costs.cost_nano else cast(0 as bigint) end) as bigint) as wasted_nano,
        cast(0 as bigint) as pods,
        cast(0 as bigint) as failed_pods,
        cast(sum(case when costs.cost_category = 'used' then costs.cpu_nano else cast(0 as bigint) end) as bigint) as cpu_used_nano,
        cast(sum(case when costs.cost_category in ('used', 'unused_request') then costs.cpu_nano else cast(0 as bigint) end) as bigint) as cpu_metered_nano,
        cast(sum(case when costs.cost_category = 'used' then costs.memory_nano else cast(0 as bigint) end) as bigint) as memory_used_nano,
        cast(sum(case when costs.cost_category in ('used', 'unused_request') then costs.memory_nano else cast(0 as bigint) end) as bigint) as memory_metered_nano
    from {{ touched('int_booked_costs') }} as costs
    inner join {{ ref('cost_categories') }} as categories on costs.cost_category = categories.cost_category
    where categories.category_group not in ('idle', 'unobserved', 'fixed') and costs.cost_category <> 'node_reserved'
    group by
        {{ date_of('costs.hour_start_ms') }},
        costs.cluster,
        costs.team,
        costs.pipeline,
        costs.job
),

counts as (
    select
        {{ date_of('created_ms') }} as charge_date,
        cluster,
        team,
        pipeline,
        job,
        cast(null as bigint) as cost_nano,
        cast(null as bigint) as wasted_nano,
        count(*) as pods,
        cast(sum(case when attempt_outcome in ('failed', 'lost') then 1 else 0 end) as bigint) as failed_pods,
        cast(null as bigint) as cpu_used_nano,
        cast(null as bigint) as cpu_metered_nano,
        cast(null as bigint) as memory_used_nano,
        cast(null as bigint) as memory_metered_nano
    from {{ ref('pods') }}
    group by
        {{ date_of('created_ms') }},
        cluster,
        team,
        pipeline,
        job
),

both_kinds as (
    select * from costs
    union all
    select * from counts
)

select
    charge_date,
    cluster,
    team,
    pipeline,
    job,
    cast(sum(pods) as bigint) as pods,
    cast(sum(failed_pods) as bigint) as failed_pods,
    {{ usd('sum(cost_nano)') }} as cost,
    {{ usd('sum(wasted_nano)') }} as wasted_cost,
    {{ ratio('sum(cpu_used_nano)', 'sum(cpu_metered_nano)') }} as cpu_efficiency,
    {{ ratio('sum(memory_used_nano)', 'sum(memory_metered_nano)') }} as memory_efficiency
from both_kinds
group by
    charge_date,
    cluster,
    team,
    pipeline,
    job
