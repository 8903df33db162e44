//! Pages: complete without a script, on any width, in light and dark.

mod advice;
mod bills;
mod capacity;
mod console;
mod frame;
mod money;
mod overview;
mod parts;
mod pods;
mod runs;
mod services;
mod trust;

use std::sync::Arc;

use duckdb::Connection;
use maud::Markup;

use super::access::Role;
use super::problem::Problem;
use super::question::{Answer, Asker, Cell, Part, Question, part};
use super::respond::Who;
use super::scope::{Scope, USUAL_ROWS};
use super::snapshot::Snapshot;
use super::{Explain, HTML, Reply};
use crate::weekly::Weekly;

pub use console::{Console, Rows, console};
pub use frame::is_own_path;
pub use pods::decisions;

/// A page: what it shows of what is asked.
pub type Page = fn(&Context<'_>) -> Result<Shown, Problem>;

/// What a page shows.
pub struct Shown {
    pub title: String,
    pub body: Markup,
    /// Whether it is about one thing: other pages are then linked without the filters that name it.
    pub is_of_one: bool,
}

/// What a page is made from.
pub struct Context<'a> {
    pub asker: Asker<'a>,
    pub scope: &'a Scope,
    pub snapshot: &'a Snapshot,
    /// The page's own path.
    pub path: &'a str,
    pub explain: Option<&'a Explain>,
    pub who: Who,
    /// The weekly report, if the page shows one.
    pub report: Option<&'a Result<Arc<Weekly>, Problem>>,
}

impl Context<'_> {
    pub fn connection(&self) -> &Connection {
        self.asker.connection
    }

    /// The page's main table: sorted and paged as the URL says.
    pub fn ask_main(&self, question: &'static Question) -> Result<Answer, Problem> {
        question.ask(&self.asker, self.scope, part(self.scope, USUAL_ROWS))
    }

    /// Some first rows in the usual order.
    pub fn ask(&self, question: &'static Question, rows: u64) -> Result<Answer, Problem> {
        let part = Part {
            offset: 0,
            limit: rows,
        };
        question.ask(&self.asker, &self.scope.first_rows(), part)
    }

    /// All rows in the usual order, one after another.
    pub fn each(
        &self,
        question: &'static Question,
        row: &mut dyn FnMut(&[Cell]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        question.each(&self.asker, &self.scope.first_rows(), Part::ALL, row)
    }
}

/// The page that needs advice.
pub const RIGHTSIZING: &str = "/rightsizing";

/// The page that shows the weekly report.
pub const OVERVIEW: &str = "/";

/// The page that asks in SQL.
const SQL: &str = "/sql";

/// Every page and its path.
pub const PAGES: &[(&str, Page)] = &[
    (OVERVIEW, overview::overview),
    ("/teams", money::teams),
    ("/team", money::team),
    ("/pipelines", money::pipelines),
    ("/pipeline", runs::pipeline),
    ("/runs", runs::runs),
    ("/run", runs::run),
    ("/jobs", money::jobs),
    ("/namespaces", money::namespaces),
    ("/pools", capacity::pools),
    ("/pool", capacity::pool),
    ("/machines", capacity::machines),
    ("/machine", capacity::machine),
    ("/machine-hours", capacity::machine_hours),
    ("/services", services::services),
    ("/findings", capacity::findings),
    ("/waiting", capacity::waiting),
    ("/pods", pods::pods),
    ("/pod", pods::pod),
    (RIGHTSIZING, advice::rightsizing),
    ("/prices", capacity::prices),
    ("/bills", bills::bills),
    ("/data-quality", trust::data_quality),
    ("/reports", trust::reports),
];

/// What is linked from every page.
pub const NAVIGATION: &[(&str, &str)] = &[
    (OVERVIEW, "Overview"),
    ("/teams", "Teams"),
    ("/pipelines", "Pipelines"),
    ("/runs", "Runs"),
    ("/jobs", "Jobs"),
    ("/namespaces", "Namespaces"),
    ("/pools", "Pools"),
    ("/services", "Volumes"),
    ("/findings", "Findings"),
    ("/waiting", "Waiting"),
    ("/pods", "Pods"),
    (RIGHTSIZING, "Right-sizing"),
    ("/prices", "Prices"),
    ("/bills", "Bills"),
    ("/data-quality", "Data quality"),
    ("/reports", "Reports"),
    (SQL, "SQL"),
];

/// What is linked for somebody: not what would answer that it is not allowed.
fn navigation(who: Who) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let may_ask = who.role >= Role::Analyst;
    NAVIGATION.iter().filter(move |(path, _)| *path != SQL || may_ask)
}

/// A page as HTML.
pub fn page(context: &Context<'_>, page: Page) -> Result<String, Problem> {
    let shown = page(context)?;
    Ok(frame::page(context, shown).into_string())
}

/// The page that asks for a token.
pub fn sign_in(next: &str, wrong: Option<&str>) -> Reply {
    let next = if is_own_path(next) && !next.starts_with("/sign-in") {
        next
    } else {
        "/"
    };
    let mut reply = Reply::new(HTML, frame::sign_in(next, wrong).into_string());
    if wrong.is_some() {
        reply.status = axum::http::StatusCode::UNAUTHORIZED;
    }
    reply
}

/// A page that says what is wrong.
pub fn problem(problem: &Problem) -> Reply {
    Reply::new(HTML, frame::problem(problem).into_string())
}

/// What is shown before anything has been built.
pub fn first_visit(build: Option<&str>) -> Reply {
    Reply::new(HTML, frame::first_visit(build).into_string())
}
