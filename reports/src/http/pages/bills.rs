//! Bills, held against what machines cost.

use jiff::ToSpan;
use jiff::civil::Date;
use maud::{Markup, html};
use podledger_sql::units::NanoUsd;

use super::super::problem::Problem;
use super::super::question::{Answer, Cell};
use super::super::questions::{
    ADJUSTMENTS, BILLS, CLOSED_MONTHS, COMMITMENT_BENEFITS, COMMITMENTS, DELIVERIES, TIE_OUT,
};
use super::frame::command;
use super::parts::{Place, below, card, table};
use super::{Context, Shown};
use crate::bill_lines::{BILL_LINES, PRICE_VARIANCE};
use crate::display::{dollars, short};

pub fn bills(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let bills = context.ask(&BILLS, 500)?;
    let lines = context.ask(&TIE_OUT, 5_000)?;
    let mut months: Vec<&str> = bills
        .rows
        .iter()
        .map(|row| bills.cell(row, "month").text())
        .collect();
    months.dedup();
    let mut beside = Vec::new();
    for question in [
        &COMMITMENTS,
        &COMMITMENT_BENEFITS,
        &CLOSED_MONTHS,
        &ADJUSTMENTS,
        &DELIVERIES,
    ] {
        let answer = context.ask(question, 60)?;
        if !answer.rows.is_empty() {
            beside.push(answer);
        }
    }
    Ok(Shown {
        title: "Bills".to_owned(),
        body: html! {
            header {
                h1 { "Bills" }
                p.lead {
                    "How the invoice and the clusters hang together, by month (UTC). What machines cost is taken from the bill where there is one, and from "
                    a href=(scope.link("/prices", &[])) { "prices" } " where there is none."
                }
            }
            @if bills.rows.is_empty() {
                (no_bill())
            } @else {
                section {
                    h2 { "Months" }
                    ul.chips aria-label="Months with a bill" {
                        @for month in &months {
                            @if let Some((first, last)) = days_of(month) {
                                li { a href=(scope.of_days(first, last).link("/bills", &[])) { (month) } }
                            }
                        }
                    }
                    (table(context, &bills, Place::Beside(None)))
                }
                section {
                    h2 { (TIE_OUT.title) }
                    @if lines.rows.is_empty() {
                        p.empty { "No bill charges for the months of these days; choose another month above." }
                    } @else {
                        (tie_out(&lines))
                        (below(context, &lines, Place::Beside(None)))
                    }
                }
            }
            @for answer in &beside { (card(context, answer, Place::Beside(None))) }
        },
        is_of_one: false,
    })
}

/// The first and last day of `2026-11`.
fn days_of(month: &str) -> Option<(Date, Date)> {
    let first: Date = format!("{month}-01").parse().ok()?;
    let last = first.checked_add(1.month()).ok()?.yesterday().ok()?;
    Some((first, last))
}

fn no_bill() -> Markup {
    html! {
        section {
            h2 { "No bill was imported yet" }
            p { "Until then, costs are estimates at list price. A bill says what machines really cost, and lets a month be closed:" }
            (command("podledger import focus exports/focus/2026-11\npodledger build\npodledger reconcile 2026-11"))
            p.note {
                "FOCUS exports of any provider, AWS's Cost and Usage Report (" code { "import cur" } "), Google's billing export ("
                code { "import gcp-billing" } "), Azure's cost details (" code { "import azure-costs" } ") and AWS's Cost Explorer ("
                code { "import cost-explorer" } ") are read. Nothing is spread over anybody that the bill does not say."
            }
        }
    }
}

/// Each invoice, line by line; what adds up is shown to the last digit.
fn tie_out(lines: &Answer) -> Markup {
    let text = |row: &[Cell], name: &str| lines.cell(row, name).text().to_owned();
    let key = |row: &[Cell]| {
        (
            text(row, "month"),
            text(row, "provider"),
            text(row, "billing_account_id"),
        )
    };
    let invoices: Vec<&[Vec<Cell>]> = lines.rows.chunk_by(|a, b| key(a) == key(b)).collect();
    html! {
        @for invoice in invoices {
            @let (month, provider, account) = invoice.first().map_or_else(Default::default, |row| key(row));
            @let called = format!("{month} · {} {}", short(&provider), short(&account));
            @let amount = |name: &str| -> i64 {
                let of_line = invoice.iter().filter(|row| lines.cell(row, "line").text() == name);
                of_line.filter_map(|row| lines.cell(row, "amount").whole()).sum()
            };
            @let whole: i64 = invoice
                .iter()
                .filter(|row| lines.cell(row, "line_group").text() != "information")
                .filter_map(|row| lines.cell(row, "amount").whole())
                .sum();
            h3 { (called) }
            div.scroll role="region" aria-label={ "Invoice " (called) } tabindex="0" {
                table.data {
                    thead { tr { th scope="col" { "line" } th.number scope="col" { "USD" } th scope="col" { "is" } } }
                    tbody {
                        @for (line, says) in BILL_LINES {
                            @let nano = amount(line);
                            @if nano != 0 {
                                tr {
                                    td { (line.replace('_', " ")) }
                                    td.number { (NanoUsd::from_nano(nano).to_string()) }
                                    td { (says) }
                                }
                            }
                        }
                        tr.sum {
                            th scope="row" { "= invoice" }
                            td.number { strong { (NanoUsd::from_nano(whole).to_string()) } }
                            td {}
                        }
                    }
                }
            }
            p.note { "Machines were billed " (dollars(NanoUsd::from_nano(amount(PRICE_VARIANCE)))) " more than estimated." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_all_its_days() {
        let told = |month| days_of(month).map(|(first, last)| format!("{first} {last}"));
        assert_eq!(told("2026-02").as_deref(), Some("2026-02-01 2026-02-28"));
        assert_eq!(told("2026-12").as_deref(), Some("2026-12-01 2026-12-31"));
        assert_eq!(told("2026"), None);
    }
}
