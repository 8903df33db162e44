//! The lowest level: pods, and the hours and prices behind what they cost.

use super::super::question::Kind::{Bytes, Count, Duration, Instant, Millicores, Milligpus, SmallUsd, Text};
use super::super::question::{Column, Question, column, key};

const CLUSTER: Column = key(
    "cluster",
    "UID of the cluster (or the name that an import was given).",
);
const POD_UID: Column = key("pod_uid", "UID of the pod.");

/// What each pod cost.
pub static PODS: Question = Question {
    name: "pods",
    title: "Pods",
    about: "One row per pod that held a machine in the range: what its hours of the range cost. From `allocations_hourly` and `pods`.",
    sql: "with costs as ( \
              select cluster, pod_uid, sum(total_cost) as cost, sum(unused_cost) as unused_cost, count(distinct hour_start_at) as hours \
              from marts.allocations_hourly \
              where consumer_kind = 'pod' and hour_start_at >= make_timestamp_ms($from) and hour_start_at < make_timestamp_ms($to) \
                  [[and cluster = $cluster]] [[and team = $team and cost_category not in ({shared})]] \
                  [[and pipeline = $pipeline and cost_category not in ({shared})]] [[and namespace = $namespace]] [[and job = $job]] \
                  [[and run = $run]] [[and cost_category = $category]] [[and machine = $machine]] \
              group by all \
          ) \
          select costs.*, pods.pod_name, pods.namespace, pods.team, pods.pipeline, pods.run, pods.job, pods.outcome, pods.end_reason, \
              make_timestamp_ms(pods.bound_ms) as scheduled_at, pods.released_ms - pods.bound_ms as held_ms \
          from costs inner join marts.pods as pods on costs.cluster = pods.cluster and costs.pod_uid = pods.pod_uid",
    order: "cost desc nulls last, cluster, pod_uid",
    columns: &[
        column("pod_name", "pod", Text, "Name of the pod.")
            .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        column("namespace", "namespace", Text, "Namespace of the pod."),
        column("team", "team", Text, "Who answers for the cost.").to("/team", &[("team", "team")]),
        column("pipeline", "pipeline", Text, "The recurring definition.")
            .to("/pipeline", &[("pipeline", "pipeline")]),
        column("job", "job", Text, "The unit of work inside a run."),
        column("run", "run", Text, "One execution of the pipeline.").to(
            "/run",
            &[("run", "run"), ("pipeline", "pipeline"), ("cluster", "cluster")],
        ),
        column(
            "outcome",
            "outcome",
            Text,
            "succeeded, failed, lost, retired, cancelled, running or unknown.",
        ),
        column("end_reason", "why it ended", Text, "In the words of who said so."),
        column(
            "scheduled_at",
            "bound",
            Instant,
            "When it was bound to a machine.",
        ),
        column(
            "held_ms",
            "held it for",
            Duration,
            "From binding to release, ms; NULL while it holds the machine.",
        ),
        column(
            "hours",
            "hours",
            Count,
            "Hours of the range in which it held a machine.",
        ),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        )
        .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        column(
            "unused_cost",
            "unused",
            SmallUsd,
            "Of it what was asked for and not used, USD.",
        ),
        POD_UID,
        CLUSTER,
    ],
    required: &[],
};

/// One pod.
pub static POD: Question = Question {
    name: "pod",
    title: "Pod",
    about: "The pod that is named by its UID. From `pods`.",
    sql: "select pods.*, make_timestamp_ms(created_ms) as created_at, make_timestamp_ms(bound_ms) as scheduled_at, \
              make_timestamp_ms(running_ms) as started_at, make_timestamp_ms(finished_ms) as finished_at, \
              make_timestamp_ms(released_ms) as released_at, make_timestamp_ms(end_earliest_ms) as end_earliest_at, \
              make_timestamp_ms(end_latest_ms) as end_latest_at, costs.cost \
          from marts.pods as pods \
          left join (select cluster, pod_uid, sum(total_cost) as cost from marts.allocations_hourly where pod_uid = $pod group by all) as costs \
              on pods.cluster = costs.cluster and pods.pod_uid = costs.pod_uid \
          where pods.pod_uid = $pod [[and pods.cluster = $cluster]]",
    order: "cluster",
    columns: &[
        column("pod_name", "pod", Text, "Name of the pod."),
        column("namespace", "namespace", Text, "Namespace of the pod."),
        column("pod_uid", "UID", Text, "UID of the pod."),
        column(
            "cluster",
            "cluster",
            Text,
            "UID of the cluster (or the name that an import was given).",
        ),
        column(
            "node_name",
            "node",
            Text,
            "Name of the node; NULL where it was never bound.",
        )
        .to("/machine", &[("machine", "machine"), ("cluster", "cluster")]),
        column(
            "machine",
            "machine",
            Text,
            "Identifier of the machine: its provider's ID and its boot.",
        ),
        column("team", "team", Text, "Who answers for the cost.").to("/team", &[("team", "team")]),
        column(
            "system",
            "system",
            Text,
            "What made the pod: a system of the identity rules.",
        ),
        column("pipeline", "pipeline", Text, "The recurring definition.")
            .to("/pipeline", &[("pipeline", "pipeline")]),
        column("run", "run", Text, "One execution of the pipeline.").to(
            "/run",
            &[
                ("run", "run"),
                ("pipeline", "pipeline"),
                ("cluster", "cluster"),
                ("run_epoch", "run_epoch"),
            ],
        ),
        column("job", "job", Text, "The unit of work inside a run."),
        column("attempt", "try", Text, "Which try of the job."),
        column("pod_class", "class", Text, "system, platform or workload."),
        column(
            "outcome",
            "outcome",
            Text,
            "succeeded, failed, lost, retired, cancelled, running or unknown.",
        ),
        column("end_reason", "why it ended", Text, "In the words of who said so."),
        column(
            "exit_code",
            "exit code",
            Count,
            "Exit code of the main container.",
        ),
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
        column("end_source", "end read from", Text, "Where the end was read."),
        column(
            "end_earliest_at",
            "end not before",
            Instant,
            "The end lies not before.",
        ),
        column(
            "end_latest_at",
            "end not after",
            Instant,
            "The end lies not after.",
        ),
        column(
            "queue_wait_ms",
            "waited",
            Duration,
            "From creation to binding, ms.",
        ),
        column(
            "cpu_request_millicores",
            "CPU asked for",
            Millicores,
            "Requested CPU, millicores.",
        ),
        column(
            "memory_request_bytes",
            "memory asked for",
            Bytes,
            "Requested memory, bytes.",
        ),
        column(
            "gpu_request_milligpus",
            "GPUs asked for",
            Milligpus,
            "Requested accelerators, thousandths.",
        ),
        column(
            "cost",
            "cost",
            SmallUsd,
            "Cost of all its hours, USD; NULL where no price is known.",
        ),
        key("run_epoch", "Tells executions of the same name apart."),
    ],
    required: &["pod"],
};

