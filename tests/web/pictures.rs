//! Tiles and pictures against the marts: what is written large, how high bars are, and what is told of them.

use std::collections::BTreeMap;

use podledger_reports::display::{cut, dollars, duration, percent, permille, short, small_dollars};
use podledger_sql::units::NanoUsd;

use super::figures::{DIRECT, ask};
use super::names::form;
use super::{Server, needed};
use crate::harness::World;

const NOW: &str = "charge_date between '2026-11-09' and '2026-11-15'";
const HOURS: &str = "hour_start_at >= '2026-11-09' and hour_start_at < '2026-11-16'";

pub fn say_what_marts_say(world: &World, server: &Server) {
    let needed = needed(&|url| server.get(url).json());
    let team = ask(
        world,
        &format!(
            "select team from marts.costs_daily where {NOW} and {DIRECT} group by 1 order by sum(cost) desc limit 1"
        ),
    );
    let pipeline = needed["pipeline"].as_str();
    let pages = [
        ("/".to_owned(), "true".to_owned()),
        (
            format!("/team?team={}", form(&team)),
            format!("team = '{team}' and {DIRECT}"),
        ),
        (
            format!("/pipeline?pipeline={}", form(pipeline)),
            format!("pipeline = '{pipeline}' and {DIRECT}"),
        ),
    ];
    for (url, condition) in &pages {
        let page = of_week(server, url);
        days_are_as_high_as_they_cost(world, &page, condition);
        if url != "/" {
            costs_are_told_by_kind(world, &page, condition);
        }
    }
    runs_are_dots(world, &of_week(server, &pages[2].0), pipeline);
    pools_are_as_full_as_they_were(world, &of_week(server, "/pools"), "true");
    let pool = ask(
        world,
        &format!(
            "select pool from marts.pools_hourly where {HOURS} group by 1 order by sum(cost) desc limit 1"
        ),
    );
    let page = of_week(server, &format!("/pool?pool={}", form(&pool)));
    pools_are_as_full_as_they_were(world, &page, &format!("pool = '{pool}'"));
    a_run_is_told(world, server, &needed["run"], pipeline);
}

fn of_week(server: &Server, url: &str) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    let answer = server.get(&format!("{url}{sign}week=2026-W46"));
    assert_eq!(answer.status, 200, "{url}: {}", answer.body);
    answer.body
}

fn nano(text: &str) -> i64 {
    NanoUsd::from_decimal_str(text).unwrap().get()
}

fn usd(nano: i64) -> String {
    dollars(NanoUsd::from_nano(nano))
}

/// What stands between two texts, the first time.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    assert!(text.contains(from), "there is no {from} in {text}");
    let rest = text.split_once(from).unwrap().1;
    rest.split_once(to).unwrap().0
}

/// HTML as it is read.
fn read(html: &str) -> String {
    let text: String = html
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
        .collect();
    let signs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
    signs.iter().fold(text, |text, (sign, is)| text.replace(sign, is))
}

/// Value and note of each tile of a page, by its name.
pub fn tiles(page: &str) -> BTreeMap<String, (String, String)> {
    let of = |tile: &str, class: &str| read(between(tile, &format!("<p class=\"{class}\">"), "</p>"));
    page.split("<div class=\"tile\">")
        .skip(1)
        .map(|tile| (of(tile, "name"), (of(tile, "value"), of(tile, "note"))))
        .collect()
}

