//! The schema of every fact: what may be written to the lake, column by column.
//!
//! A fact is something observed; it is append-only and has a deterministic key, so that writing it twice
//! changes nothing. Types are the portable ones only (see `docs/lake.md`): no unsigned, nanosecond, UUID or
//! floating columns, because DuckDB and Spark must read identical values.

mod column;
mod describe;
mod words;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

pub use self::column::{Column, ColumnType, Rule};
use self::column::{amount, column, instant, integer, text, usd, wide};
pub use self::describe::describe;
pub use self::words::*;

/// One kind of fact: a table of the lake.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    /// Name of the table and of its folder in the lake.
    pub table: &'static str,
    /// Columns that together identify a fact; a second fact with the same key replaces nothing, it repeats.
    pub key: &'static [&'static str],
    pub columns: &'static [Column],
}

impl Fact {
    /// Whether it is written when a month is closed, and by nothing else: its rows have to hash to what was noted then.
    #[must_use]
    pub fn is_of_closing(&self) -> bool {
        self.table.starts_with("closed_")
    }

    /// The fact of this table name, or `None` where there is no such table.
    #[must_use]
    pub fn named(table: &str) -> Option<&'static Self> {
        FACTS.iter().find(|fact| fact.table == table)
    }

    /// The Arrow schema of the table's segments.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(column.name, column.kind.arrow(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// The column of this name, or `None`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

use Rule::{
    Any, NotBefore, NotNegative, OneOf, Required, RequiredNotBefore, RequiredNotNegative, RequiredOneOf,
};

