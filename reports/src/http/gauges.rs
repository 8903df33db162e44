//! What the marts of a snapshot say of its last whole week and its last whole day, as gauges for a Prometheus: few, and never by pod.
//!
//! They are a function of the snapshot, so they are computed once of each. Money is written as the decimal that it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use duckdb::Connection;
use podledger_sql::units::NanoUsd;

use super::problem::Problem;
use super::respond::{PATIENCE, send};
use super::snapshot::Snapshot;
use super::{App, Reply, work};
use crate::display::short;
use crate::weekly::observed;
use crate::{Error, Result};

/// Teams and pipelines that have a series of their own, the dearest first; what others cost is one.
const TEAMS: usize = 50;
const PIPELINES: usize = 50;

/// The series of all others. Names of Kubernetes have no brackets.
const OTHERS: &str = "(others)";

/// How a text of OpenMetrics ends.
const END: &str = "# EOF\n";

const DAY_MS: i64 = 86_400_000;

/// A stretch of time that gauges speak of.
struct Span {
    /// The value of the label `period`.
    period: &'static str,
    from_ms: i64,
    to_ms: i64,
}

impl App {
    /// The server's own figures, and what the marts of the snapshot say.
    ///
    /// # Errors
    /// A [`Problem`] where the figures cannot be written; without what the marts say they are told all the same.
    pub(super) async fn metrics(self: &Arc<Self>) -> std::result::Result<Response, Problem> {
        let snapshot = self.snapshots.current();
        if let Some(snapshot) = &snapshot {
            self.figures.build.set(snapshot.build_id);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(|error| Problem::failed(&error))?;
        if let Some(snapshot) = snapshot {
            let gauges = tokio::time::timeout(PATIENCE, self.gauges(&snapshot)).await;
            match gauges
                .unwrap_or_else(|_| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it took too long")))
            {
                Ok(gauges) => {
                    let end = text.strip_suffix(END).map_or(text.len(), str::len);
                    text.insert_str(end, &gauges);
                }
                // The server's own figures are told without them.
                Err(problem) => tracing::warn!(
                    problem = problem.detail,
                    "gauges of the marts could not be computed"
                ),
            }
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Ok(send(&Reply::new(kind, text)))
    }

    /// What a Prometheus is told of a snapshot.
    async fn gauges(self: &Arc<Self>, snapshot: &Arc<Snapshot>) -> std::result::Result<String, Problem> {
        let told = snapshot.gauges.get_or_try_init(|| async {
            let permit = Arc::clone(&self.places)
                .acquire_owned()
                .await
                .map_err(|error| Problem::failed(&error))?;
            let connection = snapshot.connection().map_err(|error| Problem::failed(&error))?;
            let of = Arc::clone(snapshot);
            work::run(connection, move |connection, _| {
                let _permit = permit;
                text(connection, &of)
            })
            .await
            .map_err(|error| Problem::failed(&error))?
            .map_err(|error| Problem::failed(&error))
        });
        told.await.cloned()
    }
}

/// The gauges as OpenMetrics has them, without an end; empty where nothing was observed.
///
/// # Errors
/// [`Error::DuckDb`] where the marts cannot be read.
pub(super) fn text(connection: &Connection, snapshot: &Snapshot) -> Result<String> {
    let spans = spans(snapshot)?;
    let mut told = String::new();
    let families = [
        ("cost", "What all of it cost in US dollars", "", 1, "'all'"),
        (
            "team_cost",
            "What a team's pods cost in US dollars",
            "team",
            TEAMS,
            "team",
        ),
        (
            "pipeline_cost",
            "What a pipeline's pods cost in US dollars",
            "pipeline",
            PIPELINES,
            "pipeline",
        ),
        (
            "category_cost",
            "What went into a cost category in US dollars",
            "cost_category",
            usize::MAX,
            "cost_category",
        ),
    ];
    for (name, help, label, most, key) in families {
        let name = format!("podledger_marts_{name}_usd");
        head(&mut told, &name, help);
        for span in &spans {
            for (value, cost) in costs(connection, span, key, most)? {
                let cost = NanoUsd::from_nano(i64::try_from(cost).unwrap_or(i64::MAX));
                series(&mut told, &name, span.period, (label, &value), &cost.to_string());
            }
        }
    }
    for resource in ["cpu", "memory"] {
        let name = format!("podledger_marts_{resource}_efficiency_ratio");
        let help =
            format!("Which part of the requested {resource} was used, by cost, where usage was measured");
        head(&mut told, &name, &help);
        for span in &spans {
            if let Some(ratio) = efficiency(connection, span, resource)? {
                series(&mut told, &name, span.period, ("", ""), &ratio);
            }
        }
    }
    for (end, help) in [
        ("start", "When the period began"),
        ("end", "When the period ended"),
    ] {
        let name = format!("podledger_marts_period_{end}_timestamp_seconds");
        head(&mut told, &name, help);
        for span in &spans {
            let at_ms = if end == "start" { span.from_ms } else { span.to_ms };
            series(
                &mut told,
                &name,
                span.period,
                ("", ""),
                &(at_ms / 1000).to_string(),
            );
        }
    }
    Ok(told)
}

/// The last week that was observed whole, and the last day (UTC).
fn spans(snapshot: &Snapshot) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    if let Some(week) = snapshot.last_week("UTC")? {
        let (from_ms, to_ms) = week.bounds_ms();
        spans.push(Span {
            period: "week",
            from_ms,
            to_ms,
        });
    }
    if let Some((_, through_ms)) = observed(&snapshot.clusters) {
        let to_ms = through_ms - through_ms.rem_euclid(DAY_MS);
        spans.push(Span {
            period: "day",
            from_ms: to_ms - DAY_MS,
            to_ms,
        });
    }
    Ok(spans)
}

/// Nano-dollars by what `key` says, of at most so many; names that look alike are one, since a series may be told once.
fn costs(connection: &Connection, span: &Span, key: &str, most: usize) -> Result<BTreeMap<String, i128>> {
    let failed = |source| Error::DuckDb {
        doing: "read what to tell a Prometheus",
        source,
    };
    let query = format!(
        "select {key}, cast(cast(sum(cost) as decimal(38,9)) * 1000000000 as hugeint) from marts.costs_daily \
         where charge_date >= cast(make_timestamp(? * 1000) as date) and charge_date < cast(make_timestamp(? * 1000) as date) and cost is not null \
         group by 1 order by 2 desc, 1"
    );
    let mut statement = connection.prepare(&query).map_err(failed)?;
    let rows = statement
        .query_map([span.from_ms, span.to_ms], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i128>(1)?))
        })
        .map_err(failed)?;
    let mut costs = BTreeMap::new();
    for row in rows {
        let (name, nano) = row.map_err(failed)?;
        let name = short(&name);
        let name = if costs.len() < most || costs.contains_key(&name) {
            name
        } else {
            OTHERS.to_owned()
        };
        *costs.entry(name).or_default() += nano;
    }
    Ok(costs)
}

