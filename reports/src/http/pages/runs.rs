//! What ran: runs, one pipeline, one run.

use maud::html;

use super::super::pictures;
use super::super::problem::Problem;
use super::super::question::{Answer, Cell};
use super::super::questions::{
    CRITICAL_PATH, FINDINGS, JOBS, PIPELINE_WEEKS, RUN, RUN_ATTEMPTS, RUN_PODS, RUN_TEAMS, RUNS,
};
use super::money::{list, where_it_went};
use super::parts::{Place, card, cell, count, table, tile, tile_to};
use super::{Context, Shown};
use crate::display::short;
use crate::weekly::Week;

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

/// The newest week and the one before it, where one pipeline alone has the name.
fn last_two(weeks: &Answer) -> Option<(&[Cell], &[Cell])> {
    let of = |row: &[Cell], name: &str| weeks.cell(row, name).clone();
    let now = weeks.rows.first()?;
    let before = Week::parse(of(now, "iso_week").text(), "UTC")
        .ok()?
        .plus(-1)
        .to_string();
    let mut others = weeks.rows.iter().skip(1);
    if others.any(|row| of(row, "iso_week") == of(now, "iso_week")) {
        return None;
    }
    let before = weeks.rows.iter().find(|row| {
        let is_same = |key| of(row, key) == of(now, key);
        of(row, "iso_week").text() == before && ["cluster", "system", "installation"].into_iter().all(is_same)
    })?;
    Some((now.as_slice(), before.as_slice()))
}

/// Whether a run costs more than in the week before, in words.
fn regression(weeks: &Answer) -> maud::Markup {
    let cost = |row: &[Cell]| weeks.cell(row, "cost_per_success").usd();
    let two = last_two(weeks).and_then(|(now, before)| Some((now, cost(now)?, before, cost(before)?)));
    html! {
        @if let Some((this_week, now, last_week, before)) = two {
            @let more = crate::display::permille(now.get() - before.get(), before.get());
            p {
                "A successful run cost " strong { (crate::display::small_dollars(now)) } " in " (weeks.cell(this_week, "iso_week").text())
                ", " (crate::display::small_dollars(before)) " in " (weeks.cell(last_week, "iso_week").text())
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
    let cell = |name: &str| cell(scope, &found, row, name);
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
                (tile_to("cost", &cell("cost"), &html! { (cell("wasted_cost")) " of it wasted" }, &scope.link("/pods", &[("pipeline", pipeline), ("run", run)])))
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

#[cfg(test)]
mod tests {
    use podledger_sql::units::NanoUsd;

    use super::*;

    fn weeks(rows: &[(&str, &str, i64)]) -> Answer {
        let row = |(week, cluster, nano): &(&str, &str, i64)| {
            let cell = |name: &str| match name {
                "iso_week" => Cell::Text((*week).to_owned()),
                "cluster" => Cell::Text((*cluster).to_owned()),
                "system" => Cell::Text("airflow".to_owned()),
                "cost_per_success" => Cell::Usd(NanoUsd::from_nano(*nano)),
                _ => Cell::Null,
            };
            PIPELINE_WEEKS
                .columns
                .iter()
                .map(|column| cell(column.name))
                .collect()
        };
        Answer {
            question: &PIPELINE_WEEKS,
            rows: rows.iter().map(row).collect(),
            offset: 0,
            total: rows.len() as u64,
        }
    }

    #[test]
    fn weeks_are_compared_of_one_pipeline_that_follow_each_other() {
        const DOLLAR: i64 = 1_000_000_000;
        let told = |rows: &[(&str, &str, i64)]| regression(&weeks(rows)).into_string();
        let two = told(&[("2026-W01", "a", 2 * DOLLAR), ("2025-W52", "a", DOLLAR)]);
        assert!(
            two.contains("in 2026-W01") && two.contains("in 2025-W52") && two.contains("+100"),
            "{two}"
        );
        for unlike in [
            // Two pipelines of one name.
            &[("2026-W46", "a", 2 * DOLLAR), ("2026-W46", "b", DOLLAR)][..],
            &[
                ("2026-W46", "a", 2 * DOLLAR),
                ("2026-W46", "b", DOLLAR),
                ("2026-W45", "a", DOLLAR),
            ],
            &[("2026-W46", "a", 2 * DOLLAR), ("2026-W45", "b", DOLLAR)],
            // A week lies between.
            &[("2026-W46", "a", 2 * DOLLAR), ("2026-W44", "a", DOLLAR)],
            &[("2026-W46", "a", 2 * DOLLAR)],
            &[],
        ] {
            assert_eq!(told(unlike), "", "{unlike:?}");
        }
        // Of several that were there in the week before, the same.
        let same = told(&[
            ("2026-W46", "b", 2 * DOLLAR),
            ("2026-W45", "a", 5 * DOLLAR),
            ("2026-W45", "b", DOLLAR),
        ]);
        assert!(same.contains("+100"), "{same}");
    }
}
