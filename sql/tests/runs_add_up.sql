-- guards: a run costs what its teams cost, and has the pods that its teams have
with teams as (
    select
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch,
        sum(pods) as pods,
        sum(cost) as cost
    from {{ ref('run_teams') }}
    group by
        cluster,
        system,
        installation,
        pipeline,
        run,
        run_epoch
)

select runs.*
from {{ ref('runs') }} as runs
left join teams
    on runs.cluster = teams.cluster
    and runs.system = teams.system
    and runs.installation = teams.installation
    and runs.pipeline = teams.pipeline
    and runs.run = teams.run
    and runs.run_epoch = teams.run_epoch
where
    teams.pods is null
    or teams.pods <> runs.pods
    or coalesce(teams.cost, cast(-1 as decimal(18,9))) <> coalesce(runs.cost, cast(-1 as decimal(18,9)))
