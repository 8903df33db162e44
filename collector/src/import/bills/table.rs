//! A bill's file of rows as the table `bill` of a scratch database: cells found by their headers, typed, and checked.

use std::path::Path;

use duckdb::Connection;
use podledger_sql::Doing;
use podledger_sql::ledger::quote;

use super::cost_explorer;
use super::formats::{Field, Format, Kind, Need};
use super::rows;
use crate::error::{Error, Result};

/// A column of a file.
#[derive(Debug, Clone)]
struct Column {
    header: String,
    /// SQL that yields its text.
    text: String,
}

/// A field, and the column of the file that it was found in.
struct Found<'a> {
    field: &'a Field,
    header: Option<String>,
    text: String,
}

/// What was read of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub rows: i64,
    /// Rows whose billed cost has more than eighteen decimals, and what rounding them added to their sum.
    pub rounded_rows: i64,
    pub rounding_usd: Option<String>,
}

/// Makes the table `bill` of `path`, or of `text` that stands for the file: one row per row, numbered from 1, with a column for
/// each field of `format`.
///
/// # Errors
/// [`Error::Input`] for a torn file, a column that is missing, and the first cell that is not what its column must be.
pub(super) fn read(
    connection: &Connection,
    path: &Path,
    text: Option<&[u8]>,
    format: Format,
    assume_usd: bool,
) -> Result<Contents> {
    let (columns, relation) = if format == Format::CostExplorer {
        cost_explorer::load(connection, path, text)?;
        (answered(), Some("answers".to_owned()))
    } else if is_parquet(path) {
        let relation = format!("read_parquet({})", quote(&path.to_string_lossy()));
        let columns = parquet_columns(connection, &relation)
            .map_err(|error| input(path, format!("the file is damaged or no Parquet: {error}")))?;
        (columns, Some(relation))
    } else {
        (named(rows::headers(path)?), None)
    };
    let (found, used) = resolve(path, format, &columns, assume_usd)?;
    let relation = match relation {
        Some(relation) => format!("(select row_number() over () as row, * from {relation})"),
        None => {
            rows::load(connection, path, columns.len(), &used)?;
            "cells".to_owned()
        }
    };
    let cells: Vec<String> = found
        .iter()
        .map(|found| format!("{} as {}", found.text, found.field.name))
        .collect();
    connection
        .execute_batch(&format!(
            "create or replace temp table bill_text as select row, {} from {relation}; drop table if exists cells;",
            cells.join(", ")
        ))
        .map_err(|error| input(path, format!("the file is damaged: {error}")))?;
    let typed: Vec<String> = found
        .iter()
        .map(|found| format!("{} as {}", typed(found, format), found.field.name))
        .collect();
    connection
        .execute_batch(&format!(
            "create or replace temp view bill as select row, {} from bill_text",
            typed.join(", ")
        ))
        .doing("type the cells of a bill")?;
    check(connection, path, format, &found, assume_usd)?;
    summary(connection, format)
}

fn named(headers: Vec<String>) -> Vec<Column> {
    let columns = headers.into_iter().enumerate();
    columns
        .map(|(number, header)| Column {
            header,
            text: format!("c{number}"),
        })
        .collect()
}

fn answered() -> Vec<Column> {
    let columns = cost_explorer::COLUMNS.iter();
    columns
        .map(|column| Column {
            header: (*column).to_owned(),
            text: identifier(column),
        })
        .collect()
}

