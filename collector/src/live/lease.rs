//! One collector per cluster: whoever holds the Lease.
//!
//! The holder renews the Lease well before it runs out; another takes it over once it has seen it unchanged for as long as
//! the Lease lasts, by its own clock, so clocks of different machines need not agree. A holder that cannot renew stops in
//! time.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::metrics::Metrics;
use crate::error::{Error, Result};

/// How long a Lease lasts that is not renewed.
const LASTS: Duration = Duration::from_secs(30);

/// How often it is renewed, or looked at.
const RENEWED: Duration = Duration::from_secs(10);

/// Which Lease, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who holds it: the name of the pod, or of the host and process.
    pub holder: String,
}

/// A Lease that is held.
pub(super) struct Held {
    api: Api<Lease>,
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    lease: Lease,
}

/// Waits until the Lease is held.
///
/// # Errors
/// [`Error::Cluster`] where Leases cannot be read or written.
pub(super) async fn acquire(
    client: Client,
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
) -> Result<Held> {
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    // What was seen last, and since when: its holder may live as long as it changes.
    let mut seen: Option<(Option<String>, Instant)> = None;
    loop {
        let lease = api
            .get_opt(&settings.name)
            .await
            .map_err(|source| refused(&settings, source))?;
        let taken = match lease {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(settings.name.clone()),
                        namespace: Some(settings.namespace.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(spec(&settings, &clock, None)),
                };
                api.create(&PostParams::default(), &lease).await
            }
            Some(lease) => {
                let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
                let is_free = holder
                    .as_deref()
                    .is_none_or(|holder| holder.is_empty() || holder == settings.holder);
                let version = lease.metadata.resource_version.clone();
                let since = match &seen {
                    Some((last, since)) if *last == version => *since,
                    _ => {
                        seen = Some((version, Instant::now()));
                        Instant::now()
                    }
                };
                let lasts = lease
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.lease_duration_seconds)
                    .unwrap_or(0);
                let lasts = Duration::from_secs(u64::try_from(lasts).unwrap_or(0)).max(LASTS);
                if !is_free && since.elapsed() < lasts {
                    metrics.leads(false);
                    tracing::info!(
                        lease = settings.name,
                        holder,
                        "another collector holds the lease; waiting"
                    );
                    sleep(RENEWED).await;
                    continue;
                }
                let next = Lease {
                    spec: Some(spec(&settings, &clock, lease.spec.as_ref())),
                    ..lease
                };
                api.replace(&settings.name, &PostParams::default(), &next).await
            }
        };
        match taken {
            Ok(lease) => {
                metrics.leads(true);
                return Ok(Held {
                    api,
                    settings,
                    clock,
                    metrics,
                    lease,
                });
            }
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => sleep(RENEWED).await,
            Err(source) => return Err(refused(&settings, source)),
        }
    }
}

fn refused(settings: &Settings, source: kube::Error) -> Error {
    Error::cluster(
        format!(
            "cannot take the Lease {}/{}: see deploy/rbac.yaml for what the collector has to be allowed, or collect with --no-lease",
            settings.namespace, settings.name
        ),
        source,
    )
}

fn spec(settings: &Settings, clock: &Clock, last: Option<&LeaseSpec>) -> LeaseSpec {
    let now = MicroTime(clock.now());
    let is_same = last.and_then(|last| last.holder_identity.as_ref()) == Some(&settings.holder);
    let transitions = last.and_then(|last| last.lease_transitions).unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(settings.holder.clone()),
        lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
        acquire_time: match last.filter(|_| is_same) {
            Some(last) => last.acquire_time.clone(),
            None => Some(now.clone()),
        },
        renew_time: Some(now),
        lease_transitions: Some(if is_same || last.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..LeaseSpec::default()
    }
}

impl Held {
    /// Renews the Lease until it is lost.
    pub(super) async fn renew(&mut self) {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEWED).await;
            let next = Lease {
                spec: Some(spec(&self.settings, &self.clock, self.lease.spec.as_ref())),
                ..self.lease.clone()
            };
            let parameters = PostParams::default();
            let replaced = self.api.replace(&self.settings.name, &parameters, &next);
            match tokio::time::timeout(RENEWED, replaced).await {
                Ok(Ok(lease)) => {
                    self.lease = lease;
                    renewed = Instant::now();
                    continue;
                }
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => break,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.settings.name, %error, "cannot renew the lease")
                }
                Err(_) => tracing::warn!(lease = self.settings.name, "renewing the lease takes too long"),
            }
            // Whoever waits for it may take it over once it has run out.
            if renewed.elapsed() + RENEWED >= LASTS {
                break;
            }
        }
        self.metrics.leads(false);
        tracing::warn!(lease = self.settings.name, "the lease is lost");
    }

    /// Gives the Lease back, so that the next collector need not wait.
    pub(super) async fn release(self) {
        self.metrics.leads(false);
        let mut next = self.lease.clone();
        if let Some(spec) = &mut next.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let replaced = self
            .api
            .replace(&self.settings.name, &PostParams::default(), &next)
            .await;
        if let Err(error) = replaced {
            tracing::warn!(lease = self.settings.name, %error, "cannot give the lease back");
        }
    }
}
