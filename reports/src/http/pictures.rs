//! Pictures with links in them: days, runs, and one run on its machines. Tables beside them say the same.

use std::collections::BTreeMap;

use maud::{Markup, html};
use podledger_sql::units::NanoUsd;

use super::question::{Answer, Cell};
use super::scope::Scope;
use crate::charts::{Paint, round_up};
use crate::display::{cut, dollars, duration, short, small_dollars};

/// Groups of cost categories from the ground up: name, colour, what it is called.
const GROUPS: &[(&str, Paint, &str)] = &[
    ("used", Paint::Used, "used or not measured"),
    ("waste", Paint::Failed, "failed, stuck, asked for in vain"),
    ("overhead", Paint::Overhead, "node overhead"),
    ("storage", Paint::Unused, "storage"),
    ("fixed", Paint::Fixed, "fixed"),
    ("idle", Paint::Idle, "idle"),
    ("unobserved", Paint::Muted, "unobserved"),
];

/// Where the part of a whole lies on so many pixels.
fn scaled(part: i64, whole: i64, pixels: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    i64::try_from(i128::from(part) * i128::from(pixels) / i128::from(whole)).unwrap_or(0)
}

/// Where pictures with a scale of amounts begin: left, top, and how high they are.
const LEFT: i64 = 64;
const TOP: i64 = 8;
const HEIGHT: i64 = 170;

/// What colours stand for.
fn legend<'a>(paints: impl IntoIterator<Item = (Paint, &'a str)>) -> Markup {
    html! {
        p.legend.groups {
            @for (paint, words) in paints {
                span { svg width="11" height="11" aria-hidden="true" { rect width="11" height="11" fill=(paint.css()) {} } " " (words) }
            }
        }
    }
}

/// Where an amount lies above the ground.
fn height_of(nano: i64, most: i64) -> i64 {
    TOP + HEIGHT - scaled(nano, most, HEIGHT)
}

/// Amounts at the left, with lines across.
fn scale(most: i64, width: i64) -> Markup {
    html! {
        @for quarter in 0..=4 {
            @let at = height_of(most / 4 * quarter, most);
            line x1=(LEFT) x2=(LEFT + width) y1=(at) y2=(at) stroke=(Paint::Line.css()) {}
            text x=(LEFT - 6) y=(at + 4) text-anchor="end" font-size="11" fill=(Paint::Muted.css()) { (axis(most / 4 * quarter)) }
        }
    }
}

/// How much of a page's width a picture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Half,
    Whole,
}

/// What each day cost, by group; each day leads to itself.
pub fn days(scope: &Scope, answer: &Answer, path: &str, shape: Shape) -> Markup {
    let width = match shape {
        Shape::Half => 520,
        Shape::Whole => 1_110,
    };
    let mut costs: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    for row in &answer.rows {
        let of_day = costs.entry(answer.cell(row, "local_date").text()).or_default();
        let group = answer.cell(row, "category_group").text();
        *of_day.entry(group).or_insert(0) += answer.cell(row, "cost").whole().unwrap_or(0);
    }
    let all: Vec<String> = scope
        .each_day()
        .into_iter()
        .map(|(date, ..)| date.to_string())
        .collect();
    // A bar is as high as what is drawn of it: credits are told, and not drawn.
    let heights = costs
        .values()
        .filter_map(|groups| Some(stacked(Some(groups)).last()?.1));
    let most = round_up(heights.max().unwrap_or(0));
    let count = i64::try_from(all.len()).unwrap_or(1).max(1);
    let step = width / count;
    let gap = if step > 8 { step / 5 } else { i64::from(step > 2) };
    let every = usize::try_from(count / 14 + 1).unwrap_or(1);
    let y = |nano: i64| height_of(nano, most);
    let is_used = |group: &str| {
        costs
            .values()
            .any(|groups| groups.get(group).is_some_and(|cost| *cost != 0))
    };
    html! {
        (legend(GROUPS.iter().filter(|(group, ..)| is_used(group)).map(|(_, paint, words)| (*paint, *words))))
        div.scroll.picture role="region" aria-label="Cost by day, drawn" tabindex="0" {
            svg class=(if shape == Shape::Whole { "chart long" } else { "chart" }) viewBox={ "0 0 " (LEFT + width + 8) " " (TOP + HEIGHT + 26) } role="group" aria-label="Cost by day; each bar leads to its day" {
                (scale(most, width))
                @for (place, date) in all.iter().enumerate() {
                    @let x = LEFT + i64::try_from(place).unwrap_or(0) * width / count;
                    @let groups = costs.get(date.as_str());
                    @let sum: i64 = groups.map_or(0, |groups| groups.values().sum());
                    a href=(day_link(scope, path, date))
                        aria-label={ (date) ": " (dollars(NanoUsd::from_nano(sum))) } {
                        title { (told(date, sum, groups)) }
                        rect x=(x) y=(TOP) width=(step.max(1)) height=(HEIGHT) fill="transparent" {}
                        @for (from, to, paint) in stacked(groups) {
                            @let (top, bottom) = (y(to), y(from));
                            rect x=(x + gap / 2) y=(top) width=((step - gap).max(1)) height=((bottom - top).max(0)) fill=(paint.css()) {}
                        }
                    }
                    @if place.is_multiple_of(every) {
                        text x=(x + step / 2) y=(TOP + HEIGHT + 16) text-anchor="middle" font-size="11" fill=(Paint::Muted.css()) { (date.get(5..).unwrap_or(date)) }
                    }
                }
            }
        }
    }
}

