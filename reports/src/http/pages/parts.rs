//! Parts of pages: tables of answers, cells, tiles.

use jiff::Timestamp;
use maud::{Markup, html};
use podledger_sql::units::NanoUsd;

use super::super::question::{Answer, Cell, Column, Kind, Link, Question};
use super::super::scope::Scope;
use super::Context;
use crate::display::{change, dollars, duration, percent, short, small_dollars, thousands};

/// Which of a table's abilities the URL drives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The page's main table: the URL sorts and pages it.
    Main,
    /// Beside others: its first rows, and a link to all of them, if there is a page with them.
    Beside(Option<&'static str>),
}

/// An answer in a card of its own.
pub fn card(context: &Context<'_>, answer: &Answer, place: Place) -> Markup {
    html! {
        section {
            h2 { (answer.question.title) }
            (table(context, answer, place))
        }
    }
}

/// An answer as a table, with its download.
pub fn table(context: &Context<'_>, answer: &Answer, place: Place) -> Markup {
    table_called(context, answer, place, answer.question.title)
}

/// The same under another name, where a page has two of one question: no two regions of a page have one name.
pub fn table_called(context: &Context<'_>, answer: &Answer, place: Place, called: &str) -> Markup {
    let scope = context.scope;
    // Columns of which nothing is known would only take room.
    let is_shown = |place: usize, column: &Column| {
        let is_known = answer
            .rows
            .iter()
            .any(|row| row.get(place).is_some_and(|cell| *cell != Cell::Null));
        !column.title.is_empty() && (is_known || answer.rows.is_empty() || place == 0)
    };
    let columns: Vec<(usize, &Column)> = answer
        .question
        .columns
        .iter()
        .enumerate()
        .filter(|(place, column)| is_shown(*place, column))
        .collect();
    let ignored = ignored(scope, answer);
    html! {
        @if answer.rows.is_empty() {
            p.empty { "Nothing here in these days" @if scope.names().next().is_some() { " with these filters" } "." }
        } @else {
            div.scroll role="region" aria-label=(called) tabindex="0" {
                table.data {
                    thead {
                        tr {
                            @for (_, column) in &columns {
                                (heading(context, column, place == Place::Main))
                            }
                        }
                    }
                    tbody {
                        @for row in &answer.rows {
                            tr {
                                @for (at, column) in &columns {
                                    (td(scope, answer, row, *at, column, place))
                                }
                            }
                        }
                    }
                }
            }
        }
        @if !ignored.is_empty() {
            p.note { "Not filtered by " (ignored.join(", ")) ": this has none, or is of all of them." }
        }
        (below(context, answer, place))
    }
}

/// Filters that do not apply.
fn ignored(scope: &Scope, answer: &Answer) -> Vec<String> {
    let known = answer.question.filters();
    scope
        .names()
        .filter(|(key, _)| !known.contains(key))
        .map(|(key, _)| key.replace('_', " "))
        .collect()
}

fn heading(context: &Context<'_>, column: &Column, is_main: bool) -> Markup {
    let class = if column.is_number() { "number" } else { "" };
    if !is_main {
        return html! { th scope="col" class=[(!class.is_empty()).then_some(class)] title=(column.about) { (column.title) } };
    }
    let sorted = match &context.scope.sort {
        Some((name, is_descending)) if name == column.name => Some(*is_descending),
        _ => None,
    };
    // Numbers are looked at from the largest, names from the first.
    let is_descending = match sorted {
        Some(is_descending) => !is_descending,
        None => column.is_number(),
    };
    let sort = format!("{}{}", if is_descending { "-" } else { "" }, column.name);
    let aria = sorted.map(|is_descending| if is_descending { "descending" } else { "ascending" });
    html! {
        th scope="col" class=[(!class.is_empty()).then_some(class)] aria-sort=[aria] title=(column.about) {
            a.sort href=(context.scope.link_same(context.path, &[("sort", &sort)])) {
                (column.title)
                @match sorted {
                    Some(true) => " ↓",
                    Some(false) => " ↑",
                    None => "",
                }
            }
        }
    }
}

fn td(scope: &Scope, answer: &Answer, row: &[Cell], at: usize, column: &Column, place: Place) -> Markup {
    let cell = row.get(at).unwrap_or(&Cell::Null);
    // What the server does not sort, a script may: by what a quantity is, not by how it reads.
    let value = cell.whole().filter(|_| place != Place::Main);
    let shown = show(scope, column, cell);
    let class = match (column.is_number(), column.kind, column.name) {
        (true, ..) => "number",
        (_, Kind::Instant, _) => "when",
        (
            ..,
            "evidence"
            | "mend"
            | "description"
            | "risks"
            | "rules"
            | "withheld"
            | "cpu_withheld"
            | "memory_withheld"
            | "realisable_withheld",
        ) => "words",
        _ => "",
    };
    let href = column
        .links
        .iter()
        .flatten()
        .find_map(|link| target(scope, answer, row, link));
    html! {
        td class=[(!class.is_empty()).then_some(class)] data-value=[value] {
            @match href {
                Some(href) if *cell != Cell::Null => a href=(href) { (shown) },
                _ => (shown),
            }
        }
    }
}

