//! The lowest level: pods, and the hours and prices behind what they cost.

use super::super::question::Kind::{Bytes, Count, Duration, Instant, Millicores, Milligpus, SmallUsd, Text};
use super::super::question::{Question, column};
use super::columns::{
    ATTEMPT, BOUND_AT, CAPACITY_TYPE, CLUSTER, CLUSTER_SHOWN, COST, COST_CATEGORY, CPU_COST, END_REASON,
    FINISHED_AT, GPU_COST, HOUR, JOB, MACHINE, MEMORY_COST, NAMESPACE, OUTCOME, PIPELINE, POD_CREATED_AT,
    POD_NAME, POD_UID, PRICE_SOURCE, RELEASED_AT, RUN_EPOCH, RUN_NAME, STARTED_AT, TEAM, WAITED,
};

const THIS_POD: &[(&str, &str)] = &[("pod", "pod_uid"), ("cluster", "cluster")];
const ITS_MACHINE: &[(&str, &str)] = &[("machine", "machine"), ("cluster", "cluster")];

/// What each pod cost.
pub static PODS: Question = Question {
    name: "pods",
    title: "Pods",
    about: "One row per pod that held a machine in the range: what its hours of the range cost, whole, also where several teams share it. From `allocations_hourly` and `pods`.",
    sql: "with costs as ( \
              select cluster, pod_uid, sum(total_cost) as cost, sum(unused_cost) as unused_cost, count(distinct hour_start_at) as hours \
              from marts.allocations_hourly \
              where consumer_kind = 'pod' and {hours} \
                  [[and cluster = $cluster]] [[and {of_team} and cost_category not in ({shared})]] \
                  [[and pipeline = $pipeline and cost_category not in ({shared})]] [[and namespace = $namespace]] [[and job = $job]] \
                  [[and run = $run]] [[and attempt = $attempt]] [[and {of_category}]] [[and machine = $machine]] \
              group by all \
          ) \
          select costs.*, pods.pod_name, pods.namespace, pods.team, pods.pipeline, pods.run, pods.job, pods.outcome, pods.end_reason, \
              make_timestamp_ms(pods.bound_ms) as scheduled_at, pods.queue_wait_ms, pods.released_ms - pods.bound_ms as held_ms \
          from costs inner join marts.pods as pods on costs.cluster = pods.cluster and costs.pod_uid = pods.pod_uid",
    order: "cost desc nulls last, cluster, pod_uid",
    columns: &[
        POD_NAME.to("/pod", THIS_POD),
        NAMESPACE,
        TEAM.to("/team", &[("team", "team")]),
        PIPELINE.to("/pipeline", &[("pipeline", "pipeline")]),
        JOB,
        RUN_NAME.to(
            "/run",
            &[("run", "run"), ("pipeline", "pipeline"), ("cluster", "cluster")],
        ),
        OUTCOME,
        END_REASON,
        BOUND_AT,
        WAITED,
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
        COST.to("/pod", THIS_POD),
        column(
            "unused_cost",
            "unused",
            SmallUsd,
            "Of it what was asked for and not used, USD.",
        )
        .to("/pod", THIS_POD),
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
        POD_NAME,
        NAMESPACE,
        column("pod_uid", "UID", Text, "UID of the pod."),
        CLUSTER_SHOWN,
        column(
            "node_name",
            "node",
            Text,
            "Name of the node; NULL where it was never bound.",
        )
        .to("/machine", ITS_MACHINE),
        column(
            "machine",
            "machine",
            Text,
            "Identifier of the machine: its provider's ID and its boot.",
        ),
        TEAM.to("/team", &[("team", "team")]),
        column(
            "system",
            "system",
            Text,
            "What made the pod: a system of the identity rules.",
        ),
        PIPELINE.to("/pipeline", &[("pipeline", "pipeline")]),
        RUN_NAME.to(
            "/run",
            &[
                ("run", "run"),
                ("pipeline", "pipeline"),
                ("cluster", "cluster"),
                ("run_epoch", "run_epoch"),
            ],
        ),
        JOB,
        ATTEMPT,
        column("pod_class", "class", Text, "system, platform or workload."),
        OUTCOME,
        END_REASON,
        column(
            "exit_code",
            "exit code",
            Count,
            "Exit code of the main container.",
        ),
        POD_CREATED_AT,
        BOUND_AT,
        STARTED_AT,
        FINISHED_AT,
        RELEASED_AT,
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
        WAITED,
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
        RUN_EPOCH,
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
          asof left join (select * from marts.machine_prices where machine in (select machine from marts.pods where pod_uid = $pod)) as prices \
              on allocations.cluster = prices.cluster and allocations.machine = prices.machine \
              and allocations.hour_start_at + interval 1 hour > prices.start_at \
          where allocations.pod_uid = $pod [[and allocations.cluster = $cluster]]",
    order: "hour_start_at, cost_category, team, cluster, machine",
    columns: &[
        HOUR,
        COST_CATEGORY,
        TEAM.to("/team", &[("team", "team")]),
        column("node_name", "node", Text, "Name of the node.")
            .to("/machine", ITS_MACHINE),
        column(
            "instance_type",
            "machine type",
            Text,
            "Instance type, as its provider names it.",
        ),
        CAPACITY_TYPE,
        column(
            "hourly_price",
            "price of an hour",
            SmallUsd,
            "Price of an hour of the machine at that time, USD; the last, if it changed within the hour; NULL where none is known.",
        )
        .to("/machine", ITS_MACHINE),
        PRICE_SOURCE,
        CPU_COST.to("/machine", ITS_MACHINE),
        MEMORY_COST.to("/machine", ITS_MACHINE),
        GPU_COST.to("/machine", ITS_MACHINE),
        column(
            "total_cost",
            "cost",
            SmallUsd,
            "Cost, USD; NULL where no price is known.",
        )
        .to("/machine", ITS_MACHINE)
        .to_those("/services", &[("cluster", "cluster")], &[("category", "storage")]),
        MACHINE,
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
              where cost_category = 'stuck' and {hours} \
                  [[and cluster = $cluster]] [[and {of_team}]] [[and pipeline = $pipeline]] [[and namespace = $namespace]] \
              group by all \
          ) \
          select costs.*, pods.pod_name, pods.namespace, pods.team, pods.pipeline, pods.job, pods.outcome, pods.end_reason, \
              make_timestamp_ms(pods.bound_ms) as scheduled_at, waits.stuck_ms \
          from costs inner join marts.pods as pods on costs.cluster = pods.cluster and costs.pod_uid = pods.pod_uid \
          left join marts.pod_waits as waits on costs.cluster = waits.cluster and costs.pod_uid = waits.pod_uid",
    order: "cost desc nulls last, cluster, pod_uid",
    columns: &[
        POD_NAME.to("/pod", THIS_POD),
        NAMESPACE,
        TEAM.to("/team", &[("team", "team")]),
        PIPELINE.to("/pipeline", &[("pipeline", "pipeline")]),
        JOB,
        OUTCOME,
        END_REASON,
        BOUND_AT,
        column(
            "stuck_ms",
            "stuck for",
            Duration,
            "Time it was stuck, ms; NULL where nobody told.",
        ),
        column("cost", "cost", SmallUsd, "Cost of the time it was stuck, USD.").to("/pod", THIS_POD),
        POD_UID,
        CLUSTER,
    ],
    required: &[],
};