fn day_link(scope: &Scope, path: &str, date: &str) -> String {
    date.parse()
        .map_or_else(|_| String::new(), |date| scope.of_day(date).link_same(path, &[]))
}

fn told(date: &str, sum: i64, groups: Option<&BTreeMap<&str, i64>>) -> String {
    let parts: Vec<String> = GROUPS
        .iter()
        .filter_map(|(group, _, words)| {
            let cost = groups?.get(group).copied().filter(|cost| *cost != 0)?;
            Some(format!("{words} {}", dollars(NanoUsd::from_nano(cost))))
        })
        .collect();
    format!(
        "{date}: {} = {}",
        dollars(NanoUsd::from_nano(sum)),
        parts.join(" + ")
    )
}

/// From where to where each group's part of a bar goes. Groups that nobody named yet come last.
fn stacked(groups: Option<&BTreeMap<&str, i64>>) -> Vec<(i64, i64, Paint)> {
    let Some(groups) = groups else { return Vec::new() };
    let mut parts = Vec::new();
    let mut at = 0;
    let others: i64 = groups
        .iter()
        .filter(|(group, _)| GROUPS.iter().all(|(known, ..)| known != *group))
        .map(|(_, cost)| cost)
        .sum();
    let known = GROUPS
        .iter()
        .map(|(group, paint, _)| (groups.get(group).copied().unwrap_or(0), *paint));
    for (cost, paint) in known.chain([(others, Paint::Fixed)]) {
        if cost > 0 {
            parts.push((at, at + cost, paint));
            at += cost;
        }
    }
    parts
}

/// An amount at an axis: whole dollars from ten on.
fn axis(nano: i64) -> String {
    let cost = NanoUsd::from_nano(nano);
    if nano == 0 {
        return "$0".to_owned();
    }
    if nano >= 10_000_000_000 {
        let text = dollars(cost);
        return text.split('.').next().unwrap_or(&text).to_owned();
    }
    small_dollars(cost)
}

fn paint_of(status: &str) -> Paint {
    match status {
        "succeeded" | "retired" => Paint::Used,
        "failed" | "lost" => Paint::Failed,
        "running" => Paint::Fixed,
        _ => Paint::Overhead,
    }
}

/// What runs cost, by when they started; each dot leads to its run.
pub fn runs(scope: &Scope, answer: &Answer) -> Markup {
    const WIDTH: i64 = 1_110;
    let (from, to) = scope.bounds_ms();
    let costs = answer
        .rows
        .iter()
        .filter_map(|row| answer.cell(row, "cost").whole());
    let most = round_up(costs.max().unwrap_or(0));
    let y = |nano: i64| height_of(nano, most);
    let days = scope.each_day();
    let every = days.len() / 14 + 1;
    html! {
        (legend([("succeeded", "succeeded"), ("failed", "failed or lost"), ("running", "running"), ("unknown", "unknown")].map(|(status, words)| (paint_of(status), words))))
        div.scroll.picture role="region" aria-label="Runs over time" tabindex="0" {
            svg.chart.long viewBox={ "0 0 " (LEFT + WIDTH + 8) " " (TOP + HEIGHT + 26) } role="group" aria-label="Cost of runs by when they started" {
                (scale(most, WIDTH))
                @for (date, start, end) in days.iter().step_by(every) {
                    @let x = LEFT + scaled((start + end) / 2 - from, to - from, WIDTH);
                    text x=(x) y=(TOP + HEIGHT + 16) text-anchor="middle" font-size="11" fill=(Paint::Muted.css()) {
                        (date.to_string().get(5..).unwrap_or_default())
                    }
                }
                @for row in &answer.rows {
                    @if let (Some(at), Some(cost)) = (answer.cell(row, "started_at").whole(), answer.cell(row, "cost").whole()) {
                        @let status = answer.cell(row, "status").text();
                        a href=(run_link(scope, answer, row)) tabindex="-1" {
                            title {
                                (short(answer.cell(row, "run").text())) ", " (short(status)) ": " (small_dollars(NanoUsd::from_nano(cost)))
                            }
                            circle cx=(LEFT + scaled(at - from, to - from, WIDTH)) cy=(y(cost)) r="3.5" fill=(paint_of(status).css()) fill-opacity="0.75" {}
                        }
                    }
                }
            }
        }
    }
}

