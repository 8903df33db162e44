//! `import spark-events`: what executors used, by the event log that Spark writes for its history server.
//!
//! ```text
//! event log -> executors with their tasks -> rates of processor time between launches and ends -> hours of pods
//! ```
//!
//! Spark counts the processor time of the JVM's threads. What Python workers take is not in it, so of an hour in which an executor ran
//! Python the processor time is not known; nor is it of one with a task that was lost with its executor.

mod event;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use podledger_sql::Doing;
use podledger_sql::lake::Lake;

use event::{Event, Peaks, bytes};

use super::{Within, known_pods};
use crate::error::{Error, Result};
use crate::facts::UsageHour;
use crate::import::{Imported, digest, write_rows};
use crate::usage::fact;
use crate::usage::fold::{Hour, Key, MOST_CORES};
use crate::usage::rates::Rates;

/// What to import.
#[derive(Debug, Clone)]
pub struct Options {
    pub within: Within,
    /// UTC date under which the facts are filed.
    pub recorded_date: Date,
}

/// What became of event logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub applications: u64,
    pub tasks: u64,
    /// Tasks that end before they begin, or took more than a node has.
    pub implausible: u64,
    /// Executors (and drivers) of which something is reported.
    pub executors: u64,
    /// Those among them of which the lake knows no pod.
    pub without_pod: u64,
    /// Those that pods of several clusters fit.
    pub ambiguous: u64,
    /// Processor time of all tasks, in core-milliseconds.
    pub cpu_core_ms: u64,
}

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

/// Times that a log can tell: from 2000 to 2100, in milliseconds since 1970.
const TIMES: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

/// Nothing runs for longer than a year.
const LONGEST_MS: i64 = 366 * 24 * HOUR_MS;

#[derive(Debug, Default)]
struct Application {
    id: String,
    began_ms: i64,
    ended_ms: i64,
    executors: BTreeMap<String, Executor>,
    python_stages: BTreeSet<i64>,
    /// The most that heaps of executors and of the driver may take, in bytes, as far as the log tells.
    executor_heap_bytes: Option<i64>,
    driver_heap_bytes: Option<i64>,
    /// Tasks that have begun and not ended: executor and launch.
    begun: BTreeMap<i64, (String, i64)>,
}

#[derive(Debug, Default)]
struct Executor {
    added_ms: Option<i64>,
    removed_ms: Option<i64>,
    tasks: Vec<Task>,
    /// Largest memory, and largest used heap, by the hour in which it was reported.
    peaks: BTreeMap<i64, i64>,
    heaps: BTreeMap<i64, i64>,
}

#[derive(Debug, Clone, Copy)]
struct Task {
    launched_ms: i64,
    /// Never before it was launched, and one millisecond later at least.
    finished_ms: i64,
    cpu_nanoseconds: i64,
    /// Whether it took more than the log tells, or nobody knows what.
    is_unknown: bool,
}

impl Task {
    /// What it had taken until `at`, if it took it evenly.
    fn taken_until(&self, at: i64) -> i128 {
        let passed = at.clamp(self.launched_ms, self.finished_ms) - self.launched_ms;
        i128::from(self.cpu_nanoseconds) * i128::from(passed)
            / i128::from(self.finished_ms - self.launched_ms)
    }

    fn nanocores(&self) -> i128 {
        i128::from(self.cpu_nanoseconds) * 1000 / i128::from(self.finished_ms - self.launched_ms)
    }
}

impl Executor {
    /// Hours of an executor that was there from `from` until `to`; of a driver, whose threads Spark does not measure, the
    /// peaks alone.
    fn hours(&self, key: &Key, from: i64, to: i64, is_driver: bool) -> Vec<Hour> {
        let from = self
            .tasks
            .iter()
            .map(|task| task.launched_ms)
            .fold(from, i64::min);
        let to = self.tasks.iter().map(|task| task.finished_ms).fold(to, i64::max);
        let mut hours = Vec::new();
        let mut start = from - from.rem_euclid(HOUR_MS);
        let taken = |at: i64| self.tasks.iter().map(|task| task.taken_until(at)).sum::<i128>() / 1000;
        while start < to {
            let (left, right) = (start.max(from), (start + HOUR_MS).min(to));
            let within = |task: &&Task| task.launched_ms < right && task.finished_ms > left;
            let tasks: Vec<&Task> = self.tasks.iter().filter(within).collect();
            let (rates, most) = rates(&tasks, left, right);
            let instant = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
            let ended = tasks.iter().filter(|task| task.finished_ms <= right).count();
            let samples = i64::try_from(ended).unwrap_or(i64::MAX);
            let peak = self.peaks.get(&start).copied();
            let is_measured = !is_driver && !tasks.iter().any(|task| task.is_unknown);
            let cpu = if is_measured {
                taken(right) - taken(left)
            } else {
                0
            };
            if is_measured || peak.is_some() {
                hours.push(Hour {
                    key: key.clone(),
                    hour_start_at: instant(start),
                    measured_from_at: instant(left),
                    measured_to_at: instant(right),
                    cpu_usage_millicore_ms: i64::try_from(cpu).unwrap_or(i64::MAX),
                    memory_usage_byte_ms: 0,
                    memory_peak_bytes: peak,
                    cpu_measured_ms: if is_measured { right - left } else { 0 },
                    memory_measured_ms: 0,
                    samples,
                    samples_expected: samples,
                    rates: if is_measured { rates } else { Rates::default() },
                    cpu_max_millicores: most.filter(|_| is_measured),
                });
            }
            start += HOUR_MS;
        }
        hours
    }
}

