//! `podledger bench serve`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use clap::Args;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use podledger_analyzer::build::build;
use podledger_analyzer::config::Config;
use podledger_reports::http::routes;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::Published;
use serde::Serialize;
use tokio::sync::watch;

use super::bench::{QUICK_PODS, peak_memory, seal_all};
use super::collect::runtime;

/// Measure how long readers of the dashboard and the API wait: of a generated ledger, served by a process of its own over TCP, alone and beside a
/// full build.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger bench serve --pods 1000000 --readers 200")]
pub struct BenchServe {
    /// Pods to generate, spread over 28 days.
    #[arg(long, default_value_t = 1_000_000)]
    pods: u64,
    /// A run of seconds: 20,000 pods.
    #[arg(long, conflicts_with = "pods")]
    quick: bool,
    /// Readers that ask at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    readers: u16,
    /// How long they read while nothing is built, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How long each looks at what it got before it asks for the next, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pause: u64,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// URLs of one path that are asked at most: there are many pods, and their pages are alike.
const EACH_PATH: usize = 3;

/// Kinds of answers that are named; the slowest.
const SLOWEST: usize = 12;

/// How long is waited at most for readers to see the new build.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    pods: u64,
    readers: u16,
    pause_ms: u64,
    threads: usize,
    urls: usize,
    phases: Vec<Phase>,
    /// URLs whose first answers took longest, asked one after another by one reader.
    slowest: Vec<First>,
    build_seconds: f64,
    publish_seconds: f64,
    build_beside_readers_seconds: f64,
    publish_beside_readers_seconds: f64,
    /// Most memory that the server has held, where the system tells.
    server_memory_bytes: Option<u64>,
}

/// What readers met in a stretch of time.
#[derive(Debug, Serialize)]
struct Phase {
    name: String,
    seconds: f64,
    /// Answers that nobody had been given since the build.
    cold: Times,
    warm: Times,
    /// Answers by status; 0 is a connection that failed.
    statuses: BTreeMap<u16, u64>,
}

/// How long answers took, from the first byte of the question to the last of the answer, in milliseconds.
#[derive(Debug, Default, Serialize)]
struct Times {
    answers: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    most_ms: f64,
}

#[derive(Debug, Serialize)]
struct First {
    url: String,
    ms: f64,
    status: u16,
    bytes: usize,
}

/// An answer, as a reader met it.
struct Met {
    took: Duration,
    status: u16,
    is_cold: bool,
}

/// The server: ended with the bench.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(data: &Path, readers: u16) -> anyhow::Result<Self> {
        // One that a reader gave up is counted until the server has seen that.
        let connections = u32::from(readers) * 4 + 8;
        let mut child = Command::new(std::env::current_exe()?)
            .current_dir(data)
            .env_remove("PODLEDGER_CONFIG")
            .arg("--data")
            .arg(data)
            .args([
                "serve",
                "--no-collect",
                "--listen",
                "127.0.0.1:0",
                "--postgres-listen",
                "off",
                "--opencost",
                "off",
            ])
            // All readers have one address, as behind a proxy.
            .args(["--requests-per-second", "1000000"])
            .args(["--connections-per-address", &connections.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let out = child.stdout.take();
        let mut server = Self {
            child,
            address: String::new(),
        };
        let said = out.and_then(|out| BufReader::new(out).lines().map_while(Result::ok).next());
        server.address = said
            .as_deref()
            .and_then(|line| {
                line.split_whitespace()
                    .find_map(|word| word.strip_prefix("http://"))
            })
            .context("the server did not start")?
            .to_owned();
        Ok(server)
    }
}

impl BenchServe {
    pub fn run(&self) -> anyhow::Result<()> {
        let pods = if self.quick {
            QUICK_PODS
        } else {
            self.pods.max(100)
        };
        let folder = tempfile::tempdir().context("cannot make a folder for the bench")?;
        let lake = Lake::open(&folder.path().join("lake"))?;
        seal_all(&lake, pods)?;
        let report = runtime()?.block_on(self.measure(folder.path(), &lake, pods))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        Ok(())
    }

