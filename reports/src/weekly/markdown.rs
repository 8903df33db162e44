//! The report as Markdown, for chats and wikis. Names are code spans.

use std::fmt::Write;

use podledger_sql::units::NanoUsd;

use super::proof::{core_hours, gib_hours};
use super::{Proof, RunRow, Weekly};
use crate::display::{change, dollars, duration, markdown as name, markdown_cut, percent, percent_change};
use crate::findings::{Finding, worth_telling};

/// Longest evidence that is shown, in characters.
const EVIDENCE: usize = 300;

/// Rows of a table that are shown; the other formats carry all.
const SHOWN: usize = 10;

/// The report as Markdown.
#[must_use]
pub fn markdown(report: &Weekly) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(report, &mut out);
    out
}

fn write(report: &Weekly, out: &mut String) -> std::fmt::Result {
    let whose = report
        .team
        .as_deref()
        .map_or_else(String::new, |team| format!(", team {}", name(team)));
    writeln!(
        out,
        "# Week {} ({} to {}, {}){whose}\n",
        report.week, report.first_date, report.last_date, report.zone
    )?;
    writeln!(out, "{}\n", super::words::sentence(report, &|text| name(text)))?;
    write!(out, "**{}**", dollars(report.total))?;
    if let Some(previous) = report.previous {
        let difference = NanoUsd::from_nano(report.total.get() - previous.get());
        write!(
            out,
            " · {}{} from {}",
            change(difference),
            percent_change(difference, previous),
            dollars(previous)
        )?;
    }
    writeln!(out, " · {}\n", report.basis)?;
    if let Some(partial) = super::words::partial(report) {
        writeln!(out, "{partial}\n")?;
    }
    if !report.bridge.is_empty() {
        let effects: Vec<String> = report
            .bridge
            .iter()
            .map(|effect| {
                let label = if effect.key == "pipeline" {
                    name(&effect.label)
                } else {
                    effect.label.clone()
                };
                format!("{label} {}", change(effect.amount))
            })
            .collect();
        writeln!(out, "Why: {}\n", effects.join(" · "))?;
    }
    writeln!(
        out,
        "## Where each dollar went\n\n| | cost | share | largest |\n|---|---:|---:|---|"
    )?;
    for bar in report.shown_bars() {
        let owner = bar.largest_owner.as_ref().map_or_else(String::new, |owner| {
            format!("{} {}", name(&owner.name), dollars(owner.cost))
        });
        writeln!(
            out,
            "| {} | {} | {} | {owner} |",
            bar.label,
            dollars(bar.cost),
            percent(bar.permille)
        )?;
    }
    writeln!(out, "\n## Do next\n")?;
    for (number, action) in (1..).zip(&report.actions).take(SHOWN) {
        writeln!(
            out,
            "{number}. {} {}: {} ({} this week)",
            name(&action.subject),
            action.finding,
            action.remedy,
            action.worth()
        )?;
    }
    if report.actions.is_empty() {
        writeln!(out, "{}", super::words::nothing_to_do(report))?;
    }
    if let Some(why) = &report.advice_withheld {
        writeln!(out, "\nRequests are not among it: {why}.")?;
    }
    if let Some(found) = &report.proof {
        proof(out, found)?;
    }
    if let Some(all) = report.findings.as_ref().filter(|all| !all.is_empty()) {
        writeln!(out, "\n## Findings\n")?;
        let told = worth_telling(all);
        for finding in told.iter().take(SHOWN) {
            writeln!(
                out,
                "- {} {} {}{}: {}. Mend: {}{}",
                finding.cost.map_or_else(|| "unknown".to_owned(), dollars),
                name(&finding.subject),
                name(&finding.title()),
                details(finding),
                markdown_cut(&finding.evidence, EVIDENCE),
                markdown_cut(&finding.mend, EVIDENCE),
                finding.command.as_ref().map_or_else(String::new, |command| {
                    format!(", {}", markdown_cut(command, EVIDENCE))
                }),
            )?;
        }
        more(out, told.len())?;
    }
    writeln!(
        out,
        "\n## Teams\n\n| team | direct | fully loaded | failed | unused request |\n|---|---:|---:|---:|---:|"
    )?;
    for row in report.teams.iter().take(SHOWN) {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            name(&row.team),
            dollars(row.direct),
            dollars(row.fully_loaded),
            dollars(row.failed),
            dollars(row.unused_request)
        )?;
    }
    more(out, report.teams.len())?;
    writeln!(
        out,
        "\n## Pipelines\n\n| pipeline | team | cost | runs | failed runs |\n|---|---|---:|---:|---:|"
    )?;
    for row in report.pipelines.iter().take(SHOWN) {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            name(&row.pipeline),
            name(&row.team),
            dollars(row.cost),
            row.runs,
            row.failed_runs
        )?;
    }
    more(out, report.pipelines.len())?;
    runs(out, "Most expensive runs", &report.runs.most_expensive)?;
    runs(out, "Most wasteful runs", &report.runs.most_wasteful)?;
    if !report.failures.is_empty() {
        writeln!(
            out,
            "\n## Failures\n\n| job | tries | failed | lost | retries | reason | cost |\n|---|---:|---:|---:|---:|---|---:|"
        )?;
        for row in report.failures.iter().take(SHOWN) {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                name(&super::figures::job_name(&row.pipeline, &row.job)),
                row.attempts,
                row.failed,
                row.lost,
                row.retries,
                row.reason.as_deref().map_or_else(String::new, name),
                dollars(row.cost)
            )?;
        }
        more(out, report.failures.len())?;
    }
    if !report.pools.is_empty() {
        writeln!(
            out,
            "\n## Pools\n\n| pool | cost | boot | startup | gap | tail | unpacked | CPU held | memory held |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        )?;
        for row in report.pools.iter().take(SHOWN) {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                name(&row.pool),
                dollars(row.cost),
                dollars(row.idle_boot),
                dollars(row.idle_startup),
                dollars(row.idle_gap),
                dollars(row.idle_tail),
                dollars(row.idle_unpacked),
                percent(row.cpu_request_permille),
                percent(row.memory_request_permille)
            )?;
        }
        more(out, report.pools.len())?;
    }
    writeln!(out, "\n---\n{}", super::words::trust(report))
}

