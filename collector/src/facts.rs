//! Facts as the index makes them: one struct per table of the lake, fields named as its columns.

use std::collections::BTreeMap;

use arrow::json::ReaderBuilder;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use podledger_sql::facts::Fact as Table;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::words::{Word, word};

/// Labels or annotations.
pub type Texts = BTreeMap<String, String>;

/// What fields of facts are made of, read back as it was written.
trait Held: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

macro_rules! held {
    ($($kind:ty),*) => {
        $(impl Held for $kind {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        })*
    };
}

held!(
    String,
    Option<String>,
    i64,
    Option<i64>,
    Timestamp,
    Option<Timestamp>,
    Texts,
    Vec<Owner>,
    Vec<RateTime>,
    Wide,
    Option<Wide>
);

impl Held for Word {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word::deserialize(deserializer)
    }
}

impl Held for Option<Word> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word::optional(deserializer)
    }
}

/// Declares the structs, and an enum that holds any of them under the name of its table.
macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident in $table:literal { $($(#[$of_field:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name {
                pub cluster: String,
                $($(#[$of_field])* #[serde(deserialize_with = "Held::read")] pub $field: $kind,)*
            }

            impl From<$name> for Fact {
                fn from(fact: $name) -> Self {
                    Self::$name(Box::new(fact))
                }
            }
        )*

        /// A fact of any table.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Fact {
            $($name(Box<$name>),)*
        }

        impl Fact {
            /// The table of the lake that it belongs to.
            #[must_use]
            pub fn table(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $table,)*
                }
            }
        }
    };
}

