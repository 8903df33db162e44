//! Computes answers: what is asked, of which snapshot, as a page, CSV or JSON.

use std::io::Write;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use duckdb::Connection;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::guard::REPORT_POLICY;
use super::pages::{self, Context};
use super::problem::Problem;
use super::question::{Answer, Asker, Cell, Kind, Part, Question, part};
use super::respond::Who;
use super::routes::What;
use super::scope::{Scope, USUAL_ROWS};
use super::snapshot::Snapshot;
use super::work::Over;
use super::{CSV, Explain, HTML, JSON, Reply, TEXT};
use crate::display;
use crate::weekly::{self, Request, Week, Weekly};

/// What is asked, and of what.
pub(super) struct Asked<'a> {
    pub snapshot: &'a Snapshot,
    pub connection: &'a Connection,
    /// Whether anybody waits for the answer.
    pub over: &'a Over,
    pub path: &'a str,
    pub query: &'a str,
    pub explain: Option<&'a Explain>,
    pub who: Who,
    /// The weekly report, if the answer shows one ([`report_of`]).
    pub report: Option<&'a Result<Arc<Weekly>, Problem>>,
}

fn scope(snapshot: &Snapshot, query: &str) -> Result<Scope, Problem> {
    Scope::parse(query, |zone| {
        snapshot
            .last_week(zone)?
            .map_or_else(|| Ok(Week::last_whole(0, 1, zone)?), Ok)
    })
}

/// The weekly report that an answer shows, if it is asked about what reports are about: a week, of all or of one team.
pub(super) fn report_of(snapshot: &Snapshot, what: &What, path: &str, query: &str) -> Option<Request> {
    let is_first_visit = matches!(what, What::Page(_)) && snapshot.clusters.is_empty();
    if !what.is_of_report(path) || is_first_visit {
        return None;
    }
    let scope = scope(snapshot, query).ok()?;
    let is_of_reports = scope.names().all(|(key, _)| key == "team");
    Some(Request {
        week: scope.week.clone().filter(|_| is_of_reports)?,
        team: scope.name("team").map(str::to_owned),
    })
}

impl Asked<'_> {
    fn asker(&self, scope: &Scope) -> Asker<'_> {
        let (from, to) = scope.bounds_ms();
        Asker {
            connection: self.connection,
            over: self.over,
            is_compared: self.snapshot.is_observed(from, to)
                && self.snapshot.is_observed(scope.before_ms(), from),
        }
    }
}

/// Computes an answer.
///
/// # Errors
/// [`Problem`].
pub(super) fn compute(asked: &Asked<'_>, what: &What) -> Result<Reply, Problem> {
    let scope = scope(asked.snapshot, asked.query)?;
    match what {
        What::Page(page) => {
            if asked.snapshot.clusters.is_empty() {
                return Ok(pages::first_visit(Some(&asked.snapshot.key)));
            }
            let context = Context {
                asker: asked.asker(&scope),
                scope: &scope,
                snapshot: asked.snapshot,
                path: asked.path,
                explain: asked.explain,
                who: asked.who,
                report: asked.report,
            };
            Ok(Reply::new(HTML, pages::page(&context, *page)?))
        }
        What::Csv(question) => csv(asked, &scope, question),
        What::Json(question) => api(asked, &scope, question),
        What::Week => {
            let report = report(asked, &scope)?;
            let text = weekly::json(&report).map_err(Problem::from)?;
            Ok(Reply::new(JSON, text))
        }
        What::Report => file(asked, &scope),
        What::ReportCsv(name) => {
            let report = report(asked, &scope)?;
            let table = weekly::tables(&report)
                .into_iter()
                .find(|table| table.name == *name)
                .ok_or_else(|| Problem::missing("the report has no such table"))?;
            Ok(Reply {
                download: Some(format!("podledger-{}-{name}.csv", report.week)),
                ..Reply::new(CSV, weekly::csv(&table)?)
            })
        }
        What::Rules => rules(asked, &scope),
        _ => Err(Problem::missing("there is nothing here")),
    }
}

