//! The lowest level: which pods, in which hours, at which price, by which rule.

use duckdb::Connection;
use maud::{Markup, html};

use super::super::problem::Problem;
use super::super::questions::{POD, POD_HOURS, PODS};
use super::super::{Decision, Explain};
use super::money::list;
use super::parts::{Place, card, cell, facts};
use super::{Context, Shown};
use crate::display::short;

pub fn pods(context: &Context<'_>) -> Result<Shown, Problem> {
    let says = match context.scope.name("category") {
        Some(_) => "Pods that held machines in these days, and what of the category each cost.",
        None => "Pods that held machines in these days, and what their hours of these days cost.",
    };
    list(context, &PODS, says)
}

pub fn pod(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let uid = scope.required("pod")?;
    let found = context.ask(&POD, 1)?;
    let Some(row) = found.rows.first() else {
        return Err(Problem::missing("no pod has this UID"));
    };
    let name = found.cell(row, "pod_name").text();
    let cell = |name: &str| cell(scope, &found, row, name);
    Ok(Shown {
        title: format!("Pod {}", short(name)),
        body: html! {
            header {
                p.crumbs { a href=(scope.link_one("/pods", &[])) { "Pods" } }
                h1 { (short(name)) }
                p.lead { (cell("outcome")) " · cost " strong { (cell("cost")) } " in all its hours" }
            }
            section {
                h2 { "What is known of it" }
                (facts(scope, &found, row, &["pod_name", "cost", "outcome"]))
            }
            (card(context, &context.ask(&POD_HOURS, 500)?, Place::Beside(None)))
            (rules(context, uid, Some(found.cell(row, "cluster").text()))?)
        },
        is_of_one: true,
    })
}

/// Which rule said for whom it works.
fn rules(context: &Context<'_>, uid: &str, cluster: Option<&str>) -> Result<Markup, Problem> {
    let Some(explain) = context.explain else {
        return Ok(html! {});
    };
    context.asker.over.check()?;
    let decisions = decisions(explain, context.connection(), uid, cluster)?;
    let mut of_it = vec![("pod", uid)];
    of_it.extend(cluster.map(|cluster| ("cluster", cluster)));
    let csv = format!(
        "/tables/pod-rules.csv?{}",
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(of_it)
            .finish()
    );
    Ok(html! {
        @if !decisions.is_empty() {
            section {
                h2 { "Which rule said so" }
                div.scroll role="region" aria-label="Rules" tabindex="0" {
                    table.data {
                        thead { tr { th scope="col" { "what" } th scope="col" { "is" } th scope="col" { "by the rule" } } }
                        tbody {
                            @for decision in &decisions {
                                tr {
                                    td { (short(&decision.field.replace('_', " "))) }
                                    td { (decision.value.as_deref().map_or_else(|| "–".to_owned(), short)) }
                                    td { (decision.rule.as_deref().map_or_else(|| "no rule found anything".to_owned(), short)) }
                                }
                            }
                        }
                    }
                }
                p.below { a href=(csv) download { "CSV" } }
            }
        }
    })
}

/// What rules say of a pod.
///
/// # Errors
/// A [`Problem`] where they cannot be asked; the log says why.
pub fn decisions(
    explain: &Explain,
    connection: &Connection,
    uid: &str,
    cluster: Option<&str>,
) -> Result<Vec<Decision>, Problem> {
    explain(connection, uid, cluster).map_err(|reason| {
        tracing::error!(reason, "rules could not be asked");
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "the rules could not be asked; the server's log says why",
        )
    })
}
