//! A question is a query over marts that a page shows as a table, a CSV downloads and the API answers: figures are the same
//! everywhere because the query is.
//!
//! Its text has names for values (`$team`) and parts that stand only if the values in them are given (`[[and team = $team]]`).
//! Values never become text of a query: they are bound.

use std::time::Instant;

use duckdb::types::Value;
use duckdb::{Connection, params_from_iter};
use podledger_sql::units::NanoUsd;

use super::problem::Problem;
use super::scope::{MOST_ROWS, NAMES, STICKY, Scope};
use crate::weekly::SHARED;

/// What a column holds. Its unit in the API is in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name from outside, or a word of ours.
    Text,
    /// US dollars, shown with cents.
    Usd,
    /// US dollars of small things: shown with four decimals below a dollar.
    SmallUsd,
    /// A number of things.
    Count,
    /// Milliseconds.
    Duration,
    /// An instant, ms since 1970.
    Instant,
    /// Tenths of a percent.
    Permille,
    Bytes,
    Millicores,
    /// Thousandths of an accelerator.
    Milligpus,
}

/// A link to a page about a thing: its parameters and the columns that have their values.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub path: &'static str,
    pub with: &'static [(&'static str, &'static str)],
}

/// A column of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the query, CSV and JSON; units last.
    pub name: &'static str,
    /// Its heading; empty for one that only links and programs need.
    pub title: &'static str,
    pub about: &'static str,
    pub kind: Kind,
    /// Where it leads: the first of which the first value is known.
    pub links: [Option<Link>; 2],
}

/// A column that pages show.
pub const fn column(name: &'static str, title: &'static str, kind: Kind, about: &'static str) -> Column {
    Column {
        name,
        title,
        about,
        kind,
        links: [None, None],
    }
}

/// A column of keys, that pages do not show.
pub const fn key(name: &'static str, about: &'static str) -> Column {
    column(name, "", Kind::Text, about)
}

impl Column {
    /// The column with a link to a page.
    pub const fn to(self, path: &'static str, with: &'static [(&'static str, &'static str)]) -> Self {
        let link = Some(Link { path, with });
        let links = match self.links {
            [None, _] => [link, None],
            [first, _] => [first, link],
        };
        Self { links, ..self }
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        !matches!(self.kind, Kind::Text | Kind::Instant)
    }
}

/// A question.
#[derive(Debug)]
pub struct Question {
    /// Its name in URLs.
    pub name: &'static str,
    pub title: &'static str,
    /// What a row is and what it rests on.
    pub about: &'static str,
    pub sql: &'static str,
    /// How rows are ordered, unless the request says otherwise; it decides between any two rows.
    pub order: &'static str,
    pub columns: &'static [Column],
    /// Filters that it needs.
    pub required: &'static [&'static str],
}

/// A value in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Usd(NanoUsd),
    /// A number in the unit of its column.
    Whole(i64),
    /// Unknown, or not there: never zero.
    Null,
}

impl Cell {
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(number) => Some(*number),
            Self::Usd(cost) => Some(cost.get()),
            _ => None,
        }
    }

    pub fn usd(&self) -> Option<NanoUsd> {
        match self {
            Self::Usd(cost) => Some(*cost),
            _ => None,
        }
    }
}

/// An answer: rows from `offset` on, of so many in all.
#[derive(Debug, Clone)]
pub struct Answer {
    pub question: &'static Question,
    pub rows: Vec<Vec<Cell>>,
    pub offset: u64,
    pub total: u64,
}

impl Answer {
    /// A cell of a row by its column's name.
    pub fn cell<'a>(&self, row: &'a [Cell], name: &str) -> &'a Cell {
        self.question
            .columns
            .iter()
            .position(|column| column.name == name)
            .and_then(|place| row.get(place))
            .unwrap_or(&Cell::Null)
    }
}

/// Which rows of an answer are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub offset: u64,
    pub limit: u64,
}

impl Part {
    /// All that an answer may have.
    pub const ALL: Self = Self {
        offset: 0,
        limit: u64::MAX,
    };
}

/// Access to the marts for one request.
pub struct Asker<'a> {
    pub connection: &'a Connection,
    /// Whether the range before was observed as the range itself, so that they can be compared.
    pub is_compared: bool,
}

