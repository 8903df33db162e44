//! Asking a Prometheus, or what speaks its language, gently: one query at a time, pauses between them, again after a while where
//! it cannot answer, in smaller pieces where it will not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use prometheus_http_query::Client;
use prometheus_http_query::response::Data;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, StatusCode};

use crate::error::{Error, Result, chain};

/// How a server is reached. It cannot be printed: it holds secrets.
#[derive(Clone)]
pub struct Settings {
    /// Where its API is, without `/api/v1`.
    pub url: String,
    /// Matchers that every selector gets, such as `cluster="prod"`: a server may hold many clusters.
    pub matchers: String,
    /// `Authorization: Bearer`.
    pub bearer_token: Option<String>,
    /// A header more, such as the tenant (`X-Scope-OrgID`).
    pub headers: Vec<(String, String)>,
    /// Certificates (PEM) that are trusted beside those of the system.
    pub certificates: Option<Vec<u8>>,
    /// Of a hundred parts of time, how many the server is kept busy: 1 to 100.
    pub load_percent: u32,
}

/// A series, and what was sampled of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: HashMap<String, String>,
    /// Milliseconds since 1970, and the value; in order of time.
    pub samples: Vec<(i64, f64)>,
}

impl Series {
    /// A label. Where a scrape keeps its own labels apart from those of what it scrapes, the latter are renamed.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        let exported = self.labels.get(&format!("exported_{name}"));
        exported
            .or_else(|| self.labels.get(name))
            .map_or("", String::as_str)
    }

    /// The newest value.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.samples.last().map(|(_, value)| *value)
    }
}

/// A server.
pub struct Server {
    client: Client,
    settings: Settings,
    /// Whether it has ever answered: one that never did is more likely to be another than to be busy.
    has_answered: AtomicBool,
}

/// How long one query may take, and how long connecting.
const QUERY_TAKES: Duration = Duration::from_secs(120);
const CONNECTING_TAKES: Duration = Duration::from_secs(10);

/// How often a query is tried again: with waits that double from a second to a minute, for some five minutes.
const TRIES: usize = 10;

/// How often the first query is tried again.
const FIRST_TRIES: usize = 2;

/// No query is asked for less than this at a time.
const LEAST_MS: i64 = 60_000;

/// Why there is no answer.
enum Failure {
    /// It may answer later.
    Later(String),
    /// It will not answer so much.
    TooMuch(String),
    /// It never will.
    Never(String),
}

