//! Values for a query's parameters (`$1`, `?`), put into its tree as constants.
//!
//! Architecture invariant: a value becomes one constant of the tree that is then judged; it is never text that a parser reads as SQL.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::tree;

/// A parameter's value. Without a type it takes the one of what it is held against, as a text in a query does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parameter {
    pub kind: Option<Kind>,
    /// As DuckDB reads its type from text; `None` is NULL.
    pub value: Option<Shape>,
}

/// One value or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shape {
    One(String),
    List(Vec<Option<String>>),
}

/// A type that a parameter may have; of a list, that of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Decimal,
    Text,
    Date,
    Time,
    Timestamp,
    TimestampWithTimeZone,
    Interval,
    Uuid,
    Json,
}

impl Kind {
    /// DuckDB's name; none where a text is as good, or a name would need digits (`DECIMAL` is one with three of them).
    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Boolean => "BOOLEAN",
            Self::SmallInt => "SMALLINT",
            Self::Integer => "INTEGER",
            Self::BigInt => "BIGINT",
            Self::Real => "FLOAT",
            Self::Double => "DOUBLE",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::Timestamp => "TIMESTAMP",
            Self::TimestampWithTimeZone => "TIMESTAMP WITH TIME ZONE",
            Self::Interval => "INTERVAL",
            Self::Uuid => "UUID",
            Self::Json => "JSON",
            Self::Decimal | Self::Text => return None,
        })
    }

    /// The type that a query names so, in DuckDB's words or in PostgreSQL's.
    fn of_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "boolean" | "bool" => Self::Boolean,
            "smallint" | "int2" => Self::SmallInt,
            "integer" | "int" | "int4" => Self::Integer,
            "bigint" | "int8" => Self::BigInt,
            "float" | "real" | "float4" => Self::Real,
            "double" | "float8" => Self::Double,
            "decimal" | "numeric" => Self::Decimal,
            "varchar" | "text" => Self::Text,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamp with time zone" | "timestamptz" => Self::TimestampWithTimeZone,
            "interval" => Self::Interval,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

/// Puts the values into the tree of a query. Says whether there were parameters.
///
/// # Errors
/// In words, where the query has a parameter that has no value here.
pub(crate) fn bind(query: &mut Value, parameters: &[Parameter]) -> Result<bool, String> {
    match query {
        Value::Array(items) => {
            items.iter_mut().try_fold(
                false,
                |is_changed, item| Ok(bind(item, parameters)? || is_changed),
            )
        }
        Value::Object(object) if is_parameter(object) => {
            *query = constant(object, parameters, false)?;
            Ok(true)
        }
        Value::Object(object) => {
            // `= any($1)` is `in (select unnest($1))` in the tree: clients write lists there as PostgreSQL does.
            if object.get("function_name").is_some_and(|name| name == "unnest")
                && let Some(argument) = object
                    .get_mut("arguments")
                    .and_then(|all| all.pointer_mut("/0/expression"))
                && let Some(parameter) = argument.as_object().filter(|argument| is_parameter(argument))
            {
                *argument = constant(parameter, parameters, true)?;
                return Ok(true);
            }
            if let Some(named) = object.get_mut("named_param_map") {
                *named = json!([]);
            }
            object.values_mut().try_fold(false, |is_changed, value| {
                Ok(bind(value, parameters)? || is_changed)
            })
        }
        _ => Ok(false),
    }
}

/// The parameters of a query, with the types that it says they have: by a cast, or as a limit.
pub(crate) fn of(query: &Value) -> Vec<Option<Kind>> {
    let mut all = Vec::new();
    gather(query, None, &mut all);
    all
}

