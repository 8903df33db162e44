//! A collector that knows nothing of a cluster, and a lake that does: the intake was lost, or the cluster was imported before.
//!
//! What the lake says is open is taken back, so that what is gone when the first lists are read is ended, and the time since
//! the lake's last watermark is a gap. Engines' records of pods, and the parents of owners, are told anew by the lists.

use jiff::{SignedDuration, Timestamp};
use podledger_sql::facts::Fact as Table;
use podledger_sql::lake::Lake;
use podledger_sql::recall::newest;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::facts::{CollectionWatermark, ServiceState, VolumeClaim, VolumeState, read};
use crate::index::Index;

/// Pods that ended may be listed for as long as their owners keep them; those of older ones are told once more.
const ENDED_PODS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Machines that ended are remembered for what comes late.
const ENDED_MACHINES: SignedDuration = SignedDuration::from_hours(24);

/// Hands the index what the lake knows of a cluster; returns until when the lake knows it, if it does.
///
/// # Errors
/// Those of the lake.
pub(super) fn prime(index: &mut Index, lake: &Lake, cluster: &str) -> Result<Option<Timestamp>> {
    let watermarks: Vec<CollectionWatermark> = recall(
        lake,
        "collection_watermarks",
        cluster,
        &["cluster"],
        "observed_through_at",
        "true",
    )?;
    let Some(through) = watermarks.first().map(|mark| mark.observed_through_at) else {
        return Ok(None);
    };
    let since = |age: SignedDuration| {
        let at = through.saturating_sub(age).unwrap_or(Timestamp::MIN);
        format!("make_timestamp({})", at.as_microsecond())
    };
    let machines = recall(
        lake,
        "machines",
        cluster,
        &["machine"],
        "observed_at",
        &format!("ended_at is null or ended_at > {}", since(ENDED_MACHINES)),
    )?;
    let nodes = recall(lake, "node_states", cluster, &["machine"], "observed_at", "true")?;
    index.remember_machines(machines, nodes);
    index.remember_claims(recall(
        lake,
        "node_claims",
        cluster,
        &["node_claim_uid"],
        "observed_at",
        "deleted_at is null",
    )?);
    index.remember_owners(recall(
        lake,
        "owner_objects",
        cluster,
        &["owner_uid"],
        "valid_from_at",
        "deleted_at is null",
    )?);
    let pods = recall(
        lake,
        "pod_states",
        cluster,
        &["pod_uid"],
        "observed_at",
        &format!(
            "(released_at is null and end_reason is distinct from 'Deleted') or observed_at > {}",
            since(ENDED_PODS)
        ),
    )?;
    index.remember_pods(
        pods,
        recall(
            lake,
            "pod_identities",
            cluster,
            &["pod_uid"],
            "valid_from_at",
            "true",
        )?,
        recall(
            lake,
            "container_requests",
            cluster,
            &["pod_uid", "container_name"],
            "observed_at",
            "true",
        )?,
        recall(
            lake,
            "container_ends",
            cluster,
            &["pod_uid", "container_name", "restart_count"],
            "observed_at",
            "true",
        )?,
    );
    let is_there = "deleted_at is null";
    let volumes: Vec<VolumeState> = recall(
        lake,
        "volume_states",
        cluster,
        &["volume_uid"],
        "observed_at",
        is_there,
    )?;
    let claims: Vec<VolumeClaim> = recall(
        lake,
        "volume_claims",
        cluster,
        &["claim_uid"],
        "observed_at",
        is_there,
    )?;
    let services: Vec<ServiceState> = recall(
        lake,
        "service_states",
        cluster,
        &["service_uid"],
        "observed_at",
        is_there,
    )?;
    index.remember_plain(volumes, claims, services);
    Ok(Some(through))
}

/// The newest facts of a table.
fn recall<T: DeserializeOwned>(
    lake: &Lake,
    table: &'static str,
    cluster: &str,
    subject: &[&str],
    time: &str,
    only: &str,
) -> Result<Vec<T>> {
    let table = Table::named(table).ok_or_else(|| Error::NoTable {
        table: table.to_owned(),
        known: Vec::new(),
    })?;
    let mut facts = Vec::new();
    for batch in newest(lake, table, cluster, subject, time, only)? {
        read(table, &batch, &mut facts)?;
    }
    Ok(facts)
}
