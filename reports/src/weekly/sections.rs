//! What the report's page tells below its first screen, section by section.

use maud::{Markup, PreEscaped, html};
use podledger_sql::units::NanoUsd;

use super::figures::job_name;
use super::proof::{core_hours, gib_hours};
use super::{PoolRow, Proof, RunRow, Weekly};
use crate::charts::{self, HeatRow};
use crate::display::{change, cut, dollars, duration, percent, permille, plain, short};
use crate::error::Result;
use crate::findings::{Finding, worth_telling};

/// Rows of a table that are shown; CSV, JSON and XLSX carry all.
const SHOWN: usize = 15;

pub(super) fn teams(report: &Weekly) -> Markup {
    let largest = report.teams.first().map_or(0, |row| row.fully_loaded.get());
    html! {
        div.scroll role="region" aria-label="Teams" tabindex="0" {
            table {
                thead {
                    tr {
                        th { "team" }
                        th.number { "direct" }
                        @if report.previous.is_some() { th.number { "change" } }
                        th.number { "fully loaded" }
                        th.wide { span.hidden { "share" } }
                        th.number { "failed" }
                        th.number { "unused request" }
                    }
                }
                tbody {
                    @for row in report.teams.iter().take(SHOWN) {
                        tr {
                            td { (short(&row.team)) }
                            td.number { (dollars(row.direct)) }
                            @if report.previous.is_some() {
                                td.number {
                                    @if let Some(previous) = row.previous_direct {
                                        (change(NanoUsd::from_nano(row.direct.get() - previous.get())))
                                    }
                                }
                            }
                            td.number { (dollars(row.fully_loaded)) }
                            td.wide { (share(row.direct.get(), row.fully_loaded.get(), largest)) }
                            td.number { (dollars(row.failed)) }
                            td.number { (dollars(row.unused_request)) }
                        }
                    }
                }
            }
        }
        (more(report.teams.len(), SHOWN))
        p.note { "Direct: what a team's pods cost. Fully loaded: with its share of idle time, node overhead and platform, by direct cost; adds up to the total." }
    }
}

/// A bar in a table: direct and loaded, of the largest.
fn share(direct: i64, loaded: i64, largest: i64) -> Markup {
    let width = |part: i64| permille(part, largest).clamp(0, 1000) * 120 / 1000;
    html! {
        svg.bar viewBox="0 0 120 10" aria-hidden="true" {
            rect x="0" y="1" width=(width(loaded)) height="8" fill="var(--idle)" {}
            rect x="0" y="1" width=(width(direct)) height="8" fill="var(--used)" {}
        }
    }
}

pub(super) fn who_paid(report: &Weekly) -> Markup {
    html! {
        @if !report.pipelines.is_empty() {
            section {
                h2 { "Pipelines" }
                div.scroll role="region" aria-label="Pipelines" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th { "pipeline" } th { "team" } th.number { "cost" }
                                @if report.previous.is_some() { th.number { "change" } }
                                th.number { "runs" } th.number { "failed runs" } th.number { "failed" } th.number { "unused request" }
                            }
                        }
                        tbody {
                            @for row in report.pipelines.iter().take(SHOWN) {
                                tr {
                                    td { (short(&row.pipeline)) }
                                    td { (short(&row.team)) }
                                    td.number { (dollars(row.cost)) }
                                    @if report.previous.is_some() {
                                        td.number {
                                            @if let Some(previous) = row.previous {
                                                (change(NanoUsd::from_nano(row.cost.get() - previous.get())))
                                            }
                                        }
                                    }
                                    td.number { (row.runs) }
                                    td.number { (row.failed_runs) }
                                    td.number { (dollars(row.failed)) }
                                    td.number { (dollars(row.unused_request)) }
                                }
                            }
                        }
                    }
                }
                (more(report.pipelines.len(), SHOWN))
            }
        }
    }
}

pub(super) fn what_ran(report: &Weekly) -> Markup {
    let runs = &report.runs;
    html! {
        @if runs.count > 0 {
            section {
                h2 { "Runs" }
                p { (runs.count) " runs started in the week, " (runs.failed) " of them failed or were lost." }
                h3 { "Most expensive" } (run_table("Most expensive runs", &runs.most_expensive))
                @if !runs.most_wasteful.is_empty() { h3 { "Most wasteful" } (run_table("Most wasteful runs", &runs.most_wasteful)) }
                @if !runs.slowest.is_empty() { h3 { "Slowest" } (run_table("Slowest runs", &runs.slowest)) }
            }
        }
        @if !report.failures.is_empty() {
            section {
                h2 { "Failures and retries" }
                div.scroll role="region" aria-label="Failures and retries" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th { "job" } th { "team" } th.number { "tries" } th.number { "failed" } th.number { "lost" }
                                th.number { "retries" } th { "mostly by" } th.number { "cost" }
                            }
                        }
                        tbody {
                            @for row in report.failures.iter().take(SHOWN) {
                                tr {
                                    td { (short(&job_name(&row.pipeline, &row.job))) }
                                    td { (short(&row.team)) }
                                    td.number { (row.attempts) }
                                    td.number { (row.failed) }
                                    td.number { (row.lost) }
                                    td.number { (row.retries) }
                                    td { @if let Some(reason) = &row.reason { (short(reason)) } }
                                    td.number { (dollars(row.cost)) }
                                }
                            }
                        }
                    }
                }
                (more(report.failures.len(), SHOWN))
            }
        }
    }
}

