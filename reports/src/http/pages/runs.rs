//! What ran: runs, one pipeline, one run.

use maud::html;

use super::super::pictures;
use super::super::problem::Problem;
use super::super::question::{Answer, Cell};
use super::super::questions::{
    CRITICAL_PATH, FINDINGS, JOBS, PIPELINE_WEEKS, RUN, RUN_ATTEMPTS, RUN_PODS, RUN_TEAMS, RUNS,
};
use super::money::{list, where_it_went};
use super::parts::{Place, card, count, show, table, tile};
use super::{Context, Shown};
use crate::display::short;

pub fn runs(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &RUNS,
        "Executions of pipelines that started in these days, the most expensive first.",
    )
}

/// Runs that a picture shows.
const DRAWN: u64 = 1_000;

pub fn pipeline(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let pipeline = scope.required("pipeline")?;
    let drawn = context.ask(&RUNS, DRAWN)?;
    let weeks = context.ask(&PIPELINE_WEEKS, 26)?;
    let findings = context.ask(&FINDINGS, 8)?;
    Ok(Shown {
        title: format!("Pipeline {}", short(pipeline)),
        body: html! {
            header {
                p.crumbs { a href=(scope.with(&[("pipeline", None)]).link("/pipelines", &[])) { "Pipelines" } }
                h1 { (short(pipeline)) }
                @if let Some(team) = scope.name("team") {
                    p.lead { "Of team " a href=(scope.link_one("/team", &[("team", team)])) { (short(team)) } "." }
                }
            }
            (where_it_went(context)?)
            section {
                h2 { "Runs over time" }
                @if drawn.rows.is_empty() { p.empty { "No run started in these days." } }
                @else {
                    (pictures::runs(scope, &drawn))
                    @if drawn.total > DRAWN { p.note { "The " (DRAWN) " most expensive of " (drawn.total) "." } }
                }
                (table(context, &first(&drawn, 10), Place::Beside(Some("/runs"))))
            }
            section {
                h2 { "Week by week" }
                (regression(&weeks))
                (table(context, &weeks, Place::Beside(None)))
            }
            (card(context, &context.ask(&JOBS, 20)?, Place::Beside(Some("/jobs"))))
            (super::capacity::findings_card(context, &findings))
        },
        is_of_one: true,
    })
}

/// The first rows of an answer.
fn first(answer: &Answer, rows: usize) -> Answer {
    Answer {
        rows: answer.rows.iter().take(rows).cloned().collect(),
        ..answer.clone()
    }
}

/// Whether a run costs more than in the week before, in words.
fn regression(weeks: &Answer) -> maud::Markup {
    let of = |row: usize, name: &str| weeks.rows.get(row).map(|cells| weeks.cell(cells, name).clone());
    let is_same_system = of(0, "system") == of(1, "system");
    let costs = (of(0, "cost_per_success"), of(1, "cost_per_success"));
    html! {
        @if let ((Some(Cell::Usd(now)), Some(Cell::Usd(before))), true) = (costs, is_same_system && before_is_known(&weeks.rows)) {
            @let more = crate::display::permille(now.get() - before.get(), before.get());
            p {
                "A successful run cost " strong { (crate::display::small_dollars(now)) } " in " (of(0, "iso_week").unwrap_or(Cell::Null).text())
                ", " (crate::display::small_dollars(before)) " in " (of(1, "iso_week").unwrap_or(Cell::Null).text())
                @if before.get() > 0 {
                    ": " span class=(if more > 0 { "up" } else { "down" }) {
                        @if more > 0 { "+" } (crate::display::percent(more))
                    }
                }
                "."
            }
        }
    }
}

fn before_is_known(rows: &[Vec<Cell>]) -> bool {
    rows.len() >= 2
}

/// Bars that a Gantt chart shows.
const BARS: u64 = 400;

pub fn run(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let (pipeline, run) = (scope.required("pipeline")?, scope.required("run")?);
    let found = context.ask(&RUN, 50)?;
    let Some(row) = found.rows.first() else {
        return Err(Problem::missing("no run of this pipeline has this name"));
    };
    let title = format!("Run {}", short(run));
    let crumbs = html! {
        p.crumbs {
            a href=(scope.link_one("/pipelines", &[])) { "Pipelines" } " › "
            a href=(scope.link_one("/pipeline", &[("pipeline", pipeline)])) { (short(pipeline)) }
        }
    };
    if found.rows.len() > 1 {
        return Ok(Shown {
            title,
            body: html! {
                header { (crumbs) h1 { (short(run)) } p.lead { "Several runs have this name." } }
                section { (table(context, &found, Place::Beside(None))) }
            },
            is_of_one: true,
        });
    }
    let pods = context.ask(&RUN_PODS, BARS)?;
    let path = context.ask(&CRITICAL_PATH, 200)?;
    let cell = |name: &str| {
        let column = RUNS.columns.iter().find(|column| column.name == name);
        column.map_or_else(|| html! {}, |column| show(scope, column, found.cell(row, name)))
    };
    let failed = found.cell(row, "failed_attempts").whole().unwrap_or(0);
    Ok(Shown {
        title,
        body: html! {
            header {
                (crumbs)
                h1 { (short(run)) }
                p.lead { (cell("status")) " · started " (cell("started_at")) " · took " (cell("duration_ms")) }
            }
            div.tiles {
                (tile("cost", &cell("cost"), &html! { (cell("wasted_cost")) " of it wasted" }))
                (tile("pods", &cell("pods"), &html! { "in " (cell("attempts")) " tries" }))
                (tile("failed tries", &html! { (count(failed)) }, &html! { "failed or were lost" }))
                (tile("waited", &cell("queue_wait_ms"), &html! { "for machines, all tries together" }))
            }
            section {
                h2 { "On which machines, when" }
                (pictures::gantt(scope, &pods))
                @if pods.total > BARS { p.note { "The first " (BARS) " of " (pods.total) " pods." } }
            }
            @if !path.rows.is_empty() {
                section {
                    h2 { "Critical path" }
                    p.note { "The chain of tries that decided how long the run took." }
                    (pictures::critical_path(scope, &path))
                    (table(context, &path, Place::Beside(None)))
                }
            }
            (card(context, &context.ask(&RUN_ATTEMPTS, 200)?, Place::Beside(None)))
            (card(context, &first(&pods, 100), Place::Beside(None)))
            (card(context, &context.ask(&RUN_TEAMS, 20)?, Place::Beside(None)))
        },
        is_of_one: true,
    })
}