/// Filters that a question does not know are mistakes, where a program asks.
fn check_filters(question: &Question, scope: &Scope) -> Result<(), Problem> {
    let known = question.filters();
    match scope.names().find(|(key, _)| !known.contains(key)) {
        Some((key, _)) => Err(Problem::bad(format!(
            "`{key}` is no filter of `{}`; it has {}",
            question.name,
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        ))),
        None => Ok(()),
    }
}

/// Largest answer that is made, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A body that does not grow beyond [`LARGEST_ANSWER`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_ANSWER {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn too_large(error: &csv::Error) -> Problem {
    match error.kind() {
        csv::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            Problem::bad(format!(
                "the answer is larger than {} MiB: ask about fewer days, or with a filter",
                LARGEST_ANSWER / (1024 * 1024)
            ))
        }
        _ => Problem::failed(error),
    }
}

fn csv(asked: &Asked<'_>, scope: &Scope, question: &'static Question) -> Result<Reply, Problem> {
    check_filters(question, scope)?;
    let failed = |error: csv::Error| Problem::failed(&error);
    let mut writer = csv::Writer::from_writer(Bounded(Vec::new()));
    writer
        .write_record(question.columns.iter().map(|column| column.name))
        .map_err(failed)?;
    question.each(&asked.asker(scope), scope, Part::ALL, &mut |row| {
        let cells = row.iter().zip(question.columns).map(|(cell, column)| match cell {
            Cell::Text(text) => display::csv(text),
            Cell::Usd(cost) => cost.to_string(),
            Cell::Whole(at) if column.kind == Kind::Instant => instant(*at),
            Cell::Whole(number) => number.to_string(),
            Cell::Null => String::new(),
        });
        writer.write_record(cells).map_err(|error| too_large(&error))
    })?;
    writer.flush().map_err(|error| too_large(&error.into()))?;
    let bytes = writer
        .into_inner()
        .map_err(|error| Problem::failed(error.error()))?
        .0;
    Ok(Reply {
        download: Some(format!("podledger-{}-{}.csv", question.name, scope.first_date)),
        ..Reply::new(CSV, bytes)
    })
}

/// Which rule said what of a pod.
fn rules(asked: &Asked<'_>, scope: &Scope) -> Result<Reply, Problem> {
    let uid = scope.required("pod")?;
    if let Some((key, _)) = scope.names().find(|(key, _)| !["pod", "cluster"].contains(key)) {
        return Err(Problem::bad(format!(
            "`{key}` is no filter of rules; they have pod, cluster"
        )));
    }
    let explain = asked
        .explain
        .ok_or_else(|| Problem::missing("rules are not told here"))?;
    asked.over.check()?;
    let decisions = pages::decisions(explain, asked.connection, uid, scope.name("cluster"))?;
    let mut writer = csv::Writer::from_writer(Bounded(Vec::new()));
    let text = |text: Option<&String>| text.map_or_else(String::new, |text| display::csv(text));
    let written = (|| {
        writer.write_record(["field", "value", "rule"])?;
        for decision in &decisions {
            writer.write_record([
                display::csv(&decision.field),
                text(decision.value.as_ref()),
                text(decision.rule.as_ref()),
            ])?;
        }
        writer.flush()?;
        Ok::<(), csv::Error>(())
    })();
    written.map_err(|error| too_large(&error))?;
    let bytes = writer
        .into_inner()
        .map_err(|error| Problem::failed(error.error()))?
        .0;
    Ok(Reply {
        download: Some("podledger-pod-rules.csv".to_owned()),
        ..Reply::new(CSV, bytes)
    })
}

