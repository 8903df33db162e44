//! What the lake knows of a cluster from others than this import.

use std::collections::{HashMap, HashSet};

use duckdb::Row;
use jiff::Timestamp;
use podledger_sql::Doing;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::{quote, scratch};

use crate::error::{Error, Result};

/// What the lake knows of the cluster from elsewhere.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// The first that was seen.
    pub since: Option<Timestamp>,
    /// Pods and nodes that were seen.
    pub pods: HashSet<String>,
    pub nodes: HashSet<String>,
    /// Machines by node and provider ID, with when they were launched.
    machines: HashMap<(String, String), Vec<(i64, String)>>,
}

impl Elsewhere {
    /// Reads the lake but for what `origin` wrote.
    ///
    /// # Errors
    /// Those of the lake.
    pub fn of(lake: &Lake, cluster: &str, origin: &str) -> Result<Self> {
        let mut known = Self::default();
        let connection = scratch()?;
        let mut read =
            |table: &str,
             columns: &str,
             groups: &str,
             take: &mut dyn FnMut(&mut Self, &Row<'_>) -> duckdb::Result<()>| {
                let files: Vec<String> = lake
                    .segments()?
                    .into_iter()
                    .filter(|segment| segment.table == table && segment.origin != origin)
                    .map(|segment| quote(&segment.path.to_string_lossy()))
                    .collect();
                if files.is_empty() {
                    return Ok(());
                }
                let text = format!(
                    "select min(epoch_us(observed_at)), {columns} \
                 from read_parquet([{}], union_by_name = true, hive_partitioning = false) \
                 where cluster = ? group by {groups}",
                    files.join(", "),
                );
                let doing = || format!("read the {table} that the lake knows");
                let mut statement = connection.prepare(&text).doing(doing())?;
                let mut rows = statement.query([cluster]).doing(doing())?;
                while let Some(row) = rows.next().doing(doing())? {
                    let seen = Timestamp::from_microsecond(row.get(0).doing(doing())?).ok();
                    known.since = [known.since, seen].into_iter().flatten().min();
                    take(&mut known, row).doing(doing())?;
                }
                Ok::<_, Error>(())
            };
        read("pod_states", "pod_uid", "pod_uid", &mut |known, row| {
            known.pods.insert(row.get(1)?);
            Ok(())
        })?;
        let columns = "node_name, coalesce(provider_id, ''), machine";
        let launched = format!("{columns}, epoch_ms(min(launched_at))");
        read("machines", &launched, columns, &mut |known, row| {
            if let Some(node) = row.get::<_, Option<String>>(1)? {
                let machines = known.machines.entry((node.clone(), row.get(2)?)).or_default();
                machines.push((row.get(4)?, row.get(3)?));
                machines.sort_unstable();
                known.nodes.insert(node);
            }
            Ok(())
        })?;
        Ok(known)
    }

    /// The machine of a node that was made at an instant: the youngest that was launched by then, as a machine is launched before
    /// its node is made; else the first, as one that was stopped and started keeps its node.
    #[must_use]
    pub fn machine(&self, node: &str, provider_id: &str, created_ms: i64) -> Option<&str> {
        let machines = self.machines.get(&(node.to_owned(), provider_id.to_owned()))?;
        let launched = machines
            .iter()
            .rev()
            .find(|(launched_ms, _)| *launched_ms <= created_ms);
        launched.or(machines.first()).map(|(_, machine)| machine.as_str())
    }
}