/// Whole numbers of an attribute in each of some tags.
fn numbers(tags: &str, attribute: &str) -> Vec<i64> {
    tags.split(&format!(" {attribute}=\""))
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

fn costs_are_told_by_kind(world: &World, page: &str, condition: &str) {
    let of = |kinds: &str| {
        let query = format!(
            "select coalesce(sum(cost), 0) from marts.costs_daily where {NOW} and {condition} and {kinds}"
        );
        nano(&ask(world, &query))
    };
    let whole = of("true");
    let share = |part: i64| {
        (
            usd(part),
            format!("{} of the cost", percent(permille(part, whole))),
        )
    };
    let expected = [
        ("cost", (usd(whole), "what its pods cost".to_owned())),
        ("used", share(of("cost_category in ('used', 'unmetered')"))),
        ("unused request", share(of("cost_category = 'unused_request'"))),
        (
            "failed + stuck",
            share(of("cost_category in ('failed', 'lost', 'stuck')")),
        ),
    ];
    let expected: BTreeMap<String, (String, String)> = expected
        .into_iter()
        .map(|(name, told)| (name.to_owned(), told))
        .collect();
    assert!(whole > 0);
    assert_eq!(tiles(page), expected, "{condition}");
}

/// Groups of categories in the order in which they are drawn, and what they are called.
const GROUPS: &[(&str, &str)] = &[
    ("used", "used or not measured"),
    ("waste", "failed, stuck, asked for in vain"),
    ("overhead", "node overhead"),
    ("storage", "storage"),
    ("fixed", "fixed"),
    ("idle", "idle"),
    ("unobserved", "unobserved"),
];

fn days_are_as_high_as_they_cost(world: &World, page: &str, condition: &str) {
    let mut costs: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for row in world.rows(&format!(
        "select charge_date, category_group, sum(cost) from marts.costs_daily inner join marts.cost_categories using (cost_category) \
         where {NOW} and {condition} group by all having sum(cost) <> 0"
    )) {
        let cells: Vec<&str> = row.split('|').collect();
        let of_day = costs.entry(cells[0].to_owned()).or_default();
        of_day.insert(cells[1].to_owned(), nano(cells[2]));
    }
    let picture = between(
        page,
        "aria-label=\"Cost by day; each bar leads to its day\"",
        "</svg>",
    );
    let bars: Vec<&str> = picture.split("<a ").skip(1).collect();
    assert_eq!(bars.len(), 7);
    let mut heights = Vec::new();
    for (number, bar) in bars.iter().enumerate() {
        let date = format!("2026-11-{:02}", number + 9);
        let of_day = costs.get(&date).cloned().unwrap_or_default();
        let parts: Vec<String> = GROUPS
            .iter()
            .filter_map(|(group, words)| Some(format!("{words} {}", usd(*of_day.get(*group)?))))
            .collect();
        assert_eq!(parts.len(), of_day.len(), "{of_day:?}");
        let sum: i64 = of_day.values().sum();
        let told = format!("{date}: {} = {}", usd(sum), parts.join(" + "));
        assert_eq!(read(between(bar, "<title>", "</title>")), told, "{condition}");
        assert!(
            between(bar, "href=\"", "\"").contains(&format!("from={date}&amp;to={date}")),
            "{bar}"
        );
        // What is transparent catches the pointer.
        let drawn: i64 = numbers(bar, "height").iter().skip(1).sum();
        assert!(
            of_day.values().all(|cost| *cost > 0),
            "credits are told, and not drawn"
        );
        heights.push((sum, drawn));
    }
    let (most, highest) = heights.iter().copied().max().unwrap();
    assert!(most > 0 && highest > 80, "{heights:?}");
    for (cost, height) in heights {
        let off = i128::from(height) * i128::from(most) - i128::from(cost) * i128::from(highest);
        assert!(
            off.abs() <= 2 * i128::from(most),
            "{cost} of {most} is {height} of {highest} high"
        );
    }
}

/// Each run of a pipeline is a dot that says what it cost.
fn runs_are_dots(world: &World, page: &str, pipeline: &str) {
    let picture = between(page, "aria-label=\"Cost of runs by when they started\"", "</svg>");
    let mut shown: Vec<String> = picture
        .split("<title>")
        .skip(1)
        .map(|rest| read(rest.split("</title>").next().unwrap()))
        .collect();
    shown.sort();
    let runs = world.rows(&format!(
        "select run, status, cost from marts.runs where pipeline = '{pipeline}' and started_at >= '2026-11-09' \
         and started_at < '2026-11-16' and cost is not null"
    ));
    let mut told: Vec<String> = runs
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let cost = small_dollars(NanoUsd::from_nano(nano(cells[2])));
            format!("{}, {}: {cost}", short(cells[0]), cells[1])
        })
        .collect();
    told.sort();
    assert!(told.len() > 2, "{told:?}");
    assert_eq!(shown, told);
}