impl Server {
    /// A server that has not been asked yet.
    ///
    /// # Errors
    /// [`Error::Prometheus`] for settings that cannot be: the URL, a header, the certificates.
    pub fn new(settings: Settings) -> Result<Self> {
        let wrong = |reason: String| Error::Prometheus {
            url: settings.url.clone(),
            reason,
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = &settings.bearer_token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| wrong("the token has characters that no header may have".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        for (name, value) in &settings.headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| wrong(format!("`{name}` is no name of a header")))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| wrong(format!("the value of `{name}` cannot be a header's")))?;
            headers.insert(name, value);
        }
        // Whoever was first has chosen; there is one to choose.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECTING_TAKES)
            .timeout(QUERY_TAKES + CONNECTING_TAKES);
        if let Some(pem) = &settings.certificates {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| wrong(format!("the certificates cannot be read: {error}")))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| wrong(chain(&error)))?;
        let client = Client::from(client, &settings.url).map_err(|error| {
            wrong(format!(
                "{}: write a URL such as http://prometheus:9090",
                chain(&error)
            ))
        })?;
        Ok(Self {
            client,
            settings,
            has_answered: AtomicBool::new(false),
        })
    }

    /// What a query with an instant vector answers at an instant.
    ///
    /// # Errors
    /// [`Error::Prometheus`] where the server does not answer, or not at last.
    pub async fn instant(&self, query: &str, at_ms: i64) -> Result<Vec<Series>> {
        match self.answer(query, at_ms).await {
            Ok(series) => Ok(series),
            Err(Failure::Later(reason) | Failure::TooMuch(reason) | Failure::Never(reason)) => {
                Err(self.failed(query, &reason))
            }
        }
    }

    /// The newest value that each series of a metric had in `[from, to)`; `keep` are further matchers.
    ///
    /// # Errors
    /// As [`Server::instant`].
    pub async fn newest(&self, metric: &str, keep: &str, from_ms: i64, to_ms: i64) -> Result<Vec<Series>> {
        self.over("last_over_time", metric, keep, from_ms, to_ms, "")
            .await
    }

    /// A function over the samples of a metric in `[from, to)`; `condition` follows it.
    ///
    /// # Errors
    /// As [`Server::instant`].
    pub async fn over(
        &self,
        function: &str,
        metric: &str,
        keep: &str,
        from_ms: i64,
        to_ms: i64,
        condition: &str,
    ) -> Result<Vec<Series>> {
        // Whether a range holds its first instant differs between versions; the last one it always does.
        let query = format!(
            "{function}({}[{}ms]){condition}",
            self.selector(metric, keep),
            to_ms - from_ms
        );
        self.instant(&query, to_ms - 1).await
    }

    /// All samples of a metric in `[from, to)`, by series.
    ///
    /// # Errors
    /// As [`Server::instant`].
    pub async fn samples(&self, metric: &str, keep: &str, from_ms: i64, to_ms: i64) -> Result<Vec<Series>> {
        let selector = self.selector(metric, keep);
        let mut all: BTreeMap<Vec<(String, String)>, Series> = BTreeMap::new();
        let (mut at_ms, mut step_ms) = (from_ms, to_ms - from_ms);
        while at_ms < to_ms {
            let until_ms = to_ms.min(at_ms + step_ms);
            let query = format!("{selector}[{}ms]", until_ms - at_ms + 1);
            let found = match self.answer(&query, until_ms).await {
                Ok(found) => found,
                Err(Failure::TooMuch(reason)) if step_ms / 2 >= LEAST_MS => {
                    tracing::debug!(reason, metric, "asking for half as much");
                    step_ms /= 2;
                    continue;
                }
                Err(Failure::Later(reason) | Failure::TooMuch(reason) | Failure::Never(reason)) => {
                    return Err(self.failed(&query, &reason));
                }
            };
            for mut series in found {
                series.samples.retain(|(ms, _)| (at_ms..until_ms).contains(ms));
                if series.samples.is_empty() {
                    continue;
                }
                let mut key: Vec<_> = series.labels.clone().into_iter().collect();
                key.sort_unstable();
                match all.get_mut(&key) {
                    Some(known) => known.samples.append(&mut series.samples),
                    None => drop(all.insert(key, series)),
                }
            }
            at_ms = until_ms;
        }
        Ok(all.into_values().collect())
    }

    fn selector(&self, metric: &str, keep: &str) -> String {
        let matchers: Vec<&str> = [self.settings.matchers.as_str(), keep]
            .into_iter()
            .filter(|matchers| !matchers.is_empty())
            .collect();
        format!("{metric}{{{}}}", matchers.join(","))
    }

    /// Asks until there is an answer, and lets the server rest afterwards.
    async fn answer(&self, query: &str, at_ms: i64) -> Result<Vec<Series>, Failure> {
        let tries = if self.has_answered.load(Ordering::Relaxed) {
            TRIES
        } else {
            FIRST_TRIES
        };
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_secs(1))
            .with_max_delay(Duration::from_secs(60))
            .with_max_times(tries)
            .build();
        loop {
            let begun = Instant::now();
            let answered = self.ask(query, at_ms).await;
            let busy = begun.elapsed();
            match answered {
                Ok(series) => {
                    self.has_answered.store(true, Ordering::Relaxed);
                    let load = self.settings.load_percent.clamp(1, 100);
                    tokio::time::sleep(busy * (100 - load) / load).await;
                    return Ok(series);
                }
                Err(Failure::Later(reason)) => match waits.next() {
                    Some(wait) => {
                        tracing::warn!(reason, wait_s = wait.as_secs(), "Prometheus does not answer");
                        tokio::time::sleep(wait).await;
                    }
                    None => return Err(Failure::Later(reason)),
                },
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn ask(&self, query: &str, at_ms: i64) -> Result<Vec<Series>, Failure> {
        let at = Timestamp::from_millisecond(at_ms).map_err(|error| Failure::Never(error.to_string()))?;
        let asked = self
            .client
            .query(query)
            .query("time", at)
            .timeout(i64::try_from(QUERY_TAKES.as_millis()).unwrap_or(i64::MAX))
            .post()
            .await;
        let (data, _) = asked.map_err(|error| failure(&error))?.into_inner();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "milliseconds since 1970 are far smaller"
        )]
        let ms = |seconds: f64| (seconds * 1000.0).round() as i64;
        Ok(match data {
            Data::Vector(vector) => vector
                .into_iter()
                .map(|one| {
                    let (labels, sample) = one.into_inner();
                    Series {
                        labels,
                        samples: vec![(ms(sample.timestamp()), sample.value())],
                    }
                })
                .collect(),
            Data::Matrix(matrix) => matrix
                .into_iter()
                .map(|one| {
                    let (labels, samples) = one.into_inner();
                    let samples = samples
                        .iter()
                        .map(|sample| (ms(sample.timestamp()), sample.value()));
                    Series {
                        labels,
                        samples: samples.collect(),
                    }
                })
                .collect(),
            _ => return Err(Failure::Never("the answer has no series".to_owned())),
        })
    }

    /// The matchers that every selector gets.
    #[must_use]
    pub fn matchers(&self) -> &str {
        &self.settings.matchers
    }

    /// Something is wrong with the server.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Prometheus {
            url: self.settings.url.clone(),
            reason: reason.into(),
        }
    }

    fn failed(&self, query: &str, reason: &str) -> Error {
        self.wrong(format!("`{query}`: {reason}"))
    }
}

/// Whether asking again, or for less, may help.
fn failure(error: &prometheus_http_query::Error) -> Failure {
    use prometheus_http_query::Error as Asked;
    let reason = chain(error);
    match error {
        // What is too much for a server it says in different ways.
        Asked::Prometheus(told) if told.is_execution() || told.is_timeout() || told.is_canceled() => {
            Failure::TooMuch(reason)
        }
        Asked::Prometheus(told) if told.is_unavailable() || told.is_internal() => Failure::Later(reason),
        Asked::Client(told) => match told.inner().and_then(reqwest::Error::status) {
            Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) => Failure::Later(reason),
            Some(StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE) => {
                Failure::TooMuch(reason)
            }
            Some(status) if status.is_client_error() => Failure::Never(reason),
            _ if told
                .inner()
                .is_some_and(|error| error.is_timeout() && !error.is_connect()) =>
            {
                Failure::TooMuch(reason)
            }
            _ if told.inner().is_some_and(reqwest::Error::is_builder) => Failure::Never(reason),
            _ => Failure::Later(reason),
        },
        _ => Failure::Never(reason),
    }
}
