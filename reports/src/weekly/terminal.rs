//! The first screen of the report for a terminal of 80 columns and more.

use std::fmt::Write;

use podledger_sql::units::NanoUsd;

use super::{Saving, Weekly};
use crate::display::{change, cut, dollars, percent, percent_change, short};

/// Teams that are named.
const TEAMS: usize = 3;

/// The first screen: the bill and why it changed, where each dollar went, teams, and three things to do.
#[must_use]
pub fn terminal(report: &Weekly) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(report, &mut out);
    out
}

fn bare(cost: NanoUsd) -> String {
    dollars(cost).replace('$', "")
}

fn write(report: &Weekly, out: &mut String) -> std::fmt::Result {
    let dates = format!("({} to {}, {})", report.first_date, report.last_date, report.zone);
    write!(out, "WEEK {} {dates}   {}", report.week, dollars(report.total))?;
    if let Some(previous) = report.previous {
        let difference = NanoUsd::from_nano(report.total.get() - previous.get());
        write!(
            out,
            "   {}{}",
            change(difference),
            percent_change(difference, previous)
        )?;
    }
    writeln!(out, "   {}", report.basis)?;
    if let Some(partial) = super::words::partial(report) {
        writeln!(out, "  {partial}")?;
    }
    if !report.bridge.is_empty() {
        let effects: Vec<String> = report
            .bridge
            .iter()
            .map(|effect| {
                format!(
                    "{} {}",
                    short(&effect.label),
                    change(effect.amount).replace('$', "")
                )
            })
            .collect();
        writeln!(out, "  why: {}", effects.join(" · "))?;
    }
    writeln!(out, "\nWHERE EACH DOLLAR WENT")?;
    for bar in report.shown_bars() {
        let parts: Vec<String> = bar
            .categories
            .iter()
            .take(3)
            .map(|part| {
                format!(
                    "{} {}",
                    part.category.trim_start_matches("idle_").replace('_', " "),
                    bare(part.cost)
                )
            })
            .collect();
        let detail = match (&bar.largest_owner, bar.categories.len()) {
            (Some(owner), ..=1) => cut(&short(&owner.name), 44),
            _ => parts.join(", "),
        };
        writeln!(
            out,
            "  {:<15}{:>12} {:>6} {:<16} {detail}",
            bar.label,
            bare(bar.cost),
            percent(bar.permille),
            blocks(bar.permille)
        )?;
    }
    let named: Vec<String> = report
        .teams
        .iter()
        .take(TEAMS)
        .map(|row| format!("{} {}", short(&row.team), bare(row.direct)))
        .collect();
    let others: i64 = report.teams.iter().skip(TEAMS).map(|row| row.direct.get()).sum();
    write!(out, "TEAMS  {}", named.join(" · "))?;
    if report.teams.len() > TEAMS {
        write!(
            out,
            " · {} more {}",
            report.teams.len() - TEAMS,
            bare(NanoUsd::from_nano(others))
        )?;
    }
    writeln!(out, "\nDO NEXT")?;
    for (number, action) in (1..).zip(report.actions.iter().take(3)) {
        let what = format!("{} {}", short(&action.subject), short(&action.finding));
        let unit = match action.saving {
            Saving::AtMost => "/week",
            Saving::Realisable => "/week realisable",
            Saving::Nominal => "/week nominal",
        };
        writeln!(
            out,
            "  {number} {:<72}{:>12}{unit}",
            cut(&what, 72),
            dollars(action.cost)
        )?;
    }
    if report.actions.is_empty() {
        writeln!(out, "  {}", super::words::nothing_to_do(report))?;
    }
    if let Some(proof) = &report.proof {
        writeln!(out, "ADVICE JUDGED  {}", proof.short())?;
    }
    Ok(())
}

/// A bar of 16 characters for all of it.
fn blocks(permille: i64) -> String {
    let halves = usize::try_from(permille.clamp(0, 1000) * 32 / 1000).unwrap_or(0);
    let mut bar = "█".repeat(halves / 2);
    if halves % 2 == 1 || (halves == 0 && permille > 0) {
        bar.push('▌');
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(blocks(1000).chars().count(), 16);
        assert_eq!(blocks(500), "█".repeat(8));
        assert_eq!(blocks(3), "▌");
        assert_eq!(blocks(0), "");
    }
}
