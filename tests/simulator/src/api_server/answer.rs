//! From a request to its answer: who asks, whether it may, and what becomes of it.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::Value;

use super::access::Attributes;
use super::failure::{Failure, json_response};
use super::request::{Asked, Form, Parameters, Target};
use super::resources::Resource;
use super::selector::{Selector, name_selected};
use super::sent::Sent;
use super::version::{Key, Version};
use super::{ApiServer, Use, discovery, kubelet, list, table, watch, write};

/// Bodies that are larger are refused by Kubernetes too (3 MiB).
const LARGEST_BODY: usize = 3 << 20;

pub(super) async fn answer(State(server): State<ApiServer>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return Failure::bad_request("the body is too large or broke off").into_response();
    };
    let path = parts.uri.path();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let usage = kubelet::Asked::of(authority, path);
    let answered = match (usage, Target::of(path)) {
        (Some(usage), _) => authenticate(&server, &parts.headers)
            .and_then(|user| kubelet::answer(&server, &usage, user.as_deref(), &parts.method)),
        (None, Target::Path(segments)) => {
            path_answer(&server, path, &segments, &parts.method, &parts.headers)
        }
        (None, Target::Resource(asked)) => Parameters::of(&parts.uri).and_then(|parameters| {
            resource_answer(&server, asked, parameters, &parts.method, &parts.headers, &body)
        }),
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&server.now());
    if let Some(date) = date.ok().and_then(|date| date.parse().ok()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// The name of who asks, where that matters.
fn authenticate(server: &ApiServer, headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(access) = &server.settings().access else {
        return Ok(None);
    };
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .filter(|token| access.knows(token))
        .map(|token| Some(token.to_owned()))
        .ok_or_else(Failure::unauthorized)
}

fn path_answer(
    server: &ApiServer,
    path: &str,
    segments: &[String],
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let user = authenticate(server, headers)?;
    if let (Some(access), Some(user)) = (&server.settings().access, &user) {
        access.check_path(user, path, &method.as_str().to_lowercase())?;
    }
    if method != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    let mut store = server.store();
    if matches!(
        segments.first().map(String::as_str),
        Some("healthz" | "livez" | "readyz")
    ) {
        return Ok("ok".into_response());
    }
    if let Some(failure) = store.faults.refuse() {
        return Err(failure);
    }
    let is_aggregated =
        server.settings().has_aggregated_discovery && Form::of(headers) == Ok(Form::Discovery);
    discovery::answer(&store.resources, segments, is_aggregated)
}

/// What a request does to a resource.
fn verb(asked: &Asked, parameters: &Parameters, method: &Method) -> Result<&'static str, Failure> {
    Ok(match (method, &asked.name) {
        (&Method::GET, None) if parameters.is_set("watch") => "watch",
        (&Method::GET, None) => "list",
        (&Method::GET, Some(_)) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, Some(_)) => "update",
        (&Method::PATCH, Some(_)) => "patch",
        (&Method::DELETE, Some(_)) => "delete",
        (&Method::DELETE, None) => "deletecollection",
        _ => return Err(Failure::method_not_allowed()),
    })
}

fn resource_answer(
    server: &ApiServer,
    asked: Asked,
    parameters: Parameters,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Failure> {
    let user = authenticate(server, headers)?;
    let verb = verb(&asked, &parameters, method)?;
    // Who lists or watches one object by its name asks for that name only.
    let name = match (&asked.name, verb) {
        (None, "list" | "watch") => name_selected(parameters.text("fieldSelector")).map(str::to_owned),
        (name, _) => name.clone(),
    };
    let used = Use {
        verb,
        group: asked.group.clone(),
        resource: asked.plural.clone(),
        subresource: asked.subresource.clone(),
        namespace: asked.namespace.clone(),
        name,
    };
    let allowed = match (&server.settings().access, &user) {
        (Some(access), Some(user)) => access.check(user, &Attributes::of(&used)),
        _ => Ok(()),
    };
    let now_ms = server.clock().now_ms();
    let number = {
        let mut store = server.store();
        store.uses.insert(used);
        allowed?;
        if let Some(failure) = store.faults.refuse() {
            return Err(failure);
        }
        store.age(now_ms);
        store.wake();
        store.resources.find(&asked.group, &asked.version, &asked.plural)
    };
    let number = number.ok_or_else(Failure::no_such_path)?;
    let form = Form::of(headers)?;
    match verb {
        "list" | "watch" => {
            let mut store = server.store();
            let Some((resource, _)) = store.of(number) else {
                return Err(Failure::no_such_path());
            };
            let resource = resource.clone();
            let namespace = asked.namespace.as_deref().filter(|_| resource.is_namespaced);
            let (labels, fields) = (parameters.text("labelSelector"), parameters.text("fieldSelector"));
            let selector =
                Selector::new(&resource, namespace, labels, fields).map_err(Failure::bad_request)?;
            if verb == "watch" {
                drop(store);
                return watch::open(server, number, selector, form, parameters);
            }
            let page = list::list(&mut store, number, &selector, &parameters, now_ms)?;
            // Serialised after the lock is gone.
            drop(store);
            Ok(json_response(
                200,
                page.body(&resource, form, &parameters, now_ms).into(),
            ))
        }
        "get" => {
            let store = server.store();
            let (resource, kept) = store.of(number).ok_or_else(Failure::no_such_path)?;
            let key = key(resource, &asked)?;
            if !matches!(asked.subresource.as_deref(), None | Some("status")) {
                return Err(Failure::no_such_path());
            }
            let version = kept
                .objects
                .get(&key)
                .ok_or_else(|| Failure::not_found(resource, &key.name))?;
            Ok(shown(200, resource, version, form, &parameters, now_ms))
        }
        _ => {
            let content_type = headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let body = Sent::of(verb, content_type.unwrap_or("application/json"), body)?;
            let mut store = server.store();
            let written = write::write(&mut store, number, verb, &asked, &parameters, body, now_ms);
            store.wake();
            let (code, written) = written?;
            let (resource, _) = store.of(number).ok_or_else(Failure::no_such_path)?;
            Ok(match written {
                write::Written::Object(version) => shown(code, resource, &version, form, &parameters, now_ms),
                write::Written::Other(status) => json_of(code, &status),
            })
        }
    }
}

/// What an object is found by that a path names.
pub(super) fn key(resource: &Resource, asked: &Asked) -> Result<Key, Failure> {
    match (&asked.namespace, resource.is_namespaced) {
        (None, true) => Err(Failure::no_such_path()),
        (namespace, is_namespaced) => Ok(Key {
            namespace: namespace.clone().filter(|_| is_namespaced).unwrap_or_default(),
            name: asked.name.clone().unwrap_or_default(),
        }),
    }
}

fn shown(
    code: u16,
    resource: &Resource,
    version: &Version,
    form: Form,
    parameters: &Parameters,
    now_ms: i64,
) -> Response {
    let body = match form {
        Form::Table => table::of_one(resource, version, parameters, true, now_ms).into(),
        Form::MetadataOnly => version.metadata_only().clone(),
        _ => version.whole.clone(),
    };
    json_response(code, body)
}

pub(super) fn json_of(code: u16, value: &Value) -> Response {
    json_response(code, value.to_string().into())
}