fn pools_are_as_full_as_they_were(world: &World, page: &str, condition: &str) {
    let cost = nano(&ask(
        world,
        &format!("select sum(cost) from marts.machines_daily where {NOW} and {condition}"),
    ));
    let idle = nano(&ask(
        world,
        &format!("select sum(idle_cost) from marts.machines_daily where {NOW} and {condition}"),
    ));
    let tiles = tiles(page);
    assert!(idle > 0 && cost > idle);
    assert_eq!(tiles["cost"].0, usd(cost), "{condition}");
    assert_eq!(
        tiles["idle"],
        (
            usd(idle),
            format!("{} of the cost", percent(permille(idle, cost)))
        )
    );
    // Of each hour the fullest of what a pool has; of each day the average of its hours.
    let held = |resource: &str, unit: &str| {
        format!(
            "cast(1000 * sum({resource}_request_{unit}) as hugeint) // nullif(cast(sum({resource}_capacity_{unit}) as hugeint), 0)"
        )
    };
    let hours = world.rows(&format!(
        "select pool, isodow(hour_start_at), greatest({}, {}, {}) from marts.pools_hourly where {HOURS} and {condition} \
         group by pool, hour_start_at order by all",
        held("cpu", "millicore_ms"),
        held("memory", "byte_ms"),
        held("gpu", "milligpu_ms")
    ));
    let mut days: BTreeMap<(String, usize), Vec<i64>> = BTreeMap::new();
    for row in &hours {
        let cells: Vec<&str> = row.split('|').collect();
        let day = cells[1].parse::<usize>().unwrap() - 1;
        let of_day = days.entry((cells[0].to_owned(), day)).or_default();
        of_day.extend(cells.get(2).map(|share| share.parse::<i64>().unwrap()));
    }
    let mut pools: Vec<String> = days.keys().map(|(pool, _)| pool.clone()).collect();
    pools.dedup();
    let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let mut told = Vec::new();
    for pool in pools {
        for (day, name) in names.iter().enumerate() {
            let label = cut(&short(&pool), 13);
            let known = days.get(&(pool.clone(), day)).cloned().unwrap_or_default();
            told.push(match i64::try_from(known.len()).unwrap() {
                0 => format!("{label}, {name}: nothing ran"),
                count => {
                    let mean = known.iter().sum::<i64>() / count;
                    format!(
                        "{label}, {name}: {} held on average over {count} h",
                        percent(mean)
                    )
                }
            });
        }
    }
    told.sort();
    let picture = between(page, "aria-label=\"How full, hour by hour\"", "</svg>");
    let mut shown: Vec<String> = picture
        .split("<title>")
        .skip(1)
        .map(|rest| read(rest.split("</title>").next().unwrap()))
        .collect();
    shown.sort();
    assert_eq!(shown, told, "{condition}");
    let cells = picture.matches("fill=\"var(--heat)\"").count();
    assert_eq!(cells, days.values().map(Vec::len).sum::<usize>(), "{condition}");
}

fn a_run_is_told(world: &World, server: &Server, run: &str, pipeline: &str) {
    let url = format!("/run?run={}&pipeline={}", form(run), form(pipeline));
    let row = ask(
        world,
        &format!(
            "select cost, wasted_cost, pods, attempts, failed_attempts, queue_wait_ms from marts.runs where run = '{run}' and pipeline = '{pipeline}'"
        ),
    );
    let cells: Vec<&str> = row.split('|').collect();
    let cost = |text: &str| small_dollars(NanoUsd::from_nano(nano(text)));
    let expected = [
        (
            "cost",
            (cost(cells[0]), format!("{} of it wasted", cost(cells[1]))),
        ),
        ("pods", (cells[2].to_owned(), format!("in {} tries", cells[3]))),
        (
            "failed tries",
            (cells[4].to_owned(), "failed or were lost".to_owned()),
        ),
        (
            "waited",
            (
                duration(cells[5].parse().unwrap()),
                "for machines, all tries together".to_owned(),
            ),
        ),
    ];
    let expected: BTreeMap<String, (String, String)> = expected
        .into_iter()
        .map(|(name, told)| (name.to_owned(), told))
        .collect();
    assert_eq!(tiles(&of_week(server, &url)), expected);
}