facts! {
    /// One boot of one instance.
    Machine in "machines" {
        machine: String,
        observed_at: Timestamp,
        node_name: Option<String>,
        provider: Option<String>,
        region: Option<String>,
        zone: Option<String>,
        instance_type: Option<String>,
        capacity_type: Option<Word>,
        pool: Option<String>,
        provider_id: Option<String>,
        boot_id: Option<String>,
        billing_model: Word,
        launched_at: Timestamp,
        launch_source: Word,
        ended_at: Option<Timestamp>,
        end_source: Option<Word>,
        end_reason: Option<String>,
        labels: Texts,
        gpu_model: Option<String>,
    }

    /// What a machine offers, and whether its node is well, since `observed_at`.
    NodeState in "node_states" {
        machine: String,
        observed_at: Timestamp,
        cpu_capacity_millicores: i64,
        cpu_allocatable_millicores: i64,
        memory_capacity_bytes: i64,
        memory_allocatable_bytes: i64,
        gpu_capacity_milligpus: i64,
        gpu_allocatable_milligpus: i64,
        readiness: Option<Word>,
        disruption: Option<String>,
    }

    /// What a pod is and holds since `observed_at`.
    PodState in "pod_states" {
        pod_uid: String,
        observed_at: Timestamp,
        pod_name: Option<String>,
        namespace: Option<String>,
        machine: Option<String>,
        node_name: Option<String>,
        created_at: Timestamp,
        bound_at: Option<Timestamp>,
        start_source: Option<Word>,
        running_at: Option<Timestamp>,
        finished_at: Option<Timestamp>,
        released_at: Option<Timestamp>,
        end_source: Option<Word>,
        end_earliest_at: Option<Timestamp>,
        end_latest_at: Option<Timestamp>,
        phase: Option<String>,
        waiting_reason: Option<String>,
        end_reason: Option<String>,
        exit_code: Option<i64>,
        deletion_requested_at: Option<Timestamp>,
        cpu_request_millicores: i64,
        memory_request_bytes: i64,
        gpu_request_milligpus: i64,
        billed_cpu_millicores: Option<i64>,
        billed_memory_bytes: Option<i64>,
    }

    /// Labels, the annotations that a rule reads, and owners from the nearest to the top.
    PodIdentity in "pod_identities" {
        pod_uid: String,
        valid_from_at: Timestamp,
        labels: Texts,
        annotations: Texts,
        owners: Vec<Owner>,
    }

    /// What one container of a pod asks for, and what it may take at most.
    ContainerRequest in "container_requests" {
        pod_uid: String,
        container_name: String,
        observed_at: Timestamp,
        container_kind: Word,
        image: Option<String>,
        cpu_request_millicores: i64,
        memory_request_bytes: i64,
        gpu_request_milligpus: i64,
        // An intake that was written before limits were told lacks them.
        #[serde(default)]
        cpu_limit_millicores: Option<i64>,
        #[serde(default)]
        memory_limit_bytes: Option<i64>,
    }

    /// How a container ended, each time it did.
    ContainerEnd in "container_ends" {
        pod_uid: String,
        container_name: String,
        container_kind: Word,
        restart_count: i64,
        observed_at: Timestamp,
        started_at: Option<Timestamp>,
        finished_at: Option<Timestamp>,
        exit_code: Option<i64>,
        reason: Option<String>,
    }

    /// An object that owns pods, directly or not.
    OwnerObject in "owner_objects" {
        owner_uid: String,
        valid_from_at: Timestamp,
        kind: String,
        name: String,
        namespace: Option<String>,
        labels: Texts,
        annotations: Texts,
        outcome: Option<Word>,
        reason: Option<String>,
        created_at: Option<Timestamp>,
        finished_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
        active_deadline_ms: Option<i64>,
    }

    /// What a container used in an hour, as far as it was measured.
    UsageHour in "usage_hours" {
        pod_uid: String,
        container_name: Option<String>,
        hour_start_at: Timestamp,
        source: Word,
        measured_from_at: Timestamp,
        measured_to_at: Timestamp,
        cpu_usage_millicore_ms: i64,
        cpu_measured_ms: i64,
        memory_usage_byte_ms: Wide,
        memory_measured_ms: i64,
        memory_peak_bytes: Option<i64>,
        samples: i64,
        samples_expected: i64,
        cpu_p50_millicores: Option<i64>,
        cpu_p95_millicores: Option<i64>,
        cpu_max_millicores: Option<i64>,
        cpu_rates: Vec<RateTime>,
        cpu_periods: Option<i64>,
        cpu_throttled_periods: Option<i64>,
        gpu_usage_milligpu_ms: Option<i64>,
        gpu_measured_ms: Option<i64>,
        gpu_memory_peak_bytes: Option<i64>,
        heap_peak_bytes: Option<i64>,
        heap_limit_bytes: Option<i64>,
    }

    /// What an engine says of how one of its pods ended.
    EngineOutcome in "engine_outcomes" {
        pod_uid: String,
        observed_at: Timestamp,
        source: Word,
        outcome: Word,
        reason: Option<String>,
        started_at: Option<Timestamp>,
        finished_at: Option<Timestamp>,
        cpu_request_millicore_ms: Option<i64>,
        memory_request_byte_ms: Option<Wide>,
    }

    /// Labels and annotations of a namespace.
    NamespaceState in "namespace_states" {
        namespace: String,
        valid_from_at: Timestamp,
        labels: Texts,
        annotations: Texts,
        deleted_at: Option<Timestamp>,
    }

    /// A NodeClaim of Karpenter.
    NodeClaim in "node_claims" {
        node_claim_uid: String,
        observed_at: Timestamp,
        node_claim: String,
        node_name: Option<String>,
        provider_id: Option<String>,
        pool: Option<String>,
        instance_type: Option<String>,
        capacity_type: Option<Word>,
        zone: Option<String>,
        created_at: Option<Timestamp>,
        launched_at: Option<Timestamp>,
        registered_at: Option<Timestamp>,
        initialized_at: Option<Timestamp>,
        deletion_requested_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
        disruption_reason: Option<String>,
    }

    /// A claim that a pod mounts.
    PodClaim in "pod_claims" {
        pod_uid: String,
        claim_name: String,
        namespace: Option<String>,
        observed_at: Timestamp,
    }

    /// A pod that is there a day after it ended, and later that it is not any more.
    KeptPod in "kept_pods" {
        pod_uid: String,
        observed_at: Timestamp,
        released_at: Timestamp,
        removed_at: Option<Timestamp>,
    }

    /// A PersistentVolume.
    VolumeState in "volume_states" {
        volume_uid: String,
        observed_at: Timestamp,
        volume: String,
        phase: Option<String>,
        storage_class: Option<String>,
        driver: Option<String>,
        volume_handle: Option<String>,
        zone: Option<String>,
        reclaim_policy: Option<String>,
        capacity_bytes: i64,
        claim_namespace: Option<String>,
        claim_name: Option<String>,
        claim_uid: Option<String>,
        created_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
    }

    /// A PersistentVolumeClaim.
    VolumeClaim in "volume_claims" {
        claim_uid: String,
        observed_at: Timestamp,
        claim_name: String,
        namespace: Option<String>,
        phase: Option<String>,
        storage_class: Option<String>,
        volume: Option<String>,
        requested_bytes: i64,
        labels: Texts,
        created_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
    }

    /// A Service of type LoadBalancer.
    ServiceState in "service_states" {
        service_uid: String,
        observed_at: Timestamp,
        service_name: String,
        namespace: Option<String>,
        load_balancer: Option<String>,
        labels: Texts,
        created_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
    }

    /// An Event whose reason bears on cost.
    ClusterEvent in "cluster_events" {
        event_uid: String,
        reason: String,
        involved_kind: Option<String>,
        involved_name: Option<String>,
        involved_uid: Option<String>,
        namespace: Option<String>,
        component: Option<String>,
        message: Option<String>,
        first_at: Option<Timestamp>,
        last_at: Timestamp,
        occurrences: i64,
    }

    /// A time in which nobody watched objects of one kind.
    CollectionGap in "collection_gaps" {
        resource: String,
        gap_start_at: Timestamp,
        gap_end_at: Timestamp,
        reason: Word,
        recovered_pods: Option<i64>,
    }

    /// How far a cluster has been observed, and since when, where that was the first time.
    CollectionWatermark in "collection_watermarks" {
        observed_through_at: Timestamp,
        observed_from_at: Option<Timestamp>,
    }
}

