//! What becomes of a request: looked at, let in, and answered from what is kept or computed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::access::{Role, SESSION};
use super::advice::{self, NoAdvice};
use super::guard::{self, LARGEST_BODY};
use super::problem::Problem;
use super::routes::{self, Route, What};
use super::snapshot::Snapshot;
use super::{App, JSON, PROBLEM, Reply, TEXT, answers, openapi, pages, work};
use crate::weekly::{Request as ReportRequest, Weekly};

/// How long a client waits for an answer at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may take to send a body.
const SLOWEST_BODY: Duration = Duration::from_secs(10);

/// Who asks, as far as answers differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub role: Role,
    /// By a token or a session: only then there is something to sign out of.
    pub is_known: bool,
}

/// A body, whole.
async fn read(body: Body) -> Result<Bytes, Problem> {
    read_at_most(body, LARGEST_BODY).await
}

/// A body of at most so many bytes, whole.
pub(super) async fn read_at_most(body: Body, most: usize) -> Result<Bytes, Problem> {
    tokio::time::timeout(SLOWEST_BODY, axum::body::to_bytes(body, most))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive"))?
        .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
}

impl App {
    /// Answers a request; `None` where no route fits.
    pub(super) async fn answer(
        self: &Arc<Self>,
        route: Option<&'static Route>,
        request: Request,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let is_for_programs =
            parts.uri.path().starts_with("/api/") || parts.uri.path().starts_with("/tables/");
        let mut response = match self.respond(route, &parts, body).await {
            Ok(response) => response,
            Err(problem) => self.problem(&problem, is_for_programs, route, &parts),
        };
        guard::harden(response.headers_mut(), self.settings.is_tls);
        let status = response.status().as_u16().to_string();
        self.figures
            .requests
            .get_or_create(&vec![("status", status)])
            .inc();
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn respond(
        self: &Arc<Self>,
        route: Option<&'static Route>,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, Problem> {
        let now = Instant::now();
        let peer = parts
            .extensions
            .get::<SocketAddr>()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), SocketAddr::ip);
        if !self.limit.take(peer, now) {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests; wait a second",
            ));
        }
        // Kubelets ask a pod by its address, and what they are told is no secret.
        if !route.is_some_and(Route::is_probe) {
            guard::check(parts, &self.hosts)?;
        }
        let is_open = route.is_some_and(|route| route.needs.is_none());
        let who = if is_open {
            Who {
                role: Role::Viewer,
                is_known: false,
            }
        } else {
            self.who(parts, peer, now)?
        };
        let Some(route) = route else {
            return Err(Problem::missing("there is nothing here"));
        };
        if route.needs.is_some_and(|needs| who.role < needs) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "your token does not allow this",
            ));
        }
        let is_reading = is_reading(parts);
        let is_writing = parts.method == Method::POST;
        if !(is_reading && route.can_get() || is_writing && route.can_post()) {
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this cannot be asked in this way",
            ));
        }
        match &route.what {
            What::Text(text) => Ok(send(&Reply::new(TEXT, *text))),
            What::Asset(kind, text) => {
                let etag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), routes::checksum(text));
                Ok(tagged(parts, &etag, || send(&Reply::new(kind, *text))))
            }
            What::Ready => {
                if self.snapshots.current().is_none() {
                    let detail = "nothing has been built yet";
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
                }
                Ok(send(&Reply::new(TEXT, "ok\n")))
            }
            What::Metrics => self.metrics().await,
            What::Build => Ok(self.build(parts)),
            What::OpenApi => {
                let (text, etag) = openapi::document()?;
                Ok(tagged(parts, etag, || send(&Reply::new(JSON, text.clone()))))
            }
            What::SignIn if is_reading => Ok(send(&pages::sign_in(parts.uri.path(), None))),
            What::SignIn => self.sign_in(peer, body).await,
            What::SignOut => Ok(self.sign_out(parts)),
            What::Sql => self.sql(parts, body).await,
            What::Console => self.console(parts, who, (!is_reading).then_some(body)).await,
            what => self.figures_of(parts, who, &route.path, what).await,
        }
    }

    /// Who asks, by the token or session that the request shows.
    fn who(&self, parts: &Parts, peer: IpAddr, now: Instant) -> Result<Who, Problem> {
        if !self.access.is_required() {
            return Ok(Who {
                role: Role::Admin,
                is_known: false,
            });
        }
        let known = |role| Who { role, is_known: true };
        let shown = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let unknown = || {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "show a token: `Authorization: Bearer ...`, or sign in",
            )
        };
        if let Some(token) = shown {
            // Wrong tokens count, right ones never do: behind a proxy, all have one address.
            return match self.access.role_of(token) {
                Some(role) => Ok(known(role)),
                None if self.tries.take(peer, now) => Err(unknown()),
                None => Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong tokens; wait a minute",
                )),
            };
        }
        session(parts)
            .and_then(|id| self.access.role_of_session(id))
            .map(known)
            .ok_or_else(unknown)
    }

    async fn sign_in(&self, peer: IpAddr, body: Body) -> Result<Response, Problem> {
        let body = read(body).await?;
        let field = |name: &str| {
            form_urlencoded::parse(&body)
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        let next = field("next");
        let next = if pages::is_own_path(&next) {
            next
        } else {
            "/".to_owned()
        };
        let id = self
            .access
            .sign_in(field("token").trim())
            .map_err(|error| Problem::failed(&error))?;
        let Some(id) = id else {
            if !self.tries.take(peer, Instant::now()) {
                let detail = "too many tries; wait a minute";
                return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
            }
            return Ok(send(&pages::sign_in(
                &next,
                Some("This token is not known, or was revoked."),
            )));
        };
        Ok(self.redirect(&next, &id, SESSION.as_secs()))
    }

    fn sign_out(&self, parts: &Parts) -> Response {
        if let Some(id) = session(parts) {
            self.access.sign_out(id);
        }
        self.redirect("/sign-in", "", 0)
    }

    fn redirect(&self, to: &str, session: &str, seconds: u64) -> Response {
        let secure = if self.settings.is_tls { "; Secure" } else { "" };
        let cookie =
            format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        for (name, value) in [(header::LOCATION, to), (header::SET_COOKIE, &cookie)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// Which build is served.
    fn build(&self, parts: &Parts) -> Response {
        let key = self.snapshots.current().map(|snapshot| snapshot.key.clone());
        let etag = format!("\"{}-build\"", key.as_deref().unwrap_or("no"));
        tagged(parts, &etag, || {
            send(&Reply::new(JSON, serde_json::json!({ "build": key }).to_string()))
        })
    }

    /// Answers with figures: from what is kept, or computed.
    async fn figures_of(
        self: &Arc<Self>,
        parts: &Parts,
        who: Who,
        path: &str,
        what: &'static What,
    ) -> Result<Response, Problem> {
        let Some(snapshot) = self.snapshots.current() else {
            return match what {
                What::Page(_) => Ok(send(&pages::first_visit(None))),
                _ => Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "nothing has been built yet: run `podledger import` or `podledger collect`, and `podledger build`",
                )),
            };
        };
        let query = parts.uri.query().unwrap_or_default();
        let etag = {
            let text = format!(
                "{} {} {who:?} {path}?{query}",
                snapshot.key, self.settings.fingerprint
            );
            format!("\"{}-{}\"", snapshot.key, routes::checksum(&text))
        };
        // What was answered is a function of what the tag is made of, so nothing has to be computed to know it.
        if is_known(parts, &etag) {
            self.figures.unchanged.inc();
            return Ok(tagged(parts, &etag, not_modified));
        }
        let reply = self.kept(&snapshot, who, path, query, what).await?;
        Ok(tagged(parts, &etag, || send(&reply)))
    }

    /// The answer to what is asked of a snapshot, in as long as a client is asked to wait: for its turn, for somebody else who asks the same,
    /// and for the computing.
    pub(super) async fn kept(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        who: Who,
        path: &str,
        query: &str,
        what: &What,
    ) -> Result<Arc<Reply>, Problem> {
        let answer = self.kept_or_computed(snapshot, who, path, query, what);
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| {
            tracing::warn!(path, "an answer took too long");
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the answer took too long; ask about fewer days or one team",
            ))
        })
    }

    async fn kept_or_computed(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        who: Who,
        path: &str,
        query: &str,
        what: &What,
    ) -> Result<Arc<Reply>, Problem> {
        let key = (snapshot.key.clone(), who, format!("{path}?{query}"));
        match self.cache.get_value_or_guard_async(&key).await {
            Ok(reply) => {
                self.figures.from_cache.inc();
                Ok(reply)
            }
            Err(place) => {
                // Who asks for the same meanwhile waits for this answer.
                let reply = Arc::new(self.compute(snapshot, who, path, query, what).await?);
                let _ = place.insert(Arc::clone(&reply));
                self.figures.computed.inc();
                Ok(reply)
            }
        }
    }

    async fn compute(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        who: Who,
        path: &str,
        query: &str,
        what: &What,
    ) -> Result<Reply, Problem> {
        let failed = |source| {
            Problem::failed(&crate::Error::DuckDb {
                doing: "open a connection",
                source,
            })
        };
        if what.is_of_advice(path) {
            self.advised(snapshot).await?;
        }
        let report = match answers::report_of(snapshot, what, path, query) {
            Some(request) => Some(self.reported(snapshot, request).await),
            None => None,
        };
        let permit = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|error| Problem::failed(&error))?;
        let connection = snapshot.connection().map_err(failed)?;
        let (app, snapshot, what) = (Arc::clone(self), Arc::clone(snapshot), what.clone());
        let (path, query) = (path.to_owned(), query.to_owned());
        work::run(connection, move |connection, over| {
            // Others have their turn when the work is over, not when nobody waits for it.
            let _permit = permit;
            let asked = answers::Asked {
                snapshot: &snapshot,
                connection,
                over,
                path: &path,
                query: &query,
                explain: app.settings.explain.as_deref(),
                who,
                report: report.as_ref(),
            };
            answers::compute(&asked, &what)
        })
        .await
        .map_err(|error| Problem::failed(&error))?
    }

    /// Sees to it that there is advice beside a snapshot. It is computed once, and to its end although who asked may have left: others will ask.
    async fn advised(self: &Arc<Self>, snapshot: &Arc<Snapshot>) -> Result<(), Problem> {
        let (app, snapshot) = (Arc::clone(self), Arc::clone(snapshot));
        let computing = tokio::spawn(async move {
            let told = snapshot.advice.get_or_init(|| async {
                let wrong = |error: &dyn std::fmt::Display| NoAdvice::Failed(error.to_string());
                let permit = Arc::clone(&app.places)
                    .acquire_owned()
                    .await
                    .map_err(|error| wrong(&error))?;
                let connection = snapshot.connection().map_err(|error| wrong(&error))?;
                let app = Arc::clone(&app);
                let started = Instant::now();
                let told = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    advice::keep(&connection, app.settings.advise.as_deref())
                })
                .await
                .unwrap_or_else(|error| Err(wrong(&error)));
                let ms = started.elapsed().as_millis();
                match &told {
                    Ok(()) => tracing::debug!(ms, "advised"),
                    Err(NoAdvice::TooMuch(why)) => tracing::info!(why, "nothing is advised"),
                    Err(NoAdvice::Failed(error)) => {
                        tracing::error!(error, "the advice could not be computed")
                    }
                }
                told
            });
            told.await.as_ref().copied().map_err(Problem::from)
        });
        computing.await.map_err(|error| Problem::failed(&error))?
    }

    /// The report of a week with its advice. It is computed once of each snapshot, and to its end although who asked may have left: others will ask.
    async fn reported(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        request: ReportRequest,
    ) -> Result<Arc<Weekly>, Problem> {
        let (app, snapshot) = (Arc::clone(self), Arc::clone(snapshot));
        let computing = tokio::spawn(async move {
            let key = (
                request.week.to_string(),
                request.week.zone().to_owned(),
                request.team.clone(),
            );
            let place = match snapshot.reports.get_value_or_guard_async(&key).await {
                Ok(report) => return Ok(report),
                Err(place) => place,
            };
            let permit = Arc::clone(&app.places)
                .acquire_owned()
                .await
                .map_err(|error| Problem::failed(&error))?;
            let connection = snapshot.connection().map_err(|source| {
                Problem::failed(&crate::Error::DuckDb {
                    doing: "open a connection",
                    source,
                })
            })?;
            let app = Arc::clone(&app);
            let report = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                advice::report(&connection, &request, app.settings.advise_week.as_deref())
            });
            let report = Arc::new(report.await.map_err(|error| Problem::failed(&error))??);
            let _ = place.insert(Arc::clone(&report));
            Ok(report)
        });
        computing.await.map_err(|error| Problem::failed(&error))?
    }

    fn problem(
        &self,
        problem: &Problem,
        is_for_programs: bool,
        route: Option<&Route>,
        parts: &Parts,
    ) -> Response {
        let mut reply = if is_for_programs {
            Reply::new(PROBLEM, problem.json())
        } else if problem.status == StatusCode::UNAUTHORIZED {
            // What was to be done is not done by looking at it.
            let next = parts.uri.path_and_query().filter(|_| is_reading(parts));
            pages::sign_in(next.map_or("/", |path| path.as_str()), None)
        } else {
            pages::problem(problem)
        };
        reply.status = problem.status;
        let mut response = send(&reply);
        let header = match problem.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"podledger\"")),
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "10")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "30")),
            StatusCode::METHOD_NOT_ALLOWED => route.map(|route| (header::ALLOW, route.allows())),
            _ => None,
        };
        if let Some((name, value)) = header {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn is_reading(parts: &Parts) -> bool {
    parts.method == Method::GET || parts.method == Method::HEAD
}

/// Name of the cookie that has a session.
const COOKIE: &str = "podledger_session";

fn session(parts: &Parts) -> Option<&str> {
    let cookies = parts.headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

fn is_known(parts: &Parts, etag: &str) -> bool {
    let known = parts.headers.get_all(header::IF_NONE_MATCH).iter();
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().trim_start_matches("W/") == etag || value.trim() == "*")
}

/// An answer with its tag; only the tag, where that is known already.
pub(crate) fn tagged(parts: &Parts, etag: &str, answer: impl FnOnce() -> Response) -> Response {
    let mut response = if is_known(parts, etag) {
        not_modified()
    } else {
        answer()
    };
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn not_modified() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

pub(crate) fn send(reply: &Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body.clone()));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    if let Some(policy) = reply.policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    if let Some(name) = &reply.download
        && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::HttpBody;
    use hyper::body::Frame;

    use super::*;

    /// Never says anything.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_not_waited_for() {
        let problem = read(Body::new(Silent)).await.unwrap_err();
        assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(read(Body::from("token=x")).await.unwrap(), "token=x");
        let large = read(Body::from(vec![0; LARGEST_BODY + 1])).await.unwrap_err();
        assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
