//! What the report says in words, whatever the format.

use super::Weekly;
use crate::display::{dollars, duration, permille};

/// The week in one sentence. `name` shows a name in the format that is written.
pub(crate) fn sentence(report: &Weekly, name: &dyn Fn(&str) -> String) -> String {
    if report.total.get() == 0 {
        return if report.trust.unpriced_ms.is_some_and(|ms| ms > 0) {
            "No price is known of the machines of this week: import prices, or declare them.".to_owned()
        } else if report.covered_ms == 0 {
            "This week was not observed.".to_owned()
        } else {
            "Nothing cost anything in this week.".to_owned()
        };
    }
    let useful: i64 = report
        .waterfall
        .iter()
        .filter(|bar| matches!(bar.key, "used" | "unmetered"))
        .map(|bar| bar.cost.get())
        .sum();
    let cents = permille(useful, report.total.get()) / 10;
    let wasted = report
        .waterfall
        .iter()
        .filter(|bar| matches!(bar.key, "idle" | "failed_and_stuck" | "unused_request"))
        .max_by_key(|bar| bar.cost);
    let rest = match wasted {
        Some(bar) if bar.cost.get() > 0 => {
            let what = match bar.key {
                "idle" => "idle machines",
                "unused_request" => "requests that were not used",
                _ => "tries that failed",
            };
            let owner = match &bar.largest_owner {
                Some(owner) => format!(", the largest share by {}", name(&owner.name)),
                None => String::new(),
            };
            format!(
                "; the largest part of the rest, {}, went to {what}{owner}",
                dollars(bar.cost)
            )
        }
        _ => String::new(),
    };
    let unit = if cents == 1 { "cent" } else { "cents" };
    format!("{cents} {unit} of each dollar went to work that was done{rest}.")
}

/// What to know of a week that was not observed whole.
pub(crate) fn partial(report: &Weekly) -> Option<String> {
    if report.covered_ms == 0 {
        // Of a week of which nothing is known, the sentence says so.
        return (report.total.get() > 0).then(|| {
            "Nobody watched in this week: its cost is that of machines that were still there later, and of pods that were.".to_owned()
        });
    }
    (report.covered_ms < report.week_ms).then(|| {
        format!(
            "{} of {} were observed; nothing is extrapolated, and nothing is compared with the week before.",
            duration(report.covered_ms),
            duration(report.week_ms)
        )
    })
}

/// What stands where nothing is to be done.
pub(crate) fn nothing_to_do(report: &Weekly) -> &'static str {
    if report.total.get() > 0 {
        "Nothing in this week cost a cent in vain."
    } else {
        "Nothing is known that could be done."
    }
}

/// What the figures rest on, in one line.
pub(crate) fn trust(report: &Weekly) -> String {
    let trust = &report.trust;
    format!(
        "Rests on: {} billed, {} estimated at list price ({} of it provisional), {} unobserved, {}\
         {} on uncertain ends, {} of pods that nobody measured.",
        dollars(trust.billed),
        dollars(trust.estimated),
        dollars(trust.provisional),
        dollars(trust.unobserved),
        trust.unpriced_ms.map_or_else(String::new, |ms| format!(
            "{} of machines without a price, ",
            duration(ms)
        )),
        dollars(trust.uncertain_ends),
        dollars(trust.unmetered)
    )
}
