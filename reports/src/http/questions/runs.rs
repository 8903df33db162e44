//! What ran.

use super::super::question::Kind::{Count, Duration, Instant, SmallUsd, Text};
use super::super::question::{Column, Question, column, key};

const CLUSTER: Column = key(
    "cluster",
    "UID of the cluster (or the name that an import was given).",
);
const SYSTEM: Column = key("system", "What made the pods: a system of the identity rules.");
const INSTALLATION: Column = key("installation", "Installation of the system: the namespace.");
const RUN_EPOCH: Column = key("run_epoch", "Tells executions of the same name apart.");

const THIS_RUN: &[(&str, &str)] = &[
    ("run", "run"),
    ("pipeline", "pipeline"),
    ("cluster", "cluster"),
    ("system", "system"),
    ("installation", "installation"),
    ("run_epoch", "run_epoch"),
];

/// Which run is meant; names may be those of several.
const KEYS: &[&str] = &["pipeline", "run"];

/// Runs that started in the range.
pub static RUNS: Question = Question {
    name: "runs",
    title: "Runs",
    about: "One row per run that started in the range. From `runs`.",
    sql: "select *, epoch_ms(ended_at) - epoch_ms(started_at) as duration_ms from marts.runs as runs \
          where started_at >= make_timestamp_ms($from) and started_at < make_timestamp_ms($to) \
              [[and cluster = $cluster]] [[and pipeline = $pipeline]] [[and system = $system]] \
              [[and exists (select 1 from marts.run_teams as teams where teams.team = $team and teams.run = runs.run \
                  and teams.pipeline = runs.pipeline and teams.cluster = runs.cluster and teams.run_epoch is not distinct from runs.run_epoch)]]",
    order: "cost desc nulls last, started_at, cluster, system, installation, pipeline, run, run_epoch",
    columns: &[
        column("run", "run", Text, "One execution of the pipeline.").to("/run", THIS_RUN),
        column("pipeline", "pipeline", Text, "The recurring definition.")
            .to("/pipeline", &[("pipeline", "pipeline")]),
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
        column(
            "duration_ms",
            "took",
            Duration,
            "From its start to its end, ms; NULL while it runs.",
        ),
        column(
            "queue_wait_ms",
            "waited",
            Duration,
            "Sum of its attempts' waits for a machine, ms.",
        ),
        column("pods", "pods", Count, "Number of pods."),
        column("attempts", "tries", Count, "Number of attempts."),
        column(
            "failed_attempts",
            "failed tries",
            Count,
            "Attempts that failed or were lost.",
        ),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        )
        .to("/run", THIS_RUN),
        column(
            "wasted_cost",
            "wasted",
            SmallUsd,
            "Of it failed, lost, stuck and asked for in vain, USD.",
        ),
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
          where pipeline = $pipeline and run = $run [[and cluster = $cluster]] [[and system = $system]] \
              [[and installation = $installation]] [[and run_epoch = $run_epoch]]",
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
          where pipeline = $pipeline and run = $run [[and cluster = $cluster]] [[and system = $system]] \
              [[and installation = $installation]] [[and run_epoch = $run_epoch]]",
    order: "created_at, job, attempt, cluster, system, installation, run_epoch",
    columns: &[
        column("job", "job", Text, "The unit of work inside a run.").to(
            "/pods",
            &[("job", "job"), ("run", "run"), ("pipeline", "pipeline")],
        ),
        column(
            "attempt",
            "try",
            Text,
            "Which try of the job; `unattributed` where the system numbers none.",
        ),
        column(
            "outcome",
            "outcome",
            Text,
            "succeeded, failed, lost, retired, cancelled, running or unknown.",
        ),
        column("end_reason", "why it ended", Text, "In the words of who said so."),
        column(
            "created_at",
            "created",
            Instant,
            "When its first pod was created.",
        ),
        column(
            "queue_wait_ms",
            "waited",
            Duration,
            "From creation to binding, ms.",
        ),
        column(
            "duration_ms",
            "took",
            Duration,
            "From its start to its end, ms; NULL while it runs.",
        ),
        column("pods", "pods", Count, "Number of pods."),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        ),
        column(
            "wasted_cost",
            "wasted",
            SmallUsd,
            "Of it failed, lost, stuck and asked for in vain, USD.",
        ),
        key("scheduled_at", "When it was bound to a machine, UTC."),
        key("started_at", "When it began to run, UTC."),
        key("ended_at", "When it ended, UTC; NULL while it runs."),
        key("run", "One execution of the pipeline."),
        key("pipeline", "The recurring definition."),
    ],
    required: KEYS,
};