    async fn measure(&self, data: &Path, lake: &Lake, pods: u64) -> anyhow::Result<Report> {
        let [build_seconds, publish_seconds] = built(data, lake).await?;
        let server = Server::start(data, self.readers)?;
        let mut one = Reader::new(&server.address, false);
        let (mut slowest, given) = crawl(&mut one).await;
        let first = Phase::of_firsts(&slowest);
        let before = given.of_build.clone();
        let urls = slowest.iter().map(|first| first.url.clone()).collect();
        slowest.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        slowest.truncate(SLOWEST);
        let readers = Readers::start(self, &server.address, urls, given);
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let alone = readers.taken("alone");
        let [build_beside_readers_seconds, publish_beside_readers_seconds] = built(data, lake).await?;
        let beside = readers.taken("beside a full build");
        readers.see_everything_anew(&before).await;
        let after = readers.taken("after it");
        let urls = readers.urls.len();
        readers.stop().await;
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            pods,
            readers: self.readers,
            pause_ms: self.pause,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            urls,
            phases: vec![first, alone, beside, after],
            slowest,
            build_seconds,
            publish_seconds,
            build_beside_readers_seconds,
            publish_beside_readers_seconds,
            server_memory_bytes: peak_memory(&server.child.id().to_string()),
        })
    }
}

/// Builds everything anew and publishes it, as `podledger build` does; says how long each took.
async fn built(data: &Path, lake: &Lake) -> anyhow::Result<[f64; 2]> {
    let (path, lake) = (data.join("ledger.duckdb"), lake.clone());
    let published = Published::new(&data.join("published"));
    tokio::task::spawn_blocking(move || -> anyhow::Result<[f64; 2]> {
        let started = Instant::now();
        let (ledger, _) = build(Ledger::open(&path)?, &lake, &Config::default(), true)?;
        let building = started.elapsed();
        published.publish(ledger.connection())?;
        Ok([building, started.elapsed() - building].map(|took| took.as_secs_f64()))
    })
    .await?
}

/// The first answer of every page, found by links alone, and of the API where it need not be told more.
async fn crawl(reader: &mut Reader) -> (Vec<First>, Given) {
    let mut waiting: VecDeque<String> = VecDeque::from(["/".to_owned()]);
    waiting.extend(
        routes()
            .into_iter()
            .map(|route| route.path)
            .filter(|path| path.starts_with("/api/")),
    );
    let mut known: HashSet<String> = waiting.iter().cloned().collect();
    let mut of_path: HashMap<String, usize> = HashMap::new();
    let (mut firsts, mut given) = (Vec::new(), Given::default());
    while let Some(url) = waiting.pop_front() {
        let count = of_path
            .entry(url.split('?').next().unwrap_or_default().to_owned())
            .or_default();
        if *count >= EACH_PATH {
            continue;
        }
        *count += 1;
        let started = Instant::now();
        let (status, etag, body) = reader.ask(&url).await;
        let took = started.elapsed();
        if status == StatusCode::BAD_REQUEST || status == StatusCode::METHOD_NOT_ALLOWED {
            // It needs to be told more.
            continue;
        }
        if let Some(etag) = etag {
            given.note(etag);
        }
        firsts.push(First {
            url: url.clone(),
            ms: took.as_secs_f64() * 1000.0,
            status: code(status),
            bytes: body.len(),
        });
        for link in String::from_utf8_lossy(&body).split("href=\"").skip(1) {
            let link = link.split('"').next().unwrap_or_default().replace("&amp;", "&");
            let is_page = link.starts_with('/')
                && !["/assets/", "/tables/", "/sql"]
                    .iter()
                    .any(|other| link.starts_with(other));
            if is_page && !url.starts_with("/api/") && known.insert(link.clone()) {
                waiting.push_back(link);
            }
        }
    }
    (firsts, given)
}

/// What an answer's tag says of the build that it is of.
fn build_of(etag: &str) -> Option<&str> {
    etag.rsplit_once('-').map(|(build, _)| build)
}