/// The hours of a pod.
pub static POD_HOURS: Question = Question {
    name: "pod-hours",
    title: "Hour by hour",
    about: "One row per hour and cost category of the pod, whenever it ran, with the price of its machine. From `allocations_hourly` and `machine_prices`.",
    sql: "select allocations.*, prices.hourly_price, prices.price_source, prices.instance_type, prices.capacity_type \
          from marts.allocations_hourly as allocations \
          left join (select cluster, machine, min(hourly_price) as hourly_price, min(price_source) as price_source, \
                  min(instance_type) as instance_type, min(capacity_type) as capacity_type from marts.machine_prices \
                  where machine in (select machine from marts.pods where pod_uid = $pod) group by all) as prices \
              on allocations.cluster = prices.cluster and allocations.machine = prices.machine \
          where allocations.pod_uid = $pod [[and allocations.cluster = $cluster]]",
    order: "hour_start_at, cost_category, team, cluster, machine",
    columns: &[
        column("hour_start_at", "hour", Instant, "Start of the hour."),
        column("cost_category", "category", Text, "Cost category."),
        column("team", "team", Text, "Who answers for the cost.").to("/team", &[("team", "team")]),
        column("node_name", "node", Text, "Name of the node.")
            .to("/machine", &[("machine", "machine"), ("cluster", "cluster")]),
        column(
            "instance_type",
            "machine type",
            Text,
            "Instance type, as its provider names it.",
        ),
        column("capacity_type", "bought as", Text, "on-demand, spot or reserved."),
        column(
            "hourly_price",
            "price of an hour",
            SmallUsd,
            "Price of an hour of the machine, USD; the lowest, if it changed; NULL where none is known.",
        ),
        column("price_source", "price from", Text, "Where the price was read."),
        column("cpu_cost", "CPU", SmallUsd, "Cost of CPU, USD."),
        column("memory_cost", "memory", SmallUsd, "Cost of memory, USD."),
        column("gpu_cost", "GPU", SmallUsd, "Cost of accelerators, USD."),
        column(
            "total_cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        ),
        key("machine", "Identifier of the machine."),
        CLUSTER,
    ],
    required: &["pod"],
};

/// Pods that held a machine and could not start.
pub static STUCK_PODS: Question = Question {
    name: "stuck-pods",
    title: "Stuck pods",
    about: "One row per pod that held a machine while it waited on an image, a configuration or a crash loop. From `allocations_hourly`, `pods` and `pod_waits`.",
    sql: "with costs as ( \
              select cluster, pod_uid, sum(total_cost) as cost from marts.allocations_hourly \
              where cost_category = 'stuck' and hour_start_at >= make_timestamp_ms($from) and hour_start_at < make_timestamp_ms($to) \
                  [[and cluster = $cluster]] [[and team = $team]] [[and pipeline = $pipeline]] [[and namespace = $namespace]] \
              group by all \
          ) \
          select costs.*, pods.pod_name, pods.namespace, pods.team, pods.pipeline, pods.job, pods.outcome, pods.end_reason, \
              make_timestamp_ms(pods.bound_ms) as scheduled_at, waits.stuck_ms \
          from costs inner join marts.pods as pods on costs.cluster = pods.cluster and costs.pod_uid = pods.pod_uid \
          left join marts.pod_waits as waits on costs.cluster = waits.cluster and costs.pod_uid = waits.pod_uid",
    order: "cost desc nulls last, cluster, pod_uid",
    columns: &[
        column("pod_name", "pod", Text, "Name of the pod.")
            .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        column("namespace", "namespace", Text, "Namespace of the pod."),
        column("team", "team", Text, "Who answers for the cost.").to("/team", &[("team", "team")]),
        column("pipeline", "pipeline", Text, "The recurring definition.")
            .to("/pipeline", &[("pipeline", "pipeline")]),
        column("job", "job", Text, "The unit of work inside a run."),
        column(
            "outcome",
            "outcome",
            Text,
            "succeeded, failed, lost, retired, cancelled, running or unknown.",
        ),
        column("end_reason", "why it ended", Text, "In the words of who said so."),
        column(
            "scheduled_at",
            "bound",
            Instant,
            "When it was bound to a machine.",
        ),
        column(
            "stuck_ms",
            "stuck for",
            Duration,
            "Time it was stuck, ms; NULL where nobody told.",
        ),
        column("cost", "cost", SmallUsd, "Cost of the time it was stuck, USD.")
            .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        POD_UID,
        CLUSTER,
    ],
    required: &[],
};
