//! What goes wrong, as Kubernetes says it: Status objects.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::resources::{Resource, qualified};

/// A request that is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Value,
    metadata: Value,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            metadata: json!({}),
        }
    }

    fn about(mut self, group: &str, plural: &str, name: &str) -> Self {
        let mut details = serde_json::Map::new();
        for (key, text) in [("name", name), ("group", group), ("kind", plural)] {
            if !text.is_empty() {
                details.insert(key.to_owned(), text.into());
            }
        }
        self.details = Value::Object(details);
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(message: impl Into<String>, group: &str, plural: &str, name: &str) -> Self {
        Self::new(403, "Forbidden", message).about(group, plural, name)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(&resource.group, &resource.plural, name)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(406, "NotAcceptable", message)
    }

    pub(super) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(&resource.group, &resource.plural, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            resource.qualified()
        );
        Self::new(409, "Conflict", message).about(&resource.group, &resource.plural, name)
    }

    /// A watch, or a list at a version, that asks for what is forgotten.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    /// A page of a list whose snapshot is gone; `token` goes on from the same place in what is there now.
    pub(super) fn page_expired(token: &str) -> Self {
        let mut failure = Self::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of \
             the results. Continuing with the provided token results in an inconsistent list - objects that were \
             created, modified, or deleted between the time the first chunk was returned and now may show up in the \
             list.",
        );
        failure.metadata = json!({"continue": token});
        failure
    }

    /// A parameter that may not stand as it does.
    pub(super) fn invalid_option(field: &str, rule: &str) -> Self {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: Forbidden: {rule}");
        let mut failure = Self::new(422, "Invalid", message);
        failure.details = json!({
            "group": "meta.k8s.io",
            "kind": "ListOptions",
            "causes": [{"reason": "FieldValueForbidden", "message": format!("Forbidden: {rule}"), "field": field}],
        });
        failure
    }

    pub(super) fn invalid(resource: &Resource, name: &str, field: &str, what: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is invalid: {field}: {what}",
            qualified(&resource.group, &resource.kind)
        );
        let mut failure = Self::new(422, "Invalid", message);
        failure.details = json!({
            "name": name,
            "group": resource.group,
            "kind": resource.kind,
            "causes": [{"reason": "FieldValueInvalid", "message": what, "field": field}],
        });
        failure
    }

    pub(super) fn throttled(retry_after_secs: u32) -> Self {
        let message = "The server has received too many requests and has asked us to try again later";
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.details = json!({"retryAfterSeconds": retry_after_secs});
        failure
    }

    pub(super) fn broken() -> Self {
        Self::new(
            500,
            "InternalError",
            "Internal error occurred: etcdserver: no leader",
        )
    }

    pub(super) fn unavailable() -> Self {
        let message = "the server is currently unable to handle the request";
        Self::new(503, "ServiceUnavailable", message)
    }

    /// A list that is to be newer than anything that happened.
    pub(super) fn too_large(asked: u64, current: u64) -> Self {
        let mut failure = Self::new(
            504,
            "Timeout",
            format!("Too large resource version: {asked}, current: {current}"),
        );
        failure.details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        failure
    }

    /// The Status object.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = json_response(self.code, self.status().to_string().into());
        if let Some(seconds) = self.details.get("retryAfterSeconds").and_then(Value::as_u64) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub(super) fn json_response(code: u16, body: bytes::Bytes) -> Response {
    (
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}
