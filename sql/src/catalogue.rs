//! PostgreSQL's catalogue, for programs that browse a database before they ask it.
//!
//! ```text
//! tree of a query -> translate: pg_catalog.pg_class -> catalogue.pg_class, 'runs'::regclass -> catalogue.to_regclass('runs') -> judge
//! snapshot's description -> fill: the tables and macros of catalogue.sql
//! ```
//!
//! Architecture invariant: nothing here shows DuckDB's own catalogue, which knows paths and settings.
//! Architecture invariant: a translated tree is judged like any other; what is not translated is refused there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use duckdb::Connection;
use serde_json::{Map, Value, json};

use crate::error::{Doing, Result};
use crate::ledger::quote;
use crate::parameters::list_of_text;
use crate::published::Manifest;
use crate::tree;

/// Tables and macros, filled from a snapshot.
const SQL: &str = include_str!("catalogue.sql");

/// The schema in which the tables of `pg_catalog` and all macros are here.
const CATALOGUE: &str = "catalogue";

/// The schema in which the tables of `information_schema` are here.
const STANDARD: &str = "standard";

/// The number of the first mart: PostgreSQL's first for what users make (`FirstNormalObjectId` in `transam.h`).
const FIRST_OID: usize = 16_384;

/// Names that are values without brackets. (`user` is one too, but a column may have that name where PostgreSQL is not meant.)
const VALUES: [&str; 4] = ["current_catalog", "current_role", "current_user", "session_user"];

/// PostgreSQL's functions that have another name in DuckDB.
const RENAMED: [(&str, &str); 3] = [
    ("~", "regexp_matches"),
    ("json_build_object", "json_object"),
    ("jsonb_build_object", "json_object"),
];

/// PostgreSQL's types that have another name in DuckDB.
const TYPES: [(&str, &str); 11] = [
    ("_text", "VARCHAR[]"),
    ("cardinal_number", "INTEGER"),
    ("character_data", "VARCHAR"),
    ("jsonb", "JSON"),
    ("name", "VARCHAR"),
    ("oid", "BIGINT"),
    ("regproc", "VARCHAR"),
    ("regprocedure", "VARCHAR"),
    ("sql_identifier", "VARCHAR"),
    ("xid", "BIGINT"),
    ("yes_or_no", "VARCHAR"),
];

/// Types whose values are numbers of things that are written by name: the type, the macro from a name, the macro to a name.
const NUMBERED: [(&str, &str, &str); 4] = [
    ("regclass", "to_regclass", "name_of_class"),
    ("regnamespace", "to_regnamespace", "name_of_namespace"),
    ("regrole", "to_regrole", "pg_get_userbyid"),
    ("regtype", "to_regtype", "name_of_type"),
];

/// What there is, by the names in `catalogue.sql`.
static TABLES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| names("create table catalogue."));
static STANDARD_TABLES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| names("create table standard."));
static MACROS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| names("create macro catalogue."));

fn names(prefix: &str) -> BTreeSet<&'static str> {
    SQL.lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .filter_map(|rest| rest.split([' ', '(']).next())
        .collect()
}

/// Whether a table of the catalogue has this schema and name.
pub(crate) fn is_table(schema: &str, name: &str) -> bool {
    (schema == CATALOGUE && TABLES.contains(name)) || (schema == STANDARD && STANDARD_TABLES.contains(name))
}

/// Whether a macro of the catalogue has this schema and name.
pub(crate) fn is_macro(schema: &str, name: &str) -> bool {
    schema == CATALOGUE && MACROS.contains(name)
}

/// Makes the tree of a query ask the tables and macros of the catalogue where it names those of PostgreSQL. Says whether it did.
pub(crate) fn translate(query: &mut Value) -> bool {
    let is_changed = tree::change(query, &mut rename_part);
    if is_changed {
        tree::change(query, &mut settle);
    }
    is_changed
}

/// What only a query of the catalogue has: in PostgreSQL the alias of a function in a FROM clause names its column too, a function that yields one value
/// may stand there, lists are written `'{a,b}'`, `format` has its own signs, and `user` is who asks.
fn settle(part: &mut Value) -> bool {
    let Value::Object(object) = part else {
        return false;
    };
    if text(object, "class") == "TYPE"
        && let [name] = path(object, "qualified_name").as_slice()
        && NUMBERED.iter().any(|(numbered, ..)| numbered == name)
    {
        rename(object, ("schema", "type_name"), "", "VARCHAR");
    }
    match text(object, "function_name") {
        "unnest" => list_of(object),
        "format" => signs(object),
        _ => {}
    }
    let other = match (text(object, "class"), text(object, "type")) {
        ("COLUMN_REF", _) => value(object, &["user"]),
        ("", "TABLE_FUNCTION") => source(object),
        _ => None,
    };
    put(part, other)
}

