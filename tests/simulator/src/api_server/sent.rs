//! Bodies of requests.

use serde_json::Value;

use super::failure::Failure;

/// What came with a write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Nothing,
    Object(Value),
    /// A patch that is merged; lists are replaced, also those that Kubernetes would merge by key.
    Merged(Value),
    Steps(Value),
    Applied(Value),
}

impl Sent {
    /// Reads a body as its type says.
    pub(super) fn of(verb: &str, content_type: &str, body: &[u8]) -> Result<Self, Failure> {
        const JSON: &str = "application/json, application/yaml";
        const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, \
             application/strategic-merge-patch+json, application/apply-patch+yaml";
        if body.is_empty() && matches!(verb, "delete" | "deletecollection") {
            return Ok(Self::Nothing);
        }
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match (verb, media_type) {
            ("patch", "application/merge-patch+json" | "application/strategic-merge-patch+json") => {
                json(body).map(Self::Merged)
            }
            ("patch", "application/json-patch+json") => json(body).map(Self::Steps),
            ("patch", "application/apply-patch+yaml") => yaml(body).map(Self::Applied),
            ("patch", _) => Err(Failure::unsupported_media_type(PATCHES)),
            (_, "application/json") => json(body).map(Self::Object),
            (_, "application/yaml") => yaml(body).map(Self::Object),
            _ => Err(Failure::unsupported_media_type(JSON)),
        }
    }
}

fn object(value: Value) -> Result<Value, Failure> {
    if value.is_object() || value.is_array() {
        return Ok(value);
    }
    Err(Failure::bad_request("the body is no object"))
}

fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("cannot read the body: {error}")))
        .and_then(object)
}

fn yaml(body: &[u8]) -> Result<Value, Failure> {
    yaml_serde::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("cannot read the body: {error}")))
        .and_then(object)
}
