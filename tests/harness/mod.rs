//! A small ledger in a temporary folder: facts are given as queries, marts are read as text.

pub mod moto;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use duckdb::Connection;
use jiff::civil::date;
use podledger_analyzer::build::{BuildReport, build};
use podledger_analyzer::config::Config;
use podledger_collector::import::Imported;
use podledger_collector::import::query::import_query;
use podledger_reports::http::Snapshots;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::Published;
use tempfile::TempDir;

/// A folder of the data that several projects share, from `PODLEDGER_SHARED_DATA`; `None`, said loudly, without it.
pub fn shared_data(folder: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("PODLEDGER_SHARED_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let found = shared.join(folder);
    if found.exists() {
        return Some(found);
    }
    eprintln!(
        "SKIPPED: {} is not there; set PODLEDGER_SHARED_DATA",
        found.display()
    );
    None
}

/// A program of the tests' own environment, beside the build; `make test` installs it and does not go on without.
pub fn tool(name: &str) -> Option<PathBuf> {
    tool_of("venv", name)
}

/// A program of one of the tests' own environments, which has the name of the target that makes it.
pub fn tool_of(environment: &str, name: &str) -> Option<PathBuf> {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_podledger"));
    let target = binary.ancestors().nth(2).unwrap();
    let tool = target.join(environment).join("bin").join(name);
    if tool.exists() {
        return Some(tool);
    }
    assert!(
        std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
        "{} is missing: run `make {environment}`",
        tool.display()
    );
    eprintln!(
        "SKIPPED: {} is not there; run `make {environment}`",
        tool.display()
    );
    None
}

/// A program that the system has; `make test` installs it and does not go on without.
pub fn system_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tool = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|tool| tool.exists());
    if tool.is_none() {
        assert!(
            std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
            "{name} is missing: `make test` installs it where Debian's packages are"
        );
        eprintln!("SKIPPED: {name} is not there; run `make test`, or install it");
    }
    tool
}

