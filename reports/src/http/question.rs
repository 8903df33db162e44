//! A question is a query over marts that a page shows as a table, a CSV downloads and the API answers: figures are the same
//! everywhere because the query is.
//!
//! Its text has names for values (`$team`) and parts that stand only if the values in them are given (`[[and team = $team]]`).
//! Values never become text of a query: they are bound.

use std::time::Instant;

use duckdb::arrow::array::{Array, ArrayRef, AsArray};
use duckdb::arrow::datatypes::{DataType, Int64Type};
use duckdb::types::Value;
use duckdb::{Connection, params_from_iter};
use podledger_sql::units::NanoUsd;

use super::problem::Problem;
use super::scope::{MOST_ROWS, NAMES, STICKY, Scope};
use super::work::Over;
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
    /// US dollars where the row is about money at all.
    UsdIfAny,
    /// US dollars to the last digit, for what has to add up.
    ExactUsd,
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
    /// Mebibyte-milliseconds, shown as GiB-hours.
    MemoryTime,
    /// Millicore-milliseconds, shown as core-hours.
    ProcessorTime,
}

impl Kind {
    /// Whether it is money.
    pub const fn is_usd(self) -> bool {
        matches!(self, Self::Usd | Self::SmallUsd | Self::UsdIfAny | Self::ExactUsd)
    }
}

/// A link to a page about a thing: its parameters and the columns that have their values. A column without a parameter is only asked whether its value
/// is known.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub path: &'static str,
    pub with: &'static [(&'static str, &'static str)],
    /// Parameters that are the same for every row.
    pub fixed: &'static [(&'static str, &'static str)],
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
    pub links: [Option<Link>; 4],
}

/// A column that pages show.
pub const fn column(name: &'static str, title: &'static str, kind: Kind, about: &'static str) -> Column {
    Column {
        name,
        title,
        about,
        kind,
        links: [None; 4],
    }
}

/// A column that only links, pictures and programs need: pages do not show it.
pub const fn key(name: &'static str, kind: Kind, about: &'static str) -> Column {
    column(name, "", kind, about)
}

impl Column {
    /// The column with a link to a page.
    pub const fn to(self, path: &'static str, with: &'static [(&'static str, &'static str)]) -> Self {
        self.to_those(path, with, &[])
    }

    /// The column with a link to a page, where some parameters are the same for every row.
    pub const fn to_those(
        self,
        path: &'static str,
        with: &'static [(&'static str, &'static str)],
        fixed: &'static [(&'static str, &'static str)],
    ) -> Self {
        let mut links = self.links;
        let mut place = 0;
        while links[place].is_some() {
            place += 1;
        }
        links[place] = Some(Link { path, with, fixed });
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
        self.question.cell(row, name)
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
    /// Whether anybody waits for the answer.
    pub over: &'a Over,
    /// Whether the range before was observed as the range itself, so that they can be compared.
    pub is_compared: bool,
}

/// Hours of the range.
const HOURS: &str = "hour_start_at >= make_timestamp_ms($from) and hour_start_at < make_timestamp_ms($to)";

/// Hours of costs in the range, of what is filtered by. A filter by who works asks for what their pods cost, and not for what all share.
const COSTS: &str = "{hours} \
    [[and cluster = $cluster]] [[and team = $team and cost_category not in ({shared})]] \
    [[and pipeline = $pipeline and cost_category not in ({shared})]] [[and namespace = $namespace]] [[and job = $job]]";

/// What a team's pods are and did. Pods of a team that several share have its name; what they cost is split among its members.
const OF_TEAM: &str = "(team = $team or team in (select shares.team from marts.team_shares as shares where shares.member = $team))";

/// Of one category of cost, or of several with commas between them.
const OF_CATEGORY: &str = "list_contains(string_split($category, ','), cost_category)";

/// Days of the months that the range touches: bills are of months.
const BILLED_DAYS: &str = "charge_date >= date_trunc('month', cast($first_date as date)) \
    and charge_date < date_trunc('month', cast($last_date as date)) + interval 1 month";

/// The run that is named.
const THIS_RUN: &str = "pipeline = $pipeline and run = $run [[and cluster = $cluster]] [[and system = $system]] \
    [[and installation = $installation]] [[and run_epoch = $run_epoch]]";

/// Whether two rows are of the same run.
fn same_run(one: &str, other: &str) -> String {
    let keys = [
        "cluster",
        "system",
        "installation",
        "pipeline",
        "run",
        "run_epoch",
    ];
    let same = keys.map(|key| format!("{one}.{key} is not distinct from {other}.{key}"));
    same.join(" and ")
}

/// Takes a row of an answer, with how many rows there are in all.
type TakeRow<'a> = dyn FnMut(i64, &[Cell]) -> Result<(), Problem> + 'a;

impl Question {
    /// The text with what many questions share.
    fn text(&self) -> String {
        let shared: Vec<String> = SHARED.iter().map(|category| format!("'{category}'")).collect();
        let text = self
            .sql
            .replace("{costs}", COSTS)
            .replace("{hours}", HOURS)
            .replace("{billed_days}", BILLED_DAYS)
            .replace("{of_team}", OF_TEAM)
            .replace("{of_category}", OF_CATEGORY)
            .replace("{this_run}", THIS_RUN)
            .replace("{teams_of_runs}", &same_run("runs", "teams"))
            .replace("{pods_of_runs}", &same_run("runs", "pods"))
            .replace("{shared}", &shared.join(", "));
        known_sums(&text)
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

    /// A cell of a row of its answer by its column's name.
    pub fn cell<'a>(&self, row: &'a [Cell], name: &str) -> &'a Cell {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .and_then(|place| row.get(place))
            .unwrap_or(&Cell::Null)
    }