/// Six decimals; `None` where nothing was measured.
fn efficiency(connection: &Connection, span: &Span, resource: &str) -> Result<Option<String>> {
    let query = format!(
        "select cast(cast(cast(sum({resource}_cost) filter (where cost_category = 'used') * 1000000000 as hugeint) * 1000000 \
         // nullif(cast(sum({resource}_cost) * 1000000000 as hugeint), 0) as decimal(38,0)) * 0.000001::decimal(6,6) as varchar) from marts.costs_daily \
         where charge_date >= cast(make_timestamp(? * 1000) as date) and charge_date < cast(make_timestamp(? * 1000) as date) \
         and cost_category in ('used', 'unused_request')"
    );
    connection
        .query_row(&query, [span.from_ms, span.to_ms], |row| row.get(0))
        .map_err(|source| Error::DuckDb {
            doing: "read how well requests were used",
            source,
        })
}

fn head(told: &mut String, name: &str, help: &str) {
    let _ = writeln!(told, "# HELP {name} {help}.\n# TYPE {name} gauge");
}

fn series(told: &mut String, name: &str, period: &str, (label, value): (&str, &str), number: &str) {
    let _ = write!(told, "{name}{{period=\"{period}\"");
    if !label.is_empty() {
        let _ = write!(told, ",{label}=\"{}\"", escaped(value));
    }
    let _ = writeln!(told, "}} {number}");
}

/// A label's value as the text formats have it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::HOSTILE_NAMES;

    #[test]
    fn a_series_is_one_line_whatever_its_name() {
        for name in HOSTILE_NAMES {
            let mut told = String::new();
            series(&mut told, "m", "day", ("team", &short(name)), "1");
            assert_eq!(told.lines().count(), 1, "{told}");
            let value = told
                .strip_prefix("m{period=\"day\",team=\"")
                .and_then(|rest| rest.strip_suffix("\"} 1\n"))
                .unwrap();
            let unescaped = value.replace("\\\\", "").replace("\\\"", "");
            assert!(!unescaped.contains(['"', '\\']), "{told}");
        }
    }
}