fn input(path: &Path, reason: impl Into<String>) -> Error {
    Error::Input {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

/// Columns of a Parquet file; those within a struct are named `struct.field`.
fn parquet_columns(connection: &Connection, relation: &str) -> duckdb::Result<Vec<Column>> {
    let mut columns = Vec::new();
    for (name, kind) in describe(connection, &format!("select * from {relation}"))? {
        let quoted = identifier(&name);
        if kind.starts_with("STRUCT") && !kind.ends_with("[]") {
            for (inner, kind) in describe(connection, &format!("select unnest({quoted}) from {relation}"))? {
                columns.push(Column {
                    header: format!("{name}.{inner}"),
                    text: as_text(&format!("{quoted}.{}", identifier(&inner)), &kind),
                });
            }
        } else {
            columns.push(Column {
                header: name,
                text: as_text(&quoted, &kind),
            });
        }
    }
    Ok(columns)
}

fn describe(connection: &Connection, query: &str) -> duckdb::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(&format!(
        "select column_name, column_type from (describe {query})"
    ))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn as_text(expression: &str, kind: &str) -> String {
    if kind.starts_with("MAP") || kind.starts_with("STRUCT") || kind.ends_with("[]") {
        format!("cast(to_json({expression}) as varchar)")
    } else {
        format!("cast({expression} as varchar)")
    }
}

/// A header by its letters and digits; its English name alone, where it has one in brackets behind.
fn normal(header: &str) -> String {
    let name = header
        .strip_suffix(')')
        .and_then(|rest| rest.rsplit_once('('))
        .map_or(header, |(_, english)| english);
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

fn resolve<'a>(
    path: &Path,
    format: Format,
    columns: &[Column],
    assume_usd: bool,
) -> Result<(Vec<Found<'a>>, Vec<usize>)> {
    let normals: Vec<String> = columns.iter().map(|column| normal(&column.header)).collect();
    let (mut found, mut used) = (Vec::new(), Vec::new());
    for field in format.fields() {
        let index = field
            .headers
            .iter()
            .find_map(|header| normals.iter().position(|name| *name == normal(header)));
        used.extend(index);
        let column = index.and_then(|index| columns.get(index));
        let (header, text) = match column {
            Some(column) => (
                Some(column.header.clone()),
                format!(
                    "case when lower(trim({text})) in ('', 'null') then null else trim({text}) end",
                    text = column.text
                ),
            ),
            None if field.name == "tags" && !format.tag_columns().is_empty() => {
                let (numbers, found) = tags(format, columns);
                used.extend(numbers);
                found
            }
            None => (None, "cast(null as varchar)".to_owned()),
        };
        if header.is_none() {
            let mend = match field.need {
                Need::Optional => None,
                Need::Required => Some("export it with this column"),
                Need::Currency if assume_usd => None,
                Need::Currency => Some("if all of it is in US dollars, say --assume-usd"),
            };
            if let Some(mend) = mend {
                return Err(input(
                    path,
                    format!(
                        "has no column `{}`, which a bill of the kind {} has; {mend}",
                        field.headers.join("` or `"),
                        format.name()
                    ),
                ));
            }
        }
        found.push(Found { field, header, text });
    }
    used.sort_unstable();
    used.dedup();
    Ok((found, used))
}

/// Tags that have a column each: the numbers of the columns, and all of them as one object.
fn tags(format: Format, columns: &[Column]) -> (Vec<usize>, (Option<String>, String)) {
    let (mut numbers, mut pairs) = (Vec::new(), Vec::new());
    for (number, column) in columns.iter().enumerate() {
        let prefixes = format.tag_columns().iter();
        let mut names = prefixes.filter_map(|prefix| column.header.strip_prefix(prefix));
        if let Some(name) = names.next() {
            numbers.push(number);
            pairs.push(format!(
                "struct_pack(k := {}, v := nullif(trim({}), ''))",
                quote(name),
                column.text
            ));
        }
    }
    if pairs.is_empty() {
        return (numbers, (None, "cast(null as varchar)".to_owned()));
    }
    let text = format!(
        "cast(to_json(map_from_entries(list_filter([{}], lambda tag: tag.v is not null))) as varchar)",
        pairs.join(", ")
    );
    (numbers, (Some("resource tags".to_owned()), text))
}

/// A number as it stands, or dollars as spreadsheets show them: `$1,234.50`.
fn number(cell: &str) -> String {
    format!(
        "case when regexp_matches({cell}, '^[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?$') then {cell} \
         when regexp_matches({cell}, '^-?[$][0-9]{{1,3}}(,[0-9]{{3}})*([.][0-9]+)?$') then replace(replace({cell}, '$', ''), ',', '') end"
    )
}

/// SQL of a field's value in the table `bill_text`; NULL where the cell is no such value.
fn typed(found: &Found<'_>, format: Format) -> String {
    let cell = found.field.name;
    match found.field.kind {
        Kind::Text => cell.to_owned(),
        Kind::Amount => format!("try_cast({} as decimal(38,18))", number(cell)),
        Kind::Instant => {
            let american = if format.has_american_dates() {
                format!(
                    " when regexp_matches({cell}, '^[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{2,4}}$') \
                     then try_strptime({cell}, ['%m/%d/%y', '%m/%d/%Y'])"
                )
            } else {
                String::new()
            };
            format!(
                "case when regexp_matches({cell}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]|$)') \
                 then cast(try_cast({cell} as timestamptz) as timestamp){american} end"
            )
        }
        // Azure leaves the braces out in some exports.
        Kind::Tags => format!(
            "case when try_cast(try_cast({cell} as json) as map(varchar, varchar)) is not null then {cell} \
             when try_cast(try_cast('{{' || {cell} || '}}' as json) as map(varchar, varchar)) is not null then '{{' || {cell} || '}}' end"
        ),
        // Some tools print lists as Python does.
        Kind::List => format!(
            "case when json_valid({cell}) and json_type({cell}) = 'ARRAY' then {cell} \
             when starts_with({cell}, '[{{''') and json_valid({python}) then {python} end",
            python = format!("replace(replace({cell}, '''', '\"'), ': None', ': null')")
        ),
    }
}

/// Finds the first cell that is not what its column must be.
fn check(
    connection: &Connection,
    path: &Path,
    format: Format,
    found: &[Found<'_>],
    assume_usd: bool,
) -> Result<()> {
    let mut rules = Vec::new();
    for found in found {
        let Some(header) = &found.header else { continue };
        let name = found.field.name;
        let wanted = match found.field.kind {
            Kind::Text => None,
            Kind::Amount => Some("a number"),
            Kind::Instant if format.has_american_dates() => {
                Some("an instant, such as 2026-11-16T00:00:00Z, or a date")
            }
            Kind::Instant => Some("an instant, such as 2026-11-16T00:00:00Z"),
            Kind::Tags => Some("an object in JSON"),
            Kind::List => Some("a list in JSON"),
        };
        if let Some(wanted) = wanted {
            rules.push((
                format!("bill_text.{name} is not null and bill.{name} is null"),
                header,
                name,
                format!("is not {wanted}"),
            ));
        }
        let is_required =
            found.field.need == Need::Required || found.field.need == Need::Currency && !assume_usd;
        if is_required {
            rules.push((
                format!("bill_text.{name} is null"),
                header,
                name,
                "is empty".to_owned(),
            ));
        }
        if found.field.need == Need::Currency {
            rules.push((
                format!("bill_text.{name} is not null and upper(bill_text.{name}) <> 'USD'"),
                header,
                name,
                "is another currency than the ledger's, which is USD; import an export in US dollars"
                    .to_owned(),
            ));
        }
    }
    let firsts: Vec<String> = rules
        .iter()
        .map(|(condition, ..)| format!("min(bill.row) filter (where {condition})"))
        .collect();
    let rows: Vec<Option<i64>> = connection
        .query_row(
            &format!(
                "select {} from bill inner join bill_text on bill.row = bill_text.row",
                firsts.join(", ")
            ),
            [],
            |row| (0..rules.len()).map(|index| row.get(index)).collect(),
        )
        .doing("check the cells of a bill")?;
    let first = rules
        .iter()
        .zip(rows)
        .filter_map(|(rule, row)| row.map(|row| (row, rule)))
        .min_by_key(|(row, _)| *row);
    let Some((row, (_, header, name, reason))) = first else {
        return Ok(());
    };
    let cell: Option<String> = connection
        .query_row(
            &format!("select left({name}, 80) from bill_text where row = ?"),
            [row],
            |row| row.get(0),
        )
        .doing("read a cell of a bill")?;
    let cell = cell.map_or_else(String::new, |cell| format!("`{cell}` "));
    Err(input(
        path,
        format!("row {row}, column `{header}`: {cell}{reason}"),
    ))
}

fn summary(connection: &Connection, format: Format) -> Result<Contents> {
    let of = |table: &str| {
        let names = format.billed_costs().iter();
        names
            .map(|name| format!("{table}.{name}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let cost = format!("coalesce({})", of("bill"));
    let exact = format!(
        "try_cast({} as decimal(38,28))",
        number(&format!("coalesce({})", of("bill_text")))
    );
    connection
        .query_row(
            &format!(
                "select count(*), count(*) filter (where {exact} <> {cost}), \
                 cast(sum(try_cast({cost} as decimal(38,28)) - {exact}) filter (where {exact} <> {cost}) as varchar) \
                 from bill inner join bill_text on bill.row = bill_text.row"
            ),
            [],
            |row| {
                Ok(Contents {
                    rows: row.get(0)?,
                    rounded_rows: row.get(1)?,
                    rounding_usd: row.get(2)?,
                })
            },
        )
        .doing("add up a bill")
        .map_err(Error::from)
}