    /// Whether the range of a request matters.
    pub fn has_range(&self) -> bool {
        let text = self.text();
        ["$from", "$week", "$first_date"]
            .iter()
            .any(|name| text.contains(name))
    }

    /// Whether it is about the advice that is kept beside marts.
    pub fn is_of_advice(&self) -> bool {
        self.sql.contains("advice.main.")
    }

    /// Asks for a part of the answer.
    ///
    /// # Errors
    /// A [`Problem`]: a filter that is missing, a column to sort by that is not there, or a query that failed.
    pub fn ask(&'static self, asker: &Asker<'_>, scope: &Scope, part: Part) -> Result<Answer, Problem> {
        let mut rows = Vec::new();
        let mut total = 0;
        self.read(asker, scope, part, COUNTED, &mut |of, row| {
            total = u64::try_from(of).unwrap_or(0);
            rows.push(row.to_vec());
            Ok(())
        })?;
        if rows.is_empty() && (part.offset > 0 || part.limit == 0) {
            // Beside the rows that were asked for nobody knows how many there are.
            let first = Part { offset: 0, limit: 1 };
            self.read(asker, scope, first, COUNTED, &mut |of, _| {
                total = u64::try_from(of).unwrap_or(0);
                Ok(())
            })?;
        }
        Ok(Answer {
            question: self,
            rows,
            offset: part.offset,
            total,
        })
    }

    /// Asks for a part of the answer, and gives its rows away one after another: what is kept of them is decided there.
    ///
    /// # Errors
    /// As [`Question::ask`], and what is said of a row.
    pub fn each(
        &'static self,
        asker: &Asker<'_>,
        scope: &Scope,
        part: Part,
        row: &mut dyn FnMut(&[Cell]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.read(asker, scope, part, UNCOUNTED, &mut |_, cells| row(cells))
    }

    fn read(
        &'static self,
        asker: &Asker<'_>,
        scope: &Scope,
        part: Part,
        total: &str,
        row: &mut TakeRow<'_>,
    ) -> Result<(), Problem> {
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
        let order = self.order_of(scope)?;
        let limit = part.limit.min(i64::MAX.unsigned_abs());
        let text = format!(
            "select {total} as total_rows, {} from ({inner}) as asked order by {order} limit {limit} offset {}",
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
        asker.over.check()?;
        let mut statement = asker.connection.prepare(&text).map_err(failed)?;
        let batches = statement
            .stream_arrow(params_from_iter(values.into_iter().map(|(_, value)| value)))
            .map_err(failed)?;
        let mut count = 0;
        let mut cells = Vec::with_capacity(self.columns.len());
        for batch in batches {
            // DuckDB makes them of some 2,000 rows.
            asker.over.check()?;
            let batch = batch.map_err(failed)?;
            for at in 0..batch.num_rows() {
                let total = whole(batch.column(0), at).unwrap_or(0);
                cells.clear();
                cells.extend(
                    self.columns
                        .iter()
                        .zip(batch.columns().iter().skip(1))
                        .map(|(column, values)| cell(column.kind, values, at)),
                );
                row(total, &cells)?;
            }
            count += batch.num_rows();
        }
        tracing::debug!(
            question = self.name,
            rows = count,
            ms = started.elapsed().as_millis(),
            "asked"
        );
        Ok(())
    }

    /// How rows are ordered.
    fn order_of(&self, scope: &Scope) -> Result<String, Problem> {
        let Some((name, is_descending)) = &scope.sort else {
            return Ok(self.order.to_owned());
        };
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
        Ok(format!(
            "{} {} nulls last, {}",
            column.name,
            if *is_descending { "desc" } else { "asc" },
            self.order
        ))
    }
}

/// How many rows the whole answer has; counting them keeps all of them in memory.
const COUNTED: &str = "count(*) over ()";
const UNCOUNTED: &str = "cast(0 as bigint)";

/// A number as [`read_as`] reads it.
fn whole(values: &ArrayRef, at: usize) -> Option<i64> {
    let numbers = values.as_primitive_opt::<Int64Type>()?;
    numbers.is_valid(at).then(|| numbers.value(at))
}

/// A value as [`read_as`] reads it.
fn cell(kind: Kind, values: &ArrayRef, at: usize) -> Cell {
    match kind {
        Kind::Text if values.is_null(at) => Cell::Null,
        Kind::Text => {
            let text = match values.data_type() {
                DataType::LargeUtf8 => values.as_string_opt::<i64>().map(|texts| texts.value(at)),
                DataType::Utf8View => values.as_string_view_opt().map(|texts| texts.value(at)),
                _ => values.as_string_opt::<i32>().map(|texts| texts.value(at)),
            };
            text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
        }
        kind if kind.is_usd() => {
            whole(values, at).map_or(Cell::Null, |nano| Cell::Usd(NanoUsd::from_nano(nano)))
        }
        _ => whole(values, at).map_or(Cell::Null, Cell::Whole),
    }
}

/// Writes out sums of costs, `{cost where CONDITION}`: 0 where no row is meant, and NULL where none of them has a price.
fn known_sums(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        whole.push_str(before);
        rest = after;
        match after.split_once('}') {
            Some((inner, behind)) if inner.contains(" where ") => {
                let (cost, condition) = inner.split_once(" where ").unwrap_or_default();
                whole.push_str(&format!(
                    "case when count(*) filter ({condition}) = 0 then 0 else sum({cost}) filter ({condition}) end"
                ));
                rest = behind;
            }
            _ => whole.push('{'),
        }
    }
    whole.push_str(rest);
    whole
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
        kind if kind.is_usd() => {
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
        "first_date" => Some(Value::Text(scope.first_date.to_string())),
        "last_date" => Some(Value::Text(scope.last_date.to_string())),
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
