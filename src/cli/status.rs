//! What a long-running command tells of itself over HTTP: figures for Prometheus, and whether it is well.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// What is told.
pub struct Status {
    pub registry: Registry,
    /// Whether everything that is collected is known up to some instant.
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Whether figures may be told at an address: to everybody who can reach it, since no token is asked for.
///
/// # Errors
/// Where others can reach it, and nobody said that they may.
pub fn check(address: SocketAddr, is_anonymous: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        is_anonymous || address.ip().is_loopback(),
        "{address} can be reached from elsewhere, and /metrics asks for no token: listen on 127.0.0.1, or give --metrics-anonymous"
    );
    Ok(())
}

/// Serves `/metrics`, `/healthz` and `/readyz`; returns the address once it listens.
///
/// # Errors
/// Where the address cannot be had.
pub async fn serve(address: SocketAddr, status: Status) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; name another address with --listen"))?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new(status));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "figures are not served any more");
        }
    });
    Ok(address)
}

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    let mut text = String::new();
    if encode(&mut text, &status.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    if (status.is_ready)() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the first lists are not read yet\n",
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_over_a_network_only_if_somebody_said_so() {
        for (address, is_anonymous, is_served) in [
            ("127.0.0.1:9481", false, true),
            ("[::1]:9481", false, true),
            ("0.0.0.0:9481", false, false),
            ("[::]:9481", false, false),
            ("10.0.0.1:9481", false, false),
            ("0.0.0.0:9481", true, true),
        ] {
            let told = check(address.parse().unwrap(), is_anonymous);
            assert_eq!(told.is_ok(), is_served, "{address}");
            if let Err(error) = told {
                assert!(error.to_string().contains("--metrics-anonymous"), "{error}");
            }
        }
    }
}
