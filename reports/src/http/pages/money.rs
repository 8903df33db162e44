//! Who cost what: teams, pipelines, jobs, namespaces.

use maud::{Markup, html};
use podledger_sql::units::NanoUsd;

use super::super::pictures::{self, Shape};
use super::super::problem::Problem;
use super::super::question::Question;
use super::super::questions::{
    BROKEN, CATEGORIES, DAYS, FINDINGS, JOBS, NAMESPACES, NOT_USED, PIPELINES, TEAM_LOAD, TEAMS, USED,
};
use super::parts::{Place, card, cell, sum, table, tile_to, usd};
use super::{Context, Shown};
use crate::display::{percent, permille, short};

/// A page that is one table.
pub fn list(context: &Context<'_>, question: &'static Question, says: &str) -> Result<Shown, Problem> {
    let answer = context.ask_main(question)?;
    Ok(Shown {
        title: question.title.to_owned(),
        body: html! {
            header {
                h1 { (question.title) }
                p.lead { (says) }
            }
            section { (table(context, &answer, Place::Main)) }
        },
        is_of_one: false,
    })
}

pub fn teams(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &TEAMS,
        "Direct is what a team's pods cost. Fully loaded adds its share of idle time, node overhead and platform, by direct cost, and \
         adds up to the whole.",
    )
}

pub fn pipelines(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &PIPELINES,
        "What pods of each pipeline cost, and runs that started in these days. Per success is the cost of all runs, divided by those \
         that succeeded.",
    )
}

pub fn jobs(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &JOBS,
        "The units of work inside runs: what their pods cost, and tries that ended in these days.",
    )
}

pub fn namespaces(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &NAMESPACES,
        "What pods of each namespace cost; capacity that nobody held has none.",
    )
}

/// Cost of what a page is about: by category and by day.
pub fn where_it_went(context: &Context<'_>) -> Result<Markup, Problem> {
    let categories = context.ask(&CATEGORIES, 100)?;
    let days = context.ask(&DAYS, 5_000)?;
    let total = sum(&categories, "cost");
    // What is not there cost nothing; what is there without a price is not known.
    let of = |sum: &[(&str, &str)]| -> Option<NanoUsd> {
        let names: Vec<&str> = sum.iter().flat_map(|(_, names)| names.split(',')).collect();
        let costs: Vec<Option<NanoUsd>> = categories
            .rows
            .iter()
            .filter(|row| names.contains(&categories.cell(row, "cost_category").text()))
            .map(|row| categories.cell(row, "cost").usd())
            .collect();
        let is_known = costs.is_empty() || costs.iter().any(Option::is_some);
        is_known.then(|| NanoUsd::from_nano(costs.into_iter().flatten().map(NanoUsd::get).sum()))
    };
    let pods = |sum: &[(&str, &str)]| context.scope.link("/pods", sum);
    let share = |part: Option<NanoUsd>| match part.zip(total) {
        Some((part, whole)) => html! { (percent(permille(part.get(), whole.get()))) " of the cost" },
        None => html! { "no price is known" },
    };
    let (failed, unused, used) = (of(BROKEN), of(NOT_USED), of(USED));
    Ok(html! {
        div.tiles {
            (tile_to("cost", &usd(total), &html! { "what its pods cost" }, &context.scope.link("/pods", &[])))
            (tile_to("used", &usd(used), &share(used), &pods(USED)))
            (tile_to("unused request", &usd(unused), &share(unused), &pods(NOT_USED)))
            (tile_to("failed + stuck", &usd(failed), &share(failed), &pods(BROKEN)))
        }
        div.columns.loose {
            section {
                h2 { "Cost by day" }
                (pictures::days(context.scope, &days, context.path, Shape::Half))
            }
            section {
                h2 { "Where each dollar went" }
                (table(context, &categories, Place::Beside(None)))
            }
        }
    })
}

pub fn team(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let team = scope.required("team")?;
    let row = context.ask(&TEAMS, 1)?;
    let cell = |name: &str| {
        let cells = row.rows.first();
        cells.map_or_else(|| html! { "–" }, |cells| cell(scope, &row, cells, name))
    };
    Ok(Shown {
        title: format!("Team {}", short(team)),
        body: html! {
            header {
                p.crumbs { a href=(scope.with(&[("team", None)]).link("/teams", &[])) { "Teams" } }
                h1 { (short(team)) }
                p.lead {
                    "Fully loaded " strong { (cell("fully_loaded_cost")) } ", change from the days before " (cell("change")) ". "
                    a href=(scope.link("/", &[])) { "Its overview" }
                    // A report is of a week, and of a team that cost something.
                    @if scope.week.is_some() && !row.rows.is_empty() {
                        " · " a href=(scope.link_one("/report", &[("team", team)])) { "its weekly report" }
                    }
                }
            }
            (where_it_went(context)?)
            (card(context, &context.ask(&PIPELINES, 20)?, Place::Beside(Some("/pipelines"))))
            (card(context, &context.ask(&TEAM_LOAD, 100)?, Place::Beside(None)))
            (card(context, &context.ask(&JOBS, 12)?, Place::Beside(Some("/jobs"))))
            (super::capacity::findings_card(context, &context.ask(&FINDINGS, 8)?))
        },
        is_of_one: true,
    })
}
