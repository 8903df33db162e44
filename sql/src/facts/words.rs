//! Words that columns of facts may hold.

/// How a machine is paid for: by `instance`; by each pod's request (`pod_request`: Fargate, Autopilot, virtual nodes);
/// at a price that somebody `declared` (own hardware); or not at all.
pub const BILLING_MODELS: &[&str] = &["instance", "pod_request", "declared", "unbilled"];

/// What the kubelet said of itself: `Ready` is true, false, or has not been said for too long.
pub const READINESS: &[&str] = &["ready", "not_ready", "unknown"];

/// What a closed month rests on.
pub const CLOSING_BASES: &[&str] = &["bill", "list_price"];

/// Where the price of a machine, volume, load balancer or control plane came from when its month was closed.
pub const CLOSING_SOURCES: &[&str] = &["billed", "estimated"];

/// How capacity is bought.
pub const CAPACITY_TYPES: &[&str] = &["on-demand", "spot", "reserved"];

/// What a price override is about: one machine, the node of a name, nodes with a label (`selector_key` is its name), a
/// pool, an instance type; `gpu_model` is the price of one GPU, on top of an override of its machine; `storage_class`
/// and `volume` are prices of a GiB of storage; `load_balancer` is one of a Service (`namespace/name`, or `*`), and
/// `control_plane` that of a cluster (its identifier, or `*`).
pub const PRICE_SELECTORS: &[&str] = &[
    "machine",
    "node",
    "label",
    "pool",
    "instance_type",
    "gpu_model",
    "storage_class",
    "volume",
    "load_balancer",
    "control_plane",
];

/// What a charge is for, in FOCUS's words.
pub const CHARGE_CATEGORIES: &[&str] = &["Usage", "Purchase", "Tax", "Credit", "Adjustment"];

/// How a charge was priced, in FOCUS's words.
pub const PRICING_CATEGORIES: &[&str] = &["Standard", "Dynamic", "Committed", "Other"];

/// Where the start of an occupancy was read.
pub const START_SOURCES: &[&str] = &[
    "scheduled",
    "status",
    "first_seen",
    "scheduler_log",
    "container",
    "event",
    "declared",
];

/// Where the end of an occupancy was read.
pub const END_SOURCES: &[&str] = &[
    "watch",
    "kubelet_status",
    "container",
    "machine_end",
    "scheduler_log",
    "event",
    "sampled",
    "declared",
];

/// Why nobody watched for a while: the collector was not running (`restart`); the watch broke and the API server no longer
/// kept what had happened since (`expired`); the API server could not be reached (`outage`).
pub const GAP_REASONS: &[&str] = &["restart", "expired", "outage"];

/// How an attempt can end; `running` is said while it has not.
pub const OUTCOMES: &[&str] = &[
    "succeeded",
    "failed",
    "lost",
    "retired",
    "cancelled",
    "running",
    "unknown",
];
