//! The report as one HTML file that needs nothing from outside: no script, no font, no picture but its own.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use podledger_sql::units::NanoUsd;

use super::sections::{capacity, findings, next, proof, teams, unadvised, what_ran, who_paid};
use super::words::{nothing_to_do, partial, sentence, trust};
use super::{Bar, Weekly};
use crate::charts::{self, HourBar, Paint, RowBar};
use crate::display::{change, dollars, percent, percent_change, short};
use crate::error::Result;

const STYLE: &str = include_str!("weekly.css");

/// What the HTML may load: its own style, and nothing from anywhere.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Colours, and what they stand for on the first page.
pub(crate) const HATCH: &str = "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs><pattern id=\"hatch\" width=\"6\" height=\"6\" \
    patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"var(--used)\" \
    opacity=\"0.35\"/><rect width=\"2\" height=\"6\" fill=\"var(--used)\"/></pattern></defs></svg>";

/// The report as a page.
///
/// # Errors
/// [`crate::Error::Chart`].
pub fn html(report: &Weekly) -> Result<String> {
    let title = match &report.team {
        Some(team) => format!("podledger: {} of {}", report.week, short(team)),
        None => format!("podledger: week {}", report.week),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (PreEscaped(HATCH))
                main {
                    (first_screen(report)?)
                    (hours(report)?)
                    (who_paid(report))
                    (what_ran(report))
                    (capacity(report)?)
                    (next(report))
                    (report.proof.as_ref().map_or_else(Markup::default, proof))
                    (findings(report))
                }
                footer { p { (trust(report)) } }
            }
        }
    };
    Ok(page.into_string())
}

fn first_screen(report: &Weekly) -> Result<Markup> {
    let waterfall = waterfall(
        report.total,
        &report.basis,
        "The week's cost as a waterfall, from the total to what was used",
        56,
        report.shown_bars(),
    )?;
    Ok(html! {
        header {
            p.week {
                "Week " (report.week) " · " (report.first_date) " to " (report.last_date) " · " (report.zone)
                @if let Some(team) = &report.team { " · team " strong { (short(team)) } }
            }
            h1 { (sentence(report, &|text| short(text))) }
            (bill(Some(report.total), report.previous, &report.basis, None))
            @if let Some(partial) = partial(report) { p.partial { (partial) } }
        }
        div.columns {
            section {
                h2 { "Where each dollar went" }
                div.scroll role="region" aria-label="Where each dollar went, drawn" tabindex="0" { (PreEscaped(waterfall)) }
            }
            div {
                @if let (Some(previous), false) = (report.previous, report.bridge.is_empty()) {
                    section {
                        h2 { "Why it changed" }
                        div.scroll role="region" aria-label="Why it changed, drawn" tabindex="0" { (PreEscaped(bridge(report, previous)?)) }
                    }
                }
                section {
                    h2 { "Do next" }
                    @if report.actions.is_empty() { p { (nothing_to_do(report)) } }
                    ol.actions {
                        @for action in report.actions.iter().take(3) {
                            li {
                                span.cost { (action.worth()) }
                                strong { (short(&action.subject)) } " " (short(&action.finding)) ": " (action.remedy) "."
                            }
                        }
                    }
                    (unadvised(report))
                }
            }
        }
        section {
            h2 { "Teams" }
            (teams(report))
        }
    })
}

/// Cost as a waterfall, from the total to what was used.
///
/// # Errors
/// [`crate::Error::Chart`].
pub(crate) fn waterfall<'a>(
    total: NanoUsd,
    note: &str,
    description: &str,
    row_height: i32,
    steps: impl Iterator<Item = &'a Bar>,
) -> Result<String> {
    let mut bars = vec![RowBar {
        label: "total".to_owned(),
        amount: dollars(total),
        note: note.to_owned(),
        from: 0,
        to: total.get(),
        paint: Paint::Total,
        title: format!("total: {}", dollars(total)),
    }];
    let mut left = total.get();
    for step in steps {
        let parts: Vec<String> = step
            .categories
            .iter()
            .map(|part| format!("{} {}", short(&part.category), dollars(part.cost)))
            .collect();
        let owner = step.largest_owner.as_ref().map_or_else(String::new, |owner| {
            format!(" · {}", crate::display::cut(&short(&owner.name), 20))
        });
        bars.push(RowBar {
            label: step.label.to_owned(),
            amount: dollars(step.cost),
            note: format!("{}{owner}", percent(step.permille)),
            // Each begins where the one before ended, so that what is left at last was used.
            from: left,
            to: left - step.cost.get(),
            paint: match step.key {
                "fixed" => Paint::Fixed,
                "idle" => Paint::Idle,
                "node_overhead" => Paint::Overhead,
                "failed_and_stuck" => Paint::Failed,
                "unused_request" => Paint::Unused,
                "unmetered" => Paint::Unmetered,
                _ => Paint::Used,
            },
            title: format!("{}: {} = {}", step.label, dollars(step.cost), parts.join(" + ")),
        });
        left -= step.cost.get();
    }
    charts::rows("the waterfall", description, row_height, &bars)
}

