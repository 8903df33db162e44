-- grain: one row per zone, ISO week, cluster and pool with accelerators that no pod held for some of the time
-- guarantee: cost is the accelerators' part of the categories idle_*: findings of idle capacity count it too
-- inputs: machine_pod_hours, int_machine_hours, int_machines, int_finding_hours
{{ config(materialized='view') }}
with machine_hours as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        weeks.is_this,
        hours.machine,
        coalesce(machines.pool, 'unattributed') as pool,
        machines.instance_type,
        hours.hour_start_ms,
        hours.gpu_capacity_milligpu_ms
    from {{ ref('int_machine_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines
        on hours.cluster = machines.cluster and hours.machine = machines.machine
    inner join {{ ref('int_finding_hours') }} as weeks
        on hours.cluster = weeks.cluster and hours.hour_start_ms = weeks.hour_start_ms
    where hours.gpu_capacity_milligpu_ms > 0
),

held as (
    select
        costs.cluster,
        costs.machine,
        costs.hour_start_ms,
        {{ priced_sum('costs.gpu_nano', "costs.consumer_kind = 'idle'") }} as idle_nano,
        cast(sum(case when costs.consumer_kind = 'pod' then costs.gpu_milligpu_ms else cast(0 as decimal(38,0)) end) as decimal(38,0)) as held_milligpu_ms,
        -- Time in which the machine did work that wanted no accelerator.
        cast(sum(case when costs.stage = 'idle_unpacked' then costs.gpu_milligpu_ms else cast(0 as decimal(38,0)) end) as decimal(38,0)) as beside_milligpu_ms
    from {{ ref('machine_pod_hours') }} as costs
    where (costs.cluster, costs.machine) in (select cluster, machine from machine_hours)
    group by
        costs.cluster,
        costs.machine,
        costs.hour_start_ms
),

summed as (
    select
        hours.cluster,
        hours.zone,
        hours.iso_week,
        hours.pool,
        max(hours.instance_type) as instance_type,
        {{ priced_sum('held.idle_nano', 'hours.is_this') }} as cost_nano,
        {{ priced_sum('held.idle_nano', 'not hours.is_this') }} as previous_cost_nano,
        cast(sum(case when hours.is_this then held.held_milligpu_ms else cast(0 as decimal(38,0)) end) as decimal(38,0)) as held_milligpu_ms,
        cast(sum(case when hours.is_this then held.beside_milligpu_ms else cast(0 as decimal(38,0)) end) as decimal(38,0)) as beside_milligpu_ms,
        cast(sum(case when hours.is_this then hours.gpu_capacity_milligpu_ms else cast(0 as bigint) end) as decimal(38,0)) as capacity_milligpu_ms,
        min(case when held.held_milligpu_ms < hours.gpu_capacity_milligpu_ms then hours.hour_start_ms end) as since_ms,
        count(distinct case when hours.is_this then hours.machine end) as machines,
        cast(sum(case when hours.is_this and held.held_milligpu_ms = 0 then 1 else 0 end) as bigint) as empty_hours
    from machine_hours as hours
    inner join held
        on hours.cluster = held.cluster and hours.machine = held.machine and hours.hour_start_ms = held.hour_start_ms
    group by
        hours.cluster,
        hours.zone,
        hours.iso_week,
        hours.pool
)

select
    cluster,
    zone,
    iso_week,
    'gpu_without_work' as finding,
    'pool' as subject_kind,
    pool as subject,
    'unattributed' as team,
    cast(null as string) as namespace,
    cast(null as string) as pipeline,
    cost_nano,
    case when cost_nano is not null then coalesce(previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    since_ms,
    'pods held the accelerators of ' || {{ counted('machines', 'machine') }} || ' (' || coalesce(instance_type, 'unknown') || ') for ' || {{ percent_text('held_milligpu_ms', 'capacity_milligpu_ms') }}
    || ' of their time; beside pods that hold none they were free for ' || {{ percent_text('beside_milligpu_ms', 'capacity_milligpu_ms') }} || '; ' || {{ number_text('empty_hours') }}
    || ' machine-hours had no pod with one' as evidence,
    'keep pods without accelerators off the pool, and let it scale to zero' as mend,
    'spec: {taints: [{key: nvidia.com/gpu, value: present, effect: NoSchedule}]}' as command,
    'idle' as counted_in
from summed
where machines > 0 and held_milligpu_ms < capacity_milligpu_ms
