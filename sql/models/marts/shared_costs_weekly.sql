-- grain: one row per zone, ISO week, cluster, method and team: what it pays of the cost that all share
-- guarantee: for every method the rows of a week and cluster add up to its whole cost; `none` leaves what is shared to nobody (team `shared`), as
--     every method does where no team has a part
-- inputs: teams_weekly, `vars: sharing_weights`
{{ config(materialized='view') }}
{%- set methods = ['none', 'proportional', 'even'] + (['weights'] if var('sharing_weights') else []) %}
with teams as (
    select
        zone,
        iso_week,
        first_local_date,
        cluster,
        team,
        coalesce({{ nano('cost') }}, cast(0 as bigint)) - coalesce({{ nano('shared_cost') }}, cast(0 as bigint)) as direct_nano,
        coalesce({{ nano('shared_cost') }}, cast(0 as bigint)) as shared_nano
    from {{ ref('teams_weekly') }}
),

pools as (
    select
        zone,
        iso_week,
        cluster,
        min(first_local_date) as first_local_date,
        cast(sum(shared_nano) as bigint) as shared_nano
    from teams
    group by
        zone,
        iso_week,
        cluster
),

weights as (
{%- for team, weight in var('sharing_weights') %}
    select
        {{ quoted(team) }} as team,
        cast({{ weight }} as bigint) as part
    union all
{%- endfor %}
    select
        cast(null as string) as team,
        cast(0 as bigint) as part
    where false
),

-- Credits make no part: nobody pays less than nothing of what all share.
parts as (
    select
        zone,
        iso_week,
        cluster,
        'none' as method,
        team,
        direct_nano,
        cast(0 as bigint) as part
    from teams
    union all
    select
        zone,
        iso_week,
        cluster,
        'proportional' as method,
        team,
        direct_nano,
        greatest(direct_nano, cast(0 as bigint)) as part
    from teams
    union all
    select
        zone,
        iso_week,
        cluster,
        'even' as method,
        team,
        direct_nano,
        case when direct_nano > 0 and team <> 'unattributed' then cast(1 as bigint) else cast(0 as bigint) end as part
    from teams
{%- if 'weights' in methods %}
    union all
    select
        coalesce(teams.zone, pools.zone) as zone,
        coalesce(teams.iso_week, pools.iso_week) as iso_week,
        coalesce(teams.cluster, pools.cluster) as cluster,
        'weights' as method,
        coalesce(teams.team, weights.team) as team,
        coalesce(teams.direct_nano, cast(0 as bigint)) as direct_nano,
        coalesce(weights.part, cast(0 as bigint)) as part
    from pools
    cross join weights
    full outer join teams
        on pools.zone = teams.zone
        and pools.iso_week = teams.iso_week
        and pools.cluster = teams.cluster
        and weights.team = teams.team
{%- endif %}
),

ordered as (
    select
        *,
        cast(sum(part) over (
            partition by zone, iso_week, cluster, method order by team asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as to_part,
        cast(sum(part) over (partition by zone, iso_week, cluster, method) as bigint) as whole
    from parts
),

-- Differences of running parts leave nothing over.
shared as (
    select
        ordered.zone,
        ordered.iso_week,
        ordered.cluster,
        ordered.method,
        ordered.team,
        ordered.direct_nano,
        case
            when ordered.whole > 0
                then {{ prorate('pools.shared_nano', 'ordered.to_part', 'greatest(ordered.whole, cast(1 as bigint))') }}
                    - {{ prorate('pools.shared_nano', 'ordered.to_part - ordered.part', 'greatest(ordered.whole, cast(1 as bigint))') }}
            else cast(0 as bigint)
        end as shared_nano
    from ordered
    inner join pools
        on ordered.zone = pools.zone and ordered.iso_week = pools.iso_week and ordered.cluster = pools.cluster
    union all
    select
        ordered.zone,
        ordered.iso_week,
        ordered.cluster,
        ordered.method,
        'shared' as team,
        cast(0 as bigint) as direct_nano,
        max(pools.shared_nano) as shared_nano
    from ordered
    inner join pools
        on ordered.zone = pools.zone and ordered.iso_week = pools.iso_week and ordered.cluster = pools.cluster
    where ordered.whole = 0
    group by
        ordered.zone,
        ordered.iso_week,
        ordered.cluster,
        ordered.method
)

select
    shared.zone,
    shared.iso_week,
    pools.first_local_date,
    shared.cluster,
    shared.method,
    shared.team,
    {{ usd('shared.direct_nano') }} as direct_cost,
    {{ usd('shared.shared_nano') }} as shared_cost,
    {{ usd('shared.direct_nano + shared.shared_nano') }} as fully_loaded_cost
from shared
inner join pools
    on shared.zone = pools.zone and shared.iso_week = pools.iso_week and shared.cluster = pools.cluster
