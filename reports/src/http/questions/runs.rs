//! What ran.

use super::super::question::Kind::{Count, Duration, Instant, SmallUsd, Text};
use super::super::question::{Question, column, key};
use super::columns::{
    ATTEMPT, BOUND_AT, CLUSTER, COST, CREATED_AT, END_REASON, FINISHED_AT, INSTALLATION, ISO_WEEK, JOB,
    OUTCOME, PIPELINE, POD_CREATED_AT, POD_NAME, POD_UID, PODS_COUNT, RELEASED_AT, RUN_EPOCH, RUN_NAME,
    STARTED_AT, SYSTEM, TEAM, TOOK, VAIN, WAITED, WASTED,
};

const THIS_RUN: &[(&str, &str)] = &[
    ("run", "run"),
    ("pipeline", "pipeline"),
    ("cluster", "cluster"),
    ("system", "system"),
    ("installation", "installation"),
    ("run_epoch", "run_epoch"),
];

const OF_TRY: &[(&str, &str)] = &[
    ("job", "job"),
    ("attempt", "attempt"),
    ("run", "run"),
    ("pipeline", "pipeline"),
];
const OF_TEAM: &[(&str, &str)] = &[("team", "team"), ("run", "run"), ("pipeline", "pipeline")];
const OF_WEEK: &[(&str, &str)] = &[("week", "iso_week"), ("pipeline", "pipeline")];

/// Which run is meant; names may be those of several.
const KEYS: &[&str] = &["pipeline", "run"];

/// Runs that started in the range.
pub static RUNS: Question = Question {
    name: "runs",
    title: "Runs",
    about: "One row per run that started in the range, with all that it cost. From `runs`; of a team or namespace, those in which it had pods.",
    sql: "select *, epoch_ms(ended_at) - epoch_ms(started_at) as duration_ms from marts.runs as runs \
          where started_at >= make_timestamp_ms($from) and started_at < make_timestamp_ms($to) \
              [[and cluster = $cluster]] [[and pipeline = $pipeline]] [[and system = $system]] \
              [[and list_contains(string_split($status, ','), status)]] \
              [[and exists (select 1 from marts.run_teams as teams where {of_team} and {teams_of_runs})]] \
              [[and exists (select 1 from marts.attempt_pods as pods where pods.namespace = $namespace and {pods_of_runs})]]",
    order: "cost desc nulls last, started_at, cluster, system, installation, pipeline, run, run_epoch",
    columns: &[
        RUN_NAME.to("/run", THIS_RUN),
        PIPELINE.to("/pipeline", &[("pipeline", "pipeline")]),
        column(
            "status",
            "status",
            Text,
            "running, failed, lost, unknown or succeeded, by the last attempt of every job.",
        ),
        column(
            "started_at",
            "started",
            Instant,
            "When it began to hold a machine.",
        ),
        TOOK,
        column(
            "queue_wait_ms",
            "waited",
            Duration,
            "Sum of its attempts' waits for a machine, ms.",
        ),
        PODS_COUNT,
        column("attempts", "tries", Count, "Number of attempts."),
        column(
            "failed_attempts",
            "failed tries",
            Count,
            "Attempts that failed or were lost.",
        ),
        COST.to("/run", THIS_RUN),
        WASTED.to("/run", THIS_RUN),
        SYSTEM,
        CLUSTER,
        INSTALLATION,
        RUN_EPOCH,
    ],
    required: &[],
};

/// One run.
pub static RUN: Question = Question {
    name: "run",
    title: "Run",
    about: "The run that is named, whenever it ran. From `runs`.",
    sql: "select *, epoch_ms(ended_at) - epoch_ms(started_at) as duration_ms from marts.runs \
          where {this_run}",
    order: "started_at, cluster, system, installation, run_epoch",
    columns: RUNS.columns,
    required: KEYS,
};

/// Tries of a run.
pub static RUN_ATTEMPTS: Question = Question {
    name: "run-attempts",
    title: "Tries",
    about: "One row per try of a job of the run. From `job_attempts`.",
    sql: "select * from marts.job_attempts \
          where {this_run}",
    order: "created_at, job, attempt, cluster, system, installation, run_epoch",
    columns: &[
        JOB.to(
            "/pods",
            &[("job", "job"), ("run", "run"), ("pipeline", "pipeline")],
        ),
        column(
            "attempt",
            "try",
            Text,
            "Which try of the job; `unattributed` where the system numbers none.",
        ),
        OUTCOME,
        END_REASON,
        CREATED_AT,
        WAITED,
        TOOK,
        PODS_COUNT,
        COST.to("/pods", OF_TRY),
        WASTED.to_those("/pods", OF_TRY, VAIN),
        key("scheduled_at", Instant, "When it was bound to a machine, UTC."),
        key("started_at", Instant, "When it began to run, UTC."),
        key("ended_at", Instant, "When it ended, UTC; NULL while it runs."),
        key("run", Text, "One execution of the pipeline."),
        key("pipeline", Text, "The recurring definition."),
    ],
    required: KEYS,
};