fn api(asked: &Asked<'_>, scope: &Scope, question: &'static Question) -> Result<Reply, Problem> {
    check_filters(question, scope)?;
    if scope.format.is_some() {
        return Err(Problem::bad("the API answers in JSON; `format` is for reports"));
    }
    let part = part(scope, USUAL_ROWS);
    let answer = question.ask(&asked.asker(scope), scope, part)?;
    let end = answer.offset + answer.rows.len() as u64;
    let next = (end < answer.total && !answer.rows.is_empty()).then(|| {
        let limit = part.limit.to_string();
        let offset = end.to_string();
        let mut names = vec![("offset", offset.as_str()), ("limit", limit.as_str())];
        let sort = scope.sort_text();
        names.extend(sort.as_deref().map(|sort| ("sort", sort)));
        scope.link_same(&format!("/api/v1/{}", question.name), &names)
    });
    let rows: Vec<Value> = answer.rows.iter().map(|row| object(&answer, row)).collect();
    let (from, to) = scope.bounds_ms();
    let body = json!({
        "build": asked.snapshot.key,
        "from": instant(from),
        "to": instant(to),
        "zone": scope.zone(),
        "total": answer.total,
        "offset": answer.offset,
        "next": next,
        "rows": rows,
    });
    Ok(Reply::new(JSON, body.to_string()))
}

fn object(answer: &Answer, row: &[Cell]) -> Value {
    let cells = row.iter().zip(answer.question.columns).map(|(cell, column)| {
        let value = match cell {
            Cell::Text(text) => Value::String(text.clone()),
            Cell::Usd(cost) => Value::String(cost.to_string()),
            Cell::Whole(at) if column.kind == Kind::Instant => Value::String(instant(*at)),
            Cell::Whole(number) => Value::from(*number),
            Cell::Null => Value::Null,
        };
        (column.name.to_owned(), value)
    });
    Value::Object(cells.collect::<Map<String, Value>>())
}

/// RFC 3339, UTC.
fn instant(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

fn report(asked: &Asked<'_>, scope: &Scope) -> Result<Arc<Weekly>, Problem> {
    if scope.week.is_none() {
        return Err(Problem::bad("a report is of a week: `?week=2026-W46`"));
    }
    if let Some((key, _)) = scope.names().find(|(key, _)| *key != "team") {
        return Err(Problem::bad(format!(
            "`{key}` is no filter of reports; they have team"
        )));
    }
    asked
        .report
        .cloned()
        .unwrap_or_else(|| Err(Problem::missing("there is no such report")))
}

/// The weekly report as a file.
fn file(asked: &Asked<'_>, scope: &Scope) -> Result<Reply, Problem> {
    let report = report(asked, scope)?;
    let stem = format!("podledger-{}", report.week);
    let download = |kind: &'static str, ending: &str, body: Bytes| Reply {
        download: Some(format!("{stem}.{ending}")),
        ..Reply::new(kind, body)
    };
    match scope.format.as_deref().unwrap_or("html") {
        "html" => Ok(Reply {
            policy: Some(REPORT_POLICY),
            ..Reply::new(HTML, weekly::html(&report)?)
        }),
        "md" => Ok(download(TEXT, "md", weekly::markdown(&report).into())),
        "json" => Ok(download(JSON, "json", weekly::json(&report)?.into())),
        "xlsx" => Ok(download(
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "xlsx",
            weekly::xlsx(&report)?.into(),
        )),
        other => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!(
                "there is no format `{}`: use html, md, json or xlsx",
                display::short(other)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_grows_to_its_bound_and_is_then_refused() {
        let mut writer = csv::Writer::from_writer(Bounded(Vec::new()));
        let row = "x".repeat(1024 * 1024);
        let written =
            (0..100).find_map(|count| writer.write_record([&row]).err().map(|error| (count, error)));
        let (rows, error) = written.unwrap();
        assert!((60..=64).contains(&rows), "{rows}");
        let problem = too_large(&error);
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        assert!(problem.detail.contains("fewer days"), "{}", problem.detail);
    }
}
