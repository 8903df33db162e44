//! Every route: its path, who may ask it, and what answers.

use sha2::{Digest, Sha256};

use super::access::Role;
use super::pages::{self, Page};
use super::question::Question;
use super::questions;

/// A route.
pub struct Route {
    pub path: String,
    /// What somebody has to be allowed, where tokens are asked for; `None` if nobody has to.
    pub needs: Option<Role>,
    pub(super) what: What,
}

/// What answers.
#[derive(Clone)]
pub(super) enum What {
    Page(Page),
    Csv(&'static Question),
    Json(&'static Question),
    /// The weekly report, in the format that is named.
    Report,
    /// The figures of the weekly report.
    Week,
    /// A table of the weekly report.
    ReportCsv(&'static str),
    /// Which rule said what of a pod.
    Rules,
    Build,
    OpenApi,
    Text(&'static str),
    Asset(&'static str, &'static str),
    Ready,
    Metrics,
    SignIn,
    SignOut,
    /// SQL of programs.
    Sql,
    /// SQL of people.
    Console,
}

impl What {
    /// Whether it shows what containers should ask for.
    pub(super) fn is_of_advice(&self, path: &str) -> bool {
        match self {
            Self::Page(_) => path == pages::RIGHTSIZING,
            Self::Csv(question) | Self::Json(question) => question.is_of_advice(),
            _ => false,
        }
    }

    /// Whether it shows the report of a week, if it is asked about one.
    pub(super) fn is_of_report(&self, path: &str) -> bool {
        match self {
            Self::Page(_) => path == pages::OVERVIEW,
            Self::Report | Self::Week | Self::ReportCsv(_) => true,
            _ => false,
        }
    }
}

impl Route {
    pub(super) fn can_post(&self) -> bool {
        matches!(
            self.what,
            What::SignIn | What::SignOut | What::Sql | What::Console
        )
    }

    pub(super) fn can_get(&self) -> bool {
        !matches!(self.what, What::SignOut | What::Sql)
    }

    /// The methods by which it can be asked.
    pub(super) fn allows(&self) -> &'static str {
        match (self.can_get(), self.can_post()) {
            (true, true) => "GET, HEAD, POST",
            (true, false) => "GET, HEAD",
            (false, _) => "POST",
        }
    }

    /// Whether it only tells that the server is well.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.path.as_str(), "/healthz" | "/readyz")
    }

    /// Whether it is computed before anybody asks. Advice takes too long for that, after each build.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.what, What::Page(_))
            && !self.what.is_of_advice(&self.path)
            && pages::NAVIGATION.iter().any(|(path, _)| *path == self.path)
    }
}

const STYLE: &str = concat!(
    include_str!("../weekly/weekly.css"),
    include_str!("assets/dashboard.css")
);
const SCRIPT: &str = include_str!("assets/dashboard.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Tables of the weekly report that pages show and no question answers.
const REPORT_TABLES: &[&str] = &["actions", "bridge"];

/// Every route there is.
pub fn routes() -> Vec<Route> {
    let route = |path: &str, needs: Option<Role>, what: What| Route {
        path: path.to_owned(),
        needs,
        what,
    };
    let mut all = vec![
        // Nothing here tells anything of anybody.
        route("/healthz", None, What::Text("ok\n")),
        route("/readyz", None, What::Ready),
        route("/sign-in", None, What::SignIn),
        route(
            "/assets/style.css",
            None,
            What::Asset("text/css; charset=utf-8", STYLE),
        ),
        route(
            "/assets/dashboard.js",
            None,
            What::Asset("text/javascript; charset=utf-8", SCRIPT),
        ),
        route("/assets/icon.svg", None, What::Asset("image/svg+xml", ICON)),
        route("/sign-out", Some(Role::Viewer), What::SignOut),
        route("/metrics", Some(Role::Admin), What::Metrics),
        route("/sql", Some(Role::Analyst), What::Console),
        route("/api/v1/sql", Some(Role::Analyst), What::Sql),
        route("/report", Some(Role::Viewer), What::Report),
        route("/api/v1/openapi.json", Some(Role::Viewer), What::OpenApi),
        route("/api/v1/build", Some(Role::Viewer), What::Build),
        route("/api/v1/weekly-report", Some(Role::Viewer), What::Week),
        route("/tables/pod-rules.csv", Some(Role::Viewer), What::Rules),
    ];
    for table in REPORT_TABLES {
        let path = format!("/tables/weekly-{table}.csv");
        all.push(route(&path, Some(Role::Viewer), What::ReportCsv(table)));
    }
    for (path, page) in pages::PAGES {
        all.push(route(path, Some(Role::Viewer), What::Page(*page)));
    }
    for question in questions::ALL {
        let name = question.name;
        all.push(route(
            &format!("/tables/{name}.csv"),
            Some(Role::Viewer),
            What::Csv(question),
        ));
        all.push(route(
            &format!("/api/v1/{name}"),
            Some(Role::Viewer),
            What::Json(question),
        ));
    }
    all
}

/// The first bytes of a text's hash.
pub(crate) fn checksum(text: &str) -> String {
    let mut hash = crate::display::hex(&Sha256::digest(text.as_bytes()));
    hash.truncate(16);
    hash
}
