//! `import prometheus`: what a Prometheus remembers of a cluster, from before anybody watched it.
//!
//! ```text
//! kube-state-metrics ──> told (an hour at a time) ──> objects as they must have been ──> index ──> facts
//! cAdvisor, DCGM ──────> samples ──> fold ──> usage_hours
//! ```
//!
//! Pods are seen once per scrape: where nothing better is told their ends are `sampled`, between the last scrape that showed
//! them and the first that did not. Pods that came and went between two scrapes are not known.
//!
//! Each day is one commit of the lake, named by what was asked for. Whoever is interrupted begins again with the first day that
//! is not committed, and reads the one before to know what was there: the days come out as if nothing had happened.

mod backfill;
mod elsewhere;
mod moments;
mod names;
mod objects;
mod presence;
mod server;
mod told;
mod usage;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_sql::lake::Lake;
pub use server::{Series, Server, Settings};

use self::backfill::Backfill;
use self::elsewhere::Elsewhere;
use self::presence::interval;
use crate::error::{Error, Result};
use crate::import::kubernetes::{Contents, catalogue_of};
use crate::import::{Imported, digest, write_facts, write_rows};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What to import.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifies the cluster in every fact.
    pub cluster: String,
    /// From here, at whole hours.
    pub since: Timestamp,
    /// Until here, or until the lake knows the cluster from elsewhere.
    pub until: Timestamp,
    /// Labels and annotations that rules read: Prometheus does not keep their true names.
    pub labels: Vec<String>,
    pub annotations: Vec<String>,
    /// UTC date under which the facts are filed.
    pub recorded_date: Date,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Days that were imported before.
    pub days_before: u64,
    pub days: u64,
    pub pods: u64,
    pub nodes: u64,
    /// Nodes whose instance type is not told: their cost is not known.
    pub untyped_nodes: u64,
    /// Containers measured, by the hour.
    pub usage_hours: u64,
    /// Samples of pods that kube-state-metrics never showed.
    pub samples_of_unknown_pods: u64,
    /// Stretches of more than five minutes in which nobody scraped.
    pub gaps: u64,
    /// Objects that could not be read, and why.
    pub rejected: Vec<String>,
    /// Machines without a built-in list price.
    pub unpriced: BTreeSet<String>,
    /// Until when the import goes.
    pub until: Option<Timestamp>,
}