/// Hours of costs in the range, of what is filtered by. A filter by who works asks for what their pods cost, and not for what all share.
const COSTS: &str = "hour_start_at >= make_timestamp_ms($from) and hour_start_at < make_timestamp_ms($to) \
    [[and cluster = $cluster]] [[and team = $team and cost_category not in ({shared})]] \
    [[and pipeline = $pipeline and cost_category not in ({shared})]] [[and namespace = $namespace]] [[and job = $job]]";

impl Question {
    /// The text with what many questions share.
    fn text(&self) -> String {
        let shared: Vec<String> = SHARED.iter().map(|category| format!("'{category}'")).collect();
        self.sql
            .replace("{costs}", COSTS)
            .replace("{shared}", &shared.join(", "))
    }

    /// Filters that it knows.
    pub fn filters(&self) -> Vec<&'static str> {
        let text = self.text();
        let is_used = |key: &&&str| {
            text.match_indices(&format!("${key}")).any(|(at, found)| {
                !text[at + found.len()..]
                    .starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_')
            })
        };
        STICKY.iter().chain(NAMES).filter(is_used).copied().collect()
    }

    /// Whether the range of a request matters.
    pub fn has_range(&self) -> bool {
        let text = self.text();
        text.contains("$from") || text.contains("$week")
    }

    /// Asks for a part of the answer.
    ///
    /// # Errors
    /// A [`Problem`]: a filter that is missing, a column to sort by that is not there, or a query that failed.
    pub fn ask(&'static self, asker: &Asker<'_>, scope: &Scope, part: Part) -> Result<Answer, Problem> {
        for key in self.required {
            scope.required(key)?;
        }
        let mut values: Vec<(String, Value)> = Vec::new();
        let inner = bind(
            &self.text().replace("{days}", &days(scope)),
            &|name| value(asker, scope, name),
            &mut values,
        );
        let columns: Vec<String> = self.columns.iter().map(read_as).collect();
        let order = match &scope.sort {
            Some((name, is_descending)) => {
                let column = self
                    .columns
                    .iter()
                    .find(|column| column.name == name)
                    .ok_or_else(|| {
                        Problem::bad(format!(
                            "there is no column `{}` to sort by",
                            crate::display::short(name)
                        ))
                    })?;
                format!(
                    "{} {} nulls last, {}",
                    column.name,
                    if *is_descending { "desc" } else { "asc" },
                    self.order
                )
            }
            None => self.order.to_owned(),
        };
        let limit = part.limit.min(i64::MAX.unsigned_abs());
        let text = format!(
            "select count(*) over () as total_rows, {} from ({inner}) as asked order by {order} limit {limit} offset {}",
            columns.join(", "),
            part.offset
        );
        let started = Instant::now();
        let failed = |source| {
            Problem::failed(&crate::Error::DuckDb {
                doing: "answer a question",
                source,
            })
        };
        let mut statement = asker.connection.prepare(&text).map_err(failed)?;
        let mut found = statement
            .query(params_from_iter(values.into_iter().map(|(_, value)| value)))
            .map_err(failed)?;
        let mut rows = Vec::new();
        let mut total = 0;
        while let Some(row) = found.next().map_err(failed)? {
            total = u64::try_from(row.get::<_, i64>(0).map_err(failed)?).unwrap_or(0);
            let mut cells = Vec::with_capacity(self.columns.len());
            for (place, column) in self.columns.iter().enumerate() {
                let cell = match column.kind {
                    Kind::Text => row
                        .get::<_, Option<String>>(place + 1)
                        .map(|text| text.map_or(Cell::Null, Cell::Text)),
                    Kind::Usd | Kind::SmallUsd => row
                        .get::<_, Option<i64>>(place + 1)
                        .map(|nano| nano.map_or(Cell::Null, |nano| Cell::Usd(NanoUsd::from_nano(nano)))),
                    _ => row
                        .get::<_, Option<i64>>(place + 1)
                        .map(|number| number.map_or(Cell::Null, Cell::Whole)),
                };
                cells.push(cell.map_err(failed)?);
            }
            rows.push(cells);
        }
        tracing::debug!(
            question = self.name,
            rows = rows.len(),
            ms = started.elapsed().as_millis(),
            "asked"
        );
        if rows.is_empty() && part.offset > 0 {
            // Behind the last row nobody knows how many there are.
            let first = Part { offset: 0, limit: 1 };
            total = self.ask(asker, scope, first)?.total;
        }
        Ok(Answer {
            question: self,
            rows,
            offset: part.offset,
            total,
        })
    }
}

