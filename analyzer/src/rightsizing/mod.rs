//! What containers should ask for, and the proof of it on weeks that the advice has not seen.
//!
//! ```text
//! mart container_attempts -> Observed: histories of templates -> strategy -> decisions -> recommendations -> snippets
//!                                              └-> split by runs or time -> backtest -> outcomes, frontier
//! ```
//!
//! **The objective**, for memory: of each template (pipeline, job, container) the smallest request such that an attempt is killed for its
//! memory with a probability of at most [`Settings::attempt_risk_ppm`] and a run of the pipeline, over all its templates, of at most
//! [`Settings::run_risk_ppm`]. For CPU: the request that minimises reserved core-time plus [`Settings::cpu_shortage_weight`] times the
//! core-time by which usage exceeds it, which is a percentile of usage over time.
//!
//! Architecture invariant: everything but [`read`] is a pure function of plain structs: no clock, no ledger.
//! Architecture invariant: nothing here changes a cluster.

mod advice;
mod backtest;
mod history;
mod krr;
mod margins;
mod policy;
mod read;
mod snippets;
mod track;
mod vpa;

pub use advice::{Confidence, Recommendation, Resource, Risk, Severity, nominal_savings, recommendations};
pub use backtest::{
    Backtest, FailureCost, FrontierPoint, Outcome, Split, Window, backtest, frontier, undominated,
};
pub use history::{ContainerKind, History, Observation, Observed, Run, Template};
pub use policy::Settings;
pub use read::{Filter, read};
pub use snippets::{airflow, cpu_quantity, memory_quantity, patch, spark};
pub use track::{Followed, Saved, Tracked, track};

use serde::Serialize;

/// A mebibyte.
pub const MIB: u64 = 1 << 20;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Ours.
    Podledger,
    /// The `simple` strategy of Robusta's KRR.
    Krr,
    /// The same without its rule that fewer than 100 points tell nothing, which is most of what keeps it from failing work that runs briefly.
    KrrOfAnyPoints,
    /// The target of the Vertical Pod Autoscaler's recommender.
    Vpa,
    /// What is asked for now.
    Current,
}

impl Strategy {
    /// Those that are judged side by side.
    pub const ALL: [Self; 4] = [Self::Podledger, Self::Krr, Self::Vpa, Self::Current];

    /// Those whose headroom is drawn against what fails.
    pub const DRAWN: [Self; 4] = [Self::Podledger, Self::Krr, Self::KrrOfAnyPoints, Self::Vpa];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Podledger => "podledger",
            Self::Krr => "krr",
            Self::KrrOfAnyPoints => "krr, any points",
            Self::Vpa => "vpa",
            Self::Current => "current",
        }
    }

    /// What it decides of each history, from nothing but these.
    #[must_use]
    pub fn decide(self, observed: &Observed, settings: &Settings) -> Vec<Decision> {
        match self {
            Self::Podledger => policy::decide(observed, settings),
            Self::Krr | Self::KrrOfAnyPoints => {
                let least = if self == Self::Krr { krr::LEAST_POINTS } else { 0 };
                let until_ms = observed.until_ms();
                let histories = observed.histories.iter();
                histories
                    .map(|history| krr::decide(history, until_ms, least))
                    .collect()
            }
            Self::Vpa => observed.histories.iter().map(vpa::decide).collect(),
            Self::Current => observed
                .histories
                .iter()
                .map(|history| Decision {
                    memory: Ok(history.current_memory_bytes()),
                    cpu: Ok(history.current_cpu_millicores()),
                    memory_seen_bytes: history.memory_seen_bytes(),
                    bound_ppm: None,
                    is_calibrated: false,
                })
                .collect(),
        }
    }
}

/// Why nothing is advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Nobody measured it.
    Unmetered,
    /// Fewer runs than [`Settings::least_runs`].
    TooFewRuns,
    /// KRR: fewer than 100 points, which it shows as `?`.
    TooFewPoints,
    /// Its runs and those of all others are too few to say how often the next one needs more than any before.
    UnknownTail,
    /// The memory of a JVM is its heap, whatever the work needs: it tells nothing without metrics of the heap, or where nearly all of that was used.
    HeapCensored,
    /// Its runs need more and more: the past does not bound the next one.
    Growing,
    /// Its CPU limit held it back: what it would use is not known.
    Throttled,
}

impl Withheld {
    /// The reason in a sentence's words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unmetered => "nobody measured it",
            Self::TooFewRuns => "too few runs",
            Self::TooFewPoints => "fewer than 100 points",
            Self::UnknownTail => "too few runs, here and elsewhere, to know the tail",
            Self::HeapCensored => {
                "heap_censored: a JVM's memory is its heap, and what it needs of it is not known"
            }
            Self::Growing => "growing: each run needs more than the ones before",
            Self::Throttled => "throttled by its CPU limit",
        }
    }
}

/// What a strategy decides of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Bytes to ask for, which are the limit too.
    pub memory: Result<u64, Withheld>,
    /// Millicores to ask for; no limit.
    pub cpu: Result<u64, Withheld>,
    /// The most that was needed, in bytes: what headroom is added to.
    pub memory_seen_bytes: u64,
    /// How often, in a million runs, a run of the template is expected to need more, at most; `None` where the strategy does not say.
    pub bound_ppm: Option<u64>,
    /// Whether that is what was asked for, rather than the best that the evidence allows.
    pub is_calibrated: bool,
}

#[cfg(test)]
pub(crate) mod tests;
