//! Every question, by what it is about.

mod advice;
mod bills;
mod capacity;
mod columns;
mod money;
mod pods;
mod runs;
mod services;
mod trust;

pub use advice::{BACKTEST, REPLAYED, RIGHTSIZING, SAVINGS};
pub use bills::{
    ADJUSTMENTS, BILLS, CLOSED_MONTHS, COMMITMENT_BENEFITS, COMMITMENTS, DELIVERIES, PRICE_SOURCES, TIE_OUT,
};
pub use capacity::{
    FINDINGS, MACHINE_HOURS, MACHINE_PODS, MACHINE_PRICES, MACHINES, POOL_HOURS, POOLS, PRICES, WAITS,
};
pub use columns::{BROKEN, NOT_USED, USED};
pub use money::{BILLED, CATEGORIES, DAYS, JOBS, NAMESPACES, PIPELINES, TEAM_LOAD, TEAMS};
pub use pods::{POD, POD_HOURS, PODS, STUCK_PODS};
pub use runs::{CRITICAL_PATH, PIPELINE_WEEKS, RUN, RUN_ATTEMPTS, RUN_PODS, RUN_TEAMS, RUNS};
pub use services::{SERVICE_HOURS, SERVICE_PRICES, SERVICES};
pub use trust::{CLUSTERS, DATA_QUALITY};

use super::question::Question;

/// All of them: each has a CSV and a place in the API.
pub const ALL: &[&Question] = &[
    &CATEGORIES,
    &BILLED,
    &DAYS,
    &TEAMS,
    &TEAM_LOAD,
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
    &MACHINE_HOURS,
    &MACHINE_PODS,
    &MACHINE_PRICES,
    &SERVICES,
    &SERVICE_HOURS,
    &SERVICE_PRICES,
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
    &SAVINGS,
    &REPLAYED,
    &BACKTEST,
    &WAITS,
    &FINDINGS,
    &CLUSTERS,
    &DATA_QUALITY,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures that lead nowhere, and why.
    const ENDS: &[(&str, &[&str])] = &[
        (
            "a difference of one figure at two times: both are a step to the days before away",
            &[
                "teams.change",
                "pipelines.change",
                "findings.previous_cost",
                "bill-deliveries.billed_cost_change",
                "adjustments.cost",
            ],
        ),
        (
            "a price: who said so stands beside it",
            &[
                "machine-prices.list_hourly_price",
                "machine-prices.hourly_price",
                "prices.list_hourly_price",
                "prices.hourly_price",
                "service-prices.hourly_price",
            ],
        ),
        (
            "the page that shows it has the hours that it is the sum of",
            &["pod.cost"],
        ),
        (
            "what would have been: no pod and no hour is behind it but the evidence beside it",
            &[
                "rightsizing.realisable_least",
                "rightsizing.realisable_most",
                "rightsizing-savings.nominal_saving",
                "rightsizing-savings.realisable_saving",
                "rightsizing-savings.realisable_least",
                "rightsizing-savings.realisable_most",
                "rightsizing-savings.cost",
                "rightsizing-pools.replayed_cost",
                "rightsizing-backtest.retry_cost",
                "rightsizing-backtest.total_cost",
                "commitment-benefits.estimated_cost",
                "commitment-benefits.benefit",
                "closed-months.restated_cost",
            ],
        ),
        (
            "a sum of charges of a bill, which is the source: below it is the file that was imported",
            &[
                "bill-deliveries.billed_cost",
                "commitments.used_cost",
                "commitments.unused_cost",
                "commitment-benefits.covered_cost",
            ],
        ),
        (
            "a measure of the whole ledger, which its name says",
            &["data-quality.cost"],
        ),
    ];

    #[test]
    fn every_figure_of_money_leads_a_level_down_or_says_why_not() {
        let ends: Vec<&str> = ENDS.iter().flat_map(|(_, figures)| *figures).copied().collect();
        let mut known = Vec::new();
        for question in ALL {
            for column in question.columns.iter().filter(|column| column.kind.is_usd()) {
                let name = format!("{}.{}", question.name, column.name);
                let leads = column.links[0].is_some();
                assert!(leads != ends.contains(&name.as_str()), "{name}");
                known.push(name);
            }
        }
        for end in ends {
            assert!(known.iter().any(|name| name == end), "there is no {end}");
        }
    }

    #[test]
    fn links_lead_to_pages_with_parameters_that_are_there() {
        use super::super::pages::PAGES;
        use super::super::scope::{NAMES, STICKY};
        for question in ALL {
            for link in question
                .columns
                .iter()
                .flat_map(|column| column.links.iter().flatten())
            {
                assert!(
                    PAGES.iter().any(|(path, _)| *path == link.path),
                    "{}: {}",
                    question.name,
                    link.path
                );
                for (key, _) in link.with.iter().chain(link.fixed) {
                    let is_known = STICKY.contains(key)
                        || NAMES.contains(key)
                        || ["", "from", "to", "week", "sort"].contains(key);
                    assert!(is_known, "{}: {key}", question.name);
                }
            }
        }
    }
}