/// Who asks over a connection of its own. One that remembers asks as a browser does: whether what it has is still so.
struct Reader {
    client: Client<HttpConnector, Body>,
    address: String,
    remembers: bool,
    etags: HashMap<String, String>,
}

impl Reader {
    fn new(address: &str, remembers: bool) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            address: address.to_owned(),
            remembers,
            etags: HashMap::new(),
        }
    }

    /// The status of an answer, what tells it from others, and its body. A status of our own stands for a connection that failed.
    async fn ask(&mut self, url: &str) -> (StatusCode, Option<String>, Bytes) {
        let mut request = Request::get(format!("http://{}{url}", self.address));
        if let Some(etag) = self.etags.get(url) {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let failed = (FAILED, None, Bytes::new());
        let Ok(request) = request.body(Body::empty()) else {
            return failed;
        };
        let Ok(response) = self.client.request(request).await else {
            return failed;
        };
        let status = response.status();
        let etag = response
            .headers()
            .get(header::ETAG)
            .and_then(|etag| etag.to_str().ok())
            .map(str::to_owned);
        let Ok(body) = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await else {
            return failed;
        };
        if let Some(etag) = etag.as_ref().filter(|_| self.remembers) {
            self.etags.insert(url.to_owned(), etag.clone());
        }
        (status, etag, body)
    }
}

/// What stands for a connection that failed: no server says it.
const FAILED: StatusCode = StatusCode::IM_A_TEAPOT;

/// A status as it is told: 0 for a connection that failed.
fn code(status: StatusCode) -> u16 {
    if status == FAILED { 0 } else { status.as_u16() }
}

/// Readers at work.
struct Readers {
    urls: Arc<Vec<String>>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What readers tell.
#[derive(Default)]
struct Shared {
    met: Mutex<(Option<Instant>, Vec<Met>)>,
    given: Mutex<Given>,
}

/// Answers that somebody was given.
#[derive(Default)]
struct Given {
    /// When that was first, by what tells an answer from others.
    first: HashMap<String, Instant>,
    /// How many different ones, by build.
    of_build: HashMap<String, usize>,
}

impl Given {
    /// Notes that an answer was given; says when it was first.
    fn note(&mut self, etag: String) -> Instant {
        if let Some(first) = self.first.get(&etag) {
            return *first;
        }
        if let Some(build) = build_of(&etag) {
            *self.of_build.entry(build.to_owned()).or_insert(0) += 1;
        }
        let now = Instant::now();
        self.first.insert(etag, now);
        now
    }
}

impl Readers {
    fn start(bench: &BenchServe, address: &str, urls: Vec<String>, given: Given) -> Self {
        let shared = Shared {
            given: Mutex::new(given),
            ..Shared::default()
        };
        let (urls, shared) = (Arc::new(urls), Arc::new(shared));
        let (stop, stopped) = watch::channel(false);
        let pause = Duration::from_millis(bench.pause);
        lock(&shared.met).0 = Some(Instant::now());
        let count = usize::from(bench.readers);
        let tasks = (0..count)
            .map(|number| {
                // Half of them are browsers, half programs.
                let mut reader = Reader::new(address, number % 2 == 0);
                let (urls, shared, mut stopped) = (Arc::clone(&urls), Arc::clone(&shared), stopped.clone());
                tokio::spawn(async move {
                    // Each begins elsewhere and goes round.
                    let start = number * urls.len() / count;
                    for url in urls.iter().cycle().skip(start) {
                        tokio::select! {
                            _ = stopped.wait_for(|stop| *stop) => return,
                            met = meet(&mut reader, url, &shared) => lock(&shared.met).1.push(met),
                        }
                        if !pause.is_zero() {
                            tokio::time::sleep(pause).await;
                        }
                    }
                })
            })
            .collect();
        Self {
            urls,
            shared,
            stop,
            tasks,
        }
    }

