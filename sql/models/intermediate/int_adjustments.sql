-- grain: one row per cluster, team and closed month of which bills say something else than when it was closed
-- guarantee: the rows of a month add up to change_nano of its hours in int_late_bills, and to what hours of volumes and load balancers cost else in
--     int_repriced_services. They lie in the first hour of the first month after it that is not closed. An hour's change goes to who pays for the hour now, in
--     proportion; what nobody's pods held is of `unattributed`
-- inputs: int_late_bills, int_repriced_services, stg_closed_months, machine_pod_hours, int_service_hours, int_pod_names, team_shares
{{ config(materialized='table') }}
{%- set resources = ['cpu', 'memory', 'gpu', 'service'] %}
{%- set zero = 'cast(0 as bigint)' %}
with late_services as (
    select
        month_start_ms,
        cluster,
        service_kind,
        service_id,
        hour_start_ms,
        cost_nano - closed_cost_nano as change_nano
    from {{ ref('int_repriced_services') }}
    where cost_nano <> closed_cost_nano
),

late as (
    select
        month_start_ms,
        cluster,
        'machine' as kind,
        machine as id,
        hour_start_ms,
        change_nano,
        cast(1 as bigint) as unpaid_resource
    from {{ ref('int_late_bills') }}
    union all
    select
        month_start_ms,
        cluster,
        service_kind as kind,
        service_id as id,
        hour_start_ms,
        change_nano,
        cast(4 as bigint) as unpaid_resource
    from late_services
),

consumers as (
    select
        hours.cluster,
        'machine' as kind,
        hours.machine as id,
        hours.hour_start_ms,
        hours.pod_uid as owner_pod_uid,
        coalesce(hours.cpu_nano, {{ zero }}) as cpu_nano,
        coalesce(hours.memory_nano, {{ zero }}) as memory_nano,
        coalesce(hours.gpu_nano, {{ zero }}) as gpu_nano,
        {{ zero }} as service_nano
    from {{ ref('machine_pod_hours') }} as hours
    inner join {{ ref('int_late_bills') }} as changed
        on hours.cluster = changed.cluster and hours.machine = changed.machine and hours.hour_start_ms = changed.hour_start_ms
    union all
    select
        hours.cluster,
        hours.service_kind as kind,
        hours.service_id as id,
        hours.hour_start_ms,
        hours.owner_pod_uid,
        {{ zero }} as cpu_nano,
        {{ zero }} as memory_nano,
        {{ zero }} as gpu_nano,
        coalesce(hours.cost_nano, {{ zero }}) as service_nano
    from {{ ref('int_service_hours') }} as hours
    inner join late_services as changed
        on hours.cluster = changed.cluster
        and hours.service_kind = changed.service_kind
        and hours.service_id = changed.service_id
        and hours.hour_start_ms = changed.hour_start_ms
),

paid as (
    select
        consumers.cluster,
        consumers.kind,
        consumers.id,
        consumers.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
{%- for resource in resources %}
        cast(sum(consumers.{{ resource }}_nano) as bigint) as {{ resource }}_nano{% if not loop.last %},{% endif %}
{%- endfor %}
    from consumers
    left join {{ ref('int_pod_names') }} as pods on consumers.cluster = pods.cluster and consumers.owner_pod_uid = pods.pod_uid
    group by
        consumers.cluster,
        consumers.kind,
        consumers.id,
        consumers.hour_start_ms,
        coalesce(pods.team, 'unattributed')
),

parts as (
{%- for resource in resources %}
    select
        cluster,
        kind,
        id,
        hour_start_ms,
        team,
        cast({{ loop.index }} as bigint) as resource,
        {{ resource }}_nano as part
    from paid
    where {{ resource }}_nano > 0
    {% if not loop.last %}union all{% endif %}
{%- endfor %}
),

ordered as (
    select
        *,
        cast(sum(part) over (
            partition by cluster, kind, id, hour_start_ms order by team asc nulls last, resource asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as to_part,
        cast(sum(part) over (partition by cluster, kind, id, hour_start_ms) as bigint) as whole
    from parts
),

-- The differences of running parts leave nothing over.
changes as (
    select
        late.month_start_ms,
        late.cluster,
        coalesce(ordered.team, 'unattributed') as team,
        coalesce(ordered.resource, late.unpaid_resource) as resource,
        cast(sum(
            case
                when ordered.whole is null then late.change_nano
                else {{ prorate('late.change_nano', 'ordered.to_part', 'ordered.whole') }} - {{ prorate('late.change_nano', 'ordered.to_part - ordered.part', 'ordered.whole') }}
            end
        ) as bigint) as change_nano
    from late
    left join ordered
        on late.cluster = ordered.cluster
        and late.kind = ordered.kind
        and late.id = ordered.id
        and late.hour_start_ms = ordered.hour_start_ms
    group by
        late.month_start_ms,
        late.cluster,
        coalesce(ordered.team, 'unattributed'),
        coalesce(ordered.resource, late.unpaid_resource)
),

shared as (
    select
        changes.month_start_ms,
        changes.cluster,
        coalesce(shares.member, changes.team) as team,
        changes.resource,
        case
            when shares.member is null then changes.change_nano
            else {{ prorate('changes.change_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('changes.change_nano', 'shares.from_part', 'shares.whole') }}
        end as change_nano
    from changes
    left join {{ ref('team_shares') }} as shares on changes.team = shares.team
)

select
    shared.cluster,
    months.open_ms as hour_start_ms,
    shared.team,
    shared.month_start_ms as adjusts_month_ms,
{%- for resource in resources %}
    cast(sum(case when shared.resource = {{ loop.index }} then shared.change_nano else cast(0 as bigint) end) as bigint) as {{ resource }}_nano,
{%- endfor %}
    cast(sum(shared.change_nano) as bigint) as cost_nano
from shared
inner join {{ ref('stg_closed_months') }} as months on shared.month_start_ms = months.month_start_ms
group by
    shared.cluster,
    months.open_ms,
    shared.team,
    shared.month_start_ms
