//! What figures rest on, and reports to take along.

use maud::html;

use super::super::problem::Problem;
use super::super::questions::{CLUSTERS, DATA_QUALITY, TEAMS};
use super::parts::{Place, card, table};
use super::{Context, Shown};
use crate::display::short;
use crate::weekly::Week;

pub fn data_quality(context: &Context<'_>) -> Result<Shown, Problem> {
    let clusters = context.ask(&CLUSTERS, 200)?;
    let quality = context.ask_main(&DATA_QUALITY)?;
    Ok(Shown {
        title: "Data quality".to_owned(),
        body: html! {
            header {
                h1 { "Data quality" }
                p.lead { "What is known, missing or uncertain in the whole ledger, not in these days alone. What is unknown is never counted as zero." }
            }
            (card(context, &clusters, Place::Beside(None)))
            section { h2 { "Measures" } (table(context, &quality, Place::Main)) }
        },
        is_of_one: false,
    })
}

/// Weeks that are listed at most.
const WEEKS: i64 = 60;

pub fn reports(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let from = context.snapshot.clusters.iter().map(|(from, _)| *from).min();
    let last = context.snapshot.last_week(scope.zone())?;
    let weeks: Vec<Week> = last
        .into_iter()
        .flat_map(|last| (0..WEEKS).map(move |back| last.plus(-back)))
        .take_while(|week| from.is_some_and(|from| week.bounds_ms().1 > from))
        .collect();
    let teams = context.ask(&TEAMS, 100)?;
    let link = |week: &Week, more: &[(&str, &str)]| {
        let name = week.to_string();
        let mut names = vec![("week", name.as_str())];
        if scope.zone() != "UTC" {
            names.push(("zone", scope.zone()));
        }
        names.extend(more);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(names);
        format!("/report?{}", query.finish())
    };
    Ok(Shown {
        title: "Reports".to_owned(),
        body: html! {
            header {
                h1 { "Reports" }
                p.lead { "The weekly report of each week that was observed, as a page that needs nothing else, or as a file." }
            }
            section {
                h2 { "Weeks" }
                div.scroll role="region" aria-label="Weeks" tabindex="0" {
                    table.data {
                        thead { tr { th scope="col" { "week" } th scope="col" { "days" } th scope="col" { "files" } } }
                        tbody {
                            @for week in &weeks {
                                @let (first, last) = week.dates();
                                tr {
                                    td { a href=(link(week, &[])) { (week) } }
                                    td.when { (first) " to " (last) }
                                    td.files {
                                        @for format in ["md", "json", "xlsx"] {
                                            a href=(link(week, &[("format", format)])) download { (format) } " "
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if let (Some(week), false) = (&scope.week, teams.rows.is_empty()) {
                section {
                    h2 { "Of one team, in " (week) }
                    ul.names {
                        @for row in &teams.rows {
                            @let team = teams.cell(row, "team").text();
                            li { a href=(link(week, &[("team", team)])) { (short(team)) } }
                        }
                    }
                }
            }
        },
        is_of_one: false,
    })
}
