//! Patches: merged (RFC 7396) or step by step (RFC 6902).

use serde_json::{Map, Value};

/// Merges a patch into an object: what is null goes, lists are replaced.
pub(super) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Value::Object(fields) = object {
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }
}

/// Takes the steps of a patch, one after the other.
pub(super) fn steps(object: &mut Value, patch: &Value) -> Result<(), String> {
    let steps = patch.as_array().ok_or("a JSON patch is a list of steps")?;
    for step in steps {
        let field = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
        let (path, from) = (field("path"), field("from"));
        let value = step.get("value").cloned().unwrap_or(Value::Null);
        match field("op") {
            "add" => add(object, path, value)?,
            "remove" => {
                remove(object, path)?;
            }
            "replace" => *at(object, path)? = value,
            "move" => {
                let moved = remove(object, from)?;
                add(object, path, moved)?;
            }
            "copy" => {
                let copied = at(object, from)?.clone();
                add(object, path, copied)?;
            }
            "test" if *at(object, path)? == value => {}
            "test" => return Err(format!("testing path {path} failed")),
            other => return Err(format!("a JSON patch has no step {other}")),
        }
    }
    Ok(())
}

fn at<'a>(object: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    object
        .pointer_mut(path)
        .ok_or_else(|| format!("there is nothing at {path}"))
}

/// What holds that which a path names, and how it is called there.
fn parent<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, name) = path
        .rsplit_once('/')
        .ok_or_else(|| format!("{path} is no path"))?;
    Ok((at(object, parent)?, name.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    match parent(object, path)? {
        (Value::Object(fields), name) => {
            fields.insert(name, value);
        }
        (Value::Array(items), name) if name == "-" => items.push(value),
        (Value::Array(items), name) => {
            let place = name.parse().ok().filter(|place| *place <= items.len());
            items.insert(place.ok_or_else(|| format!("{path} is beyond the end"))?, value);
        }
        _ => return Err(format!("nothing can be added at {path}")),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    let gone = match parent(object, path)? {
        (Value::Object(fields), name) => fields.remove(&name),
        (Value::Array(items), name) => {
            let place = name.parse().ok().filter(|place| *place < items.len());
            place.map(|place: usize| items.remove(place))
        }
        _ => None,
    };
    gone.ok_or_else(|| format!("there is nothing at {path}"))
}