/// Holds something for every seed, and says at the end for which it does not hold.
pub fn for_seeds(seeds: impl IntoIterator<Item = u64>, hold: impl Fn(u64)) {
    let held = |seed| std::panic::catch_unwind(AssertUnwindSafe(|| hold(seed)));
    let failed: Vec<String> = seeds
        .into_iter()
        .filter_map(|seed| {
            let why = held(seed).err()?;
            let text = why.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| why.downcast_ref().copied()).unwrap_or("panicked");
            Some(format!("seed {seed}: {text}"))
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} seeds fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

pub struct World {
    pub folder: TempDir,
    pub config: Config,
    pub threads: u32,
}

impl World {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            config: Config::default(),
            threads: 4,
        }
    }

    /// Another that has all of its files.
    pub fn copied(&self) -> Self {
        let copy = Self::new();
        let ended = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.folder.path().join("."))
            .arg(copy.folder.path())
            .status();
        assert!(ended.unwrap().success());
        copy
    }

    pub fn lake(&self) -> Lake {
        Lake::open(&self.folder.path().join("lake")).unwrap()
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::open(&self.folder.path().join("ledger.duckdb")).unwrap()
    }

    /// Facts of a table, as a query.
    pub fn given(&self, table: &str, query: &str) -> Imported {
        import_query(&self.lake(), table, query, date(2026, 11, 16)).unwrap()
    }

    /// One machine that is up for all of `[start, end)` of the one hour from 10:00, priced at `usd` an hour.
    pub fn given_machine(&self, cores: u32, gib: u32, gpus: u32, usd: &str) {
        self.given(
            "machines",
            "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n' as node_name, \
             'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
             'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
        );
        self.given(
            "node_states",
            &format!(
                "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:00' as observed_at, \
                 {cores} * 1000 as cpu_capacity_millicores, {cores} * 1000 as cpu_allocatable_millicores, \
                 {gib}::bigint * 1073741824 as memory_capacity_bytes, {gib}::bigint * 1073741824 as memory_allocatable_bytes, \
                 {gpus} * 1000 as gpu_capacity_milligpus"
            ),
        );
        self.given(
            "prices",
            &format!(
                "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
                 timestamp '2026-01-01 00:00:00' as valid_from_at, {usd}::decimal(18,9) as hourly_usd, 'test' as source"
            ),
        );
        self.given(
            "collection_watermarks",
            "select 'c' as cluster, timestamp '2026-11-16 11:00:00' as observed_through_at",
        );
    }

    /// A pod on that machine for the whole hour.
    pub fn given_pod(&self, uid: &str, millicores: u32, mib: u32, milligpus: u32) {
        self.given(
            "pod_states",
            &format!(
                "select 'c' as cluster, '{uid}' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, \
                 '{uid}' as pod_name, 'ns' as namespace, 'm' as machine, \
                 timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 10:00:00' as bound_at, \
                 'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, \
                 timestamp '2026-11-16 11:00:00' as finished_at, timestamp '2026-11-16 11:00:00' as released_at, \
                 'watch' as end_source, 'Succeeded' as phase, {millicores} as cpu_request_millicores, \
                 {mib}::bigint * 1048576 as memory_request_bytes, {milligpus} as gpu_request_milligpus"
            ),
        );
    }

    /// Rows of a query as a map from all columns but the last to the last, which is a whole number; without zeros.
    pub fn sums(&self, query: &str) -> BTreeMap<String, i128> {
        let rows = self.rows(query);
        rows.iter()
            .map(|row| {
                let (key, sum) = row.rsplit_once('|').unwrap();
                (key.to_owned(), sum.parse().unwrap())
            })
            .filter(|(_, sum)| *sum != 0)
            .collect()
    }

    pub fn build(&self, full: bool) -> BuildReport {
        let ledger = self.ledger();
        let threads = format!("set threads = {}", self.threads);
        ledger.connection().execute_batch(&threads).unwrap();
        build(ledger, &self.lake(), &self.config, full).unwrap().1
    }

    /// Builds a new ledger from the lake.
    pub fn build_anew(&self) -> BuildReport {
        std::fs::remove_file(self.folder.path().join("ledger.duckdb")).unwrap();
        self.build(true)
    }

    /// The rows of a query over the ledger: cells joined by `|`.
    pub fn rows(&self, query: &str) -> Vec<String> {
        rows(self.ledger().connection(), query)
    }
}

/// What a server shows of a folder.
pub fn snapshots_of(folder: &Path) -> Arc<Snapshots> {
    Arc::new(unshared_snapshots_of(folder))
}

pub fn unshared_snapshots_of(folder: &Path) -> Snapshots {
    Snapshots::new(
        &folder.join("ledger.duckdb"),
        Published::new(&folder.join("published")),
    )
}

pub fn rows(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection
        .prepare(&format!("select concat_ws('|', *columns(*)) from ({query})"))
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<Vec<String>, _>>().unwrap()
}

/// Every row of `machine_pod_hours` and of the marts, in an order of their own: two ledgers are equal if these are.
pub fn contents(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    let ledger = world.ledger();
    for relation in [
        "intermediate.machine_pod_hours",
        "marts.allocations_hourly",
        "marts.costs_hourly",
        "marts.costs_daily",
        "marts.costs_hourly_restated",
        "marts.costs_daily_restated",
        "marts.teams_weekly_restated",
        "marts.adjustments",
        "marts.closed_months",
        "marts.billed_costs_hourly",
        "marts.commitments_daily",
        "marts.commitment_benefits_daily",
        "marts.runs",
        "marts.run_teams",
        "marts.job_attempts",
        "marts.machines_daily",
        "marts.teams_weekly",
        "marts.pipelines_weekly",
        "marts.jobs_daily",
        "marts.queue_waits",
        "marts.containers_daily",
        "marts.container_attempts",
        "marts.data_quality",
    ] {
        // As one struct, so that columns, types' texts and NULLs all count.
        let query = format!("select cast(found as varchar) from {relation} as found order by 1");
        let found = rows(ledger.connection(), &query);
        all.push(format!("# {relation}"));
        all.extend(found);
    }
    all
}
