//! The overview: what it cost, where each dollar went, who drove it, and what to do.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use podledger_sql::units::NanoUsd;

use super::super::pictures::{self, Shape};
use super::super::problem::Problem;
use super::super::question::Answer;
use super::super::questions::{BILLED, CATEGORIES, DAYS, NAMESPACES, PIPELINES, TEAMS};
use super::parts::{Place, card, sum, table};
use super::{Context, Shown};
use crate::basis::basis;
use crate::charts::{self, Paint, RowBar};
use crate::display::{change, dollars, percent, percent_change, permille, short};
use crate::findings::worth_telling;
use crate::weekly::{self, BARS, Request, Weekly, nothing_to_do, partial, sentence, trust};

/// The page.
pub fn overview(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let categories = context.ask(&CATEGORIES, 100)?;
    let days = context.ask(&DAYS, 5_000)?;
    let report = report(context)?;
    let total = sum(&categories, "cost");
    let billed = sum(&context.ask(&BILLED, 1)?, "billed_cost");
    let body = html! {
        header {
            @match &report {
                Some(report) => h1 { (sentence(report, &|text| short(text))) },
                None => h1 { "What it cost" },
            }
            p.bill {
                span.total { (total.map_or_else(|| "unknown".to_owned(), dollars)) }
                @if let Some((report, previous)) = report.as_ref().and_then(|report| Some((report, report.previous?))) {
                    @let difference = NanoUsd::from_nano(report.total.get() - previous.get());
                    " " span class=(match difference.get() { ..0 => "down", 0 => "", 1.. => "up" }) {
                        (change(difference)) (percent_change(difference, previous))
                    }
                    " from " (dollars(previous))
                }
                " · " (basis(billed.unwrap_or_default(), total.unwrap_or_default()))
            }
            @if let Some(partial) = report.as_ref().and_then(partial) { p.partial { (partial) } }
            @else if report.is_none() && !is_observed(context) {
                p.partial { "Not all of these days were observed; nothing is extrapolated." }
            }
        }
        div.columns {
            section {
                h2 { "Where each dollar went" }
                div.scroll role="region" aria-label="Where each dollar went" tabindex="0" { (PreEscaped(waterfall(&categories, report.as_ref())?)) }
                details {
                    summary { "Every category" }
                    (table(context, &categories, Place::Beside(None)))
                }
            }
            div {
                @if let Some((report, previous)) = report.as_ref().and_then(|report| Some((report, report.previous.filter(|_| !report.bridge.is_empty())?))) {
                    section {
                        h2 { "Why it changed" }
                        div.scroll role="region" aria-label="Why it changed" tabindex="0" { (PreEscaped(weekly::bridge(report, previous)?)) }
                    }
                }
                @if let Some(report) = &report { (next(context, report)) }
                @else { (by_day(context, &days, Shape::Half)) }
            }
        }
        @if report.is_some() { (by_day(context, &days, Shape::Whole)) }
        (card(context, &context.ask(&TEAMS, 10)?, Place::Beside(Some("/teams"))))
        (card(context, &context.ask(&PIPELINES, 8)?, Place::Beside(Some("/pipelines"))))
        (card(context, &context.ask(&NAMESPACES, 6)?, Place::Beside(Some("/namespaces"))))
        @if let Some(report) = &report {
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

/// The weekly report, where the page is about what reports are about.
fn report(context: &Context<'_>) -> Result<Option<Weekly>, Problem> {
    let scope = context.scope;
    let is_of_reports = scope.names().all(|(key, _)| key == "team");
    let Some(week) = scope.week.clone().filter(|_| is_of_reports) else {
        return Ok(None);
    };
    let request = Request {
        week,
        team: scope.name("team").map(str::to_owned),
    };
    match weekly::weekly(context.connection(), &request) {
        Ok(report) => Ok(Some(report)),
        // A week in which a team did nothing is shown as such.
        Err(crate::Error::NoTeam { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The range's cost as a waterfall, from the total to what was used.
fn waterfall(categories: &Answer, report: Option<&Weekly>) -> Result<String, Problem> {
    let mut costs: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &categories.rows {
        let cost = categories.cell(row, "cost").whole().unwrap_or(0);
        *costs
            .entry(categories.cell(row, "cost_category").text())
            .or_insert(0) += cost;
    }
    let total: i64 = costs.values().sum();
    let mut bars = vec![RowBar {
        label: "total".to_owned(),
        amount: dollars(NanoUsd::from_nano(total)),
        note: String::new(),
        from: 0,
        to: total,
        paint: Paint::Total,
        title: format!("total: {}", dollars(NanoUsd::from_nano(total))),
    }];
    let mut left = total;
    for (key, label, of_bar) in BARS {
        let mut parts: Vec<(&str, i64)> = of_bar
            .iter()
            .filter_map(|category| costs.get(category).map(|cost| (*category, *cost)))
            .filter(|(_, cost)| *cost != 0)
            .collect();
        parts.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let cost: i64 = parts.iter().map(|(_, cost)| cost).sum();
        if cost == 0 {
            continue;
        }
        let owner = report
            .and_then(|report| report.waterfall.iter().find(|bar| bar.key == *key))
            .and_then(|bar| bar.largest_owner.as_ref())
            .map_or_else(String::new, |owner| {
                format!(" · {}", crate::display::cut(&short(&owner.name), 20))
            });
        let told: Vec<String> = parts
            .iter()
            .map(|(category, cost)| {
                format!(
                    "{} {}",
                    category.replace('_', " "),
                    dollars(NanoUsd::from_nano(*cost))
                )
            })
            .collect();
        bars.push(RowBar {
            label: (*label).to_owned(),
            amount: dollars(NanoUsd::from_nano(cost)),
            note: format!("{}{owner}", percent(permille(cost, total))),
            from: left,
            to: left - cost,
            paint: match *key {
                "fixed" => Paint::Fixed,
                "idle" => Paint::Idle,
                "node_overhead" => Paint::Overhead,
                "failed_and_stuck" => Paint::Failed,
                "unused_request" => Paint::Unused,
                "unmetered" => Paint::Unmetered,
                _ => Paint::Used,
            },
            title: format!("{label}: {}", told.join(" + ")),
        });
        left -= cost;
    }
    Ok(charts::rows(
        "the waterfall",
        "Cost as a waterfall, from the total to what was used; the table of categories below says the same",
        48,
        &bars,
    )?)
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
                        _ => scope.link("/findings", &[]),
                    };
                    li {
                        span.cost { (dollars(action.cost)) }
                        a href=(href) { (short(&action.subject)) } " " (short(&action.finding)) ": " (action.remedy) "."
                    }
                }
            }
            @if !told.is_empty() {
                p.below { a href=(scope.link("/findings", &[])) { "All " (told.len()) " findings" } }
            }
        }
    }
}