/// Time at each rate between two instants, and the largest rate in millicores: tasks that run at once add up.
fn rates(tasks: &[&Task], left: i64, right: i64) -> (Rates, Option<i64>) {
    let mut steps: Vec<(i64, i128)> = vec![(left, 0), (right, 0)];
    for task in tasks {
        steps.push((task.launched_ms.max(left), task.nanocores()));
        steps.push((task.finished_ms.min(right), -task.nanocores()));
    }
    steps.sort_unstable();
    let (mut rates, mut most, mut nanocores, mut at) = (Rates::default(), 0, 0_i128, left);
    for (next, change) in steps {
        if next > at {
            let millicores = u64::try_from(nanocores / 1_000_000).unwrap_or_default();
            rates.add(millicores, next - at);
            most = most.max(millicores);
            at = next;
        }
        nanocores += change;
    }
    (rates, i64::try_from(most).ok())
}

/// Imports event logs: files, rolled logs (folders `eventlog_v2_...`), or folders of them.
///
/// # Errors
/// [`Error::Io`] and [`Error::Input`] for a file that cannot be read, naming file and line; [`Error::Sql`]. Nothing is written
/// then.
pub fn import(lake: &Lake, path: &Path, options: &Options) -> Result<(Imported, Totals)> {
    let mut totals = Totals::default();
    let mut hours: Vec<UsageHour> = Vec::new();
    let pods = Pods::of(lake, &options.within)?;
    for log in logs(path)? {
        let application = read(&log, &mut totals)?;
        totals.applications += 1;
        application.hours(&pods, &mut totals, &mut hours);
    }
    if hours.is_empty() {
        return Ok((Imported::Nothing, totals));
    }
    let id = digest(hours.iter().map(|hour| format!("{hour:?}")));
    if lake.is_committed("spark-events", &id) {
        return Ok((Imported::Already, totals));
    }
    let note = format!("import spark-events {}", path.display());
    let mut commit = lake.begin("spark-events", &id, &note, options.recorded_date)?;
    let written = write_rows(&mut commit, "usage_hours", &hours)?;
    commit.publish()?;
    Ok((Imported::Written(vec![written]), totals))
}

/// Spark's name of a driver among the executors.
const DRIVER: &str = "driver";

/// A container of a pod.
struct Found {
    cluster: String,
    key: Key,
}

/// Pods by application and executor; `None` where several clusters have one.
struct Pods(BTreeMap<(String, String), Option<Found>>);

impl Pods {
    fn of(lake: &Lake, within: &Within) -> Result<Self> {
        let doing = "find the pods of Spark's executors";
        let connection = known_pods(lake, within, "labels['spark-app-selector'] is not null")?;
        let text = "select cluster, pod_uid, labels['spark-app-selector'], \
                 case when labels['spark-role'] = 'driver' then 'driver' else labels['spark-exec-id'] end as executor, \
                 case when list_contains(containers, 'spark-kubernetes-' || labels['spark-role']) \
                         then 'spark-kubernetes-' || labels['spark-role'] \
                     when len(containers) = 1 then containers[1] else '' end \
             from known_pods where executor is not null order by created_at, pod_uid";
        let mut statement = connection.prepare(text).doing(doing)?;
        let mut rows = statement.query([]).doing(doing)?;
        let mut pods = BTreeMap::new();
        while let Some(row) = rows.next().doing(doing)? {
            let key = Key {
                pod_uid: row.get(1).doing(doing)?,
                container_name: row.get::<_, Option<String>>(4).doing(doing)?.unwrap_or_default(),
            };
            let cluster = row.get(0).doing(doing)?;
            let of = (row.get(2).doing(doing)?, row.get(3).doing(doing)?);
            let found = Found { cluster, key };
            match pods.entry(of) {
                Entry::Vacant(place) => {
                    place.insert(Some(found));
                }
                Entry::Occupied(mut place) => {
                    let same = place
                        .get()
                        .as_ref()
                        .is_some_and(|held: &Found| held.cluster == found.cluster);
                    place.insert(Some(found).filter(|_| same));
                }
            }
        }
        Ok(Self(pods))
    }

