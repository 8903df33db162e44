//! A collector that knows nothing of a cluster, and a lake that does: the intake was lost, or the cluster was imported before.
//!
//! What the lake says is open is taken back, so that what is gone when the first lists are read is ended, and the time since
//! the lake's last watermark is a gap. Engines' records of pods, and the parents of owners, are told anew by the lists.

use jiff::{SignedDuration, Timestamp};
use podledger_sql::facts::Fact as Table;
use podledger_sql::lake::Lake;
use podledger_sql::recall::{Newest, newest};
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
    let from = From { lake, cluster };
    let watermarks: Vec<CollectionWatermark> = from.recall(
        "collection_watermarks",
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
    let ended_lately = format!("ended_at is null or ended_at > {}", since(ENDED_MACHINES));
    let machines = from.recall("machines", &["machine"], "observed_at", &ended_lately)?;
    let nodes = from.recall("node_states", &["machine"], "observed_at", "true")?;
    index.remember_machines(machines, nodes);
    index.remember_claims(from.recall("node_claims", &["node_claim_uid"], "observed_at", IS_THERE)?);
    index.remember_owners(from.recall("owner_objects", &["owner_uid"], "valid_from_at", IS_THERE)?);
    let open_or_late = format!(
        "(released_at is null and end_reason is distinct from 'Deleted') or observed_at > {}",
        since(ENDED_PODS)
    );
    index.remember_pods(
        from.recall("pod_states", &["pod_uid"], "observed_at", &open_or_late)?,
        from.recall("pod_identities", &["pod_uid"], "valid_from_at", "true")?,
        from.recall(
            "container_requests",
            &["pod_uid", "container_name"],
            "observed_at",
            "true",
        )?,
        from.recall(
            "container_ends",
            &["pod_uid", "container_name", "restart_count"],
            "observed_at",
            "true",
        )?,
    );
    index.remember_plain(
        from.recall::<VolumeState>("volume_states", &["volume_uid"], "observed_at", IS_THERE)?,
        from.recall::<VolumeClaim>("volume_claims", &["claim_uid"], "observed_at", IS_THERE)?,
        from.recall::<ServiceState>("service_states", &["service_uid"], "observed_at", IS_THERE)?,
    );
    Ok(Some(through))
}

/// What the newest fact of an object says that has not gone.
const IS_THERE: &str = "deleted_at is null";

/// A cluster in a lake.
struct From<'a> {
    lake: &'a Lake,
    cluster: &'a str,
}

impl From<'_> {
    /// The newest facts of a table.
    fn recall<T: DeserializeOwned>(
        &self,
        table: &'static str,
        subject: &[&str],
        time: &str,
        only: &str,
    ) -> Result<Vec<T>> {
        let fact = Table::named(table).ok_or_else(|| Error::NoTable {
            table: table.to_owned(),
            known: Vec::new(),
        })?;
        let wanted = Newest {
            fact,
            subject,
            time,
            only,
        };
        let mut facts = Vec::new();
        let mut left_out = 0;
        for batch in newest(self.lake, self.cluster, &wanted)? {
            left_out += read(fact, &batch, &mut facts)?;
        }
        if left_out > 0 {
            tracing::warn!(
                cluster = self.cluster,
                table,
                left_out,
                "facts of another source are not taken back from the lake"
            );
        }
        Ok(facts)
    }
}
