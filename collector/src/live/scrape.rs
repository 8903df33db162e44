//! Asks kubelets, or the metrics API, what containers use, over and over; the answers go the way of all that watches tell.
//!
//! Kubelets are asked in turns over the interval, a few at a time, so that neither they nor the intake see a burst.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, Limited};
use jiff::SignedDuration;
use kube::Client;
use kube::client::Body;
use tokio::sync::{mpsc, watch as signal};
use tokio::time::{Instant, sleep_until, timeout};

use super::api::{Failure, chain};
use super::message::{Message, Samples, Told};
use super::metrics::Metrics;
use super::resources::Resource;
use crate::usage::{pod_metrics, resource_metrics, summary};

/// Who is asked what containers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Kubelets; where none of them answers, the metrics API.
    Auto,
    /// Kubelets, at their own addresses. Needs `get` of `nodes/stats`, or of `nodes/metrics`.
    Kubelet,
    /// Kubelets through the API server. Needs `get` of `nodes/proxy`, which also lets its holder run commands in containers.
    KubeletProxy,
    /// The metrics API: averages over a short window, once a minute. Needs `list` of `pods.metrics.k8s.io`.
    MetricsApi,
}

/// How usage is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub source: Source,
    /// How often a kubelet is asked.
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            every: Duration::from_secs(30),
        }
    }
}

/// The metrics API answers with all pods at once: it is asked no more often.
pub(super) const METRICS_API_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A list of the metrics API with more pods than these would be too much for it and for us.
const METRICS_API_PODS: usize = 20_000;

/// In so many turns kubelets are asked.
const TURNS: u32 = 10;

/// So many kubelets are asked at a time.
const AT_ONCE: usize = 4;

/// How long a kubelet may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A larger answer is not read. A kubelet says some 3 KB of a pod.
const LARGEST: usize = 64 << 20;

/// When kubelets did not answer, they are tried again after this time.
const AGAIN: Duration = Duration::from_secs(3600);

/// What there is to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Targets {
    /// Nodes, with where their kubelets answer.
    pub nodes: Vec<(String, Option<String>)>,
    pub pods: usize,
}

/// What a kubelet is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// `/stats/summary`: by the UIDs of pods. Needs `nodes/stats`.
    Summary,
    /// `/metrics/resource`: the same by the names of pods. Needs `nodes/metrics`.
    Resource,
}

impl Answer {
    fn path(self) -> &'static str {
        match self {
            Self::Summary => "/stats/summary",
            Self::Resource => "/metrics/resource",
        }
    }
}

/// Kubelets that refuse or lack their summary, and until when they are not asked for it again.
type WithoutSummary = BTreeMap<String, Instant>;

/// How asking all kubelets went.
#[derive(Debug, Default)]
struct Round {
    answers: usize,
    failures: usize,
    failure: Option<(String, String)>,
}

/// Measures the containers of a cluster.
pub(super) struct Scraper {
    pub client: Client,
    /// Requests to kubelets at their own addresses; `None` where that is not possible.
    pub kubelets: Option<Client>,
    pub settings: Settings,
    pub targets: signal::Receiver<Targets>,
    pub sender: mpsc::Sender<Message>,
    pub metrics: Metrics,
}

