//! What was there to run on, what it idled, what waited for it, and what was wasted.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use super::super::problem::Problem;
use super::super::question::{Answer, Question};
use super::super::questions::{
    FINDINGS, MACHINE_HOURS, MACHINE_PODS, MACHINE_PRICES, MACHINES, PODS, POOL_HOURS, POOLS, PRICE_SOURCES,
    PRICES, STUCK_PODS, WAITS,
};
use super::frame::command;
use super::money::list;
use super::parts::{Place, below, card, csv_link, instant, sum, table, tile_to, usd};
use super::{Context, Shown};
use crate::charts::{self, HeatRow};
use crate::display::{change, cut, dollars, percent, permille, plain, short};
use podledger_sql::units::NanoUsd;

pub fn pools(context: &Context<'_>) -> Result<Shown, Problem> {
    let answer = context.ask_main(&POOLS)?;
    // The table may show a page of them.
    let all = context.ask(&POOLS, u64::MAX)?;
    Ok(Shown {
        title: "Node pools".to_owned(),
        body: html! {
            header {
                h1 { "Node pools" }
                p.lead { "What machines cost, when nobody held them, and how full they were." }
            }
            (pool_tiles(context, &all, "of all pools", ""))
            (heat(context)?)
            section {
                h2 { "Idle by kind" }
                (table(context, &answer, Place::Main))
            }
            (card(context, &context.ask(&MACHINES, 10)?, Place::Beside(Some("/machines"))))
        },
        is_of_one: false,
    })
}

/// What pools cost, and how much of that nobody held.
fn pool_tiles(context: &Context<'_>, pools: &Answer, of: &str, pool: &str) -> Markup {
    let kinds: Vec<&str> = IDLE
        .iter()
        .filter_map(|kind| kind.strip_suffix("_cost"))
        .collect();
    let hours = [("pool", pool), ("category", &kinds.join(","))];
    let cost = sum(pools, "cost");
    let idle = IDLE
        .iter()
        .filter_map(|kind| sum(pools, kind))
        .reduce(|one, other| NanoUsd::from_nano(one.get() + other.get()));
    html! {
        div.tiles {
            (tile_to("cost", &usd(cost), &html! { (of) }, &context.scope.link("/machines", &[("pool", pool)])))
            (tile_to("idle", &usd(idle), &html! {
                @if let (Some(idle), Some(cost)) = (idle, cost) { (percent(permille(idle.get(), cost.get()))) " of the cost" }
                @else { "no price is known" }
            }, &context.scope.link("/machine-hours", &hours)))
        }
    }
}

/// Kinds of idle time, as columns.
const IDLE: [&str; 5] = [
    "idle_boot_cost",
    "idle_startup_cost",
    "idle_gap_cost",
    "idle_tail_cost",
    "idle_unpacked_cost",
];

/// Pools that the picture shows, the most expensive first.
const HEAT_ROWS: usize = 30;

/// What a pool cost, and of each hour of the week the sum of how full it was with how often it was seen.
struct Week {
    nano: i64,
    slots: Vec<(i64, i64)>,
}