/// A function in a FROM clause: names its column, or becomes a query of one value.
fn source(object: &mut Map<String, Value>) -> Option<Value> {
    let alias = text(object, "alias").to_owned();
    let names = object.get("column_name_alias").and_then(Value::as_array)?;
    if alias.is_empty() || !names.is_empty() {
        return None;
    }
    let function = object.get_mut("function")?.as_object_mut()?;
    match text(function, "function_name") {
        "generate_series" | "range" | "unnest" => {
            object.insert("column_name_alias".to_owned(), json!([alias]));
            None
        }
        "pg_get_keywords" => None,
        _ => {
            function.insert("alias".to_owned(), alias.as_str().into());
            Some(json!({
                "type": "SUBQUERY", "alias": alias, "sample": null, "column_name_alias": [],
                "subquery": {
                    "named_param_map": [],
                    "node": {
                        "type": "SELECT_NODE", "modifiers": [], "cte_map": { "map": [] }, "select_list": [function],
                        "from_table": { "type": "EMPTY", "alias": "", "sample": null }, "where_clause": null,
                        "group_expressions": [], "group_sets": [], "aggregate_handling": "STANDARD_HANDLING", "having": null,
                        "sample": null, "qualify": null,
                    },
                },
            }))
        }
    }
}

/// Puts something in the place of a part, if there is something. Says whether there was.
fn put(part: &mut Value, other: Option<Value>) -> bool {
    let is_changed = other.is_some();
    if let Some(other) = other {
        *part = other;
    }
    is_changed
}

/// `= any('{a,b}')` is `in (select unnest('{a,b}'))` in the tree.
fn list_of(unnest: &mut Map<String, Value>) {
    let argument = unnest
        .get_mut("arguments")
        .and_then(|arguments| arguments.pointer_mut("/0/expression"));
    if let Some(argument) = argument
        && argument["literal"]["kind"] == "STRING"
        && let Ok(parts) = list_of_text(argument["literal"]["text"].as_str().unwrap_or_default())
    {
        let parts: Vec<Value> = parts
            .iter()
            .map(|part| part.as_deref().map_or_else(tree::null, tree::string))
            .collect();
        *argument = tree::list(&parts);
    }
}

/// `format('%I.%I', a, b)` is `printf` in DuckDB, where names that need no quotes have none either.
fn signs(format: &mut Map<String, Value>) {
    let first = format
        .get_mut("arguments")
        .and_then(|arguments| arguments.pointer_mut("/0/expression/literal/text"));
    if let Some(first) = first
        && let Some(signs) = first.as_str().filter(|signs| signs.contains('%'))
    {
        *first = signs.replace("%I", "%s").replace("%L", "%s").into();
        rename(format, ("schema", "function_name"), "", "printf");
    }
}

