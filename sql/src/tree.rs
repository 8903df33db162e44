//! Trees of queries, as `json_serialize_sql` writes them: how they are changed, and the expressions that changes put there.

use serde_json::{Value, json};

/// Changes every part of a tree, those within a part before it. Says whether one was changed.
///
/// The depth of a tree is bounded where it is read (`judge.rs`).
pub(crate) fn change(tree: &mut Value, one: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    let mut is_changed = false;
    match tree {
        Value::Array(items) => {
            for item in items {
                is_changed |= change(item, one);
            }
        }
        Value::Object(object) => {
            for value in object.values_mut() {
                is_changed |= change(value, one);
            }
        }
        _ => return false,
    }
    one(tree) || is_changed
}

/// A text.
pub(crate) fn string(text: &str) -> Value {
    constant("STRING", text)
}

pub(crate) fn null() -> Value {
    constant("NULL_LITERAL", "")
}

/// A number, whose text DuckDB reads as it stands: digits, a sign, a point.
pub(crate) fn number(text: &str) -> Value {
    constant("NUMERIC", text)
}

fn constant(kind: &str, text: &str) -> Value {
    json!({ "class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "literal": { "kind": kind, "text": text } })
}

pub(crate) fn list(parts: &[Value]) -> Value {
    json!({ "class": "OPERATOR", "type": "ARRAY_CONSTRUCTOR", "alias": "", "children": parts })
}

/// An expression as another type, by DuckDB's name of it.
pub(crate) fn cast(child: Value, type_name: &str) -> Value {
    json!({
        "class": "CAST", "type": "OPERATOR_CAST", "alias": "", "child": child, "try_cast": false,
        "type_expr": {
            "class": "TYPE", "type": "TYPE", "alias": "", "catalog": "", "schema": "", "type_name": type_name, "children": [],
            "qualified_name": { "path": [type_name] },
        },
    })
}