/// Every fact that the lake holds.
pub const FACTS: &[Fact] = &[
    Fact {
        table: "machines",
        key: &["cluster", "machine", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("machine", Required),
            instant("observed_at", Required),
            text("node_name", Any),
            text("provider", Any),
            text("region", Any),
            text("zone", Any),
            text("instance_type", Any),
            text("capacity_type", OneOf(CAPACITY_TYPES)),
            text("pool", Any),
            text("provider_id", Any),
            text("boot_id", Any),
            text("billing_model", RequiredOneOf(BILLING_MODELS)),
            instant("launched_at", Required),
            text("launch_source", Required),
            instant("ended_at", NotBefore("launched_at")),
            text("end_source", Any),
            text("end_reason", Any),
            column("labels", ColumnType::Map),
            text("gpu_model", Any),
        ],
    },
    Fact {
        table: "node_states",
        key: &["cluster", "machine", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("machine", Required),
            instant("observed_at", Required),
            integer("cpu_capacity_millicores", RequiredNotNegative),
            integer("cpu_allocatable_millicores", RequiredNotNegative),
            integer("memory_capacity_bytes", RequiredNotNegative),
            integer("memory_allocatable_bytes", RequiredNotNegative),
            integer("gpu_capacity_milligpus", NotNegative),
            integer("gpu_allocatable_milligpus", NotNegative),
            text("readiness", OneOf(READINESS)),
            text("disruption", Any),
        ],
    },
    Fact {
        table: "pod_states",
        key: &["cluster", "pod_uid", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            instant("observed_at", Required),
            text("pod_name", Any),
            text("namespace", Any),
            text("machine", Any),
            text("node_name", Any),
            instant("created_at", Required),
            instant("bound_at", Any),
            text("start_source", OneOf(START_SOURCES)),
            instant("running_at", NotBefore("bound_at")),
            instant("finished_at", NotBefore("running_at")),
            instant("released_at", NotBefore("bound_at")),
            text("end_source", OneOf(END_SOURCES)),
            instant("end_earliest_at", NotBefore("bound_at")),
            instant("end_latest_at", NotBefore("end_earliest_at")),
            text(
                "phase",
                OneOf(&["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
            ),
            text("waiting_reason", Any),
            text("end_reason", Any),
            integer("exit_code", Any),
            instant("deletion_requested_at", Any),
            integer("cpu_request_millicores", RequiredNotNegative),
            integer("memory_request_bytes", RequiredNotNegative),
            integer("gpu_request_milligpus", NotNegative),
            integer("billed_cpu_millicores", NotNegative),
            integer("billed_memory_bytes", NotNegative),
        ],
    },
    Fact {
        table: "pod_identities",
        key: &["cluster", "pod_uid", "valid_from_at"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            instant("valid_from_at", Required),
            column("labels", ColumnType::Map),
            column("annotations", ColumnType::Map),
            column("owners", ColumnType::Owners),
        ],
    },
    Fact {
        // Pods that are there a day after they ended, and when they were not any more.
        table: "kept_pods",
        key: &["cluster", "pod_uid", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            instant("observed_at", Required),
            instant("released_at", Required),
            instant("removed_at", NotBefore("released_at")),
        ],
    },
    Fact {
        // Claims that a pod mounts.
        table: "pod_claims",
        key: &["cluster", "pod_uid", "claim_name"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            text("claim_name", Required),
            text("namespace", Any),
            instant("observed_at", Required),
        ],
    },
    Fact {
        table: "container_requests",
        key: &["cluster", "pod_uid", "container_name", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            text("container_name", Required),
            instant("observed_at", Required),
            text("container_kind", RequiredOneOf(&["container", "sidecar", "init"])),
            text("image", Any),
            integer("cpu_request_millicores", RequiredNotNegative),
            integer("memory_request_bytes", RequiredNotNegative),
            integer("gpu_request_milligpus", NotNegative),
            // What it may take at most. NULL: as much as its node has, or not told.
            integer("cpu_limit_millicores", NotNegative),
            integer("memory_limit_bytes", NotNegative),
        ],
    },
    Fact {
        table: "container_ends",
        key: &["cluster", "pod_uid", "container_name", "restart_count"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            text("container_name", Required),
            text("container_kind", RequiredOneOf(&["container", "sidecar", "init"])),
            integer("restart_count", RequiredNotNegative),
            instant("observed_at", Required),
            instant("started_at", Any),
            instant("finished_at", NotBefore("started_at")),
            integer("exit_code", Any),
            text("reason", Any),
        ],
    },
    Fact {
        table: "owner_objects",
        key: &["cluster", "owner_uid", "valid_from_at"],
        columns: &[
            text("cluster", Required),
            text("owner_uid", Required),
            instant("valid_from_at", Required),
            text("kind", Required),
            text("name", Required),
            text("namespace", Any),
            column("labels", ColumnType::Map),
            column("annotations", ColumnType::Map),
            text("outcome", OneOf(OUTCOMES)),
            text("reason", Any),
            instant("created_at", Any),
            instant("finished_at", Any),
            instant("deleted_at", Any),
            // After how long its pods are ended, whatever they do; 0: never. NULL: not known, or no question of this kind of object.
            integer("active_deadline_ms", NotNegative),
        ],
    },
    Fact {
        table: "namespace_states",
        key: &["cluster", "namespace", "valid_from_at"],
        columns: &[
            text("cluster", Required),
            text("namespace", Required),
            instant("valid_from_at", Required),
            column("labels", ColumnType::Map),
            column("annotations", ColumnType::Map),
            instant("deleted_at", Any),
        ],
    },
    Fact {
        table: "node_claims",
        key: &["cluster", "node_claim_uid", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("node_claim_uid", Required),
            instant("observed_at", Required),
            text("node_claim", Required),
            text("node_name", Any),
            text("provider_id", Any),
            text("pool", Any),
            text("instance_type", Any),
            text("capacity_type", OneOf(CAPACITY_TYPES)),
            text("zone", Any),
            instant("created_at", Any),
            instant("launched_at", Any),
            instant("registered_at", Any),
            instant("initialized_at", Any),
            instant("deletion_requested_at", Any),
            instant("deleted_at", Any),
            text("disruption_reason", Any),
        ],
    },
    Fact {
        table: "volume_states",
        key: &["cluster", "volume_uid", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("volume_uid", Required),
            instant("observed_at", Required),
            text("volume", Required),
            text("phase", Any),
            text("storage_class", Any),
            text("driver", Any),
            text("volume_handle", Any),
            text("zone", Any),
            text("reclaim_policy", Any),
            integer("capacity_bytes", RequiredNotNegative),
            text("claim_namespace", Any),
            text("claim_name", Any),
            text("claim_uid", Any),
            instant("created_at", Any),
            instant("deleted_at", Any),
        ],
    },
    Fact {
        table: "volume_claims",
        key: &["cluster", "claim_uid", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("claim_uid", Required),
            instant("observed_at", Required),
            text("claim_name", Required),
            text("namespace", Any),
            text("phase", Any),
            text("storage_class", Any),
            text("volume", Any),
            integer("requested_bytes", RequiredNotNegative),
            column("labels", ColumnType::Map),
            instant("created_at", Any),
            instant("deleted_at", Any),
        ],
    },
    Fact {
        table: "service_states",
        key: &["cluster", "service_uid", "observed_at"],
        columns: &[
            text("cluster", Required),
            text("service_uid", Required),
            instant("observed_at", Required),
            text("service_name", Required),
            text("namespace", Any),
            text("load_balancer", Any),
            column("labels", ColumnType::Map),
            instant("created_at", Any),
            instant("deleted_at", Any),
        ],
    },
    Fact {
        table: "cluster_events",
        key: &["cluster", "event_uid", "last_at"],
        columns: &[
            text("cluster", Required),
            text("event_uid", Required),
            text("reason", Required),
            text("involved_kind", Any),
            text("involved_name", Any),
            text("involved_uid", Any),
            text("namespace", Any),
            text("component", Any),
            text("message", Any),
            instant("first_at", Any),
            instant("last_at", Required),
            integer("occurrences", RequiredNotNegative),
        ],
    },
    Fact {
        table: "usage_hours",
        // Of one hour several stretches may be told, by a collector that was restarted: where two overlap, the one that began
        // first speaks.
        key: &[
            "cluster",
            "pod_uid",
            "container_name",
            "hour_start_at",
            "source",
            "measured_from_at",
        ],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            // NULL: the pod as a whole.
            text("container_name", Any),
            instant("hour_start_at", Required),
            text(
                "source",
                RequiredOneOf(&["kubelet", "prometheus", "metrics_api", "engine", "declared"]),
            ),
            // NULL: the whole hour, as far as the pod held its machine.
            instant("measured_from_at", NotBefore("hour_start_at")),
            instant("measured_to_at", NotBefore("measured_from_at")),
            integer("cpu_usage_millicore_ms", NotNegative),
            // How much of the stretch the counter, and the gauge, are known for; NULL: all of it.
            integer("cpu_measured_ms", NotNegative),
            wide("memory_usage_byte_ms", NotNegative),
            integer("memory_measured_ms", NotNegative),
            integer("memory_peak_bytes", NotNegative),
            integer("samples", NotNegative),
            integer("samples_expected", NotNegative),
            integer("cpu_p50_millicores", NotNegative),
            integer("cpu_p95_millicores", NotNegative),
            integer("cpu_max_millicores", NotNegative),
            column("cpu_rates", ColumnType::Rates),
            // Of the scheduler's periods in which the container wanted to run those in which its limit held it back.
            integer("cpu_periods", NotNegative),
            integer("cpu_throttled_periods", NotNegative),
            // The area under the share of its GPUs that was busy, and for how long that is known of how many of them.
            integer("gpu_usage_milligpu_ms", NotNegative),
            integer("gpu_measured_ms", NotNegative),
            // Of all its GPUs together.
            integer("gpu_memory_peak_bytes", NotNegative),
            // Of a JVM: the most of its heap that was used, garbage and all, and the most that it may take (`-Xmx`).
            integer("heap_peak_bytes", NotNegative),
            integer("heap_limit_bytes", NotNegative),
        ],
    },
    Fact {
        table: "engine_outcomes",
        key: &["cluster", "pod_uid", "observed_at", "source"],
        columns: &[
            text("cluster", Required),
            text("pod_uid", Required),
            instant("observed_at", Required),
            text("source", Required),
            text("outcome", RequiredOneOf(OUTCOMES)),
            text("reason", Any),
            // When the engine saw the work begin and end.
            instant("started_at", Any),
            instant("finished_at", NotBefore("started_at")),
            // What was asked for while it ran, as the engine counts it.
            integer("cpu_request_millicore_ms", NotNegative),
            wide("memory_request_byte_ms", NotNegative),
        ],
    },
    Fact {
        table: "prices",
        key: &[
            "provider",
            "region",
            "instance_type",
            "capacity_type",
            "zone",
            "valid_from_at",
        ],
        columns: &[
            text("provider", Required),
            text("region", Required),
            text("instance_type", Required),
            text("capacity_type", RequiredOneOf(CAPACITY_TYPES)),
            instant("valid_from_at", Required),
            usd("hourly_usd", NotNegative),
            text("source", Required),
            text("zone", Any),
        ],
    },
    Fact {
        table: "price_overrides",
        key: &[
            "selector",
            "selector_key",
            "selector_value",
            "region",
            "valid_from_at",
        ],
        columns: &[
            text("selector", RequiredOneOf(PRICE_SELECTORS)),
            text("selector_key", Any),
            text("selector_value", Required),
            text("region", Any),
            instant("valid_from_at", Required),
            usd("hourly_usd", NotNegative),
            text("source", Required),
        ],
    },
    Fact {
        table: "service_prices",
        key: &["provider", "region", "service", "item", "unit", "valid_from_at"],
        columns: &[
            text("provider", Required),
            text("region", Required),
            text("service", Required),
            text("item", Required),
            text("unit", Required),
            instant("valid_from_at", Required),
            usd("price_usd", NotNegative),
            text("source", Required),
        ],
    },
    Fact {
        // One charge of a bill, as FOCUS names it. A delivery is the whole of what was imported at once; a newer one of the same
        // source, account and billing period stands instead of an older.
        table: "billed_charges",
        key: &[
            "bill_source",
            "delivery",
            "source_file",
            "source_row",
            "source_part",
        ],
        columns: &[
            text("bill_source", Required),
            text(
                "bill_format",
                RequiredOneOf(&["focus", "cur", "gcp-billing", "azure-costs", "cost-explorer"]),
            ),
            // Hash of what was imported, and when.
            text("delivery", Required),
            instant("delivered_at", Required),
            text("source_file", Required),
            integer("source_row", RequiredNotNegative),
            // A row of a file may be several charges: what was used, and credits upon it.
            integer("source_part", RequiredNotNegative),
            text("provider", Required),
            text("billing_account_id", Any),
            text("sub_account_id", Any),
            instant("billing_period_start_at", Required),
            instant("billing_period_end_at", NotBefore("billing_period_start_at")),
            instant("charge_period_start_at", Required),
            instant(
                "charge_period_end_at",
                RequiredNotBefore("charge_period_start_at"),
            ),
            text("service_name", Any),
            text("service_category", Any),
            text("sku_id", Any),
            text("region", Any),
            text("zone", Any),
            text("resource_id", Any),
            text("resource_type", Any),
            text("charge_category", RequiredOneOf(CHARGE_CATEGORIES)),
            text("charge_class", OneOf(&["Correction"])),
            text("charge_description", Any),
            text("pricing_category", OneOf(PRICING_CATEGORIES)),
            amount("pricing_quantity", Any),
            text("pricing_unit", Any),
            amount("consumed_quantity", Any),
            text("consumed_unit", Any),
            text("commitment_discount_id", Any),
            text("commitment_discount_status", OneOf(&["Used", "Unused"])),
            text("commitment_discount_type", Any),
            amount("list_cost", Any),
            amount("contracted_cost", Any),
            // NULL: the bill does not tell what it costs with fees of commitments spread over what they were for.
            amount("effective_cost", Any),
            amount("billed_cost", Required),
            text("currency", RequiredOneOf(&["USD"])),
            column("tags", ColumnType::Map),
            text("usage_type", Any),
            text("operation", Any),
            text("instance_type", Any),
            text("bill_status", OneOf(&["estimated", "final"])),
        ],
    },
    Fact {
        table: "billing_rules",
        key: &["provider", "capacity_type", "valid_from_at"],
        columns: &[
            text("provider", Required),
            text("capacity_type", RequiredOneOf(CAPACITY_TYPES)),
            instant("valid_from_at", Required),
            integer("minimum_ms", RequiredNotNegative),
            integer("rounding_ms", RequiredNotNegative),
            integer("interruption_refund_ms", RequiredNotNegative),
            text("source", Required),
        ],
    },
    Fact {
        table: "allocation_weights",
        key: &["method", "provider", "valid_from_at"],
        columns: &[
            text("method", Required),
            instant("valid_from_at", Required),
            integer("cpu_core_hour_nano", RequiredNotNegative),
            integer("memory_gib_hour_nano", RequiredNotNegative),
            integer("gpu_hour_nano", RequiredNotNegative),
            text("source", Required),
            text("provider", Any),
        ],
    },
    Fact {
        table: "collection_gaps",
        key: &["cluster", "resource", "gap_start_at"],
        columns: &[
            text("cluster", Required),
            // The watch that was blind, in the plural as Kubernetes names it: `pods`.
            text("resource", Required),
            instant("gap_start_at", Required),
            instant("gap_end_at", RequiredNotBefore("gap_start_at")),
            text("reason", RequiredOneOf(GAP_REASONS)),
            // Pods that came and went unseen, and that Events or their owners told of later.
            integer("recovered_pods", NotNegative),
        ],
    },
    Fact {
        table: "collection_watermarks",
        key: &["cluster", "observed_through_at"],
        columns: &[
            text("cluster", Required),
            instant("observed_through_at", Required),
            // Nobody looked before; NULL where somebody may have, or all that was is told.
            instant("observed_from_at", Any),
        ],
    },
    // What a closed month says for good. Its rows, and what machines and services cost an hour when it was closed, are hashed in `closed_months`.
    Fact {
        table: "closed_months",
        key: &["month_start_at"],
        columns: &[
            instant("month_start_at", Required),
            instant("month_end_at", RequiredNotBefore("month_start_at")),
            instant("closed_at", Required),
            text("content_hash", Required),
            // What the month rested on: a bill, or nothing but prices that were known.
            text("basis", RequiredOneOf(CLOSING_BASES)),
        ],
    },
    Fact {
        table: "closed_costs",
        key: &[
            "month_start_at",
            "cluster",
            "hour_start_at",
            "team",
            "pipeline",
            "job",
            "namespace",
            "cost_category",
            "adjusts_month_at",
        ],
        columns: &[
            instant("month_start_at", Required),
            text("cluster", Required),
            instant("hour_start_at", Required),
            text("team", Required),
            text("pipeline", Required),
            text("job", Required),
            text("namespace", Required),
            text("cost_category", Required),
            // The closed month that an adjustment is for.
            instant("adjusts_month_at", Any),
            integer("cpu_nano", Any),
            integer("memory_nano", Any),
            integer("gpu_nano", Any),
            integer("service_nano", Any),
            integer("unused_nano", Any),
        ],
    },
    Fact {
        table: "closed_prices",
        key: &[
            "month_start_at",
            "priced_month_at",
            "cluster",
            "machine",
            "start_at",
        ],
        columns: &[
            instant("month_start_at", Required),
            // The month in which the stretch lies: the one that was closed, or one closed before that it adjusts.
            instant("priced_month_at", Required),
            text("cluster", Required),
            text("machine", Required),
            instant("start_at", Required),
            instant("end_at", RequiredNotBefore("start_at")),
            // NULL: no price was known.
            integer("price_nano", NotNegative),
            text("price_source", RequiredOneOf(CLOSING_SOURCES)),
        ],
    },
    Fact {
        table: "closed_services",
        key: &[
            "month_start_at",
            "priced_month_at",
            "cluster",
            "service_kind",
            "service_id",
            "start_at",
        ],
        columns: &[
            instant("month_start_at", Required),
            // The month in which the hours lie: the one that was closed, or one closed before that it adjusts.
            instant("priced_month_at", Required),
            text("cluster", Required),
            text("service_kind", Required),
            text("service_id", Required),
            instant("start_at", Required),
            instant("end_at", RequiredNotBefore("start_at")),
            // What each hour in between cost. NULL: no price was known.
            integer("hour_cost_nano", NotNegative),
            text("price_source", RequiredOneOf(CLOSING_SOURCES)),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_every_column_that_a_rule_names_is_a_column() {
        for fact in FACTS {
            for key in fact.key {
                assert!(fact.column(key).is_some(), "{}.{key}", fact.table);
            }
            for column in fact.columns {
                if let Rule::NotBefore(other) | Rule::RequiredNotBefore(other) = column.rule {
                    assert!(fact.column(other).is_some(), "{}.{other}", fact.table);
                }
            }
        }
    }
}