/// How full pools were by hour of the week.
fn heat(context: &Context<'_>) -> Result<Markup, Problem> {
    let mut pools: BTreeMap<String, Week> = BTreeMap::new();
    context.each(&POOL_HOURS, &mut |row| {
        let cell = |name: &str| POOL_HOURS.cell(row, name);
        let pool = pools
            .entry(cell("pool").text().to_owned())
            .or_insert_with(|| Week {
                nano: 0,
                slots: vec![(0, 0); 168],
            });
        pool.nano += cell("cost").whole().unwrap_or(0);
        let fullest = ["cpu_held_permille", "memory_held_permille", "gpu_held_permille"]
            .into_iter()
            .filter_map(|name| cell(name).whole())
            .max();
        let (day, hour) = context.scope.slot(cell("hour_start_at").whole().unwrap_or(0));
        if let (Some(fullest), Some(slot)) = (fullest, pool.slots.get_mut(day * 24 + hour)) {
            slot.0 += fullest;
            slot.1 += 1;
        }
        Ok(())
    })?;
    let left_out = pools.len().saturating_sub(HEAT_ROWS);
    let mut pools: Vec<(String, Week)> = pools.into_iter().collect();
    pools.sort_by_key(|(_, pool)| std::cmp::Reverse(pool.nano));
    let rows: Vec<HeatRow> = pools
        .into_iter()
        .take(HEAT_ROWS)
        .map(|(name, pool)| HeatRow {
            label: cut(&short(&name), 13),
            shares: pool
                .slots
                .into_iter()
                .map(|(sum, count)| (count > 0).then(|| sum / count))
                .collect(),
        })
        .collect();
    if rows.is_empty() {
        return Ok(html! {});
    }
    let says = "How full pools were by hour of the week: the fullest of CPU, memory and accelerators. The stronger the colour, the fuller.";
    let picture = charts::heat_map("the pools", says, &rows)?;
    Ok(html! {
        section {
            h2 { "How full, hour by hour" }
            p.note { (says) }
            div.scroll.picture role="region" aria-label="How full, hour by hour" tabindex="0" { (PreEscaped(picture)) }
            @if left_out > 0 { p.note { "The " (HEAT_ROWS) " most expensive; " (left_out) " more are in the CSV." } }
            (download(context, &POOL_HOURS))
        }
    })
}

/// Only the download of an answer, which a picture shows.
fn download(context: &Context<'_>, question: &Question) -> Markup {
    html! { p.below { a href=(csv_link(context.scope, question)) download { "CSV" } } }
}

pub fn pool(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let pool = scope.required("pool")?;
    let row = context.ask(&POOLS, 1)?;
    Ok(Shown {
        title: format!("Pool {}", short(pool)),
        body: html! {
            header {
                p.crumbs { a href=(scope.link_one("/pools", &[])) { "Node pools" } }
                h1 { (short(pool)) }
            }
            (pool_tiles(context, &row, "of its machines", pool))
            (heat(context)?)
            section { h2 { "Idle by kind" } (table(context, &row, Place::Beside(None))) }
            (findings_card(context, &context.ask(&FINDINGS, 12)?))
            (card(context, &context.ask(&MACHINES, 25)?, Place::Beside(None)))
            p.below { a href=(scope.link_one("/machines", &[("pool", pool)])) { "All its machines" } }
            (card(context, &context.ask(&PRICES, 20)?, Place::Beside(None)))
        },
        is_of_one: true,
    })
}

pub fn machines(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &MACHINES,
        "Machines that were up in these days: what they cost, what pods held of it, and what nobody did.",
    )
}

pub fn machine_hours(context: &Context<'_>) -> Result<Shown, Problem> {
    list(
        context,
        &MACHINE_HOURS,
        "What machines cost that no pod held, hour by hour: idle time by kind, what nodes keep for themselves, what nobody observed. The price of \
         an hour stands on the machine's page.",
    )
}

pub fn machine(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let machine = scope.required("machine")?;
    let prices = context.ask(&MACHINE_PRICES, 100)?;
    let Some(first) = prices.rows.first() else {
        return Err(Problem::missing("no machine has this identifier"));
    };
    let node = prices.cell(first, "node_name").text();
    let title = if node.is_empty() { machine } else { node };
    Ok(Shown {
        title: format!("Machine {}", short(title)),
        body: html! {
            header {
                p.crumbs { a href=(scope.link_one("/machines", &[])) { "Machines" } }
                h1 { (short(title)) }
                p.lead { (cut(&plain(machine), 400)) }
            }
            (card(context, &context.ask(&MACHINE_PODS, 50)?, Place::Beside(None)))
            (card(context, &context.ask(&PODS, 50)?, Place::Beside(None)))
            (card(context, &context.ask(&MACHINE_HOURS, 50)?, Place::Beside(None)))
            (card(context, &prices, Place::Beside(None)))
        },
        is_of_one: true,
    })
}

