//! Requests to an API server, and what their failures mean.

use std::time::Duration;

use futures::{AsyncBufRead, TryStreamExt};
use http::header::{DATE, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use jiff::fmt::rfc2822::DateTimeParser;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use kube::core::params::{ListParams, WatchParams};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::clock::Clock;
use super::resources::Resource;

/// Why a request did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// What was asked for is older than what the server remembers.
    Expired,
    /// The server does not know this kind of request.
    Unsupported(String),
    /// The server wants to be asked again, but not before this time has passed.
    Throttled(Option<Duration>),
    /// It is not allowed.
    Forbidden(String),
    /// The resource is not there (any more).
    Missing(String),
    /// Something else; trying again may help.
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired => formatter.write_str("the version that was asked for is too old"),
            Self::Throttled(_) => formatter.write_str("the API server has too much to do"),
            Self::Unsupported(reason)
            | Self::Forbidden(reason)
            | Self::Missing(reason)
            | Self::Other(reason) => formatter.write_str(reason),
        }
    }
}

impl Failure {
    /// What a Status object says.
    pub(super) fn of_status(status: &Status) -> Self {
        let said = if status.message.is_empty() {
            format!("status {} {}", status.code, status.reason)
        } else {
            status.message.clone()
        };
        let too_large = |status: &Status| {
            let details = status.details.as_ref();
            details.is_some_and(|details| {
                let mut causes = details.causes.iter();
                causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
            })
        };
        match status.code {
            410 => Self::Expired,
            // The server was set back to an older state: what was asked for does not exist there.
            _ if too_large(status) => Self::Expired,
            400 | 422 => Self::Unsupported(said),
            401 | 403 => Self::Forbidden(said),
            404 => Self::Missing(said),
            429 => {
                let after = status.details.as_ref().map(|details| details.retry_after_seconds);
                Self::Throttled(
                    after
                        .filter(|after| *after > 0)
                        .map(|after| Duration::from_secs(u64::from(after))),
                )
            }
            _ => Self::Other(said),
        }
    }
}

/// A page of a list.
pub(super) struct Page {
    pub items: Vec<Box<RawValue>>,
    pub version: String,
    pub next: Option<String>,
}

/// Reads a page of a list.
pub(super) async fn page(
    client: &Client,
    clock: &Clock,
    resource: &Resource,
    next: Option<&str>,
    limit: u32,
    fields: Option<&str>,
) -> Result<Page, Failure> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        metadata: Meta,
        #[serde(default)]
        items: Option<Vec<Box<RawValue>>>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Meta {
        resource_version: String,
        #[serde(rename = "continue")]
        next: String,
    }
    let mut parameters = ListParams::default().limit(limit);
    if let Some(next) = next {
        parameters = parameters.continue_token(next);
    }
    if let Some(fields) = fields {
        parameters = parameters.fields(fields);
    }
    let request = kube::core::Request::new(&resource.path);
    let request = if resource.is_metadata_only {
        request.list_metadata(&parameters)
    } else {
        request.list(&parameters)
    };
    let response = send(client, clock, request).await?;
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| Failure::Other(chain(&error)))?.to_bytes();
    let list: List = serde_json::from_slice(&body)
        .map_err(|error| Failure::Other(format!("the list of {} is no list: {error}", resource.name)))?;
    Ok(Page {
        items: list.items.unwrap_or_default(),
        version: list.metadata.resource_version,
        next: Some(list.metadata.next).filter(|next| !next.is_empty()),
    })
}

/// Opens a watch from `version` on; from all that is there now on if there is none.
pub(super) async fn watch(
    client: &Client,
    clock: &Clock,
    resource: &Resource,
    version: Option<&str>,
    timeout: Duration,
) -> Result<impl AsyncBufRead + Unpin + use<>, Failure> {
    let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
    let mut parameters = WatchParams::default().timeout(seconds);
    if version.is_none() {
        parameters = parameters.initial_events();
    }
    let request = kube::core::Request::new(&resource.path);
    let version = version.unwrap_or_default();
    let request = if resource.is_metadata_only {
        request.watch_metadata(&parameters, version)
    } else {
        request.watch(&parameters, version)
    };
    let response = send(client, clock, request).await?;
    let body = response.into_body().into_data_stream();
    Ok(body.map_err(std::io::Error::other).into_async_read())
}

async fn send(
    client: &Client,
    clock: &Clock,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Response<Body>, Failure> {
    let request = request.map_err(|error| Failure::Other(chain(&error)))?;
    let response = client
        .send(request.map(Body::from))
        .await
        .map_err(|error| Failure::Other(chain(&error)))?;
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    if let Some(date) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok())
        && clock.set_right(date)
    {
        tracing::warn!(by = %clock.skew(), "this clock differs from the API server's, which counts");
    }
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status();
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|after| after.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = response.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    if code == StatusCode::TOO_MANY_REQUESTS || (code == StatusCode::SERVICE_UNAVAILABLE && after.is_some()) {
        return Err(Failure::Throttled(after));
    }
    let status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(&body).chars().take(200).collect(),
        ..Status::default()
    });
    Err(Failure::of_status(&Status {
        code: code.as_u16(),
        ..status
    }))
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = cause.source();
    }
    text
}