fn rename_part(part: &mut Value) -> bool {
    let Value::Object(object) = part else {
        return false;
    };
    let other = match (text(object, "class"), text(object, "type")) {
        ("", "BASE_TABLE") => return table(object),
        ("FUNCTION", _) => return function(object),
        ("TYPE", _) => return type_name(object),
        ("COLUMN_REF", _) => without_schema(object).or_else(|| value(object, &VALUES)),
        ("CAST", _) => cast(object),
        ("COLLATE", _) => is_of_catalogue(&path(object, "collation")).then(|| object["child"].clone()),
        _ => None,
    };
    put(part, other)
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A qualified name in lower case, the name itself last. DuckDB writes that of a collation as one text.
fn path(object: &Map<String, Value>, field: &str) -> Vec<String> {
    match object.get(field) {
        Some(Value::String(name)) => name.split('.').map(str::to_ascii_lowercase).collect(),
        Some(name) => name["path"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_ascii_lowercase)
            .collect(),
        None => Vec::new(),
    }
}

fn is_of_catalogue(path: &[String]) -> bool {
    path.len() == 2 && path[0] == "pg_catalog"
}

/// Gives an object its new name, which the tree has twice.
fn rename(object: &mut Map<String, Value>, fields: (&str, &str), schema: &str, name: &str) {
    object.insert(fields.0.to_owned(), schema.into());
    object.insert(fields.1.to_owned(), name.into());
    let path = if schema.is_empty() {
        json!([name])
    } else {
        json!([schema, name])
    };
    object.insert("qualified_name".to_owned(), json!({ "path": path }));
}

fn table(object: &mut Map<String, Value>) -> bool {
    let path = path(object, "qualified_name");
    let (schema, name) = match path.as_slice() {
        [name] if name.starts_with("pg_") => (CATALOGUE, name),
        [schema, name] if schema == "pg_catalog" => (CATALOGUE, name),
        [schema, name] if schema == "information_schema" => (STANDARD, name),
        _ => return false,
    };
    if !is_table(schema, name) {
        return false;
    }
    rename(object, ("schema_name", "table_name"), schema, name);
    if text(object, "alias").is_empty() {
        object.insert("alias".to_owned(), name.as_str().into());
    }
    true
}

fn function(object: &mut Map<String, Value>) -> bool {
    let path = path(object, "qualified_name");
    let (is_prefixed, name) = match path.as_slice() {
        [name] => (false, name),
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" => (true, name),
        _ => return false,
    };
    let fields = ("schema", "function_name");
    if MACROS.contains(name.as_str()) {
        rename(object, fields, CATALOGUE, name);
        return true;
    }
    let other = RENAMED.iter().find(|(from, _)| from == name).map(|(_, to)| *to);
    match other {
        // `~` without its schema is DuckDB's own by now.
        Some(other) => rename(object, fields, "", other),
        None if is_prefixed => rename(object, fields, "", name),
        None => return false,
    }
    object.insert("is_operator".to_owned(), false.into());
    true
}

fn type_name(object: &mut Map<String, Value>) -> bool {
    let path = path(object, "qualified_name");
    let (is_prefixed, name) = match path.as_slice() {
        [name] => (false, name),
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" => (true, name),
        _ => return false,
    };
    let other = TYPES.iter().find(|(from, _)| from == name).map(|(_, to)| *to);
    if other.is_none() && !is_prefixed {
        return false;
    }
    rename(object, ("schema", "type_name"), "", other.unwrap_or(name));
    true
}

/// `pg_catalog.pg_class.oid` is `pg_class.oid`.
fn without_schema(object: &mut Map<String, Value>) -> Option<Value> {
    let names = object.get_mut("column_names")?.as_array_mut()?;
    let first = names.first()?.as_str()?.to_ascii_lowercase();
    if names.len() < 3 || !(first == "pg_catalog" || first == "information_schema") {
        return None;
    }
    names.remove(0);
    Some(Value::Object(object.clone()))
}

/// `current_user` is a macro's value.
fn value(object: &Map<String, Value>, names: &[&str]) -> Option<Value> {
    let [Value::String(column)] = object.get("column_names")?.as_array()?.as_slice() else {
        return None;
    };
    let name = *names.iter().find(|name| name.eq_ignore_ascii_case(column))?;
    let macro_name = match name {
        "current_role" | "user" => "current_user",
        name => name,
    };
    let alias = text(object, "alias");
    Some(call(
        macro_name,
        Vec::new(),
        if alias.is_empty() { name } else { alias },
    ))
}

/// `'runs'::regclass` is a number, `oid::regclass` a name.
fn cast(object: &mut Map<String, Value>) -> Option<Value> {
    let type_expression = object.get("type_expr")?.as_object()?;
    let name = path(type_expression, "qualified_name").pop()?;
    let (_, from_name, to_name) = NUMBERED.iter().find(|(numbered, ..)| *numbered == name)?;
    let child = object.get("child")?.clone();
    // Of columns and numbers the type makes names, of all else numbers.
    let is_number = child["class"] == "COLUMN_REF"
        || (child["class"] == "CONSTANT" && child["literal"]["kind"] != "STRING");
    let macro_name = if is_number { to_name } else { from_name };
    Some(call(macro_name, vec![child], text(object, "alias")))
}

fn call(name: &str, arguments: Vec<Value>, alias: &str) -> Value {
    let arguments: Vec<Value> = arguments
        .into_iter()
        .map(|argument| json!({ "name": "", "expression": argument }))
        .collect();
    json!({
        "class": "FUNCTION", "type": "FUNCTION", "alias": alias, "function_name": name, "schema": CATALOGUE, "filter": null,
        "order_bys": { "type": "ORDER_MODIFIER", "orders": [] }, "distinct": false, "is_operator": false, "export_state": false,
        "catalog": "", "arguments": arguments, "qualified_name": { "path": [CATALOGUE, name] },
    })
}

/// Makes the catalogue of a snapshot, instead of that of the one before; of none, it is empty.
///
/// # Errors
/// [`crate::Error::DuckDb`].
pub(crate) fn fill(connection: &Connection, manifest: Option<&Manifest>) -> Result<()> {
    let (mut marts, mut columns) = (Vec::new(), Vec::new());
    for (index, mart) in manifest.iter().flat_map(|manifest| &manifest.marts).enumerate() {
        let oid = FIRST_OID + index;
        marts.push(format!(
            "({oid}, {}, {}, {}, {}, {})",
            quote(&mart.name),
            quote(&mart.description),
            mart.rows,
            mart.bytes,
            mart.columns.len()
        ));
        for (number, column) in mart.columns.iter().enumerate() {
            columns.push(format!(
                "({oid}, {}, {}, {}, {})",
                number + 1,
                quote(&column.name),
                quote(&column.description),
                quote(&column.kind)
            ));
        }
    }
    let into = |table: &str, rows: &[String]| match rows {
        [] => String::new(),
        rows => format!("insert into catalogue.{table} values {};\n", rows.join(",\n")),
    };
    let statements = format!(
        "begin; drop schema if exists standard cascade; drop schema if exists catalogue cascade; create schema catalogue; create schema standard;
        create table catalogue.mart (oid bigint, name varchar, description varchar, row_count bigint, byte_count bigint, column_count integer);
        create table catalogue.described (mart_oid bigint, number integer, name varchar, description varchar, kind varchar);
        {}{}{SQL}commit;",
        into("mart", &marts),
        into("described", &columns),
    );
    let filled = connection
        .execute_batch(&statements)
        .doing("make the catalogue of the snapshot");
    if filled.is_err() {
        // What failed may have failed in the middle.
        let _ = connection.execute_batch("rollback");
    }
    filled
}