impl Scraper {
    /// Measures until nobody listens any more.
    pub(super) async fn run(self) {
        let resource = Arc::new(Resource::of_usage());
        let mut source = match self.settings.source {
            Source::Auto if self.kubelets.is_none() => Source::MetricsApi,
            Source::Auto => Source::Kubelet,
            source => source,
        };
        let mut kubelets_again = Instant::now() + AGAIN;
        let mut had_failures = false;
        let mut without_summary = WithoutSummary::new();
        while !self.sender.is_closed() {
            if source == Source::MetricsApi {
                let next = Instant::now() + METRICS_API_EVERY.unsigned_abs().max(self.settings.every);
                let went_well = self.ask_metrics_api(&resource).await;
                had_failures = self.say(had_failures, "the metrics API", went_well);
                sleep_until(next).await;
                if self.settings.source == Source::Auto
                    && self.kubelets.is_some()
                    && Instant::now() >= kubelets_again
                {
                    source = Source::Kubelet;
                }
                continue;
            }
            let round = self.ask_kubelets(&resource, source, &mut without_summary).await;
            let is_in_vain = round.answers == 0 && round.failures > 0;
            let failure = round.failure.map(|(node, failure)| format!("{node}: {failure}"));
            had_failures = self.say(had_failures, "kubelets", failure.map_or(Ok(()), Err));
            if is_in_vain && self.settings.source == Source::Auto {
                tracing::warn!(
                    failures = round.failures,
                    "no kubelet tells what containers use; asking the metrics API, which says less"
                );
                source = Source::MetricsApi;
                kubelets_again = Instant::now() + AGAIN;
            }
        }
    }

    /// Says once that asking fails, and once that it does so no more.
    fn say(&self, had_failures: bool, whom: &str, went: Result<(), String>) -> bool {
        match went {
            Ok(()) => {
                if had_failures {
                    tracing::info!(whom, "usage is measured again");
                }
                false
            }
            Err(failure) => {
                if !had_failures {
                    tracing::warn!(whom, failure, "cannot measure all usage; trying again");
                }
                true
            }
        }
    }

    /// Asks every kubelet once.
    async fn ask_kubelets(
        &self,
        resource: &Arc<Resource>,
        source: Source,
        without_summary: &mut WithoutSummary,
    ) -> Round {
        let begun = Instant::now();
        let mut round = Round::default();
        without_summary.retain(|_, until| *until > begun);
        for turn in 0..TURNS {
            let nodes: Vec<(String, Option<String>)> = {
                let targets = self.targets.borrow();
                let of_turn = targets.nodes.iter().filter(|(name, _)| turn_of(name) == turn);
                of_turn.cloned().collect()
            };
            let without = &*without_summary;
            let answers = futures::stream::iter(nodes)
                .map(|(node, address)| async move {
                    let first = if without.contains_key(&node) {
                        Answer::Resource
                    } else {
                        Answer::Summary
                    };
                    let asked = self
                        .ask_kubelet(resource, source, (&node, address.as_deref()), first)
                        .await;
                    (node, asked)
                })
                .buffer_unordered(AT_ONCE)
                .collect::<Vec<_>>()
                .await;
            for (node, answer) in answers {
                match answer {
                    Ok(answered) => {
                        round.answers += 1;
                        if answered == Answer::Resource {
                            without_summary.entry(node).or_insert(begun + AGAIN);
                        }
                    }
                    Err(failure) => {
                        tracing::debug!(node, %failure, "cannot measure usage");
                        self.metrics.scrape_failed();
                        round.failures += 1;
                        round.failure.get_or_insert((node, failure.to_string()));
                    }
                }
            }
            sleep_until(begun + self.settings.every * (turn + 1) / TURNS).await;
        }
        round
    }

