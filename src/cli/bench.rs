//! `podledger bench`.

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use duckdb::Connection;
use duckdb::arrow::record_batch::RecordBatch;
use jiff::civil::date;
use podledger_analyzer::build::{Step, build};
use podledger_analyzer::config::Config;
use podledger_sql::Error as SqlError;
use podledger_sql::facts::Fact;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::{Ledger, scratch};
use serde::Serialize;

use super::Cli;
use super::bench_collect::BenchCollect;
use super::bench_recommend::BenchRecommend;
use super::bench_serve::BenchServe;
use super::bench_sql::BenchSql;

/// Measure writing facts, building and asking, on generated pods, beside what DuckDB takes alone in the same run.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: podledger bench --pods 1000000",
    args_conflicts_with_subcommands = true
)]
pub struct Bench {
    #[command(subcommand)]
    of: Option<Of>,
    /// Pods to generate, spread over 28 days.
    #[arg(long, default_value_t = 1_000_000)]
    pods: u64,
    /// A run of seconds: 20,000 pods.
    #[arg(long, conflicts_with = "pods")]
    quick: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Show every step of the builds, not only those of 100 ms and more.
    #[arg(long)]
    timings: bool,
}

/// What else can be measured.
#[derive(Debug, Subcommand)]
enum Of {
    Collect(BenchCollect),
    Recommend(BenchRecommend),
    Serve(BenchServe),
    Sql(BenchSql),
}

/// Pods of a run of seconds.
pub(super) const QUICK_PODS: u64 = 20_000;

/// Pods on one machine at a time, on average: what sets how many machines there are.
const PODS_PER_MACHINE: u64 = 5_000;

/// A block of a DuckDB file.
const BLOCK_BYTES: u64 = 262_144;

/// How many pods are generated at a time.
const PIECE: u64 = 500_000;

/// Share of all pods that the later hour brings.
const HOUR_SHARE: u64 = 50;

/// What an analyst asks, by name.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "cost by team and week",
        "select team, iso_week, sum(cost) from marts.teams_weekly group by all",
    ),
    (
        "dearest pipelines",
        "select pipeline, sum(cost) as cost from marts.costs_daily group by all order by cost desc limit 20",
    ),
    (
        "dearest runs",
        "select pipeline, run, cost, wasted_cost from marts.runs order by cost desc limit 20",
    ),
    (
        "a day by hour and category",
        "select hour_start_at, cost_category, sum(total_cost) from marts.allocations_hourly \
         where hour_start_at >= timestamp '2026-11-10' and hour_start_at < timestamp '2026-11-11' group by all",
    ),
    (
        "longest waits",
        "select job, max(queue_wait_ms) as wait from marts.job_attempts group by all order by wait desc limit 20",
    ),
];

/// One thing that was measured.
#[derive(Debug, Serialize)]
struct Measure {
    name: String,
    seconds: f64,
    /// Of what there were so many.
    count: u64,
    unit: &'static str,
}

/// How much of the ledger a table takes.
#[derive(Debug, Serialize)]
struct TableSize {
    name: String,
    bytes_per_pod: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    pods: u64,
    threads: usize,
    measures: Vec<Measure>,
    lake_bytes_per_pod: f64,
    ledger_bytes_per_pod: f64,
    /// The largest tables of the ledger after the full build.
    tables: Vec<TableSize>,
    peak_memory_bytes: Option<u64>,
}

