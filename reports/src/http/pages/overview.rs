//! The overview: what it cost, where each dollar went, who drove it, and what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use maud::{Markup, PreEscaped, html};
use podledger_sql::units::NanoUsd;

use super::super::pictures::{self, Shape};
use super::super::problem::Problem;
use super::super::question::Answer;
use super::super::questions::{BILLED, CATEGORIES, DAYS, NAMESPACES, PIPELINES, TEAMS};
use super::parts::{Place, card, sum, table};
use super::{Context, RIGHTSIZING, Shown};
use crate::basis::basis;
use crate::display::{dollars, permille, short};
use crate::findings::worth_telling;
use crate::weekly::{self, BARS, Bar, Part, Weekly, bill, nothing_to_do, partial, sentence, trust};

/// The page.
pub fn overview(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let categories = context.ask(&CATEGORIES, 100)?;
    let days = context.ask(&DAYS, 5_000)?;
    let report = report(context)?;
    let report = report.as_deref();
    let total = sum(&categories, "cost");
    let billed = sum(&context.ask(&BILLED, 1)?, "billed_cost");
    let known = total.unwrap_or_default();
    let waterfall = weekly::waterfall(
        known,
        "",
        "Cost as a waterfall, from the total to what was used; the table of categories below says the same",
        48,
        bars(&categories, known, report).iter(),
    )?;
    let body = html! {
        header {
            @match report {
                Some(report) => h1 { (sentence(report, &|text| short(text))) },
                None => h1 { "What it cost" },
            }
            (bill(total, report.and_then(|report| report.previous), &basis(billed.unwrap_or_default(), known), Some(ALL)))
            @if let Some(partial) = report.and_then(partial) { p.partial { (partial) } }
            @else if report.is_none() && !is_observed(context) {
                p.partial { "Not all of these days were observed; nothing is extrapolated." }
            }
        }
        div.columns {
            section {
                h2 { "Where each dollar went" }
                div.scroll role="region" aria-label="Where each dollar went, drawn" tabindex="0" { (PreEscaped(waterfall)) }
                details {
                    summary { "Every category" }
                    // Browsers open it for who follows the link of the total.
                    div id=(ALL.trim_start_matches('#')) { (table(context, &categories, Place::Beside(None))) }
                }
            }
            div {
                @if let Some((report, previous)) = report.and_then(|report| Some((report, report.previous.filter(|_| !report.bridge.is_empty())?))) {
                    section {
                        h2 { "Why it changed" }
                        div.scroll role="region" aria-label="Why it changed" tabindex="0" { (PreEscaped(weekly::bridge(report, previous)?)) }
                        (download(context, "/tables/weekly-bridge.csv"))
                    }
                }
                @if let Some(report) = report { (next(context, report)) }
                @else { (by_day(context, &days, Shape::Half)) }
            }
        }
        @if report.is_some() { (by_day(context, &days, Shape::Whole)) }
        (card(context, &context.ask(&TEAMS, 10)?, Place::Beside(Some("/teams"))))
        (card(context, &context.ask(&PIPELINES, 8)?, Place::Beside(Some("/pipelines"))))
        (card(context, &context.ask(&NAMESPACES, 6)?, Place::Beside(Some("/namespaces"))))
        @if let Some(report) = report {
            (weekly::hours(report)?)
            p.note { (trust(report)) }
        }
    };
    Ok(Shown {
        title: format!(
            "{} cost {}",
            scope.title(),
            total.map_or_else(|| "unknown".to_owned(), dollars)
        ),
        body,
        is_of_one: false,
    })
}

fn is_observed(context: &Context<'_>) -> bool {
    let (from, to) = context.scope.bounds_ms();
    context.snapshot.is_observed(from, to)
}

/// Where every category stands, on the page.
const ALL: &str = "#categories";

/// The weekly report, where the page is about what reports are about.
fn report(context: &Context<'_>) -> Result<Option<Arc<Weekly>>, Problem> {
    match context.report.cloned() {
        None => Ok(None),
        Some(Ok(report)) => Ok(Some(report)),
        // A week in which a team did nothing is shown as such.
        Some(Err(problem)) if problem.status == StatusCode::NOT_FOUND => Ok(None),
        Some(Err(problem)) => Err(problem),
    }
}

/// The download of what stands above, which is the report's.
fn download(context: &Context<'_>, path: &str) -> Markup {
    html! { p.below { a href=(context.scope.link_same(path, &[])) download { "CSV" } } }
}

/// Bars of the range's cost, those without any left out.
fn bars(categories: &Answer, total: NanoUsd, report: Option<&Weekly>) -> Vec<Bar> {
    let mut costs: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &categories.rows {
        let cost = categories.cell(row, "cost").whole().unwrap_or(0);
        *costs
            .entry(categories.cell(row, "cost_category").text())
            .or_insert(0) += cost;
    }
    let bar = |&(key, label, of_bar): &(&'static str, &'static str, &[&str])| {
        let mut parts: Vec<Part> = of_bar
            .iter()
            .filter_map(|category| {
                let cost = costs.get(category).copied().filter(|cost| *cost != 0)?;
                Some(Part {
                    category: (*category).to_owned(),
                    cost: NanoUsd::from_nano(cost),
                })
            })
            .collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.cost));
        let cost: i64 = parts.iter().map(|part| part.cost.get()).sum();
        let of_report = report.and_then(|report| report.waterfall.iter().find(|bar| bar.key == key));
        (cost != 0).then(|| Bar {
            key,
            label,
            cost: NanoUsd::from_nano(cost),
            permille: permille(cost, total.get()),
            largest_owner: of_report.and_then(|bar| bar.largest_owner.clone()),
            categories: parts,
        })
    };
    BARS.iter().filter_map(bar).collect()
}

fn by_day(context: &Context<'_>, days: &Answer, shape: Shape) -> Markup {
    html! {
        section {
            h2 { "Cost by day" }
            (pictures::days(context.scope, days, context.path, shape))
            details {
                summary { "As a table" }
                (table(context, days, Place::Beside(None)))
            }
        }
    }
}

/// What to do: advice and findings, each with a way on.
fn next(context: &Context<'_>, report: &Weekly) -> Markup {
    let scope = context.scope;
    let told = report.findings.as_deref().map(worth_telling).unwrap_or_default();
    html! {
        section {
            h2 { "Do next" }
            @if report.actions.is_empty() { p { (nothing_to_do(report)) } }
            ol.actions {
                @for action in report.actions.iter().take(3) {
                    @let href = match action.subject.strip_prefix("pool ") {
                        Some(pool) if !pool.starts_with('(') => scope.link_one("/pool", &[("pool", pool)]),
                        _ if action.kind == "right_sizing" => scope.link(RIGHTSIZING, &[]),
                        _ => scope.link("/findings", &[]),
                    };
                    li {
                        span.cost { (action.worth()) }
                        a href=(href) { (short(&action.subject)) } " " (short(&action.finding)) ": " (action.remedy) "."
                    }
                }
            }
            (weekly::unadvised(report))
            p.below {
                @if !told.is_empty() { a href=(scope.link("/findings", &[])) { "All " (told.len()) " findings" } }
                @if !report.actions.is_empty() { a href=(scope.link_same("/tables/weekly-actions.csv", &[])) download { "CSV" } }
            }
        }
    }
}
