-- grain: one row per zone, ISO week, cluster and pool whose machines spend a tenth of their cost or more on pods that every machine has
-- guarantee: cost is that of the category system on the pool's machines, of pods of DaemonSets and static pods
-- inputs: machine_pod_hours, int_machines, stg_pod_identities, int_system_pods, int_finding_hours
{{ config(materialized='view') }}
with daemons as (
    select distinct
        identities.cluster,
        identities.pod_uid
    from {{ ref('stg_pod_identities') }} as identities
    inner join {{ ref('int_system_pods') }} as systems
        on identities.cluster = systems.cluster and identities.pod_uid = systems.pod_uid
    where identities.owner_kind_1 in ('DaemonSet', 'Node') or identities.top_owner_kind = 'DaemonSet'
),

costs as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        weeks.is_this,
        coalesce(machines.pool, 'unattributed') as pool,
        machines.instance_type,
        hours.machine,
        hours.hour_start_ms,
        case
            when daemons.pod_uid is not null then 'daemon'
            when hours.stage = 'node_reserved' then 'reserved'
            else 'rest'
        end as kind,
        hours.cpu_nano + hours.memory_nano + hours.gpu_nano as cost_nano
    from {{ ref('machine_pod_hours') }} as hours
    inner join {{ ref('int_machines') }} as machines
        on hours.cluster = machines.cluster and hours.machine = machines.machine
    inner join {{ ref('int_finding_hours') }} as weeks
        on hours.cluster = weeks.cluster and hours.hour_start_ms = weeks.hour_start_ms
    left join daemons on hours.cluster = daemons.cluster and hours.pod_uid = daemons.pod_uid
),

summed as (
    select
        cluster,
        zone,
        iso_week,
        pool,
        max(instance_type) as instance_type,
        {{ priced_sum('cost_nano', "is_this and kind = 'daemon'") }} as cost_nano,
        {{ priced_sum('cost_nano', "not is_this and kind = 'daemon'") }} as previous_cost_nano,
        {{ priced_sum('cost_nano', "is_this and kind in ('daemon', 'reserved')") }} as overhead_nano,
        {{ priced_sum('cost_nano', 'is_this') }} as all_nano,
        min(case when kind = 'daemon' then hour_start_ms end) as since_ms,
        count(distinct case when is_this then machine end) as machines
    from costs
    group by
        cluster,
        zone,
        iso_week,
        pool
)

select
    cluster,
    zone,
    iso_week,
    'daemon_overhead' as finding,
    'pool' as subject_kind,
    pool as subject,
    'unattributed' as team,
    cast(null as string) as namespace,
    cast(null as string) as pipeline,
    cost_nano,
    case when cost_nano is not null then coalesce(previous_cost_nano, cast(0 as bigint)) end as previous_cost_nano,
    since_ms,
    'pods of DaemonSets take ' || {{ percent_text('cost_nano', 'all_nano') }} || ' of the cost of ' || {{ counted('machines', 'machine') }} || ' (' || coalesce(instance_type, 'unknown')
    || '), with what nodes keep for themselves ' || {{ percent_text('overhead_nano', 'all_nano') }} as evidence,
    'use fewer, larger machines: of double the size the same pods cost half' as mend,
    cast(null as string) as command,
    cast(null as string) as counted_in
from summed
where cast(cost_nano as decimal(38,0)) * cast(10 as decimal(38,0)) >= cast(all_nano as decimal(38,0)) and cost_nano > 0
