//! `podledger bench collect`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use podledger_collector::live::{Clock, Collection, Figures, Settings, scrape};
use podledger_sql::intake::Intake;
use podledger_sql::lake::Lake;
use serde::Serialize;
use tokio::sync::watch;

use super::collect::runtime;

/// Measure what collecting a large and busy cluster takes: a simulated one, in a process of its own, over a socket.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger bench collect --pods 100000 --changes 2000 --seconds 120")]
pub struct BenchCollect {
    /// Pods that are there at any time.
    #[arg(long, default_value_t = 100_000)]
    pods: u64,
    /// Nodes that they are on.
    #[arg(long, default_value_t = 500)]
    nodes: u64,
    /// Changes per second.
    #[arg(long, default_value_t = 2_000)]
    changes: u64,
    /// How long it is measured, once all pods are known.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure the containers' usage too, every 30 s.
    #[arg(long)]
    usage: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    pods: u64,
    nodes: u64,
    changes_per_second_wanted: u64,
    /// From the first request until all pods are known and committed.
    list_seconds: f64,
    changes_per_second: f64,
    /// Containers whose usage is measured.
    measured_containers: u64,
    /// How far what is committed of pods is behind the clock.
    lag_seconds_median: f64,
    lag_seconds_most: f64,
    /// Cores that were busy, on average.
    cores: Option<f64>,
    memory_bytes_after_list: Option<u64>,
    memory_bytes_at_end: Option<u64>,
    memory_bytes_most: Option<u64>,
}

/// The simulated cluster: ended with the bench.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the cluster is called.
const NAME: &str = "bench";

/// Ticks of a second in `/proc/*/stat`: the same on every Linux that matters.
#[cfg(target_os = "linux")]
const TICKS: f64 = 100.0;

impl BenchCollect {
    pub fn run(&self) -> anyhow::Result<()> {
        let report = runtime()?.block_on(self.measure())?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        Ok(())
    }

    /// Serves the cluster; returns its address.
    fn serve(&self) -> anyhow::Result<(Server, String)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["simulate", "--listen", "127.0.0.1:0"])
            .args(["--load-pods", &self.pods.to_string()])
            .args(["--load-nodes", &self.nodes.to_string()])
            .args(["--load-changes", &self.changes.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the simulated cluster")?;
        let out = child.stdout.take();
        let server = Server(child);
        // Both lines that it says are read: who writes to somebody who does not read any more is ended.
        let said: Vec<String> = out
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines().map_while(Result::ok).take(2))
            .collect();
        let address = said
            .first()
            .and_then(|line| line.split_whitespace().find(|word| word.starts_with("http://")))
            .context("the simulated cluster did not start")?;
        Ok((server, address.to_owned()))
    }

    async fn measure(&self) -> anyhow::Result<Report> {
        let folder = tempfile::tempdir().context("cannot make a folder for the bench")?;
        let (server, address) = self.serve()?;
        let client = kube::Client::try_from(kube::Config::new(address.parse()?))?;
        let figures = Figures::default();
        let collection = Collection {
            client,
            kubelets: None,
            name: NAME.to_owned(),
            settings: Arc::new(Settings {
                usage: self.usage.then(|| scrape::Settings {
                    source: scrape::Source::KubeletProxy,
                    ..scrape::Settings::default()
                }),
                ..Settings::default()
            }),
            store: Arc::new(Intake::open(
                &folder.path().join("intake.duckdb"),
                Timestamp::now(),
            )?),
            lake: Lake::open(&folder.path().join("lake"))?,
            bucket: None,
            clock: Clock::new(Timestamp::now),
            figures: figures.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let started = Instant::now();
        let mut running = tokio::spawn(collection.run(stopped));
        while figures.observed_through(NAME).is_none() {
            tokio::select! {
                ended = &mut running => {
                    ended??;
                    anyhow::bail!("collecting ended by itself");
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
        let list_seconds = started.elapsed().as_secs_f64();
        let memory_bytes_after_list = memory("VmRSS:");
        let (from, heard, busy) = (Instant::now(), figures.changes(NAME, "pods"), cpu_seconds());
        let mut lags = Vec::new();
        for _ in 0..self.seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(through) = figures.resource_observed_through(NAME, "pods") {
                lags.push(Timestamp::now().duration_since(through).as_secs_f64().max(0.0));
            }
        }
        lags.sort_by(f64::total_cmp);
        let elapsed = from.elapsed().as_secs_f64();
        let heard = figures.changes(NAME, "pods") - heard;
        let cores = cpu_seconds()
            .zip(busy)
            .map(|(now, before)| (now - before) / elapsed);
        let memory_bytes_at_end = memory("VmRSS:");
        let measured_containers = figures.measured_containers(NAME);
        let _ = stop.send(true);
        running.await??;
        drop(server);
        #[expect(clippy::cast_precision_loss, reason = "figures to look at")]
        let changes_per_second = heard as f64 / elapsed;
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            pods: self.pods,
            nodes: self.nodes,
            changes_per_second_wanted: self.changes,
            list_seconds,
            changes_per_second,
            measured_containers,
            lag_seconds_median: lags.get(lags.len() / 2).copied().unwrap_or_default(),
            lag_seconds_most: lags.last().copied().unwrap_or_default(),
            cores,
            memory_bytes_after_list,
            memory_bytes_at_end,
            memory_bytes_most: memory("VmHWM:"),
        })
    }
}

/// A figure of this process's memory, where the system tells.
fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// How long cores have worked for this process, where the system tells.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program comes second and may hold spaces; what follows it does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> Option<f64> {
    None
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn print(report: &Report) {
    let mebibytes = |bytes: Option<u64>| {
        bytes.map_or_else(
            || "unknown".to_owned(),
            |bytes| format!("{:.0} MiB", bytes as f64 / 1_048_576.0),
        )
    };
    println!(
        "podledger {} · {} pods on {} nodes · {} changes/s wanted\n",
        report.version, report.pods, report.nodes, report.changes_per_second_wanted
    );
    println!("first list, until committed   {:.1} s", report.list_seconds);
    println!("changes                       {:.0}/s", report.changes_per_second);
    println!(
        "pods are behind the clock     {:.2} s, at most {:.2} s",
        report.lag_seconds_median, report.lag_seconds_most
    );
    println!("containers measured           {}", report.measured_containers);
    match report.cores {
        Some(cores) => println!("processor                     {cores:.2} cores"),
        None => println!("processor                     unknown"),
    }
    println!(
        "memory                        {} after the list, {} at the end, {} at most",
        mebibytes(report.memory_bytes_after_list),
        mebibytes(report.memory_bytes_at_end),
        mebibytes(report.memory_bytes_most)
    );
}
