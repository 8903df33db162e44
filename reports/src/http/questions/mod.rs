//! Every question, by what it is about.

mod advice;
mod bills;
mod capacity;
mod columns;
mod money;
mod pods;
mod runs;
mod trust;

pub use advice::{BACKTEST, RIGHTSIZING};
pub use bills::{
    ADJUSTMENTS, BILLS, CLOSED_MONTHS, COMMITMENT_BENEFITS, COMMITMENTS, DELIVERIES, PRICE_SOURCES, TIE_OUT,
};
pub use capacity::{FINDINGS, MACHINE_PODS, MACHINE_PRICES, MACHINES, POOL_HOURS, POOLS, PRICES, WAITS};
pub use money::{BILLED, CATEGORIES, DAYS, JOBS, NAMESPACES, PIPELINES, TEAMS};
pub use pods::{POD, POD_HOURS, PODS, STUCK_PODS};
pub use runs::{CRITICAL_PATH, PIPELINE_WEEKS, RUN, RUN_ATTEMPTS, RUN_PODS, RUN_TEAMS, RUNS};
pub use trust::{CLUSTERS, DATA_QUALITY};

use super::question::Question;

/// All of them: each has a CSV and a place in the API.
pub const ALL: &[&Question] = &[
    &CATEGORIES,
    &BILLED,
    &DAYS,
    &TEAMS,
    &PIPELINES,
    &JOBS,
    &NAMESPACES,
    &RUNS,
    &RUN,
    &RUN_ATTEMPTS,
    &RUN_PODS,
    &RUN_TEAMS,
    &CRITICAL_PATH,
    &PIPELINE_WEEKS,
    &PODS,
    &POD,
    &POD_HOURS,
    &STUCK_PODS,
    &POOLS,
    &POOL_HOURS,
    &MACHINES,
    &MACHINE_PODS,
    &MACHINE_PRICES,
    &PRICES,
    &PRICE_SOURCES,
    &BILLS,
    &TIE_OUT,
    &DELIVERIES,
    &COMMITMENTS,
    &COMMITMENT_BENEFITS,
    &CLOSED_MONTHS,
    &ADJUSTMENTS,
    &RIGHTSIZING,
    &BACKTEST,
    &WAITS,
    &FINDINGS,
    &CLUSTERS,
    &DATA_QUALITY,
];
