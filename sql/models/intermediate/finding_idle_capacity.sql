-- grain: one row per zone, ISO week, cluster, finding of idle capacity, and pool (or node, of machines that are seldom busy)
-- guarantee: costs add up to the categories idle_*
-- inputs: int_idle_hours, int_machine_hours, int_machines, int_finding_hours
{{ config(materialized='view') }}
with pool_costs as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        coalesce(machines.pool, 'unattributed') as pool,
        cast(sum(hours.cost_nano) as bigint) as cost_nano,
        cast(sum(hours.up_ms) as bigint) as up_ms,
        cast(sum(hours.busy_ms) as bigint) as busy_ms
    from {{ ref('int_machine_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines
        on hours.cluster = machines.cluster and hours.machine = machines.machine
    inner join {{ ref('int_finding_hours') }} as weeks
        on hours.cluster = weeks.cluster and hours.hour_start_ms = weeks.hour_start_ms
    where weeks.is_this
    group by
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        coalesce(machines.pool, 'unattributed')
),

summed as (
    select
        cluster,
        zone,
        iso_week,
        finding,
        pool,
        case when finding = 'seldom_busy_machines' then node_name end as node_name,
        {{ priced_sum('cost_nano', 'is_this') }} as cost_nano,
        {{ priced_sum('cost_nano', 'not is_this') }} as previous_cost_nano,
        cast(sum(case when is_this then held_ms else cast(0 as bigint) end) as bigint) as idle_ms,
        min(hour_start_ms) as since_ms,
        count(distinct case when is_this then machine end) as machines,
        count(distinct case when is_this then hour_start_ms end) as hours
    from {{ ref('int_idle_hours') }}
    group by
        cluster,
        zone,
        iso_week,
        finding,
        pool,
        case when finding = 'seldom_busy_machines' then node_name end
)

select
    summed.cluster,
    summed.zone,
    summed.iso_week,
    summed.finding,
    case when summed.node_name is not null then 'node' else 'pool' end as subject_kind,
    coalesce(summed.node_name, summed.pool) as subject,
    'unattributed' as team,
    cast(null as string) as namespace,
    cast(null as string) as pipeline,
    summed.cost_nano,
    case when summed.cost_nano is not null then coalesce(summed.previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    summed.since_ms,
    {{ percent_text('summed.cost_nano', 'pool_costs.cost_nano') }} || ' of what the pool cost: ' || {{ counted('summed.machines', 'machine') }} || ', ' || {{ hours_text('summed.idle_ms') }} || ' in '
    || {{ counted('summed.hours', 'hour') }} || '; the pool was busy for ' || {{ percent_text('pool_costs.busy_ms', 'pool_costs.up_ms') }} || ' of its time' as evidence,
    case summed.finding
        when 'pool_never_zero' then 'let the pool scale to zero'
        when 'pool_minimum_above_need' then 'lower the minimum of the pool'
        when 'late_scale_down' then 'let it scale down sooner'
        when 'unpacked_capacity' then 'use machines whose shape fits the pods, or smaller ones'
        when 'seldom_busy_machines' then 'let it go when it is empty'
        when 'slow_start' then 'use images that start faster, and keep machines for more than one pod'
        else 'let it scale down sooner, or run jobs at the same time'
    end as mend,
    case summed.finding
        when 'pool_never_zero' then 'minimum size 0'
        when 'unpacked_capacity' then 'Karpenter: spec: {disruption: {consolidationPolicy: WhenEmptyOrUnderutilized}}'
        when 'slow_start' then cast(null as string)
        when 'pool_minimum_above_need' then cast(null as string)
        else 'Karpenter: spec: {disruption: {consolidateAfter: 30s}}; cluster-autoscaler: --scale-down-unneeded-time=1m'
    end as command,
    cast(null as string) as counted_in
from summed
inner join pool_costs
    on summed.cluster = pool_costs.cluster
    and summed.zone = pool_costs.zone
    and summed.iso_week = pool_costs.iso_week
    and summed.pool = pool_costs.pool
where summed.idle_ms > 0