/// What is known beside the cost, each behind a dot: how that changed, since when, and whose it is.
fn details(finding: &Finding) -> String {
    let trend = finding.cost.zip(finding.previous).and_then(|(cost, previous)| {
        let difference = NanoUsd::from_nano(cost.get() - previous.get());
        (cost != previous).then(|| format!("{}{}", change(difference), percent_change(difference, previous)))
    });
    let since = finding
        .since
        .as_ref()
        .map(|since| format!("since {}", since.chars().take(10).collect::<String>()));
    let team = (finding.team != "unattributed").then(|| format!("team {}", name(&finding.team)));
    let told = [trend, since, team].into_iter().flatten();
    told.map(|text| format!(" · {text}")).collect()
}

fn proof(out: &mut String, proof: &Proof) -> std::fmt::Result {
    writeln!(
        out,
        "\n## Whether advice on requests holds\n\nAdvice {}.",
        proof.sentence()
    )?;
    if proof.outcomes.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n| by | advised | GiB-h | wasted | core-h | unused | failed tries | failed runs | retries | total |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for row in &proof.outcomes {
        writeln!(
            out,
            "| {} | {} of {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.strategy,
            row.templates_advised,
            row.templates,
            gib_hours(row.requested_byte_ms),
            gib_hours(row.wasted_byte_ms),
            core_hours(row.requested_millicore_ms),
            core_hours(row.wasted_millicore_ms),
            row.failed_attempts,
            row.failed_runs,
            dollars(row.retry_cost),
            dollars(row.total_cost)
        )?;
    }
    Ok(())
}

fn more(out: &mut String, rows: usize) -> std::fmt::Result {
    if rows > SHOWN {
        writeln!(out, "\n{} more in the other formats.", rows - SHOWN)?;
    }
    Ok(())
}

fn runs(out: &mut String, title: &str, rows: &[RunRow]) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## {title}\n\n| run | pipeline | status | started | took | pods | cost | wasted |\n|---|---|---|---|---:|---:|---:|---:|"
    )?;
    for row in rows.iter().take(5) {
        let usd = |cost: Option<NanoUsd>| cost.map_or_else(|| "unknown".to_owned(), dollars);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            name(&row.run),
            name(&row.pipeline),
            row.status,
            row.started,
            row.duration_ms.map_or_else(|| "runs".to_owned(), duration),
            row.pods,
            usd(row.cost),
            usd(row.wasted)
        )?;
    }
    Ok(())
}