/// Pods of a run.
pub static RUN_PODS: Question = Question {
    name: "run-pods",
    title: "Pods of the run",
    about: "One row per pod of the run, on its machine. From `attempt_pods`.",
    sql: "select * from marts.attempt_pods \
          where {this_run}",
    order: "node_name nulls last, created_at, pod_uid, cluster",
    columns: &[
        POD_NAME.to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        JOB,
        ATTEMPT,
        column(
            "node_name",
            "node",
            Text,
            "Name of the node it ran on; NULL where it was never bound.",
        )
        .to("/machine", &[("machine", "machine"), ("cluster", "cluster")]),
        OUTCOME,
        END_REASON,
        POD_CREATED_AT,
        BOUND_AT,
        STARTED_AT,
        FINISHED_AT,
        RELEASED_AT,
        WAITED,
        COST.to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        WASTED.to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        POD_UID,
        key(
            "machine",
            Text,
            "Identifier of the machine; NULL where it was never bound.",
        ),
        CLUSTER,
    ],
    required: KEYS,
};

/// Who pays for a run.
pub static RUN_TEAMS: Question = Question {
    name: "run-teams",
    title: "Teams of the run",
    about: "One row per team that had pods in the run. From `run_teams`.",
    sql: "select * from marts.run_teams \
          where {this_run}",
    order: "cost desc nulls last, team, cluster, system, installation, run_epoch",
    columns: &[
        TEAM.to("/team", &[("team", "team")]),
        PODS_COUNT,
        COST.to("/pods", OF_TEAM),
        WASTED.to_those("/pods", OF_TEAM, VAIN),
        key("run", Text, "One execution of the pipeline."),
        key("pipeline", Text, "The recurring definition."),
    ],
    required: KEYS,
};

/// What a run waited for.
pub static CRITICAL_PATH: Question = Question {
    name: "critical-path",
    title: "Critical path",
    about: "The chain of tries that decided how long the run took, step by step. From `run_critical_paths`.",
    sql: "select * from marts.run_critical_paths \
          where {this_run}",
    order: "cluster, system, installation, run_epoch, step",
    columns: &[
        column("step", "step", Count, "Place in the chain; the first is 1."),
        JOB,
        ATTEMPT,
        OUTCOME,
        CREATED_AT,
        column(
            "gap_ms",
            "gap before",
            Duration,
            "Time between the end of the step before and its creation, ms.",
        ),
        WAITED,
        column(
            "startup_ms",
            "started up",
            Duration,
            "From binding to the start of containers, ms.",
        ),
        column("work_ms", "worked", Duration, "Time in which containers ran, ms."),
        column(
            "release_ms",
            "let go",
            Duration,
            "From the end of containers to the release of resources, ms.",
        ),
        COST.to("/pods", OF_TRY),
        key("run", Text, "One execution of the pipeline."),
        key("pipeline", Text, "The recurring definition."),
    ],
    required: KEYS,
};

/// How runs of a pipeline went, week by week.
pub static PIPELINE_WEEKS: Question = Question {
    name: "pipeline-weeks",
    title: "Week by week",
    about: "One row per ISO week of runs that ended in it, in the zones that reports are built for. Medians are of runs that succeeded. From `pipeline_runs_weekly`.",
    sql: "select * from marts.pipeline_runs_weekly where zone = $zone and pipeline = $pipeline [[and cluster = $cluster]]",
    order: "iso_week desc, cluster, system, installation, target_duration_ms",
    columns: &[
        ISO_WEEK.to("/pipeline", OF_WEEK),
        column(
            "system",
            "system",
            Text,
            "What made the pods: a system of the identity rules.",
        ),
        column("runs", "runs", Count, "Runs that ended in the week."),
        column(
            "succeeded_runs",
            "succeeded",
            Count,
            "Runs of them that succeeded.",
        ),
        column(
            "runs_on_target",
            "on target",
            Count,
            "Runs that succeeded within the declared time; NULL without a target.",
        ),
        column(
            "target_duration_ms",
            "target",
            Duration,
            "How long a run may take, as declared, ms; NULL if it is not.",
        ),
        column(
            "priced_runs",
            "with a price",
            Count,
            "Runs whose cost is known: costs are of these.",
        ),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost of all runs that ended, from their beginnings, USD; NULL where no price is known.",
        )
        .to("/runs", OF_WEEK),
        WASTED.to("/runs", OF_WEEK),
        column(
            "cost_per_success",
            "per success",
            SmallUsd,
            "Cost of all runs that ended and whose cost is known, divided by those of them that succeeded, USD; NULL where none did.",
        )
        .to("/runs", OF_WEEK),
        column(
            "cost_p50",
            "half cost",
            SmallUsd,
            "Median cost of successful runs, USD.",
        )
        .to("/runs", OF_WEEK),
        column(
            "cost_p95",
            "1 in 20 cost",
            SmallUsd,
            "95th percentile of the cost of successful runs, USD.",
        )
        .to("/runs", OF_WEEK),
        column(
            "duration_p50_ms",
            "half took",
            Duration,
            "Median time from first creation to end of successful runs, ms.",
        ),
        column(
            "duration_p95_ms",
            "1 in 20 took",
            Duration,
            "95th percentile of that time, ms.",
        ),
        CLUSTER,
        INSTALLATION,
        key("pipeline", Text, "The recurring definition."),
    ],
    required: &["pipeline"],
};