impl Bench {
    pub fn run(&self, _cli: &Cli) -> anyhow::Result<ExitCode> {
        match &self.of {
            Some(Of::Collect(collect)) => collect.run()?,
            Some(Of::Recommend(recommend)) => recommend.run()?,
            Some(Of::Serve(serve)) => serve.run()?,
            Some(Of::Sql(sql)) => sql.run()?,
            None => return self.run_whole(),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn run_whole(&self) -> anyhow::Result<ExitCode> {
        let pods = if self.quick {
            QUICK_PODS
        } else {
            self.pods.max(100)
        };
        let folder = tempfile::tempdir().context("cannot make a folder for the bench")?;
        let shortest = Duration::from_millis(if self.timings { 0 } else { 100 });
        let report = measure(folder.path(), pods, shortest)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a build did that took so long, and all of its checks together.
fn parts(steps: &[Step], shortest: Duration) -> Vec<(String, Duration)> {
    let checks: Duration = steps
        .iter()
        .filter(|step| step.name.starts_with("(check "))
        .map(|step| step.elapsed)
        .sum();
    let long = steps.iter().filter(|step| step.elapsed >= shortest);
    long.map(|step| (format!("  {}", step.name), step.elapsed))
        .chain([("  (checks)".to_owned(), checks)])
        .collect()
}

fn measure(folder: &Path, pods: u64, shortest: Duration) -> anyhow::Result<Report> {
    let mut measures = Vec::new();
    let mut note = |name: &str, elapsed: Duration, count: u64, unit: &'static str| {
        measures.push(Measure {
            name: name.to_owned(),
            seconds: elapsed.as_secs_f64(),
            count,
            unit,
        });
    };
    let rows = |of: &[(&'static Fact, Vec<RecordBatch>)]| -> u64 {
        of.iter()
            .flat_map(|(_, batches)| batches)
            .map(|batch| batch.num_rows() as u64)
            .sum()
    };
    let lake = Lake::open(&folder.join("lake"))?;
    let raw = Connection::open(folder.join("raw.duckdb"))?;
    let (mut appended, mut sealed, mut total) = (Duration::ZERO, Duration::ZERO, 0);
    // What is generated takes more memory than what is measured: one piece of it at a time.
    for first in (0..pods).step_by(usize::try_from(PIECE)?) {
        let facts = generate(pods, first..(first + PIECE).min(pods))?;
        total += rows(&facts);
        let started = Instant::now();
        append(&raw, &facts)?;
        appended += started.elapsed();
        let started = Instant::now();
        seal(&lake, &format!("piece-{first}"), &facts)?;
        sealed += started.elapsed();
    }
    let started = Instant::now();
    raw.execute_batch("checkpoint")?;
    appended += started.elapsed();
    drop(raw);
    note(
        "DuckDB alone: append the facts by Arrow",
        appended,
        total,
        "facts",
    );
    note("validate and seal the facts", sealed, total, "facts");

    let started = Instant::now();
    copy(&folder.join("copy.duckdb"), &lake)?;
    note(
        "DuckDB alone: copy the facts from Parquet",
        started.elapsed(),
        total,
        "facts",
    );

    let ledger_path = folder.join("ledger.duckdb");
    let config = Config::default();
    let started = Instant::now();
    let (ledger, built) = build(Ledger::open(&ledger_path)?, &lake, &config, true)?;
    note("full build", started.elapsed(), pods, "pods");
    for (name, elapsed) in parts(&built.steps, shortest) {
        note(&name, elapsed, pods, "pods");
    }
    let ledger_bytes = std::fs::metadata(&ledger_path)?.len();
    let tables = table_sizes(ledger.connection(), pods)?;
    let lake_bytes: u64 = lake
        .segments()?
        .iter()
        .filter_map(|segment| std::fs::metadata(&segment.path).ok())
        .map(|file| file.len())
        .sum();

    let more = pods / HOUR_SHARE;
    let hour = later_hour(pods, more)?;
    seal(&lake, "hour", &hour)?;
    let started = Instant::now();
    let (ledger, built) = build(ledger, &lake, &config, false)?;
    note(
        "incremental build of one more hour",
        started.elapsed(),
        more,
        "pods",
    );
    for (name, elapsed) in parts(&built.steps, shortest) {
        note(&name, elapsed, more, "pods");
    }

    for (name, question) in QUESTIONS {
        let started = Instant::now();
        let rows = ledger
            .connection()
            .prepare(question)
            .and_then(|mut statement| {
                Ok(statement
                    .query_arrow([])?
                    .map(|batch| batch.num_rows())
                    .sum::<usize>())
            })
            .with_context(|| format!("cannot ask for {name}"))?;
        note(&format!("ask: {name}"), started.elapsed(), rows as u64, "rows");
    }
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        pods,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        measures,
        lake_bytes_per_pod: per(lake_bytes, pods),
        ledger_bytes_per_pod: per(ledger_bytes, pods),
        tables,
        peak_memory_bytes: peak_memory("self"),
    })
}

/// Tables of more than a byte per pod, the largest first, by the blocks of the file that they alone hold.
fn table_sizes(connection: &Connection, pods: u64) -> anyhow::Result<Vec<TableSize>> {
    let mut names = connection.prepare(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = current_catalog() \
         and not temporary order by 1",
    )?;
    let names = names
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<duckdb::Result<Vec<_>>>()?;
    let mut sizes = Vec::new();
    for name in names {
        let blocks: u64 = connection.query_row(
            &format!(
                "select count(distinct block_id) from pragma_storage_info('{name}') where block_id >= 0"
            ),
            [],
            |row| row.get(0),
        )?;
        let bytes_per_pod = per(blocks * BLOCK_BYTES, pods);
        if bytes_per_pod >= 1.0 {
            sizes.push(TableSize { name, bytes_per_pod });
        }
    }
    sizes.sort_by(|a, b| b.bytes_per_pod.total_cmp(&a.bytes_per_pod));
    Ok(sizes)
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn per(bytes: u64, pods: u64) -> f64 {
    bytes as f64 / pods as f64
}

/// Facts of a platform in bursts: pods of 20 teams and 200 pipelines, most of them shorter than a few minutes, on
/// machines that are there all the time. Everything follows from the pod's number.
fn generate(pods: u64, numbers: Range<u64>) -> anyhow::Result<Vec<(&'static Fact, Vec<RecordBatch>)>> {
    let machines = (pods / PODS_PER_MACHINE).max(2);
    let pod = format!(
        "select i, hash(i) as h, timestamp '2026-11-02 00:00:00' + to_seconds((i * 2419200 // {pods})::bigint) as created_at, \
         to_seconds(1 + hash(i, 1) % 20) as wait, \
         to_seconds(2 + case when hash(i, 2) % 10 = 0 then hash(i, 3) % 7200 else hash(i, 3) % 300 end) as lived, \
         'm' || hash(i, 4) % {machines} as machine from range({first}, {end}) as r(i)",
        first = numbers.start,
        end = numbers.end,
    );
    let mut facts = vec![
        query("pod_states", &states(&pod))?,
        query("pod_identities", &identities(&pod))?,
        query(
            "usage_hours",
            &format!(
                "select 'bench' as cluster, uuid_of(i) as pod_uid, date_trunc('hour', created_at + wait) as hour_start_at, \
             'kubelet' as source, (hash(i, 5) % 3600000)::bigint as cpu_usage_millicore_ms, \
             (hash(i, 6) % 1000000000000000)::decimal(38,0) as memory_usage_byte_ms from ({pod}) where hash(i, 7) % 4 > 0"
            ),
        )?,
    ];
    // Machines, prices and how far all was observed belong to the first piece.
    if numbers.start == 0 {
        facts.extend([

        query(
            "machines",
            &format!(
                "select 'bench' as cluster, 'm' || i as machine, timestamp '2026-11-01 00:00:00' as observed_at, 'n' || i as node_name, \
             'aws' as provider, 'us-east-1' as region, 'm5.8xlarge' as instance_type, 'on-demand' as capacity_type, \
             'instance' as billing_model, timestamp '2026-11-02 00:00:00' as launched_at, 'declared' as launch_source \
             from range({machines}) as r(i)"
            ),
        )?,
        query(
            "node_states",
            &format!(
                "select 'bench' as cluster, 'm' || i as machine, timestamp '2026-11-02 00:01:00' as observed_at, \
             32000 as cpu_capacity_millicores, 31800 as cpu_allocatable_millicores, \
             137438953472 as memory_capacity_bytes, 130000000000 as memory_allocatable_bytes from range({machines}) as r(i)"
            ),
        )?,
        query(
            "prices",
            "select 'aws' as provider, 'us-east-1' as region, 'm5.8xlarge' as instance_type, \
            'on-demand' as capacity_type, timestamp '2026-01-01 00:00:00' as valid_from_at, 1.536::decimal(18,9) as hourly_usd, \
            'bench' as source",
        )?,
        query(
            "collection_watermarks",
            "select 'bench' as cluster, timestamp '2026-11-30 00:00:00' as observed_through_at",
        )?,
        ]);
    }
    Ok(facts)
}

/// Facts of one more hour, after all others.
fn later_hour(pods: u64, more: u64) -> anyhow::Result<Vec<(&'static Fact, Vec<RecordBatch>)>> {
    let machines = (pods / PODS_PER_MACHINE).max(2);
    let pod = format!(
        "select i, hash(i) as h, timestamp '2026-11-30 00:00:00' + to_seconds((hash(i, 8) % 3000)::bigint) as created_at, \
         to_seconds(1 + hash(i, 1) % 20) as wait, to_seconds(2 + hash(i, 3) % 300) as lived, \
         'm' || hash(i, 4) % {machines} as machine from range({pods}, {pods} + {more}) as r(i)"
    );
    Ok(vec![
        query("pod_states", &states(&pod))?,
        query("pod_identities", &identities(&pod))?,
        query(
            "collection_watermarks",
            "select 'bench' as cluster, timestamp '2026-11-30 01:00:00' as observed_through_at",
        )?,
    ])
}

fn states(pod: &str) -> String {
    format!(
        "select 'bench' as cluster, uuid_of(i) as pod_uid, created_at + wait + lived as observed_at, \
         'job-' || i as pod_name, 'ns-' || h % 20 as namespace, machine, 'n' || substr(machine, 2) as node_name, created_at, \
         created_at + wait as bound_at, 'scheduled' as start_source, created_at + wait as running_at, \
         created_at + wait + lived as finished_at, created_at + wait + lived as released_at, 'watch' as end_source, \
         created_at + wait + lived as end_earliest_at, created_at + wait + lived as end_latest_at, \
         case when hash(i, 9) % 50 = 0 then 'Failed' else 'Succeeded' end as phase, \
         case when hash(i, 9) % 50 = 0 then 1 else 0 end as exit_code, \
         (100 * (1 + hash(i, 10) % 40))::bigint as cpu_request_millicores, \
         (268435456 * (1 + hash(i, 11) % 32))::bigint as memory_request_bytes from ({pod})"
    )
}

fn identities(pod: &str) -> String {
    format!(
        "select 'bench' as cluster, uuid_of(i) as pod_uid, created_at as valid_from_at, \
         map {{'dag_id': 'pipeline_' || h % 200, 'task_id': 'task_' || hash(i, 12) % 12, \
               'run_id': 'scheduled-' || created_at::date || '-' || hash(i, 13) % 24, 'try_number': '1', \
               'kubernetes_pod_operator': 'True', 'team': 'team-' || h % 20}} as labels from ({pod})"
    )
}

fn query(table: &str, text: &str) -> anyhow::Result<(&'static Fact, Vec<RecordBatch>)> {
    let fact = Fact::named(table).with_context(|| format!("{table} is no table"))?;
    let connection = scratch()?;
    connection.execute_batch(
        "create macro uuid_of(i) as format('{:08x}-0000-4000-8000-{:012x}', (hash(i, 99) % 4294967296)::ubigint, i::ubigint)",
    )?;
    let mut statement = connection.prepare(text)?;
    let batches = statement.query_arrow([])?.collect();
    Ok((fact, batches))
}

/// What DuckDB takes to append the same rows, by its Arrow appender.
fn append(connection: &Connection, facts: &[(&'static Fact, Vec<RecordBatch>)]) -> anyhow::Result<()> {
    for (fact, batches) in facts {
        let Some(first) = batches.first() else { continue };
        let columns: Vec<String> = first
            .schema()
            .fields()
            .iter()
            .filter_map(|field| fact.column(field.name()))
            .map(|column| format!("{} {}", column.name, column.kind.duckdb()))
            .collect();
        connection.execute_batch(&format!(
            "create table if not exists {} ({})",
            fact.table,
            columns.join(", ")
        ))?;
        let mut appender = connection.appender(fact.table)?;
        for batch in batches {
            appender.append_record_batch(batch.clone())?;
        }
        appender.flush()?;
    }
    Ok(())
}

/// What DuckDB takes to copy the same rows out of Parquet into a file of its own.
fn copy(path: &Path, lake: &Lake) -> anyhow::Result<()> {
    let connection = Connection::open(path)?;
    connection.execute_batch("set preserve_insertion_order = false")?;
    for (number, segment) in lake.segments()?.iter().enumerate() {
        connection.execute_batch(&format!(
            "create table t{number} as select * from read_parquet({})",
            podledger_sql::ledger::quote(&segment.path.to_string_lossy())
        ))?;
    }
    connection.execute_batch("checkpoint")?;
    Ok(())
}

/// Writes the facts of so many pods into a lake.
pub(super) fn seal_all(lake: &Lake, pods: u64) -> anyhow::Result<()> {
    for first in (0..pods).step_by(usize::try_from(PIECE)?) {
        let facts = generate(pods, first..(first + PIECE).min(pods))?;
        seal(lake, &format!("piece-{first}"), &facts)?;
    }
    Ok(())
}

fn seal(lake: &Lake, id: &str, facts: &[(&'static Fact, Vec<RecordBatch>)]) -> anyhow::Result<()> {
    let mut commit = lake.begin("bench", id, "podledger bench", date(2026, 11, 30))?;
    for (fact, batches) in facts {
        commit.write(fact, batches.iter().cloned().map(Ok::<_, SqlError>))?;
    }
    commit.publish()?;
    Ok(())
}

/// Most memory that a process has held, by its number or `self`, where the system tells.
pub(super) fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn print(report: &Report) {
    println!(
        "podledger {} · {} pods · {} threads\n",
        report.version, report.pods, report.threads
    );
    println!("{:<46} {:>9} {:>12} {:>14}", "", "seconds", "of", "per second");
    for measure in &report.measures {
        println!(
            "{:<46} {:>9.3} {:>12} {:>14.0} {}",
            measure.name,
            measure.seconds,
            measure.count,
            measure.count as f64 / measure.seconds.max(1e-9),
            measure.unit
        );
    }
    println!("\nlake   {:>7.0} bytes per pod", report.lake_bytes_per_pod);
    println!("ledger {:>7.0} bytes per pod", report.ledger_bytes_per_pod);
    for table in &report.tables {
        println!("       {:>7.0} {}", table.bytes_per_pod, table.name);
    }
    if let Some(bytes) = report.peak_memory_bytes {
        println!("memory {:>7.0} MiB at most", bytes as f64 / 1_048_576.0);
    }
}