/// Rows that a request wants of a page or of the API.
pub fn part(scope: &Scope, usual: u64) -> Part {
    Part {
        offset: scope.offset,
        limit: scope.limit.unwrap_or(usual).min(MOST_ROWS),
    }
}

/// The days of a range as rows: integers and dates of ours.
fn days(scope: &Scope) -> String {
    let rows: Vec<String> = scope
        .each_day()
        .into_iter()
        .map(|(date, from, to)| format!("('{date}', {from}, {to})"))
        .collect();
    format!("(values {}) as days(local_date, from_ms, to_ms)", rows.join(", "))
}

fn read_as(column: &Column) -> String {
    let name = column.name;
    match column.kind {
        Kind::Text => format!("cast({name} as varchar) as {name}"),
        Kind::Usd | Kind::SmallUsd => {
            format!("cast(cast({name} as decimal(38,9)) * 1000000000 as bigint) as {name}")
        }
        Kind::Instant => format!("epoch_ms({name}) as {name}"),
        _ => format!("cast({name} as bigint) as {name}"),
    }
}

fn value(asker: &Asker<'_>, scope: &Scope, name: &str) -> Option<Value> {
    let (from, to) = scope.bounds_ms();
    match name {
        "from" => Some(Value::BigInt(from)),
        "to" => Some(Value::BigInt(to)),
        "before" => Some(Value::BigInt(scope.before_ms())),
        "is_compared" => Some(Value::Boolean(asker.is_compared)),
        "zone" => Some(Value::Text(scope.zone().to_owned())),
        "week" => scope.week.as_ref().map(|week| Value::Text(week.to_string())),
        _ => scope.name(name).map(|value| Value::Text(value.to_owned())),
    }
}

/// The text with numbers for names of values, and without the parts of which a value is missing.
fn bind(text: &str, value: &dyn Fn(&str) -> Option<Value>, values: &mut Vec<(String, Value)>) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[[") {
        let Some(end) = rest[start..].find("]]") else {
            break;
        };
        kept.push_str(&rest[..start]);
        let optional = &rest[start + 2..start + end];
        if names_in(optional).all(|name| value(name).is_some()) {
            kept.push_str(optional);
        }
        rest = &rest[start + end + 2..];
    }
    kept.push_str(rest);
    let mut bound = String::new();
    let mut rest = kept.as_str();
    while let Some(at) = rest.find('$') {
        bound.push_str(&rest[..at]);
        let name: String = name_at(&rest[at + 1..]).to_owned();
        rest = &rest[at + 1 + name.len()..];
        let place = match values.iter().position(|(known, _)| *known == name) {
            Some(place) => place,
            None => {
                values.push((name.clone(), value(&name).unwrap_or(Value::Null)));
                values.len() - 1
            }
        };
        bound.push_str(&format!("${}", place + 1));
    }
    bound.push_str(rest);
    bound
}

fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(name_at)
}

fn name_at(text: &str) -> &str {
    let end = text
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_only_if_their_values_are_given() {
        let known = |name: &str| (name == "team").then(|| Value::Text("x'; drop".to_owned()));
        let mut values = Vec::new();
        let text = bind(
            "select $team where a = 1 [[and team = $team]] [[and pipeline = $pipeline]]",
            &known,
            &mut values,
        );
        assert_eq!(text, "select $1 where a = 1 and team = $1 ");
        assert_eq!(values.len(), 1);
    }

    #[test]
    fn questions_are_named_once_and_order_all_their_rows() {
        let mut names: Vec<&str> = super::super::questions::ALL
            .iter()
            .map(|question| question.name)
            .collect();
        names.sort_unstable();
        let many = names.len();
        names.dedup();
        assert_eq!(names.len(), many);
        for question in super::super::questions::ALL {
            for column in question.columns {
                assert!(!column.about.is_empty(), "{}.{}", question.name, column.name);
                for link in column.links.iter().flatten() {
                    for (_, from) in link.with {
                        assert!(
                            question.columns.iter().any(|other| other.name == *from),
                            "{}: {from}",
                            question.name
                        );
                    }
                }
            }
        }
    }
}
