-- grain: one row per cluster, team and closed month of which bills say something else than when it was closed
-- guarantee: the rows of a month add up to change_nano of its hours in int_late_bills. They lie in the first hour of the first month after it that is
--     not closed. An hour's change goes to who pays for the hour now, in proportion; what nobody's pods held is of `unattributed`
-- inputs: int_late_bills, stg_closed_months, machine_pod_hours, int_pod_names, team_shares
{{ config(materialized='table') }}
{%- set resources = ['cpu', 'memory', 'gpu'] %}
with paid as (
    select
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
{%- for resource in resources %}
        cast(sum(coalesce(hours.{{ resource }}_nano, cast(0 as bigint))) as bigint) as {{ resource }}_nano{% if not loop.last %},{% endif %}
{%- endfor %}
    from {{ ref('machine_pod_hours') }} as hours
    inner join {{ ref('int_late_bills') }} as late
        on hours.cluster = late.cluster and hours.machine = late.machine and hours.hour_start_ms = late.hour_start_ms
    left join {{ ref('int_pod_names') }} as pods on hours.cluster = pods.cluster and hours.pod_uid = pods.pod_uid
    group by
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        coalesce(pods.team, 'unattributed')
),

parts as (
{%- for resource in resources %}
    select
        cluster,
        machine,
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
            partition by cluster, machine, hour_start_ms order by team asc nulls last, resource asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as to_part,
        cast(sum(part) over (partition by cluster, machine, hour_start_ms) as bigint) as whole
    from parts
),

-- The differences of running parts leave nothing over.
changes as (
    select
        late.month_start_ms,
        late.cluster,
        coalesce(ordered.team, 'unattributed') as team,
        coalesce(ordered.resource, cast(1 as bigint)) as resource,
        cast(sum(
            case
                when ordered.whole is null then late.change_nano
                else {{ prorate('late.change_nano', 'ordered.to_part', 'ordered.whole') }} - {{ prorate('late.change_nano', 'ordered.to_part - ordered.part', 'ordered.whole') }}
            end
        ) as bigint) as change_nano
    from {{ ref('int_late_bills') }} as late
    left join ordered
        on late.cluster = ordered.cluster and late.machine = ordered.machine and late.hour_start_ms = ordered.hour_start_ms
    group by
        late.month_start_ms,
        late.cluster,
        coalesce(ordered.team, 'unattributed'),
        coalesce(ordered.resource, cast(1 as bigint))
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
