//! What containers should ask for.

use maud::{Markup, html};

use super::super::problem::Problem;
use super::super::question::{Answer, Cell};
use super::super::questions::{BACKTEST, REPLAYED, RIGHTSIZING, SAVINGS};
use super::frame::snippet;
use super::parts::{Place, card, count, sum, table, table_called, tile, usd};
use super::{Context, Shown};
use crate::display::{dollars, short};

pub fn rightsizing(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let answer = context.ask_main(&RIGHTSIZING)?;
    let proof = context.ask(&BACKTEST, 100)?;
    let replayed = context.ask(&REPLAYED, 200)?;
    let savings = context.ask(&SAVINGS, 1)?;
    // What is told in sum is told of all of them, not of the rows on the page.
    let all = context.ask(&RIGHTSIZING, 100_000)?;
    let advised = all
        .rows
        .iter()
        .filter(|row| *all.cell(row, "memory_advised_bytes") != Cell::Null);
    let (advised, of) = (advised.count(), all.rows.len());
    let kills: i64 = all
        .rows
        .iter()
        .filter_map(|row| all.cell(row, "oom_kills").whole())
        .sum();
    Ok(Shown {
        title: "Right-sizing".to_owned(),
        body: html! {
            header {
                @if scope.name("job").is_some() {
                    p.crumbs { a href=(scope.with(&[("job", None)]).link("/rightsizing", &[])) { "Right-sizing" } }
                }
                h1 { "Right-sizing" }
                p.lead {
                    "What each container should ask for, of all that was seen, not of these days alone. Memory is advised such that a try is killed "
                    "for it with a probability of at most 0.1%, and a run has a killed try with at most 1%; where the evidence is too little, nothing is advised."
                }
            }
            @if of > 0 {
                div.tiles {
                    (tile("advised", &html! { (count(number(advised))) " of " (count(number(of))) }, &html! { "containers of jobs, for memory" }))
                    (tile("nominal saving", &usd(sum(&all, "nominal_saving")), &html! { "at reference prices, while it was seen" }))
                    @if scope.names().next().is_none() { (realisable(&savings)) }
                    (tile("killed for memory", &html! { (count(kills)) }, &html! { "tries, as they asked" }))
                    (proved(&proof))
                }
            }
            section {
                h2 { "Advice" }
                @if of == 0 && scope.names().next().is_none() {
                    p.empty {
                        "Nothing to size: no container of a pipeline was seen. Usage comes from " code { "podledger serve" } ", which asks kubelets, or from "
                        code { "podledger import prometheus URL" } "."
                    }
                } @else {
                    p.note {
                        "Nominal savings are what was reserved less what would have been, at reference prices, not what nodes would have been spared. "
                        "Realisable is what machines would have cost less: the recorded schedule, run again with this row alone changed. Neither is to be added to the other."
                    }
                    (table(context, &answer, Place::Main))
                }
            }
            @if !replayed.rows.is_empty() { (card(context, &replayed, Place::Beside(None))) }
            (patches(context, &answer))
            (proof_of(context, &proof))
        },
        is_of_one: false,
    })
}

/// What machines would have cost less, had all advice been followed.
fn realisable(savings: &Answer) -> Markup {
    html! {
        @for row in &savings.rows {
            @let cost = |name: &str| savings.cell(row, name).usd();
            @match (cost("realisable_saving"), cost("realisable_least").zip(cost("realisable_most")), cost("cost")) {
                (Some(saving), Some((least, most)), Some(of)) => (tile(
                    "realisable saving",
                    &html! { (dollars(saving)) },
                    &html! { (dollars(least)) " to " (dollars(most)) ", of machines that cost " (dollars(of)) },
                )),
                _ => (tile(
                    "realisable saving",
                    &html! { "not told" },
                    &html! { (savings.cell(row, "realisable_withheld").text()) },
                )),
            }
        }
    }
}

fn number(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// What would have failed, against now.
fn proved(proof: &Answer) -> Markup {
    let failed = |strategy: &str| {
        let mut rows = proof.rows.iter().filter(|row| is_sum(proof, row));
        let row = rows.find(|row| proof.cell(row, "strategy").text() == strategy)?;
        proof.cell(row, "failed_attempts").whole()
    };
    html! {
        @if let (Some(ours), Some(now)) = (failed("podledger"), failed("current")) {
            (tile("in the back-test", &html! { (count(ours)) }, &html! { "tries failed, " (count(now)) " as they asked" }))
        }
    }
}

/// Whether a row is of all windows together.
fn is_sum(proof: &Answer, row: &[Cell]) -> bool {
    proof.cell(row, "learned").text() == "all windows"
}

/// What is to be changed, to copy.
fn patches(context: &Context<'_>, answer: &Answer) -> Markup {
    let scope = context.scope;
    let is_of_job = scope.name("job").is_some();
    let kinds = [
        ("patch", "Patch"),
        ("inverse_patch", "Takes it back"),
        ("airflow", "For Airflow's KubernetesPodOperator"),
        ("spark", "For Spark"),
    ];
    let rows: Vec<&Vec<Cell>> = answer
        .rows
        .iter()
        .filter(|row| {
            kinds
                .iter()
                .any(|(name, _)| !answer.cell(row, name).text().is_empty())
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Patches" }
                p.note {
                    "Strategic-merge patches of pod templates, in the order of the table: " code { "kubectl patch KIND NAME --patch-file FILE" }
                    ". A memory limit is only written where the present one is known, so that all of it can be taken back. podledger changes nothing itself."
                }
                div.findings {
                    @for row in rows {
                        @let text = |name: &str| answer.cell(row, name).text();
                        details open[is_of_job] {
                            summary {
                                span.cost { (answer.cell(row, "nominal_saving").usd().map_or_else(String::new, dollars)) }
                                strong { (short(text("pipeline"))) " / " (short(text("job"))) " / " (short(text("container"))) }
                                " " (text("confidence")) " confidence"
                                @if !text("namespace").is_empty() { ", namespace " (short(text("namespace"))) }
                            }
                            @for (name, says) in kinds {
                                @if !text(name).is_empty() {
                                    p { (says) ":" }
                                    (snippet(text(name)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn proof_of(context: &Context<'_>, proof: &Answer) -> Markup {
    let (total, windows): (Vec<_>, Vec<_>) = proof.rows.iter().cloned().partition(|row| is_sum(proof, row));
    let is_judged = total.iter().any(|row| {
        proof
            .cell(row, "attempts")
            .whole()
            .is_some_and(|attempts| attempts > 0)
    });
    let part = |rows: Vec<Vec<Cell>>| Answer {
        total: rows.len() as u64,
        rows,
        ..proof.clone()
    };
    html! {
        section {
            h2 { "The proof" }
            @if is_judged {
                p.note {
                    "Learned from the first runs of each pipeline and judged on the next, over the whole ledger. A try that needed more than was advised is "
                    "lost and run again with what it had asked for; each costs five dollars besides, or one where its job was seen to be tried again in a run. Costs are at reference prices."
                }
                (table(context, &part(total), Place::Beside(None)))
                @if windows.len() > 4 {
                    details {
                        summary { "Window by window" }
                        (table_called(context, &part(windows), Place::Beside(None), "The proof, window by window"))
                    }
                }
            } @else {
                p.empty { "Nothing to judge yet: no try that was measured comes after what is learned from." }
            }
        }
    }
}
