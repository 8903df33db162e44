-- grain: one row per zone, ISO week, cluster and pipeline whose successful runs cost more since a day of the week than in the 28 days before it
-- guarantee: integers only: a rank test (Mann and Whitney) with z squared of 20 or more, medians a fifth or more apart, eight runs or more on
--     each side; the day is the one that tells the two apart best
-- inputs: runs, int_attempts, calendar, int_finding_weeks
{{ config(materialized='view') }}
{%- set pipeline = ['cluster', 'zone', 'iso_week', 'system', 'installation', 'pipeline'] %}
with weekly as (
    select
        runs.cluster,
        weeks.zone,
        weeks.iso_week,
        runs.system,
        runs.installation,
        runs.pipeline,
        runs.run,
        runs.run_epoch,
        {{ nano('runs.cost') }} as cost_nano,
        {{ ms('runs.created_at') }} as created_ms
    from {{ ref('runs') }} as runs
    inner join {{ ref('int_finding_weeks') }} as weeks
        on runs.cluster = weeks.cluster
        and {{ ms('runs.created_at') }} >= weeks.from_ms - cast(2419200000 as bigint)
        and {{ ms('runs.created_at') }} < weeks.to_ms
    where runs.status = 'succeeded' and runs.cost is not null and runs.pipeline <> 'unattributed'
),

-- The days that it may have changed on.
days as (
    select
        zone,
        iso_week,
        min(hour_start_ms) as day_ms
    from {{ source('build', 'calendar') }}
    group by
        zone,
        iso_week,
        local_date
),

-- Twice the rank, so that ranks of equal costs are whole numbers.
ranked as (
    select
        *,
        cast(rank() over (partition by {{ pipeline | join(', ') }} order by cost_nano asc nulls last) as bigint) * 2
        + cast(count(*) over (partition by {{ pipeline | join(', ') }}, cost_nano) as bigint) - 1 as rank_2
    from weekly
),

tested as (
    select
{%- for column in pipeline %}
        ranked.{{ column }},
{%- endfor %}
        days.day_ms,
        cast(sum(case when ranked.created_ms < days.day_ms then 1 else 0 end) as bigint) as runs_before,
        cast(sum(case when ranked.created_ms >= days.day_ms then 1 else 0 end) as bigint) as runs_after,
        cast(sum(case when ranked.created_ms >= days.day_ms then ranked.rank_2 else cast(0 as bigint) end) as bigint) as rank_2_after,
        {{ percentile('case when ranked.created_ms < days.day_ms then ranked.cost_nano end', '0.5') }} as before_nano,
        {{ percentile('case when ranked.created_ms >= days.day_ms then ranked.cost_nano end', '0.5') }} as after_nano
    from ranked
    inner join days on ranked.zone = days.zone and ranked.iso_week = days.iso_week
    group by
{%- for column in pipeline %}
        ranked.{{ column }},
{%- endfor %}
        days.day_ms
),

-- z squared = 12 (U - n m / 2)^2 / (n m (n + m + 1)); in doubled ranks 2 U = R2 - m (m + 1), so 3 (2 U - n m)^2 over the same.
scored as (
    select
        *,
        {{ wide_idiv('cast(3 as decimal(38,0)) * cast(rank_2_after - runs_after * (runs_after + 1) - runs_before * runs_after as decimal(19,0)) * cast(rank_2_after - runs_after * (runs_after + 1) - runs_before * runs_after as decimal(19,0))', 'nullif(cast(runs_before as decimal(19,0)) * cast(runs_after * (runs_before + runs_after + 1) as decimal(19,0)), cast(0 as decimal(38,0)))') }} as z_squared
    from tested
    where runs_before >= 8 and runs_after >= 8
),

placed as (
    select
        *,
        cast(row_number() over (
            partition by {{ pipeline | join(', ') }} order by z_squared desc nulls last, day_ms asc nulls last
        ) as bigint) as place
    from scored
),

told as (
    select *
    from placed
    where place = 1 and z_squared >= cast(20 as decimal(38,0)) and after_nano * 5 >= before_nano * 6
),

-- What each job of these runs cost.
jobs as (
    select
        weekly.cluster,
        weekly.zone,
        weekly.iso_week,
        weekly.system,
        weekly.installation,
        weekly.pipeline,
        weekly.run,
        weekly.run_epoch,
        attempts.job,
        max(attempts.team) as team,
        max(case when weekly.created_ms >= told.day_ms then 1 else 0 end) = 1 as is_after,
        -- What never had a machine is known to cost nothing.
        cast(sum(case when attempts.bound_ms is null then cast(0 as bigint) else attempts.cost_nano end) as bigint) as cost_nano
    from told
    inner join weekly
        on {% for column in pipeline %}told.{{ column }} = weekly.{{ column }}{% if not loop.last %}
        and {% endif %}{% endfor %}
    inner join {{ ref('int_attempts') }} as attempts
        on weekly.cluster = attempts.cluster
        and weekly.system = attempts.system
        and weekly.installation = attempts.installation
        and weekly.pipeline = attempts.pipeline
        and weekly.run = attempts.run
        and weekly.run_epoch = attempts.run_epoch
    group by
        weekly.cluster,
        weekly.zone,
        weekly.iso_week,
        weekly.system,
        weekly.installation,
        weekly.pipeline,
        weekly.run,
        weekly.run_epoch,
        attempts.job
),

changes as (
    select
        {{ pipeline | join(', ') }},
        job,
        max(team) as team,
        {{ percentile('case when is_after then cost_nano end', '0.5') }} - {{ percentile('case when not is_after then cost_nano end', '0.5') }} as more_nano
    from jobs
    group by
        {{ pipeline | join(', ') }},
        job
),

largest as (
    select
        {{ pipeline | join(', ') }},
        max_by(coalesce(team, 'unattributed'), (more_nano, job)) as team,
        max_by(job, (more_nano, job)) as job,
        max(more_nano) as more_nano
    from changes
    where more_nano is not null
    group by
        {{ pipeline | join(', ') }}
)

select
    told.cluster,
    told.zone,
    told.iso_week,
    'run_cost_regression' as finding,
    'pipeline' as subject_kind,
    told.pipeline as subject,
    coalesce(largest.team, 'unattributed') as team,
    told.installation as namespace,
    nullif(told.pipeline, 'unattributed') as pipeline,
    (told.after_nano - told.before_nano) * told.runs_after as cost_nano,
    cast(null as bigint) as previous_cost_nano,
    told.day_ms as since_ms,
    'the median run costs ' || {{ percent_text('told.after_nano - told.before_nano', 'told.before_nano') }} || ' more: ' || {{ number_text('told.runs_after') }} || ' runs since, '
    || {{ number_text('told.runs_before') }} || ' before'
    || coalesce('; job ' || largest.job || ' explains ' || {{ percent_text('least(greatest(largest.more_nano, cast(0 as bigint)), told.after_nano - told.before_nano)', 'told.after_nano - told.before_nano') }}, '') as evidence,
    'look at what changed on that day: data, code, requests or prices' as mend,
    cast(null as string) as command,
    'runs' as counted_in
from told
left join largest
    on {% for column in pipeline %}told.{{ column }} = largest.{{ column }}{% if not loop.last %}
    and {% endif %}{% endfor %}
