-- grain: one row per run that has ended and step of its critical path: the chain of attempts that decided when it ended
-- guarantee: gaps, waits, starts, work and releases of a run's steps add up to the time from its first creation to its end; the path goes
--     back from the attempt that ended last to the try of its job before it, or, from a first one, to the latest that had ended when that was
--     created, and so on
-- inputs: int_attempts
{{ config(materialized='view') }}
{%- set run = ['cluster', 'system', 'installation', 'pipeline', 'run', 'run_epoch'] %}
with attempts as (
    select
{%- for column in run %}
        {{ column }},
{%- endfor %}
        job,
        attempt,
        attempt_key,
        outcome,
        least(created_ms, released_ms) as start_ms,
        bound_ms,
        running_ms,
        finished_ms,
        released_ms as end_ms,
        cost_nano,
        -- Latest end first; of those that end together the one that began last.
        cast(row_number() over (
            partition by {{ run | join(', ') }}
            order by released_ms desc nulls first, created_ms desc nulls last, job asc nulls last, attempt_key asc nulls last
        ) as bigint) as number
    from {{ ref('int_attempts') }}
    -- What a pod made waits for that pod.
    where run <> 'unattributed' and not is_made_by_pod
),

-- An engine tries a job again because a try of it ended, whatever ended beside it meanwhile.
tried_before as (
    select
{%- for column in run %}
        later.{{ column }},
{%- endfor %}
        later.number,
        min(earlier.number) as tried_number
    from attempts as later
    inner join attempts as earlier
        on later.job = earlier.job
        and later.attempt <> earlier.attempt
        and later.number < earlier.number
        and later.start_ms >= earlier.end_ms
{%- for column in run %}
        and later.{{ column }} = earlier.{{ column }}
{%- endfor %}
    where 'unattributed' not in (later.job, later.attempt, earlier.attempt)
    group by
{%- for column in run %}
        later.{{ column }},
{%- endfor %}
        later.number
),

walked as (
    select
{%- for column in run %}
        attempts.{{ column }},
{%- endfor %}
        min(attempts.start_ms) as run_start_ms,
        max(attempts.end_ms) as run_end_ms,
        {{ walk_back(steps_back('attempts.number', 'attempts.end_ms', 'attempts.start_ms', 'tried_before.tried_number')) }} as numbers
    from attempts
    left join tried_before
        on attempts.number = tried_before.number
{%- for column in run %}
        and attempts.{{ column }} = tried_before.{{ column }}
{%- endfor %}
    group by
{%- for column in run %}
        attempts.{{ column }}{% if not loop.last %},{% endif %}
{%- endfor %}
    -- A run that goes on has no critical path yet.
    having count(*) = count(attempts.end_ms)
),

unfolded as (
    select
{%- for column in run %}
        {{ column }},
{%- endfor %}
        run_start_ms,
        run_end_ms,
        {{ unfold('numbers') }} as number
    from walked
),

path as (
    select
        attempts.*,
        unfolded.run_start_ms,
        unfolded.run_end_ms,
        -- What comes before on the path has the next higher number on it.
        lead(attempts.end_ms) over (
            partition by {% for column in run %}attempts.{{ column }}{% if not loop.last %}, {% endif %}{% endfor %}
            order by attempts.number asc nulls last
        ) as previous_end_ms,
        cast(row_number() over (
            partition by {% for column in run %}attempts.{{ column }}{% if not loop.last %}, {% endif %}{% endfor %}
            order by attempts.number desc nulls last
        ) as bigint) as step
    from unfolded
    inner join attempts
        on unfolded.number = attempts.number
{%- for column in run %}
        and unfolded.{{ column }} = attempts.{{ column }}
{%- endfor %}
),

-- Each instant is no earlier than the one before, whatever was told of it.
bound as (
    select
        *,
        greatest(least(coalesce(bound_ms, end_ms), end_ms), start_ms) as bound_at_ms
    from path
),

running as (
    select
        *,
        greatest(least(coalesce(running_ms, end_ms), end_ms), bound_at_ms) as running_at_ms
    from bound
),

finished as (
    select
        *,
        greatest(least(coalesce(finished_ms, end_ms), end_ms), running_at_ms) as finished_at_ms
    from running
)

select
{%- for column in run %}
    {{ column }},
{%- endfor %}
    step,
    job,
    attempt,
    outcome,
    {{ at('start_ms') }} as created_at,
    {{ at('end_ms') }} as ended_at,
    run_end_ms - run_start_ms as run_duration_ms,
    -- Between the end of the step before and its creation the engine did nothing that shows.
    start_ms - coalesce(previous_end_ms, run_start_ms) as gap_ms,
    bound_at_ms - start_ms as queue_wait_ms,
    running_at_ms - bound_at_ms as startup_ms,
    finished_at_ms - running_at_ms as work_ms,
    end_ms - finished_at_ms as release_ms,
    {{ usd('cost_nano') }} as cost
from finished