fn run_link(scope: &Scope, answer: &Answer, row: &[Cell]) -> String {
    let names = [
        "run",
        "pipeline",
        "cluster",
        "system",
        "installation",
        "run_epoch",
    ]
    .map(|name| (name, answer.cell(row, name).text()));
    scope.link_one("/run", &names)
}

/// Pods of a run on their machines: waiting, starting, working, letting go. Each leads to its pod.
pub fn gantt(scope: &Scope, answer: &Answer) -> Markup {
    const LEFT: i64 = 150;
    const WIDTH: i64 = 1_020;
    const ROW: i64 = 16;
    const TOP: i64 = 26;
    let at = |row: &[Cell], name: &str| answer.cell(row, name).whole();
    let Some(from) = answer.rows.iter().filter_map(|row| at(row, "created_at")).min() else {
        return html! { p.empty { "No pod of this run is known." } };
    };
    let latest = |row: &Vec<Cell>| {
        [
            "created_at",
            "scheduled_at",
            "started_at",
            "finished_at",
            "released_at",
        ]
        .iter()
        .filter_map(|name| at(row, name))
        .max()
    };
    let to = answer
        .rows
        .iter()
        .filter_map(latest)
        .max()
        .unwrap_or(from)
        .max(from + 1);
    let x = |ms: i64| LEFT + scaled(ms - from, to - from, WIDTH);
    // Rows of one machine stand together, and overlap in time does not overlap on paper.
    let mut lanes: Vec<(i64, &[Cell])> = Vec::new();
    let mut ends: Vec<(&str, i64)> = Vec::new();
    for row in &answer.rows {
        let node = answer.cell(row, "node_name").text();
        // What nobody knows to be over goes on to the end of the picture.
        let end = match at(row, "released_at") {
            Some(_) => latest(row).unwrap_or(to),
            None => to,
        };
        let start = at(row, "created_at").unwrap_or(from);
        let lane = match ends.iter().position(|(of, until)| *of == node && *until <= start) {
            Some(lane) => lane,
            None => {
                ends.push((node, start));
                ends.len() - 1
            }
        };
        if let Some(place) = ends.get_mut(lane) {
            place.1 = end;
        }
        lanes.push((i64::try_from(lane).unwrap_or(0), row));
    }
    let height = TOP + ROW * i64::try_from(ends.len()).unwrap_or(1) + 6;
    // A machine is named at its first row.
    let first_rows: Vec<(usize, &str)> = ends
        .iter()
        .enumerate()
        .filter(|(row, (node, _))| ends.iter().position(|(other, _)| other == node) == Some(*row))
        .map(|(row, (node, _))| (row, *node))
        .collect();
    html! {
        (legend([(Paint::Capacity, "waited for a machine"), (Paint::Unused, "started up"), (Paint::Used, "worked"), (Paint::Failed, "worked, and failed or was lost"), (Paint::Overhead, "let go")]))
        div.scroll.picture role="region" aria-label="Pods on their machines" tabindex="0" {
            svg.chart.long viewBox={ "0 0 " (LEFT + WIDTH + 8) " " (height) } role="group" aria-label="Pods of the run on their machines, over time" {
                @for quarter in 0..=4_i64 {
                    @let at = LEFT + WIDTH * quarter / 4;
                    line x1=(at) x2=(at) y1=(TOP - 4) y2=(height) stroke=(Paint::Line.css()) {}
                    text x=(at) y="14" font-size="11" fill=(Paint::Muted.css()) text-anchor=(match quarter { 0 => "start", 4 => "end", _ => "middle" }) {
                        "+" (duration((to - from) / 4 * quarter))
                    }
                }
                @for (lane, node) in &first_rows {
                    @let y = TOP + ROW * i64::try_from(*lane).unwrap_or(0);
                    text x=(LEFT - 8) y=(y + 11) text-anchor="end" font-size="11" fill=(Paint::Text.css()) {
                        (if node.is_empty() { "never bound".to_owned() } else { cut(&short(node), 22) })
                    }
                }
                @for (lane, row) in &lanes {
                    @let y = TOP + ROW * lane;
                    @let text = |name: &str| answer.cell(row, name).text();
                    a href=(scope.link_one("/pod", &[("pod", text("pod_uid")), ("cluster", text("cluster"))]))
                        aria-label={ "Pod " (short(text("pod_name"))) } {
                        title {
                            (short(text("job"))) ", try " (short(text("attempt"))) ", " (short(text("outcome"))) ": pod " (short(text("pod_name")))
                            @if let Some(wait) = at(row, "queue_wait_ms") { ", waited " (duration(wait.max(0))) }
                            @if let (Some(start), Some(end)) = (at(row, "started_at"), at(row, "finished_at")) { ", worked " (duration((end - start).max(0))) }
                        }
                        @for (start, end, paint) in phases(answer, row, to) {
                            @let left = x(start);
                            rect x=(left) y=(y + 2) width=((x(end) - left).max(1)) height=(ROW - 4) rx="1.5" fill=(paint.css()) {}
                        }
                    }
                }
            }
        }
    }
}