/// What it cost, how much more or less that is than before, and what it rests on.
pub(crate) fn bill(
    total: Option<NanoUsd>,
    previous: Option<NanoUsd>,
    basis: &str,
    leads_to: Option<&str>,
) -> Markup {
    let shown = html! { span.total { (total.map_or_else(|| "unknown".to_owned(), dollars)) } };
    html! {
        p.bill {
            @match leads_to {
                Some(href) => a href=(href) { (shown) },
                None => (shown),
            }
            @if let Some((total, previous)) = total.zip(previous) {
                @let difference = NanoUsd::from_nano(total.get() - previous.get());
                " " span class=(match difference.get() { ..0 => "down", 0 => "", 1.. => "up" }) {
                    (change(difference)) (percent_change(difference, previous))
                }
                " from " (dollars(previous))
            }
            " · " (basis)
        }
    }
}

pub(crate) fn bridge(report: &Weekly, previous: NanoUsd) -> Result<String> {
    let row = |label: String, from: i64, to: i64, paint: Paint, amount: String, note: &str| RowBar {
        title: format!("{label}: {amount}"),
        label,
        amount,
        note: note.to_owned(),
        from,
        to,
        paint,
    };
    let mut bars = vec![row(
        "last week".to_owned(),
        0,
        previous.get(),
        Paint::Total,
        dollars(previous),
        "",
    )];
    let mut at = previous.get();
    for effect in &report.bridge {
        let to = at + effect.amount.get();
        let paint = if effect.amount.get() > 0 {
            Paint::Up
        } else {
            Paint::Down
        };
        let label = match effect.key {
            "volume" => "work",
            "efficiency" => "efficiency",
            "price" => "prices",
            "services" => "fixed cost",
            _ => "",
        };
        let (label, note) = if label.is_empty() {
            (crate::display::cut(&effect.label, 13), "")
        } else {
            (label.to_owned(), effect.label.as_str())
        };
        bars.push(row(label, at, to, paint, change(effect.amount), note));
        at = to;
    }
    bars.push(row(
        "this week".to_owned(),
        0,
        report.total.get(),
        Paint::Total,
        dollars(report.total),
        "",
    ));
    charts::rows(
        "the bridge",
        "What made the week cost more or less than the one before",
        42,
        &bars,
    )
}

pub(crate) fn hours(report: &Weekly) -> Result<Markup> {
    let when =
        |day: usize, hour: usize| format!("{} {hour:02}:00", charts::DAYS.get(day).copied().unwrap_or(""));
    let cores = |millicores: i64| {
        if millicores >= 10_000 || millicores % 1000 == 0 {
            format!("{}", millicores / 1000)
        } else {
            format!("{}.{}", millicores / 1000, millicores % 1000 / 100)
        }
    };
    let (title, chart, note) = if report.pools.is_empty() {
        let bars: Vec<HourBar> = report
            .hours
            .iter()
            .map(|hour| HourBar {
                capacity: 0,
                requested: 0,
                used: Some(hour.cost.get()),
                title: format!("{}: {}", when(hour.day, hour.hour), dollars(hour.cost)),
            })
            .collect();
        let chart = charts::week_of_hours("cost by hour", "Cost by hour of the week", &bars, |nano| {
            dollars(NanoUsd::from_nano(nano))
        })?;
        ("Cost by hour of the week", chart, html! {})
    } else {
        let bars: Vec<HourBar> = report
            .hours
            .iter()
            .map(|hour| HourBar {
                capacity: hour.cpu_capacity_millicores.unwrap_or(0),
                requested: hour.cpu_request_millicores.unwrap_or(0),
                used: hour.cpu_usage_millicores,
                title: format!(
                    "{}: {} cores, {} held by pods, {} used, {}",
                    when(hour.day, hour.hour),
                    cores(hour.cpu_capacity_millicores.unwrap_or(0)),
                    cores(hour.cpu_request_millicores.unwrap_or(0)),
                    hour.cpu_usage_millicores
                        .map_or_else(|| "unknown".to_owned(), cores),
                    dollars(hour.cost)
                ),
            })
            .collect();
        let chart = charts::week_of_hours(
            "cores by hour",
            "Cores by hour of the week: capacity, held by pods, used",
            &bars,
            cores,
        )?;
        let legend = html! {
            p.legend {
                span.capacity { "capacity" } span.requested { "held by pods" } span.used { "used, where measured" }
            }
        };
        ("Cores by hour of the week", chart, legend)
    };
    Ok(html! {
        @if report.total.get() > 0 || !report.pools.is_empty() {
            section { h2 { (title) } (note) div.scroll.picture role="region" aria-label=(title) tabindex="0" { (PreEscaped(chart)) } }
        }
    })
}