    fn of_executor(&self, application: &str, executor: &str) -> Option<&Option<Found>> {
        self.0.get(&(application.to_owned(), executor.to_owned()))
    }
}

/// The files of each log, in their order.
fn logs(path: &Path) -> Result<Vec<Vec<PathBuf>>> {
    if !path.is_dir() {
        return Ok(vec![vec![path.to_path_buf()]]);
    }
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut entries = BTreeSet::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?.path();
        let name = name(&entry);
        // Marks of the state of a rolled log, and what copying leaves behind.
        if !name.starts_with("appstatus_") && !name.starts_with('.') {
            entries.insert(entry);
        }
    }
    if name(path).starts_with("eventlog_v2_") {
        let mut files: Vec<PathBuf> = entries.into_iter().collect();
        files.sort_by_key(|file| {
            let number = name(file)
                .split('_')
                .nth(1)
                .and_then(|number| number.parse::<u64>().ok());
            (number, file.clone())
        });
        return Ok(vec![files]);
    }
    let mut all = Vec::new();
    for entry in entries {
        all.extend(logs(&entry)?);
    }
    Ok(all)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The lines of a file, compressed as Spark does it by default, or not at all.
fn lines(path: &Path) -> Result<impl BufRead> {
    let wrong = |reason: String| Error::Input {
        path: path.to_path_buf(),
        reason,
    };
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let text = name(path);
    let extension = text
        .trim_end_matches(".inprogress")
        .rsplit_once('.')
        .map(|(_, end)| end);
    let reader: Box<dyn Read> = match extension {
        Some("zstd" | "zst") => Box::new(zstd::Decoder::new(file).map_err(io)?),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some(codec @ ("lz4" | "lzf" | "snappy")) => {
            return Err(wrong(format!(
                "is compressed by {codec} in Spark's own framing: write the log with spark.eventLog.compression.codec=zstd, or \
                 have Spark's history server export it (GET /applications/ID/logs)"
            )));
        }
        _ => Box::new(file),
    };
    Ok(BufReader::new(reader))
}

fn read(log: &[PathBuf], totals: &mut Totals) -> Result<Application> {
    let mut application = Application::default();
    for (place, path) in log.iter().enumerate() {
        let is_open = name(path).ends_with(".inprogress") || place + 1 == log.len();
        let mut lines = lines(path)?;
        let (mut line, mut number) = (String::new(), 0_u64);
        loop {
            line.clear();
            number += 1;
            let wrong = |reason: String| Error::Input {
                path: path.clone(),
                reason: format!("line {number}: {reason}"),
            };
            match lines.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) => {}
                // What is compressed ends where its driver did.
                Err(error) if is_open && error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(wrong(error.to_string())),
            }
            match serde_json::from_str(&line) {
                Ok(event) => application.take(event, totals),
                // A driver that was killed leaves half a line.
                Err(error) if is_open && error.is_eof() && !line.ends_with('\n') => break,
                Err(error) => return Err(wrong(format!("is no event of Spark: {error}"))),
            }
        }
    }
    if application.id.is_empty() {
        return Err(Error::Input {
            path: log.first().cloned().unwrap_or_default(),
            reason: "is no event log of an application on a cluster: it has no SparkListenerApplicationStart with an `App ID`"
                .to_owned(),
        });
    }
    application.end_tasks();
    Ok(application)
}

impl Application {
    /// Tells what its executors used, of those that are known pods.
    fn hours(&self, pods: &Pods, totals: &mut Totals, hours: &mut Vec<UsageHour>) {
        for (id, executor) in &self.executors {
            let is_driver = id == DRIVER;
            if executor.tasks.is_empty() && executor.peaks.is_empty() && executor.added_ms.is_none() {
                continue;
            }
            totals.executors += 1;
            let found = match pods.of_executor(&self.id, id) {
                Some(Some(found)) => found,
                Some(None) => {
                    totals.ambiguous += 1;
                    continue;
                }
                None => {
                    totals.without_pod += 1;
                    continue;
                }
            };
            let from = executor.added_ms.unwrap_or(self.began_ms);
            let to = executor.removed_ms.unwrap_or(self.ended_ms);
            let heap_limit = if is_driver {
                self.driver_heap_bytes
            } else {
                self.executor_heap_bytes
            };
            for hour in executor.hours(&found.key, from, to, is_driver) {
                let mut hour = fact(&found.cluster, "engine", hour);
                hour.heap_peak_bytes = executor.heaps.get(&hour.hour_start_at.as_millisecond()).copied();
                hour.heap_limit_bytes = heap_limit.filter(|_| hour.heap_peak_bytes.is_some());
                hour.container_name = hour.container_name.filter(|name| !name.is_empty());
                hours.push(hour);
            }
        }
    }

