//! The present time in a query is an instant in UTC, as all others in the marts are.
//!
//! `now()` has a time zone in DuckDB, and nothing can be reckoned with that without its extension ICU, which a session does not load: not even
//! `now() - interval 7 days`.

use serde_json::Value;

use crate::tree;

/// Functions that yield the present time with a time zone.
const PRESENT: [&str; 4] = [
    "current_timestamp",
    "get_current_timestamp",
    "now",
    "transaction_timestamp",
];

/// Makes the present time an instant in UTC in the tree of a query. Says whether it is there.
pub(crate) fn in_utc(query: &mut Value) -> bool {
    tree::change(query, &mut |part| {
        let name = part["function_name"].as_str().unwrap_or_default();
        if part["class"] != "FUNCTION" || !PRESENT.contains(&name.to_ascii_lowercase().as_str()) {
            return false;
        }
        let mut function = part.take();
        let alias = std::mem::replace(&mut function["alias"], "".into());
        *part = tree::cast(function, "TIMESTAMP");
        part["alias"] = alias;
        true
    })
}