    /// What was met since the last time.
    fn taken(&self, name: &str) -> Phase {
        let now = Instant::now();
        let (since, met) = {
            let mut all = lock(&self.shared.met);
            (all.0.replace(now), std::mem::take(&mut all.1))
        };
        let mut statuses = BTreeMap::new();
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for met in met {
            *statuses.entry(met.status).or_insert(0) += 1;
            if met.status == 200 || met.status == 304 {
                if met.is_cold { &mut cold } else { &mut warm }.push(met.took);
            }
        }
        Phase {
            name: name.to_owned(),
            seconds: since.map_or(0.0, |since| (now - since).as_secs_f64()),
            cold: Times::of(cold),
            warm: Times::of(warm),
            statuses,
        }
    }

    /// Waits until as much has been answered of another build as of those before; but not for ever, for what takes too long is never answered.
    async fn see_everything_anew(&self, before: &HashMap<String, usize>) {
        let all = before.values().copied().max().unwrap_or(0);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let is_seen = lock(&self.shared.given)
                .of_build
                .iter()
                .any(|(build, count)| !before.contains_key(build) && *count >= all);
            if is_seen {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn meet(reader: &mut Reader, url: &str, shared: &Shared) -> Met {
    let started = Instant::now();
    let (status, etag, _) = reader.ask(url).await;
    let took = started.elapsed();
    let is_cold = etag.is_some_and(|etag| {
        // Who asked before somebody had been given it has waited for it.
        lock(&shared.given).note(etag) > started
    });
    Met {
        took,
        status: code(status),
        is_cold,
    }
}

impl Phase {
    /// Of one reader that asked everything once.
    fn of_firsts(firsts: &[First]) -> Self {
        let mut statuses = BTreeMap::new();
        for first in firsts {
            *statuses.entry(first.status).or_insert(0) += 1;
        }
        let times: Vec<Duration> = firsts
            .iter()
            .filter(|first| first.status == 200)
            .map(|first| Duration::from_secs_f64(first.ms / 1000.0))
            .collect();
        Self {
            name: "one reader".to_owned(),
            seconds: firsts.iter().map(|first| first.ms / 1000.0).sum(),
            cold: Times::of(times),
            warm: Times::default(),
            statuses,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // The nearest rank: so many of a hundred took no longer.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times
                .get(rank - 1)
                .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        Self {
            answers: times.len(),
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
            most_ms: at(100),
        }
    }
}

fn print(report: &Report) {
    println!(
        "podledger {} · {} pods · {} readers over {} URLs · {} threads\n",
        report.version, report.pods, report.readers, report.urls, report.threads
    );
    println!(
        "{:<28} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "", "answers", "p50 ms", "p95 ms", "p99 ms", "most ms"
    );
    for phase in &report.phases {
        for (name, times) in [("cold", &phase.cold), ("warm", &phase.warm)] {
            println!(
                "{:<28} {:>9} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
                format!("{}, {name}", phase.name),
                times.answers,
                times.p50_ms,
                times.p95_ms,
                times.p99_ms,
                times.most_ms
            );
        }
        let statuses: Vec<String> = phase
            .statuses
            .iter()
            .map(|(status, count)| format!("{status}: {count}"))
            .collect();
        println!("  {:.1} s, by status {}", phase.seconds, statuses.join(", "));
    }
    println!("\nfirst answers, asked alone, slowest first");
    for first in &report.slowest {
        println!(
            "{:>10.1} ms {:>4} {:>9} bytes  {}",
            first.ms, first.status, first.bytes, first.url
        );
    }
    println!(
        "\nbuild   {:>7.1} s alone, {:.1} s beside readers",
        report.build_seconds, report.build_beside_readers_seconds
    );
    println!(
        "publish {:>7.1} s alone, {:.1} s beside readers",
        report.publish_seconds, report.publish_beside_readers_seconds
    );
    if let Some(bytes) = report.server_memory_bytes {
        println!("server  {:>7} MiB of memory at most", bytes >> 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_met() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (
                times.answers,
                times.p50_ms,
                times.p95_ms,
                times.p99_ms,
                times.most_ms
            ),
            (200, 100.0, 190.0, 198.0, 200.0)
        );
        assert_eq!(Times::of(Vec::new()).most_ms, 0.0);
    }
}