    /// A task of which no end is told ran until its executor was removed, or the log ends; what it took nobody knows.
    fn end_tasks(&mut self) {
        for (executor, launched_ms) in std::mem::take(&mut self.begun).into_values() {
            let executor = self.executors.entry(executor).or_default();
            let finished_ms = executor.removed_ms.unwrap_or(self.ended_ms);
            executor.tasks.push(Task {
                launched_ms,
                finished_ms: finished_ms.max(launched_ms + 1),
                cpu_nanoseconds: 0,
                is_unknown: true,
            });
        }
    }

    fn take(&mut self, event: Event, totals: &mut Totals) {
        match event {
            Event::ApplicationStart { app, at } => {
                self.id = app.unwrap_or_default();
                if self.seen(at) {
                    self.began_ms = at;
                }
            }
            Event::EnvironmentUpdate { properties } => {
                self.executor_heap_bytes = bytes(&properties.executor_memory);
                self.driver_heap_bytes = bytes(&properties.driver_memory);
            }
            Event::ApplicationEnd { at } => {
                self.seen(at);
            }
            Event::ExecutorAdded { executor, at } => {
                if self.seen(at) {
                    self.executors.entry(executor).or_default().added_ms = Some(at);
                }
            }
            Event::ExecutorRemoved { executor, at } => {
                if self.seen(at) {
                    self.executors.entry(executor).or_default().removed_ms = Some(at);
                }
            }
            Event::TaskStart { info } => {
                if self.seen(info.launched) {
                    self.begun.insert(info.id, (info.executor, info.launched));
                }
            }
            Event::StageSubmitted { stage } => {
                if stage.runs_python() {
                    self.python_stages.insert(stage.id);
                }
            }
            Event::TaskEnd {
                stage,
                info,
                metrics,
                peaks,
            } => {
                totals.tasks += 1;
                self.begun.remove(&info.id);
                let is_possible = TIMES.contains(&info.launched)
                    && (info.launched..info.launched + LONGEST_MS).contains(&info.finished)
                    && TIMES.contains(&info.finished);
                // Of tasks that were lost with their executor no metrics are told.
                let is_unknown = metrics.is_none() || self.python_stages.contains(&stage);
                let cpu_nanoseconds = metrics.map_or(0, |metrics| {
                    metrics
                        .cpu_nanoseconds
                        .saturating_add(metrics.deserialize_cpu_nanoseconds)
                });
                if !is_possible || cpu_nanoseconds < 0 {
                    totals.implausible += 1;
                    return;
                }
                let task = Task {
                    launched_ms: info.launched,
                    finished_ms: info.finished.max(info.launched + 1),
                    cpu_nanoseconds,
                    is_unknown,
                };
                let is_too_much = task.nanocores() > i128::from(MOST_CORES) * 1_000_000_000;
                if is_too_much || !self.seen(task.finished_ms) {
                    totals.implausible += 1;
                    return;
                }
                totals.cpu_core_ms += cpu_nanoseconds.unsigned_abs() / 1_000_000;
                let executor = self.executors.entry(info.executor).or_default();
                executor.peak(task.finished_ms, &peaks);
                executor.tasks.push(task);
            }
            Event::StagePeaks { executor, peaks } => {
                let at = self.ended_ms;
                self.executors.entry(executor).or_default().peak(at, &peaks);
            }
            Event::Other => {}
        }
    }

    /// The application went on until then at least; whether that can be.
    fn seen(&mut self, at: i64) -> bool {
        let is_possible =
            TIMES.contains(&at) && (self.began_ms == 0 || (at - self.began_ms).abs() <= LONGEST_MS);
        if is_possible {
            self.ended_ms = self.ended_ms.max(at);
        }
        is_possible
    }
}

impl Executor {
    fn peak(&mut self, at: i64, peaks: &Peaks) {
        if !TIMES.contains(&at) {
            return;
        }
        // What is told at the very end of an hour was so before.
        let at = at - 1;
        let hour = at - at.rem_euclid(HOUR_MS);
        let heap = Some(peaks.heap).filter(|bytes| *bytes > 0);
        for (found, all) in [(peaks.bytes(), &mut self.peaks), (heap, &mut self.heaps)] {
            if let Some(bytes) = found {
                let most = all.entry(hour).or_default();
                *most = bytes.max(*most);
            }
        }
    }
}