fn run_table(called: &str, rows: &[RunRow]) -> Markup {
    let usd = |cost: Option<NanoUsd>| cost.map_or_else(|| "unknown".to_owned(), dollars);
    html! {
        div.scroll role="region" aria-label=(called) tabindex="0" {
            table {
                thead {
                    tr {
                        th { "run" } th { "pipeline" } th { "status" } th { "started" } th.number { "took" }
                        th.number { "pods" } th.number { "cost" } th.number { "wasted" }
                    }
                }
                tbody {
                    @for row in rows.iter().take(5) {
                        tr {
                            td { (short(&row.run)) }
                            td { (short(&row.pipeline)) }
                            td { (short(&row.status)) }
                            td { (row.started) }
                            td.number { (row.duration_ms.map_or_else(|| "runs".to_owned(), duration)) }
                            td.number { (row.pods) }
                            td.number { (usd(row.cost)) }
                            td.number { (usd(row.wasted)) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn capacity(report: &Weekly) -> Result<Markup> {
    let rows: Vec<HeatRow> = report
        .pools
        .iter()
        .take(SHOWN)
        .map(|pool| HeatRow {
            label: crate::display::cut(&short(&pool.pool), 13),
            shares: pool.heat.clone(),
        })
        .collect();
    let heat = if rows.is_empty() {
        String::new()
    } else {
        charts::heat_map(
            "the pools",
            "How full each pool was by hour of the week: the fullest of CPU, memory and accelerators",
            &rows,
        )?
    };
    Ok(html! {
        @if !report.pools.is_empty() {
            section {
                h2 { "Pools" }
                p.note { "How full each pool was by hour of the week: the fullest of CPU, memory and accelerators. The stronger the colour, the fuller." }
                div.scroll.picture role="region" aria-label="How full pools were, drawn" tabindex="0" { (PreEscaped(heat)) }
                h3 { "Idle by kind" }
                (pool_table(&report.pools))
            }
        }
        @if !report.queues.is_empty() {
            section {
                h2 { "Waiting for a machine" }
                div.scroll role="region" aria-label="Waiting for a machine" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th { "pipeline" } th { "team" } th.number { "pods" } th.number { "never bound" }
                                th.number { "half waited" } th.number { "1 in 20 waited" } th.number { "longest" }
                            }
                        }
                        tbody {
                            @for row in report.queues.iter().take(SHOWN) {
                                tr {
                                    td { (short(&row.pipeline)) }
                                    td { (short(&row.team)) }
                                    td.number { (row.pods) }
                                    td.number { (row.unbound) }
                                    @for wait in [row.p50_ms, row.p95_ms, row.max_ms] {
                                        td.number { (wait.map_or_else(|| "unknown".to_owned(), duration)) }
                                    }
                                }
                            }
                        }
                    }
                }
                (more(report.queues.len(), SHOWN))
            }
        }
    })
}

fn pool_table(pools: &[PoolRow]) -> Markup {
    html! {
        div.scroll role="region" aria-label="Pools" tabindex="0" {
            table {
                thead {
                    tr {
                        th { "pool" } th { "machines" } th.number { "cost" } th.number { "boot" } th.number { "startup" }
                        th.number { "gap" } th.number { "tail" } th.number { "unpacked" } th.number { "CPU held" }
                        th.number { "memory held" } th.number { "GPU held" }
                    }
                }
                tbody {
                    @for row in pools.iter().take(SHOWN) {
                        tr {
                            td { (short(&row.pool)) }
                            td { (short(&row.instance_types)) }
                            td.number { (dollars(row.cost)) }
                            @for idle in [row.idle_boot, row.idle_startup, row.idle_gap, row.idle_tail, row.idle_unpacked] {
                                td.number { (dollars(idle)) }
                            }
                            td.number { (percent(row.cpu_request_permille)) }
                            td.number { (percent(row.memory_request_permille)) }
                            td.number { (row.gpu_request_permille.map_or_else(|| "none".to_owned(), percent)) }
                        }
                    }
                }
            }
        }
        (more(pools.len(), SHOWN))
    }
}

/// That requests were not looked at, and why.
pub(crate) fn unadvised(report: &Weekly) -> Markup {
    html! {
        @if let Some(why) = &report.advice_withheld { p.note { "Requests are not among it: " (why) "." } }
    }
}

pub(super) fn next(report: &Weekly) -> Markup {
    html! {
        @if report.actions.len() > 3 {
            section {
                h2 { "What to do next" }
                ol.actions {
                    @for action in &report.actions {
                        li {
                            span.cost { (action.worth()) }
                            strong { (short(&action.subject)) } " " (short(&action.finding)) ": " (action.remedy) "."
                        }
                    }
                }
                p.note {
                    "Amounts are what each cost in the week, which is the most that can be saved. Realisable is what machines would have cost less; nominal, what "
                    "would have been reserved less at reference prices, where that is not known: it stands last and is not to be added."
                }
            }
        }
    }
}

/// Whether advice on requests holds on runs that it had not seen.
pub(super) fn proof(proof: &Proof) -> Markup {
    html! {
        section {
            h2 { "Whether advice on requests holds" }
            p.note {
                "Advice " (proof.sentence()) "."
                @if !proof.outcomes.is_empty() {
                    " Learned from " (proof.learned_from_date) " on. A try that needed more memory than was advised is lost and run again with what it had asked for. Costs are at reference prices."
                }
            }
            @if !proof.outcomes.is_empty() {
                div.scroll role="region" aria-label="The back-test" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th { "by" } th.number { "advised" } th.number { "GiB-hours" } th.number { "wasted" } th.number { "core-hours" }
                                th.number { "unused" } th.number { "failed tries" } th.number { "failed runs" } th.number { "retries" }
                                th.number { "total" }
                            }
                        }
                        tbody {
                            @for row in &proof.outcomes {
                                tr {
                                    td { (row.strategy) }
                                    td.number { (row.templates_advised) " of " (row.templates) }
                                    td.number { (gib_hours(row.requested_byte_ms)) }
                                    td.number { (gib_hours(row.wasted_byte_ms)) }
                                    td.number { (core_hours(row.requested_millicore_ms)) }
                                    td.number { (core_hours(row.wasted_millicore_ms)) }
                                    td.number { (row.failed_attempts) }
                                    td.number { (row.failed_runs) }
                                    td.number { (dollars(row.retry_cost)) }
                                    td.number { (dollars(row.total_cost)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How many findings are told; the others are in the files that programs read.
const FINDINGS: usize = 25;

/// What is worth telling: what waits costs nothing, and is found none the less.
pub(super) fn findings(report: &Weekly) -> Markup {
    let Some(all) = report.findings.as_ref().filter(|all| !all.is_empty()) else {
        return html! {};
    };
    let told = worth_telling(all);
    html! {
        section {
            h2 { "Findings" }
            p.note { "What was wasted, with what shows it and what mends it. Findings about GPUs are part of what pools idle." }
            div.findings {
                @for finding in told.iter().take(FINDINGS) {
                    details {
                        summary {
                            span.cost { (finding.cost.map_or_else(|| "unknown".to_owned(), dollars)) }
                            strong { (short(&finding.subject)) } " " (short(&finding.title()))
                            (trend(finding))
                        }
                        p {
                            (cut(&plain(&finding.evidence), EVIDENCE)) "."
                            @if let Some(since) = &finding.since { " Since " (since.chars().take(10).collect::<String>()) "." }
                            @if finding.team != "unattributed" { " Team " strong { (short(&finding.team)) } "." }
                        }
                        p { "Mend: " (short(&finding.mend)) "." }
                        @if let Some(command) = &finding.command { pre { code { (cut(&plain(command), EVIDENCE)) } } }
                    }
                }
            }
            (more(told.len(), FINDINGS))
        }
    }
}

/// Longest evidence that is shown, in characters.
const EVIDENCE: usize = 400;

fn trend(finding: &Finding) -> Markup {
    let (Some(cost), Some(previous)) = (finding.cost, finding.previous) else {
        return html! {};
    };
    let difference = NanoUsd::from_nano(cost.get() - previous.get());
    html! {
        @if difference.get() != 0 {
            " " span class=(if difference.get() < 0 { "down" } else { "up" }) { (change(difference)) }
        }
    }
}

fn more(rows: usize, shown: usize) -> Markup {
    html! {
        @if rows > shown { p.note { (rows - shown) " more in the CSV, JSON and XLSX." } }
    }
}