    /// Asks a kubelet, for its resource metrics too where it refuses its summary or has none; returns what it answered.
    async fn ask_kubelet(
        &self,
        resource: &Arc<Resource>,
        source: Source,
        (node, address): (&str, Option<&str>),
        first: Answer,
    ) -> Result<Answer, Failure> {
        let (client, base) = match (source, &self.kubelets, address) {
            (Source::KubeletProxy, ..) => (&self.client, format!("/api/v1/nodes/{node}/proxy")),
            (_, Some(kubelets), Some(address)) => (kubelets, format!("https://{address}")),
            (_, None, _) => return Err(Failure::Other("kubelets cannot be reached from here".to_owned())),
            (_, _, None) => return Err(Failure::Other("the node tells no internal address".to_owned())),
        };
        let uri = |answer: Answer| format!("{base}{}", answer.path());
        let (asked, answered) = match (get(client, &uri(first)).await, first) {
            (Err(refused @ (Failure::Forbidden(_) | Failure::Missing(_))), Answer::Summary) => {
                let asked = get(client, &uri(Answer::Resource)).await;
                let asked = asked.map_err(|failure| {
                    Failure::Other(format!("/stats/summary: {refused}; /metrics/resource: {failure}"))
                });
                (asked, Answer::Resource)
            }
            asked => asked,
        };
        let text = asked?;
        let samples = match answered {
            Answer::Summary => Samples::Kubelet(
                summary::samples(&text)
                    .map_err(|error| Failure::Other(format!("the answer is no summary: {error}")))?,
            ),
            Answer::Resource => Samples::KubeletByName {
                node: node.to_owned(),
                named: resource_metrics::samples(&text)
                    .map_err(|error| Failure::Other(format!("the answer is not of a kubelet: {error}")))?,
            },
        };
        tracing::debug!(node, path = answered.path(), "a kubelet told what containers use");
        self.tell(resource, samples).await;
        Ok(answered)
    }

    async fn ask_metrics_api(&self, resource: &Arc<Resource>) -> Result<(), String> {
        let pods = self.targets.borrow().pods;
        if pods > METRICS_API_PODS {
            return Err(format!(
                "{pods} pods are more than the {METRICS_API_PODS} for which it can be asked; let the collector reach kubelets"
            ));
        }
        let asked = get(&self.client, "/apis/metrics.k8s.io/v1beta1/pods").await;
        let averages = asked.and_then(|text| {
            pod_metrics::averages(&text)
                .map_err(|error| Failure::Other(format!("the answer is no list of metrics: {error}")))
        });
        match averages {
            Ok(averages) => {
                self.tell(resource, Samples::MetricsApi(averages)).await;
                Ok(())
            }
            Err(failure) => {
                self.metrics.scrape_failed();
                Err(failure.to_string())
            }
        }
    }

    async fn tell(&self, resource: &Arc<Resource>, samples: Samples) {
        let message = Message {
            resource: Arc::clone(resource),
            told: Told::Samples(samples),
        };
        // Nobody listens any more when the collection is over.
        let _ = self.sender.send(message).await;
    }
}

/// What helps where a kubelet's certificate is not believed.
const UNTRUSTED: &str = "; name the authority that signed it by --kubelet-ca-file, let the cluster's sign it \
    (serverTLSBootstrap of the kubelet), or take any by --kubelet-insecure-tls";

/// Whether a request failed because the other's certificate was not believed.
fn is_of_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An error of reading and writing does not show what it holds as its cause, but the cause of that.
        let held = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

/// In which turn a kubelet is asked: always in the same, so that its samples are evenly apart.
fn turn_of(node: &str) -> u32 {
    let hash = node.bytes().fold(0_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    hash % TURNS
}

/// Reads what a server answers.
async fn get(client: &Client, uri: &str) -> Result<Vec<u8>, Failure> {
    let asked = async {
        let request = Request::get(uri)
            .header(http::header::ACCEPT, "application/json, text/plain;version=0.0.4")
            .body(Body::empty())
            .map_err(|error| Failure::Other(chain(&error)))?;
        let response = client.send(request).await.map_err(|error| {
            let mend = if is_of_certificate(&error) { UNTRUSTED } else { "" };
            Failure::Other(chain(&error) + mend)
        })?;
        let code = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body
            .map_err(|error| Failure::Other(chain(error.as_ref())))?
            .to_bytes();
        if code.is_success() {
            return Ok(body.to_vec());
        }
        let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        let said = format!("{code} {said}").trim_end().to_owned();
        Err(match code.as_u16() {
            401 | 403 => Failure::Forbidden(said),
            404 | 405 | 501 => Failure::Missing(said),
            _ => Failure::Other(said),
        })
    };
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(Failure::Other(format!("no answer in {} s", PATIENCE.as_secs()))))
}
