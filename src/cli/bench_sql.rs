//! `podledger bench sql`.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use podledger_analyzer::build::build;
use podledger_analyzer::config::Config;
use podledger_reports::door::{Door, DoorError};
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::{Published, manifest};
use serde::Serialize;

use super::bench::{QUICK_PODS, peak_memory, seal_all};
use super::collect::runtime;
use super::sql::SqlLimits;

/// Measure the cookbook's questions, of the published marts of generated pods: each in a process of its own as `sql` and the server ask, from its start
/// to the last row.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger bench sql --pods 10000000")]
pub struct BenchSql {
    /// Pods to generate, spread over 28 days.
    #[arg(long, default_value_t = 1_000_000)]
    pods: u64,
    /// A run of seconds: 20,000 pods.
    #[arg(long, conflicts_with = "pods")]
    quick: bool,
    /// How often each question is asked; its time is the median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    times: u16,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: SqlLimits,
}

/// The questions, as they are documented.
const COOKBOOK: &str = include_str!("../../docs/cookbook.md");

/// What a process takes that has nothing to compute.
const NOTHING: (&str, &str) = ("(a process and nothing to compute)", "select 1");

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    pods: u64,
    threads: usize,
    times: u16,
    build_seconds: f64,
    publish_seconds: f64,
    /// Of all marts that were published.
    published_rows: u64,
    published_bytes: u64,
    questions: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    question: &'static str,
    /// Median, of the answers that there were.
    seconds: Option<f64>,
    seconds_most: Option<f64>,
    rows: u64,
    /// Most memory that its process has held, where the system tells.
    memory_bytes: Option<u64>,
    /// Why there was no answer.
    failed: Option<String>,
}

impl BenchSql {
    pub fn run(&self) -> anyhow::Result<()> {
        let pods = if self.quick {
            QUICK_PODS
        } else {
            self.pods.max(100)
        };
        let folder = tempfile::tempdir().context("cannot make a folder for the bench")?;
        let report = self.measure(folder.path(), pods)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        Ok(())
    }

    fn measure(&self, data: &Path, pods: u64) -> anyhow::Result<Report> {
        let lake = Lake::open(&data.join("lake"))?;
        seal_all(&lake, pods)?;
        let started = Instant::now();
        let (ledger, _) = build(
            Ledger::open(&data.join("ledger.duckdb"))?,
            &lake,
            &Config::default(),
            true,
        )?;
        let build_seconds = started.elapsed().as_secs_f64();
        let published = Published::new(&data.join("published"));
        let started = Instant::now();
        published.publish(ledger.connection())?;
        let publish_seconds = started.elapsed().as_secs_f64();
        // Who asks has nothing but the snapshot, and the memory is its own.
        drop(ledger);
        let folder = published.current()?.context("nothing was published")?;
        let marts = manifest(&folder)?.context("nothing was published")?.marts;
        let door = Door::new(self.limits.settings(data)?);
        let asking = runtime()?;
        let mut measured = Vec::new();
        for (question, query) in std::iter::once(NOTHING).chain(questions(COOKBOOK)) {
            measured.push(asking.block_on(self.ask(&door, question, query)));
        }
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            pods,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            times: self.times,
            build_seconds,
            publish_seconds,
            published_rows: marts.iter().map(|mart| mart.rows).sum(),
            published_bytes: marts.iter().map(|mart| mart.bytes).sum(),
            questions: measured,
        })
    }

    async fn ask(&self, door: &Door, question: &'static str, query: &str) -> Measured {
        let mut measured = Measured {
            question,
            seconds: None,
            seconds_most: None,
            rows: 0,
            memory_bytes: None,
            failed: None,
        };
        let mut seconds = Vec::new();
        for _ in 0..self.times {
            let started = Instant::now();
            match answered(door, query).await {
                Ok((rows, memory)) => {
                    seconds.push(started.elapsed().as_secs_f64());
                    measured.rows = rows;
                    measured.memory_bytes = measured.memory_bytes.max(memory);
                }
                Err(error) => {
                    measured.failed = Some(error.to_string());
                    break;
                }
            }
        }
        seconds.sort_by(f64::total_cmp);
        measured.seconds = seconds.get(seconds.len() / 2).copied();
        measured.seconds_most = seconds.last().copied();
        measured
    }
}

/// The rows of an answer, and the most memory that the process held which gave it.
async fn answered(door: &Door, query: &str) -> Result<(u64, Option<u64>), DoorError> {
    let mut worker = door.worker().await?;
    let mut answer = worker.ask(query).await?;
    let mut rows = 0;
    while let Some(batch) = answer.next().await? {
        rows += batch.num_rows() as u64;
    }
    drop(answer);
    let memory = worker.id().and_then(|id| peak_memory(&id.to_string()));
    Ok((rows, memory))
}

/// Questions of a cookbook with their queries: the line of text before a query says what it asks.
fn questions(cookbook: &str) -> impl Iterator<Item = (&str, &str)> {
    let before = cookbook.split("```sql\n").map(|part| {
        let text = part.split_once("```").map_or(part, |(_, text)| text);
        text.lines()
            .rev()
            .find(|line| !line.is_empty())
            .unwrap_or_default()
    });
    let queries = cookbook.split("```sql\n").skip(1);
    before.zip(queries.filter_map(|part| Some(part.split_once("```")?.0)))
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn print(report: &Report) {
    println!(
        "podledger {} · {} pods · {} threads",
        report.version, report.pods, report.threads
    );
    println!(
        "built in {:.1} s, published in {:.1} s: {} rows, {:.1} MB\n",
        report.build_seconds,
        report.publish_seconds,
        report.published_rows,
        report.published_bytes as f64 / 1e6
    );
    println!(
        "{:<84} {:>8} {:>8} {:>8} {:>6}",
        "", "seconds", "at most", "rows", "MiB"
    );
    for measured in &report.questions {
        let shown = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.3}"));
        println!(
            "{:<84} {:>8} {:>8} {:>8} {:>6}",
            measured.question,
            shown(measured.seconds),
            shown(measured.seconds_most),
            measured.rows,
            measured
                .memory_bytes
                .map_or("-".to_owned(), |bytes| (bytes >> 20).to_string())
        );
        if let Some(failed) = &measured.failed {
            println!("  {failed}");
        }
    }
}