/// One owner in a chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// How long a rate was how high.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateTime {
    pub millicores: i64,
    pub ms: i64,
}

/// A number of up to 38 digits. It is written as text: what reads JSON into columns knows no such numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide(pub i128);

impl Serialize for Wide {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Facts of one table as a batch of its schema.
///
/// # Errors
/// [`Error::Encode`]; a fact that the schema cannot hold is a mistake in this crate.
pub fn batch<T: Serialize>(table: &'static Table, facts: &[T]) -> Result<RecordBatch> {
    let encode = |source| Error::Encode {
        table: table.table,
        source,
    };
    let schema = table.schema();
    let mut decoder = ReaderBuilder::new(schema.clone())
        .build_decoder()
        .map_err(encode)?;
    decoder.serialize(facts).map_err(encode)?;
    Ok(decoder
        .flush()
        .map_err(encode)?
        .unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// Adds the facts of `batch` to `facts`. A row of another source than this crate may lack what its struct needs: it is left
/// out; returns how many were.
///
/// # Errors
/// [`Error::Encode`] for rows that are not of the table.
pub fn read<T: DeserializeOwned>(
    table: &'static Table,
    batch: &RecordBatch,
    facts: &mut Vec<T>,
) -> Result<u64> {
    let encode = |source| Error::Encode {
        table: table.table,
        source,
    };
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format("%Y-%m-%dT%H:%M:%S%.6fZ".to_owned())
        .build::<_, LineDelimited>(&mut text);
    writer.write(batch).map_err(encode)?;
    writer.finish().map_err(encode)?;
    let mut left_out = 0_u64;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(fact) => facts.push(fact),
            Err(error) => {
                tracing::debug!(table = table.table, %error, "a fact that is not the collector's own");
                left_out += 1;
            }
        }
    }
    Ok(left_out)
}