/// Where a link leads, if its first value is known; a value without a name is only asked whether it is.
fn target(scope: &Scope, answer: &Answer, row: &[Cell], link: &Link) -> Option<String> {
    let is_known = |(key, from): &(&str, &str)| match answer.cell(row, from) {
        Cell::Null => false,
        Cell::Text(text) => !text.is_empty(),
        _ => key.is_empty(),
    };
    if !link.with.first().is_some_and(is_known) {
        return None;
    }
    let values: Vec<(&str, &str)> = link
        .with
        .iter()
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, from)| (*key, answer.cell(row, from).text()))
        .chain(link.fixed.iter().copied())
        .collect();
    // A pod that belongs to no run has no page of its run.
    if link.path == "/run" && values.contains(&("run", "unattributed")) {
        return None;
    }
    // Lists are of the same filters; pages about one thing are of that alone.
    Some(match link.path {
        "/pods" | "/runs" | "/machines" | "/machine-hours" | "/services" | "/pools" | "/findings" => {
            scope.link(link.path, &values)
        }
        path => scope.link_one(path, &values),
    })
}

/// The value of a row in a column, as people read it.
pub fn cell(scope: &Scope, answer: &Answer, row: &[Cell], name: &str) -> Markup {
    let mut columns = answer.question.columns.iter();
    let column = columns.find(|column| column.name == name);
    column.map_or_else(|| html! {}, |column| show(scope, column, answer.cell(row, name)))
}

/// A value as people read it.
pub fn show(scope: &Scope, column: &Column, cell: &Cell) -> Markup {
    match cell {
        Cell::Null => {
            html! { span.unknown { @if column.kind.is_usd() && column.kind != Kind::UsdIfAny { "unknown" } @else { "–" } } }
        }
        Cell::Text(text) if matches!(column.name, "outcome" | "status") => status(text),
        Cell::Text(text) if column.name == "command" => super::frame::command(&crate::display::plain(text)),
        Cell::Text(text)
            if matches!(
                column.name,
                "evidence" | "mend" | "description" | "machine" | "pod_uid"
            ) =>
        {
            html! { (crate::display::cut(&crate::display::plain(text), 400)) }
        }
        Cell::Text(text) => html! { (short(text)) },
        Cell::Usd(cost) if column.name == "change" => {
            let class = match cost.get() {
                ..0 => "down",
                0 => "",
                1.. => "up",
            };
            html! { span class=[(!class.is_empty()).then_some(class)] { (change(*cost)) } }
        }
        Cell::Usd(cost) => {
            html! {
                @match column.kind {
                    Kind::SmallUsd => (small_dollars(*cost)),
                    Kind::ExactUsd => (cost.to_string()),
                    _ => (dollars(*cost)),
                }
            }
        }
        Cell::Whole(number) => match column.kind {
            Kind::Duration => html! { (if *number < 0 { "–".to_owned() } else { duration(*number) }) },
            Kind::Instant => instant(scope, *number),
            Kind::Permille => html! { (percent(*number)) },
            Kind::Bytes => html! { (bytes(*number)) },
            Kind::Millicores => {
                html! { (thousandths(*number)) @if *number == 1000 { " core" } @else { " cores" } }
            }
            Kind::Milligpus => html! { (thousandths(*number)) },
            Kind::MemoryTime => html! { (tenths(i128::from(*number) * 10 / (1024 * 3_600_000))) " GiB-h" },
            Kind::ProcessorTime => {
                html! { (tenths(i128::from(*number) * 10 / (1000 * 3_600_000))) " core-h" }
            }
            _ => html! { (count(*number)) },
        },
    }
}

/// A number with its sign.
pub fn count(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", thousands(number.unsigned_abs()))
}

/// An outcome or status with its colour; the word says the same.
pub fn status(text: &str) -> Markup {
    let class = match text {
        "succeeded" | "retired" => "good",
        "failed" | "lost" => "bad",
        "running" => "busy",
        _ => "other",
    };
    html! { span class={ "status " (class) } { (short(text)) } }
}

/// An instant by the local clock, for programs in UTC.
pub fn instant(scope: &Scope, at_ms: i64) -> Markup {
    let utc = Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| at.to_string());
    html! { time datetime=(utc) { (scope.clock(at_ms)) } }
}

