//! The SQL console: a query, its first rows, and what there is to ask.

use maud::{Markup, html};
use podledger_sql::published::PublishedMart;

use super::super::problem::Problem;
use super::super::respond::Who;
use super::super::sql::SHOWN_ROWS;
use super::frame;
use crate::display::{plain, thousands};

/// What the console shows.
pub struct Console<'a> {
    /// What was written.
    pub query: &'a str,
    /// What is published; `None` if nothing is.
    pub marts: Option<&'a [PublishedMart]>,
    /// Of which build it is.
    pub build_id: Option<i64>,
    /// What came of the query, if one was asked.
    pub answer: Option<Result<Rows, Problem>>,
    pub who: Who,
    /// Whether the server has a door at all.
    pub is_served: bool,
}

/// The first rows of an answer, as texts in which nothing acts.
pub struct Rows {
    /// Names, and whether numbers are below.
    pub columns: Vec<(String, bool)>,
    /// Cells; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    pub is_complete: bool,
}

/// What stands in the console before anything was written.
const FIRST: &str =
    "select pipeline, sum(cost) as cost\nfrom costs_daily\ngroup by all\norder by cost desc nulls last";

/// The console as a page.
pub fn console(console: &Console<'_>) -> String {
    let query = if console.query.is_empty() {
        FIRST
    } else {
        console.query
    };
    let body = html! {
        header {
            h1 { "SQL" }
            p.lead {
                "Ask the marts of the newest published snapshot"
                @if let Some(build) = console.build_id { " (build " (build) ")" }
                ": one SELECT in DuckDB's SQL. Nothing can be changed from here."
            }
        }
        @if !console.is_served {
            section { p.partial { "SQL is not served here." } }
        } @else {
            section {
                form.sql method="post" action="/sql" {
                    label {
                        "Query"
                        textarea name="query" rows="10" spellcheck="false" autocomplete="off" autocapitalize="off" required { (query) }
                    }
                    div.actions {
                        button type="submit" name="as" value="page" { "Run" }
                        button.quiet type="submit" name="as" value="csv" { "Download as CSV" }
                    }
                }
            }
            @match &console.answer {
                Some(Ok(rows)) => (answer(rows)),
                Some(Err(problem)) => section { p.partial role="alert" { (plain(&problem.detail)) } },
                None => {}
            }
            @match console.marts {
                Some(marts) => (schema(marts)),
                None => section { p.partial { "Nothing is published yet: `podledger build` does it, and `podledger serve` beside its builds." } },
            }
        }
    };
    frame::bare("SQL", "/sql", console.who, &body).into_string()
}

fn answer(answer: &Rows) -> Markup {
    html! {
        section {
            p.note role="status" {
                @if answer.is_complete {
                    (thousands(answer.rows.len() as u64)) " rows."
                } @else {
                    "The first " (SHOWN_ROWS) " rows; a download has all."
                }
            }
            div.scroll tabindex="0" role="region" aria-label="Rows" {
                table.data {
                    thead {
                        tr {
                            @for (name, is_number) in &answer.columns {
                                th scope="col" .number[*is_number] { (name) }
                            }
                        }
                    }
                    tbody {
                        @for row in &answer.rows {
                            tr {
                                @for (cell, (_, is_number)) in row.iter().zip(&answer.columns) {
                                    td.number[*is_number] {
                                        @match cell {
                                            Some(text) => (text),
                                            None => span.key { "NULL" },
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every mart with its columns.
fn schema(marts: &[PublishedMart]) -> Markup {
    html! {
        section.marts {
            h2 { "Marts" }
            @for mart in marts {
                details {
                    summary { code { (plain(&mart.name)) } " " span.key { (thousands(mart.rows)) " rows" } }
                    p { (plain(&mart.description)) }
                    div.scroll tabindex="0" role="region" aria-label={ "Columns of " (plain(&mart.name)) } {
                        table.data {
                            thead { tr { th scope="col" { "column" } th scope="col" { "type" } th scope="col" { "meaning" } } }
                            tbody {
                                @for column in &mart.columns {
                                    tr {
                                        td { code { (plain(&column.name)) } }
                                        td { code { (plain(&column.kind)) } }
                                        td.words { (plain(&column.description)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