pub fn prices(context: &Context<'_>) -> Result<Shown, Problem> {
    let prices = context.ask_main(&PRICES)?;
    let sources = context.ask(&PRICE_SOURCES, 100)?;
    Ok(Shown {
        title: PRICES.title.to_owned(),
        body: html! {
            header {
                h1 { (PRICES.title) }
                p.lead {
                    "What an hour of each kind of machine cost, and who said so. Time without a known price costs nothing here and comes first. "
                    "Where a bill charges for a machine, its price is " code { "billed" } ": "
                    a href=(context.scope.link("/bills", &[])) { "bills" } "."
                }
            }
            section { (table(context, &prices, Place::Main)) }
            (card(context, &sources, Place::Beside(None)))
        },
        is_of_one: false,
    })
}

pub fn waiting(context: &Context<'_>) -> Result<Shown, Problem> {
    let stuck = context.ask(&STUCK_PODS, 50)?;
    let waits = context.ask_main(&WAITS)?;
    Ok(Shown {
        title: "Waiting and stuck".to_owned(),
        body: html! {
            header {
                h1 { "Waiting and stuck" }
                p.lead { "How long pods waited for machines, and pods that held a machine and could not start." }
            }
            section { h2 { "Waiting for a machine" } (table(context, &waits, Place::Main)) }
            section { h2 { "Stuck pods" } (table(context, &stuck, Place::Beside(None))) }
        },
        is_of_one: false,
    })
}

pub fn findings(context: &Context<'_>) -> Result<Shown, Problem> {
    let answer = context.ask_main(&FINDINGS)?;
    Ok(Shown {
        title: "Findings".to_owned(),
        body: html! {
            header {
                h1 { "Findings" }
                p.lead { "What was wasted, since when, what shows it and what mends it. Those that are part of others say so, and are not to be added to them." }
            }
            section { (told(context, &answer)) (below(context, &answer, Place::Main)) }
        },
        is_of_one: false,
    })
}

/// Findings on the page of what they are about.
pub fn findings_card(context: &Context<'_>, answer: &Answer) -> Markup {
    html! {
        @if !answer.rows.is_empty() {
            section {
                h2 { "Findings" }
                (told(context, answer))
                (below(context, answer, Place::Beside(Some("/findings"))))
            }
        }
    }
}

fn told(context: &Context<'_>, answer: &Answer) -> Markup {
    let scope = context.scope;
    html! {
        @if answer.rows.is_empty() {
            p.empty {
                "Nothing was found in these days. Findings are told per week, in the zones that reports are built for (`report_zones`)."
            }
        }
        div.findings {
            @for row in &answer.rows {
                @let text = |name: &str| answer.cell(row, name).text();
                @let cost = answer.cell(row, "cost").usd();
                details {
                    summary {
                        span.cost { (cost.map_or_else(|| "unknown".to_owned(), dollars)) }
                        strong { (short(text("subject"))) } " " (text("kind"))
                        @if let (Some(cost), Some(before)) = (cost, answer.cell(row, "previous_cost").usd()) {
                            @let difference = NanoUsd::from_nano(cost.get() - before.get());
                            @if difference.get() != 0 {
                                " " span class=(if difference.get() < 0 { "down" } else { "up" }) { (change(difference)) }
                            }
                        }
                    }
                    p {
                        (cut(&plain(text("evidence")), 400)) "."
                        @if let Some(since) = answer.cell(row, "since_at").whole() { " Since " (instant(scope, since)) "." }
                        @if text("team") != "unattributed" {
                            " Team " a href=(scope.link_one("/team", &[("team", text("team"))])) { (short(text("team"))) } "."
                        }
                        @if !text("counted_in").is_empty() { " Part of " (short(text("counted_in"))) "." }
                    }
                    p { "Mend: " (cut(&plain(text("mend")), 400)) "." }
                    @if !text("command").is_empty() { (command(&cut(&plain(text("command")), 2_000))) }
                    p.below {
                        @if !text("pool").is_empty() { a href=(scope.link_one("/pool", &[("pool", text("pool"))])) { "The pool" } }
                        @if !text("pipeline").is_empty() {
                            a href=(scope.link_one("/pipeline", &[("pipeline", text("pipeline"))])) { "The pipeline" }
                        }
                        a href=(scope.link("/findings", &[("finding", text("finding"))])) { "All of this kind" }
                        span { "Week " (short(text("iso_week"))) }
                    }
                }
            }
        }
    }
}