/// What a pod did from when to when.
fn phases(answer: &Answer, row: &[Cell], now: i64) -> Vec<(i64, i64, Paint)> {
    let at = |name: &str| answer.cell(row, name).whole();
    let outcome = answer.cell(row, "outcome").text();
    let work = if matches!(outcome, "failed" | "lost") {
        Paint::Failed
    } else {
        Paint::Used
    };
    let end = at("released_at").unwrap_or(now);
    let steps = [
        (at("created_at"), Paint::Capacity),
        (at("scheduled_at"), Paint::Unused),
        (at("started_at"), work),
        (at("finished_at"), Paint::Overhead),
    ];
    let known: Vec<(i64, Paint)> = steps
        .into_iter()
        .filter_map(|(at, paint)| Some((at?, paint)))
        .collect();
    known
        .iter()
        .enumerate()
        .map(|(place, (start, paint))| {
            let until = known.get(place + 1).map_or(end, |(next, _)| *next);
            (*start, until.max(*start), *paint)
        })
        .collect()
}

/// The chain of tries that decided how long a run took.
pub fn critical_path(scope: &Scope, answer: &Answer) -> Markup {
    const LEFT: i64 = 150;
    const WIDTH: i64 = 1_020;
    const ROW: i64 = 20;
    let parts = [
        ("gap_ms", Paint::Line, "gap"),
        ("queue_wait_ms", Paint::Capacity, "waited for a machine"),
        ("startup_ms", Paint::Unused, "started up"),
        ("work_ms", Paint::Used, "worked"),
        ("release_ms", Paint::Overhead, "let go"),
    ];
    let failed = (Paint::Failed, "worked, and failed or was lost");
    let is_failed = |row: &[Cell]| matches!(answer.cell(row, "outcome").text(), "failed" | "lost");
    let of = |row: &[Cell], name: &str| answer.cell(row, name).whole().unwrap_or(0).max(0);
    let whole: i64 = answer
        .rows
        .iter()
        .map(|row| parts.iter().map(|(name, ..)| of(row, name)).sum::<i64>())
        .sum();
    let height = ROW * i64::try_from(answer.rows.len()).unwrap_or(1) + 4;
    let mut at = 0;
    html! {
        (legend(parts.map(|(_, paint, words)| (paint, words)).into_iter().chain([failed])))
        div.scroll.picture role="region" aria-label="Critical path, drawn" tabindex="0" {
            svg.chart.long viewBox={ "0 0 " (LEFT + WIDTH + 8) " " (height) } role="img"
                aria-label={ "The critical path, step by step, in " (scope.zone()) "; the table below says the same" } {
                @for (step, row) in answer.rows.iter().enumerate() {
                    @let y = ROW * i64::try_from(step).unwrap_or(0) + 2;
                    text x=(LEFT - 8) y=(y + 13) text-anchor="end" font-size="11" fill=(Paint::Text.css()) { (cut(&short(answer.cell(row, "job").text()), 22)) }
                    @for (name, paint, words) in parts {
                        @let ms = of(row, name);
                        @let (paint, words) = if name == "work_ms" && is_failed(row) { failed } else { (paint, words) };
                        @if ms > 0 {
                            @let start = LEFT + scaled(at, whole, WIDTH);
                            @let end = { at += ms; LEFT + scaled(at, whole, WIDTH) };
                            rect x=(start) y=(y + 2) width=((end - start).max(1)) height=(ROW - 6) rx="1.5" fill=(paint.css()) {
                                title { (words) " " (duration(ms)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