/// Pods of a run.
pub static RUN_PODS: Question = Question {
    name: "run-pods",
    title: "Pods of the run",
    about: "One row per pod of the run, on its machine. From `attempt_pods`.",
    sql: "select * from marts.attempt_pods \
          where pipeline = $pipeline and run = $run [[and cluster = $cluster]] [[and system = $system]] \
              [[and installation = $installation]] [[and run_epoch = $run_epoch]]",
    order: "node_name nulls last, created_at, pod_uid, cluster",
    columns: &[
        column("pod_name", "pod", Text, "Name of the pod.")
            .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        column("job", "job", Text, "The unit of work inside a run."),
        column("attempt", "try", Text, "Which try of the job."),
        column(
            "node_name",
            "node",
            Text,
            "Name of the node it ran on; NULL where it was never bound.",
        )
        .to("/machine", &[("machine", "machine"), ("cluster", "cluster")]),
        column(
            "outcome",
            "outcome",
            Text,
            "succeeded, failed, lost, retired, cancelled, running or unknown.",
        ),
        column("end_reason", "why it ended", Text, "In the words of who said so."),
        column("created_at", "created", Instant, "When it was created."),
        column(
            "scheduled_at",
            "bound",
            Instant,
            "When it was bound to a machine.",
        ),
        column("started_at", "started", Instant, "When its containers started."),
        column(
            "finished_at",
            "finished",
            Instant,
            "When its containers finished.",
        ),
        column(
            "released_at",
            "released",
            Instant,
            "When it let go of its resources; NULL while it holds them.",
        ),
        column(
            "queue_wait_ms",
            "waited",
            Duration,
            "From creation to binding, ms.",
        ),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        )
        .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        column(
            "wasted_cost",
            "wasted",
            SmallUsd,
            "Of it failed, lost, stuck and asked for in vain, USD.",
        ),
        key("pod_uid", "UID of the pod."),
        key(
            "machine",
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
          where pipeline = $pipeline and run = $run [[and cluster = $cluster]] [[and system = $system]] \
              [[and installation = $installation]] [[and run_epoch = $run_epoch]]",
    order: "cost desc nulls last, team, cluster, system, installation, run_epoch",
    columns: &[
        column("team", "team", Text, "Who answers for the cost.").to("/team", &[("team", "team")]),
        column("pods", "pods", Count, "Number of pods."),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        ),
        column(
            "wasted_cost",
            "wasted",
            SmallUsd,
            "Of it failed, lost, stuck and asked for in vain, USD.",
        ),
    ],
    required: KEYS,
};

/// What a run waited for.
pub static CRITICAL_PATH: Question = Question {
    name: "critical-path",
    title: "Critical path",
    about: "The chain of tries that decided how long the run took, step by step. From `run_critical_paths`.",
    sql: "select * from marts.run_critical_paths \
          where pipeline = $pipeline and run = $run [[and cluster = $cluster]] [[and system = $system]] \
              [[and installation = $installation]] [[and run_epoch = $run_epoch]]",
    order: "cluster, system, installation, run_epoch, step",
    columns: &[
        column("step", "step", Count, "Place in the chain; the first is 1."),
        column("job", "job", Text, "The unit of work inside a run."),
        column("attempt", "try", Text, "Which try of the job."),
        column(
            "outcome",
            "outcome",
            Text,
            "succeeded, failed, lost, retired, cancelled, running or unknown.",
        ),
        column(
            "created_at",
            "created",
            Instant,
            "When its first pod was created.",
        ),
        column(
            "gap_ms",
            "gap before",
            Duration,
            "Time between the end of the step before and its creation, ms.",
        ),
        column(
            "queue_wait_ms",
            "waited",
            Duration,
            "From creation to binding, ms.",
        ),
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
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        ),
    ],
    required: KEYS,
};

/// How runs of a pipeline went, week by week.
pub static PIPELINE_WEEKS: Question = Question {
    name: "pipeline-weeks",
    title: "Week by week",
    about: "One row per ISO week, in the zones that reports are built for. From `pipeline_runs_weekly`.",
    sql: "select * from marts.pipeline_runs_weekly where zone = $zone and pipeline = $pipeline [[and cluster = $cluster]]",
    order: "iso_week desc, cluster, system, installation",
    columns: &[
        column("iso_week", "week", Text, "ISO 8601 week."),
        column(
            "system",
            "system",
            Text,
            "What made the pods: a system of the identity rules.",
        ),
        column("runs", "runs", Count, "Runs that started in the week."),
        column(
            "succeeded_runs",
            "succeeded",
            Count,
            "Runs of them that succeeded.",
        ),
        column("cost", "cost", SmallUsd, "Cost of its runs, USD."),
        column(
            "wasted_cost",
            "wasted",
            SmallUsd,
            "Of it failed, lost, stuck and asked for in vain, USD.",
        ),
        column(
            "cost_per_success",
            "per success",
            SmallUsd,
            "Cost of all runs, divided by those that succeeded, USD; NULL where none did.",
        ),
        column("cost_p50", "half cost", SmallUsd, "Median cost of a run, USD."),
        column(
            "cost_p95",
            "1 in 20 cost",
            SmallUsd,
            "95th percentile of the cost of a run, USD.",
        ),
        column(
            "duration_p50_ms",
            "half took",
            Duration,
            "Median time of a run, ms.",
        ),
        column(
            "duration_p95_ms",
            "1 in 20 took",
            Duration,
            "95th percentile of the time of a run, ms.",
        ),
        CLUSTER,
        INSTALLATION,
    ],
    required: &["pipeline"],
};