/// Imports what a server remembers.
///
/// # Errors
/// [`Error::Prometheus`] where the server cannot be asked, or knows no pods; days before are imported all the same.
/// [`Error::Sql`] where the lake cannot be written.
pub async fn import(
    lake: &Lake,
    server: &Server,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<(Imported, Totals)> {
    let origin = format!("prometheus-{}", options.cluster);
    let elsewhere = Elsewhere::of(lake, &options.cluster, &origin)?;
    let hour = |at: Timestamp| at.as_millisecond().div_euclid(HOUR_MS) * HOUR_MS;
    let since_ms = hour(options.since);
    let until_ms = match elsewhere.since {
        Some(since) => hour(options.until).min(since.as_millisecond()),
        None => hour(options.until),
    };
    let mut totals = Totals {
        until: Timestamp::from_millisecond(until_ms).ok(),
        ..Totals::default()
    };
    let days = days(since_ms, until_ms);
    let Some(every) = every(server, since_ms, until_ms).await? else {
        return Err(server.knows_no_pods());
    };
    let mut backfill = Backfill::new(options, &elsewhere, every);
    let mut written: Vec<(&'static str, u64)> = Vec::new();
    let mut before: Option<(i64, i64)> = None;
    let is_committed = |from_ms: i64, to_ms: i64| -> (bool, String) {
        let end = elsewhere.since.filter(|_| to_ms == until_ms);
        let id = digest([
            options.cluster.as_bytes(),
            format!("{from_ms} {to_ms} {end:?}").as_bytes(),
            format!(
                "{:?} {:?} {}",
                options.labels,
                options.annotations,
                server.matchers()
            )
            .as_bytes(),
        ]);
        (lake.is_committed(&origin, &id), id)
    };
    for (number, (from_ms, to_ms)) in days.iter().copied().enumerate() {
        let (is_done, id) = is_committed(from_ms, to_ms);
        if is_done {
            totals.days_before += 1;
            before = Some((from_ms, to_ms));
            continue;
        }
        if let Some(before) = before.take() {
            backfill.go_on(server, since_ms, before, progress).await?;
        }
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let next_ms = to_ms.min((at_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS);
            progress(&label(at_ms));
            backfill.window(server, at_ms, next_ms).await?;
            at_ms = next_ms;
        }
        if to_ms == until_ms {
            backfill.end(until_ms);
        } else if let Some((from_ms, to_ms)) = days.get(number + 1).copied()
            && is_committed(from_ms, to_ms).0
        {
            backfill
                .meet(server, from_ms, to_ms.min(from_ms + HOUR_MS))
                .await?;
        }
        let day = backfill.take();
        let mut commit = lake.begin(&origin, &id, "import prometheus", options.recorded_date)?;
        let mut add = |found: Vec<(&'static str, u64)>| {
            for (table, rows) in found {
                match written.iter_mut().find(|(known, _)| *known == table) {
                    Some((_, sum)) => *sum += rows,
                    None => written.push((table, rows)),
                }
            }
        };
        add(write_facts(&mut commit, &day.facts)?);
        if !day.usage.is_empty() {
            add(vec![write_rows(&mut commit, "usage_hours", &day.usage)?]);
        }
        let mut contents = Contents::default();
        add(catalogue_of(&mut commit, &day.facts, &mut contents)?);
        commit.publish()?;
        totals.unpriced.append(&mut contents.unpriced);
        totals.usage_hours += day.usage.len() as u64;
        totals.days += 1;
    }
    backfill.count(&mut totals);
    Ok(if totals.days == 0 {
        (Imported::Already, totals)
    } else {
        (Imported::Written(written), totals)
    })
}

/// `[from, to)` of each day, or part of one.
fn days(since_ms: i64, until_ms: i64) -> Vec<(i64, i64)> {
    let mut days = Vec::new();
    let mut at_ms = since_ms;
    while at_ms < until_ms {
        let next_ms = until_ms.min((at_ms.div_euclid(DAY_MS) + 1) * DAY_MS);
        days.push((at_ms, next_ms));
        at_ms = next_ms;
    }
    days
}

fn label(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| String::new(),
        |at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:00").to_string(),
    )
}

/// How often kube-state-metrics and kubelets are scraped, in milliseconds: as in the first hour of which anything is known.
async fn every(server: &Server, since_ms: i64, until_ms: i64) -> Result<Option<Every>> {
    let mut at_ms = since_ms;
    // Whole days without anything are passed over.
    while at_ms < until_ms {
        let day_ms = until_ms.min(at_ms + DAY_MS);
        if !server
            .over("count_over_time", "kube_pod_info", "", at_ms, day_ms, "")
            .await?
            .is_empty()
        {
            break;
        }
        at_ms = day_ms;
    }
    while at_ms < until_ms {
        let next_ms = until_ms.min(at_ms + HOUR_MS);
        let pods = server.samples("kube_pod_info", "", at_ms, next_ms).await?;
        if pods.iter().all(|series| series.label("uid").is_empty()) && !pods.is_empty() {
            return Err(server.is_too_old());
        }
        if let Some(objects_ms) = interval(pods.iter().map(|series| series.samples.as_slice())) {
            let usage = server
                .samples(
                    "container_cpu_usage_seconds_total",
                    "container!=\"\"",
                    at_ms,
                    next_ms,
                )
                .await?;
            let usage_ms = interval(usage.iter().map(|series| series.samples.as_slice()));
            return Ok(Some(Every {
                objects_ms,
                usage_ms: usage_ms.unwrap_or(objects_ms),
            }));
        }
        at_ms = next_ms;
    }
    Ok(None)
}

/// How often is looked, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Every {
    objects_ms: i64,
    usage_ms: i64,
}

impl Server {
    fn knows_no_pods(&self) -> Error {
        self.wrong(
            "it has no `kube_pod_info` in that time: is kube-state-metrics scraped, does it reach back so far, and do the \
             matchers fit?",
        )
    }

    fn is_too_old(&self) -> Error {
        self.wrong("its `kube_pod_info` has no `uid`: pods are known by it from kube-state-metrics 2.0 on")
    }
}
