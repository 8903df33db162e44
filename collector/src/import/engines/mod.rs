//! What engines report of the pods that they ran.
//!
//! An engine names applications and tasks, not pods: which pods those were is told by labels and annotations that the lake holds.

pub mod airflow;
pub mod spark;

use duckdb::Connection;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::scratch;
use podledger_sql::{Doing, recall};

use crate::error::Result;
use crate::import::fact;

/// Where an engine's pods are looked for; `None`: everywhere in the lake.
#[derive(Debug, Clone, Default)]
pub struct Within {
    pub cluster: Option<String>,
    pub namespace: Option<String>,
}

/// A scratch database with a table `known_pods`: pods of the lake that meet a condition on their labels and annotations.
fn known_pods(lake: &Lake, within: &Within, condition: &str) -> Result<Connection> {
    let connection = scratch()?;
    let of = |table: &str| -> Result<String> { Ok(recall::relation(lake, fact(table)?)?) };
    let text = format!(
        "create temp table known_pods as \
         with identities as ( \
             select cluster, pod_uid, arg_max(labels, valid_from_at) as labels, \
                 arg_max(annotations, valid_from_at) as annotations \
             from {identities} where {condition} group by cluster, pod_uid \
         ), states as ( \
             select cluster, pod_uid, arg_max(namespace, observed_at) as namespace, min(created_at) as created_at, \
                 max(released_at) as released_at \
             from {states} group by cluster, pod_uid \
         ), containers as ( \
             select cluster, pod_uid, list(distinct container_name) as containers \
             from {requests} where container_kind = 'container' group by cluster, pod_uid \
         ) \
         select cluster, pod_uid, labels, annotations, namespace, created_at, released_at, containers \
         from identities join states using (cluster, pod_uid) left join containers using (cluster, pod_uid) \
         where cluster = coalesce($1, cluster) and namespace is not distinct from coalesce($2, namespace)",
        identities = of("pod_identities")?,
        states = of("pod_states")?,
        requests = of("container_requests")?,
    );
    connection
        .execute(&text, duckdb::params![within.cluster, within.namespace])
        .doing("look for an engine's pods in the lake")?;
    Ok(connection)
}
