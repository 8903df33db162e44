//! The present time in a query is an instant in UTC, as all others in the marts are.
//!
//! `now()` has a time zone in DuckDB, and nothing can be reckoned with that without its extension ICU, which a session does not load: not even
//! `now() - interval 7 days`.

use serde_json::{Value, json};

/// Functions that yield the present time with a time zone.
const PRESENT: [&str; 4] = [
    "current_timestamp",
    "get_current_timestamp",
    "now",
    "transaction_timestamp",
];

/// Makes the present time an instant in UTC in the tree of a query. Says whether it is there.
pub(crate) fn in_utc(tree: &mut Value) -> bool {
    match tree {
        // Each part, whether or not one before it was changed.
        Value::Array(items) => {
            items
                .iter_mut()
                .map(in_utc)
                .filter(|is_changed| *is_changed)
                .count()
                > 0
        }
        Value::Object(object) => {
            let is_changed = object
                .values_mut()
                .map(in_utc)
                .filter(|is_changed| *is_changed)
                .count()
                > 0;
            let is_function = object.get("class").is_some_and(|class| class == "FUNCTION");
            let name = object
                .get("function_name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !is_function || !PRESENT.contains(&name.to_ascii_lowercase().as_str()) {
                return is_changed;
            }
            let alias = object.insert("alias".to_owned(), "".into());
            *tree = json!({
                "class": "CAST", "type": "OPERATOR_CAST", "alias": alias, "child": object, "try_cast": false,
                "type_expr": {
                    "class": "TYPE", "type": "TYPE", "alias": "", "catalog": "", "schema": "", "type_name": "TIMESTAMP", "children": [],
                    "qualified_name": { "path": ["TIMESTAMP"] },
                },
            });
            true
        }
        _ => false,
    }
}