fn thousandths(number: i64) -> String {
    let (whole, rest) = (number / 1000, number.unsigned_abs() % 1000);
    if rest == 0 {
        return count(whole);
    }
    format!("{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
}

/// Tenths with one decimal.
fn tenths(tenths: i128) -> String {
    let whole = i64::try_from(tenths / 10).unwrap_or(i64::MAX);
    format!("{}.{}", count(whole), (tenths % 10).abs())
}

/// Bytes in the largest binary unit, with one decimal, rounded toward zero.
fn bytes(number: i64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in units {
        if number >= 1 << shift {
            let tenths = (i128::from(number) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{number} B")
}

/// Where the whole answer to a question is downloaded, with the filters that it knows.
pub fn csv_link(scope: &Scope, question: &Question) -> String {
    link_known(scope, question, &format!("/tables/{}.csv", question.name))
}

/// A link to another place where a question is answered, with the filters that it knows.
fn link_known(scope: &Scope, question: &Question, path: &str) -> String {
    let known = question.filters();
    let others: Vec<(&'static str, Option<&str>)> = scope
        .names()
        .filter(|(key, _)| !known.contains(key))
        .map(|(key, _)| (key, None))
        .collect();
    scope.with(&others).link_same(path, &[])
}

/// Paging and download of an answer.
pub fn below(context: &Context<'_>, answer: &Answer, place: Place) -> Markup {
    let scope = context.scope;
    let shown = answer.rows.len() as u64;
    let csv = csv_link(scope, answer.question);
    let sort = scope.sort_text();
    let page = |offset: u64| {
        let offset = offset.to_string();
        let limit = scope.limit.map(|limit| limit.to_string());
        let mut names = vec![("offset", offset.as_str())];
        names.extend(sort.as_deref().map(|sort| ("sort", sort)));
        names.extend(limit.as_deref().map(|limit| ("limit", limit)));
        scope.link_same(context.path, &names)
    };
    let size = scope.limit.unwrap_or(super::USUAL_ROWS).max(1);
    html! {
        p.below {
            @if shown > 0 {
                @if answer.total > shown {
                    span {
                        (thousands(answer.offset + 1)) "–" (thousands(answer.offset + shown)) " of " (thousands(answer.total))
                    }
                    @match place {
                        Place::Main => {
                            @if answer.offset > 0 { a href=(page(answer.offset.saturating_sub(size))) rel="prev" { "‹ Before" } }
                            @if answer.offset + shown < answer.total { a href=(page(answer.offset + shown)) rel="next" { "Next ›" } }
                        },
                        Place::Beside(Some(path)) => a href=(link_known(scope, answer.question, path)) { "All of them" },
                        Place::Beside(None) => "",
                    }
                }
                a href=(csv) download { "CSV" }
            } @else if answer.offset > 0 && place == Place::Main {
                a href=(page(0)) { "To the first rows" }
            }
        }
    }
}

/// A figure with its name.
pub fn tile(name: &str, value: &Markup, note: &Markup) -> Markup {
    html! {
        div.tile {
            p.name { (name) }
            p.value { (value) }
            p.note { (note) }
        }
    }
}

/// A figure with its name, that leads to what it is the sum of.
pub fn tile_to(name: &str, value: &Markup, note: &Markup, href: &str) -> Markup {
    tile(name, &html! { a href=(href) { (value) } }, note)
}

/// A cost in a tile, or that it is not known.
pub fn usd(cost: Option<NanoUsd>) -> Markup {
    html! { (cost.map_or_else(|| "unknown".to_owned(), dollars)) }
}

/// A sum over a column; `None` where no row knows it.
pub fn sum(answer: &Answer, column: &str) -> Option<NanoUsd> {
    let mut known = answer
        .rows
        .iter()
        .filter_map(|row| answer.cell(row, column).usd())
        .peekable();
    known.peek()?;
    Some(NanoUsd::from_nano(known.map(NanoUsd::get).sum()))
}

/// The values of a row as a list of names and values.
pub fn facts(scope: &Scope, answer: &Answer, row: &[Cell], but: &[&str]) -> Markup {
    html! {
        dl.facts {
            @for (place, column) in answer.question.columns.iter().enumerate() {
                @let cell = row.get(place).unwrap_or(&Cell::Null);
                @if !column.title.is_empty() && *cell != Cell::Null && !but.contains(&column.name) {
                    div {
                        dt title=(column.about) { (column.title) }
                        dd {
                            @match column.links.iter().flatten().find_map(|link| target(scope, answer, row, link)) {
                                Some(href) => a href=(href) { (show(scope, column, cell)) },
                                None => (show(scope, column, cell)),
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(24_738_004_992), "23.0 GiB");
        assert_eq!(thousandths(1500), "1.5");
        assert_eq!(thousandths(112), "0.112");
        assert_eq!(thousandths(4000), "4");
        assert_eq!(count(-43_873), "-43,873");
    }
}
