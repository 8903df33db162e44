//! Columns that several questions have: what they are called, in which unit they are, and what they mean is said once.

use super::super::question::Kind::{Count, Duration, Instant, Permille, SmallUsd, Text, Usd};
use super::super::question::{Column, column, key};

/// Categories of cost that columns sum up, as a filter names them.
pub const BROKEN: &[(&str, &str)] = &[("category", "failed,lost,stuck")];
pub const NOT_USED: &[(&str, &str)] = &[("category", "unused_request")];
pub const USED: &[(&str, &str)] = &[("category", "used,unmetered")];
pub const VAIN: &[(&str, &str)] = &[("category", "failed,lost,stuck,unused_request")];

pub const ATTEMPT: Column = column("attempt", "try", Text, "Which try of the job.");
pub const BOUND_AT: Column = column(
    "scheduled_at",
    "bound",
    Instant,
    "When it was bound to a machine.",
);
pub const CAPACITY_TYPE: Column = column("capacity_type", "bought as", Text, "on-demand, spot or reserved.");
pub const CATEGORY_GROUP: Column = column(
    "category_group",
    "kind",
    Text,
    "Group of the category: used, waste, idle, overhead, ...",
);
pub const CLUSTER: Column = key(
    "cluster",
    Text,
    "UID of the cluster (or the name that an import was given).",
);
pub const CLUSTER_SHOWN: Column = column(
    "cluster",
    "cluster",
    Text,
    "UID of the cluster (or the name that an import was given).",
);
pub const COST: Column = column(
    "cost",
    "cost",
    SmallUsd,
    "Cost, USD; NULL where no price is known.",
);
pub const COST_CATEGORY: Column = column("cost_category", "category", Text, "Cost category.");
pub const COST_OF_PART: Column = column("cost", "cost", Usd, "Cost, USD.");
pub const COST_OF_PODS: Column = column(
    "cost",
    "cost",
    Usd,
    "What its pods cost, USD; NULL where no price is known.",
);
pub const COST_USD: Column = column("cost", "cost", Usd, "Cost, USD; NULL where no price is known.");
pub const CPU_COST: Column = column("cpu_cost", "CPU", SmallUsd, "Cost of CPU, USD.");
pub const CPU_HELD: Column = column(
    "cpu_held_permille",
    "CPU held",
    Permille,
    "Of its CPU, held by pods, in tenths of a percent.",
);
pub const CREATED_AT: Column = column(
    "created_at",
    "created",
    Instant,
    "When its first pod was created.",
);
pub const END_REASON: Column = column("end_reason", "why it ended", Text, "In the words of who said so.");
pub const FAILED: Column = column(
    "failed_cost",
    "failed",
    Usd,
    "Cost of tries that failed, were lost or were stuck, USD.",
);
pub const FINISHED_AT: Column = column(
    "finished_at",
    "finished",
    Instant,
    "When its containers finished.",
);
pub const GPU_COST: Column = column("gpu_cost", "GPU", SmallUsd, "Cost of accelerators, USD.");
pub const GPU_HELD: Column = column(
    "gpu_held_permille",
    "GPU held",
    Permille,
    "Of its accelerators, held by pods, in tenths of a percent; NULL where it has none.",
);
pub const HOUR: Column = column("hour_start_at", "hour", Instant, "Start of the hour.");
pub const INSTALLATION: Column = key("installation", Text, "Installation of the system: the namespace.");
pub const INSTANCE_TYPE: Column = column(
    "instance_type",
    "type",
    Text,
    "Instance type, as its provider names it.",
);
pub const ISO_WEEK: Column = column("iso_week", "week", Text, "ISO 8601 week.");
pub const JOB: Column = column("job", "job", Text, "The unit of work inside a run.");
pub const LIST_HOURLY_PRICE: Column = column(
    "list_hourly_price",
    "list price of an hour",
    SmallUsd,
    "List price of an hour, USD; NULL where none is known.",
);
pub const MACHINE: Column = key("machine", Text, "Identifier of the machine.");
pub const MEMORY_COST: Column = column("memory_cost", "memory", SmallUsd, "Cost of memory, USD.");
pub const MEMORY_HELD: Column = column(
    "memory_held_permille",
    "memory held",
    Permille,
    "Of its memory, held by pods, in tenths of a percent.",
);
pub const NAMESPACE: Column = column("namespace", "namespace", Text, "Namespace of the pod.");
pub const NODE_NAME: Column = column("node_name", "node", Text, "Name of its node.");
pub const OUTCOME: Column = column(
    "outcome",
    "outcome",
    Text,
    "succeeded, failed, lost, retired, cancelled, running or unknown.",
);
pub const PIPELINE: Column = column("pipeline", "pipeline", Text, "The recurring definition.");
pub const PIPELINE_OR_NONE: Column = column(
    "pipeline",
    "pipeline",
    Text,
    "The recurring definition; `unattributed` where unknown.",
);
pub const PODS_COUNT: Column = column("pods", "pods", Count, "Number of pods.");
pub const POD_CREATED_AT: Column = column("created_at", "created", Instant, "When it was created.");
pub const POD_NAME: Column = column("pod_name", "pod", Text, "Name of the pod.");
pub const POD_UID: Column = key("pod_uid", Text, "UID of the pod.");
pub const POOL: Column = column(
    "pool",
    "pool",
    Text,
    "Node pool; `unattributed` where the node names none.",
);
pub const PRICE_SOURCE: Column = column("price_source", "price from", Text, "Where the price was read.");
pub const RELEASED_AT: Column = column(
    "released_at",
    "released",
    Instant,
    "When it let go of its resources; NULL while it holds them.",
);
pub const RUN_EPOCH: Column = key("run_epoch", Text, "Tells executions of the same name apart.");
pub const RUN_NAME: Column = column("run", "run", Text, "One execution of the pipeline.");
pub const STARTED_AT: Column = column("started_at", "started", Instant, "When its containers started.");
pub const SYSTEM: Column = key(
    "system",
    Text,
    "What made the pods: a system of the identity rules.",
);
pub const TEAM: Column = column("team", "team", Text, "Who answers for the cost.");
pub const TEAM_OR_NONE: Column = column(
    "team",
    "team",
    Text,
    "Who answers for the cost; `unattributed` where unknown.",
);
pub const TOOK: Column = column(
    "duration_ms",
    "took",
    Duration,
    "From its start to its end, ms; NULL while it runs.",
);
pub const UNUSED_REQUEST: Column = column(
    "unused_request_cost",
    "unused request",
    Usd,
    "Cost of what was asked for and not used, USD.",
);
pub const WAITED: Column = column(
    "queue_wait_ms",
    "waited",
    Duration,
    "From creation to binding, ms.",
);
pub const WASTED: Column = column(
    "wasted_cost",
    "wasted",
    SmallUsd,
    "Of it failed, lost, stuck and asked for in vain, USD.",
);