fn gather(query: &Value, said: Option<Kind>, all: &mut Vec<Option<Kind>>) {
    match query {
        Value::Array(items) => items.iter().for_each(|item| gather(item, None, all)),
        Value::Object(object) if is_parameter(object) => {
            // More than a `u16` of them no protocol can name.
            let Some(index) = number(object).and_then(|number| number.checked_sub(1)) else {
                return;
            };
            if index < usize::from(u16::MAX) && all.len() <= index {
                all.resize(index + 1, None);
            }
            if let Some(slot) = all.get_mut(index) {
                *slot = slot.or(said);
            }
        }
        Value::Object(object) => {
            let cast = object
                .get("type_expr")
                .and_then(|kind| kind["type_name"].as_str());
            let is_limit = object.get("type").is_some_and(|kind| kind == "LIMIT_MODIFIER");
            for value in object.values() {
                let said = match cast {
                    Some(name) => Kind::of_name(name),
                    None => is_limit.then_some(Kind::BigInt),
                };
                gather(value, said, all);
            }
        }
        _ => {}
    }
}

fn is_parameter(object: &Map<String, Value>) -> bool {
    object.get("class").is_some_and(|class| class == "PARAMETER")
}

fn number(parameter: &Map<String, Value>) -> Option<usize> {
    parameter.get("identifier")?.as_str()?.parse().ok()
}

fn constant(
    parameter: &Map<String, Value>,
    parameters: &[Parameter],
    is_list: bool,
) -> Result<Value, String> {
    let name = parameter
        .get("identifier")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let value = number(parameter)
        .and_then(|number| parameters.get(number.checked_sub(1)?))
        .ok_or_else(|| format!("the parameter ${name} has no value"))?;
    let alias = parameter.get("alias").cloned().unwrap_or_else(|| json!(""));
    let listed = match &value.value {
        Some(Shape::One(text)) if is_list => Some(Shape::List(list_of_text(text)?)),
        _ => None,
    };
    let mut expression = match listed.as_ref().or(value.value.as_ref()) {
        None => as_kind(tree::null(), value.kind),
        Some(Shape::One(text)) => one(text, value.kind),
        Some(Shape::List(parts)) => {
            let parts: Vec<Value> = parts
                .iter()
                .map(|part| {
                    part.as_deref()
                        .map_or_else(tree::null, |text| one(text, value.kind))
                })
                .collect();
            tree::list(&parts)
        }
    };
    expression["alias"] = alias;
    Ok(expression)
}

fn one(text: &str, kind: Option<Kind>) -> Value {
    match kind {
        // As it would be written: DuckDB gives a number its own digits.
        Some(Kind::Decimal) if is_decimal(text) => tree::number(text),
        kind => as_kind(tree::string(text), kind),
    }
}

fn as_kind(child: Value, kind: Option<Kind>) -> Value {
    match kind.and_then(Kind::name) {
        Some(name) => tree::cast(child, name),
        None => child,
    }
}

/// Whether it is digits with at most one point, and a sign.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && all(part)
}

/// A list as PostgreSQL writes it, of one dimension: `{a,"b c",NULL}`.
///
/// # Errors
/// In words.
pub fn list_of_text(text: &str) -> Result<Vec<Option<String>>, String> {
    let malformed = || {
        format!(
            "`{}` is no list such as {{a,b}}",
            text.chars().take(100).collect::<String>()
        )
    };
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut was_quoted) = (false, false);
    let mut letters = inner.chars();
    let mut end = |part: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(part);
        let is_null = !*was_quoted && text.eq_ignore_ascii_case("null");
        *was_quoted = false;
        parts.push((!is_null).then_some(text));
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => part.push(letters.next().ok_or_else(malformed)?),
            '"' => {
                is_quoted = !is_quoted;
                was_quoted = true;
            }
            ',' if !is_quoted => end(&mut part, &mut was_quoted),
            '{' | '}' if !is_quoted => return Err(malformed()),
            letter => part.push(letter),
        }
    }
    if is_quoted {
        return Err(malformed());
    }
    if !inner.is_empty() {
        end(&mut part, &mut was_quoted);
    }
    Ok(parts)
}
