//! What becomes of a request: looked at, let in, and answered from what is kept or computed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::access::{Role, SESSION};
use super::guard::{self, LARGEST_BODY};
use super::problem::Problem;
use super::routes::{self, Route, What};
use super::snapshot::Snapshot;
use super::{App, JSON, PROBLEM, Reply, TEXT, answers, openapi, pages};

/// How long an answer may take to compute.
const PATIENCE: Duration = Duration::from_secs(30);

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
            Err(problem) => self.problem(&problem, is_for_programs, &parts),
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
        guard::check(parts, &self.hosts)?;
        let is_open = route.is_some_and(|route| route.needs.is_none());
        let role = if is_open {
            Role::Viewer
        } else {
            self.role(parts, peer, now)?
        };
        let Some(route) = route else {
            return Err(Problem::missing("there is nothing here"));
        };
        if route.needs.is_some_and(|needs| role < needs) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "your token does not allow this",
            ));
        }
        let is_reading = parts.method == Method::GET || parts.method == Method::HEAD;
        let is_writing = parts.method == Method::POST;
        if !(is_reading && route.can_get() || is_writing && route.can_post()) {
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this cannot be asked in this way",
            ));
        }
        match &route.what {
            What::Text(text) => Ok(send(&Reply::new(TEXT, *text))),
            What::Asset(kind, text) => self.asset(parts, kind, text),
            What::Ready => {
                if self.snapshots.current().is_none() {
                    let detail = "nothing has been built yet";
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
                }
                Ok(send(&Reply::new(TEXT, "ok\n")))
            }
            What::Metrics => self.metrics(),
            What::Build => Ok(send(&Reply::new(JSON, self.build()))),
            What::OpenApi => Ok(send(&Reply::new(JSON, openapi::document()?))),
            What::SignIn if is_reading => Ok(send(&pages::sign_in(parts.uri.path(), None))),
            What::SignIn => self.sign_in(peer, body).await,
            What::SignOut => Ok(self.sign_out(parts)),
            what => self.figures_of(parts, role, &route.path, what).await,
        }
    }

    /// Who asks, by the token or session that the request shows.
    fn role(&self, parts: &Parts, peer: IpAddr, now: Instant) -> Result<Role, Problem> {
        if !self.access.is_required() {
            return Ok(Role::Admin);
        }
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
            // Who has guessed wrong too often is not looked at for a while.
            if !self.tries.has(peer, now) {
                return Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong tokens; wait a minute",
                ));
            }
            return self.access.role_of(token).ok_or_else(|| {
                self.tries.take(peer, now);
                unknown()
            });
        }
        session(parts)
            .and_then(|id| self.access.role_of_session(id))
            .ok_or_else(unknown)
    }

    async fn sign_in(&self, peer: IpAddr, body: Body) -> Result<Response, Problem> {
        let body = axum::body::to_bytes(body, LARGEST_BODY)
            .await
            .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))?;
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
        if !self.tries.take(peer, Instant::now()) {
            let detail = "too many tries; wait a minute";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        let id = self
            .access
            .sign_in(field("token").trim())
            .map_err(|error| Problem::failed(&error))?;
        let Some(id) = id else {
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

    fn asset(&self, parts: &Parts, kind: &'static str, text: &'static str) -> Result<Response, Problem> {
        let etag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), routes::checksum(text));
        let mut response = if is_known(parts, &etag) {
            not_modified()
        } else {
            send(&Reply::new(kind, text))
        };
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        Ok(response)
    }

    fn metrics(&self) -> Result<Response, Problem> {
        if let Some(snapshot) = self.snapshots.current() {
            self.figures.build.set(snapshot.build_id);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(|error| Problem::failed(&error))?;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Ok(send(&Reply::new(kind, text)))
    }

    fn build(&self) -> String {
        let key = self.snapshots.current().map(|snapshot| snapshot.key.clone());
        serde_json::json!({ "build": key }).to_string()
    }

    /// Answers with figures: from what is kept, or computed.
    async fn figures_of(
        self: &Arc<Self>,
        parts: &Parts,
        role: Role,
        path: &str,
        what: &'static What,
    ) -> Result<Response, Problem> {
        let Some(snapshot) = self.snapshots.current() else {
            return match what {
                What::Page(_) => Ok(send(&pages::first_visit())),
                _ => Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "nothing has been built yet: run `podledger import` or `podledger collect`, and `podledger build`",
                )),
            };
        };
        let query = parts.uri.query().unwrap_or_default();
        let etag = {
            let text = format!("{} {role:?} {path}?{query}", snapshot.key);
            format!("\"{}-{}\"", snapshot.key, routes::checksum(&text))
        };
        let mut response = if is_known(parts, &etag) {
            // What was answered is a function of what the tag is made of, so nothing has to be computed to know it.
            self.figures.unchanged.inc();
            not_modified()
        } else {
            send(self.kept(&snapshot, role, path, query, what).await?.as_ref())
        };
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        Ok(response)
    }

    /// The answer to what is asked of a snapshot.
    pub(super) async fn kept(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        role: Role,
        path: &str,
        query: &str,
        what: &What,
    ) -> Result<Arc<Reply>, Problem> {
        let key = (snapshot.key.clone(), role, format!("{path}?{query}"));
        match self.cache.get_value_or_guard_async(&key).await {
            Ok(reply) => {
                self.figures.from_cache.inc();
                Ok(reply)
            }
            Err(place) => {
                // Who asks for the same meanwhile waits for this answer.
                let reply = Arc::new(self.compute(snapshot, path, query, what).await?);
                let _ = place.insert(Arc::clone(&reply));
                self.figures.computed.inc();
                Ok(reply)
            }
        }
    }

    async fn compute(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
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
        let permit = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|error| Problem::failed(&error))?;
        let connection = snapshot.connection().map_err(failed)?;
        let interrupt = connection.interrupt_handle();
        let (app, snapshot, what) = (Arc::clone(self), Arc::clone(snapshot), what.clone());
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut computing = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let asked = answers::Asked {
                snapshot: &snapshot,
                connection: &connection,
                path: &path,
                query: &query,
                explain: app.settings.explain.as_deref(),
                has_sign_out: app.access.is_required(),
            };
            answers::compute(&asked, &what)
        });
        match tokio::time::timeout(PATIENCE, &mut computing).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(Problem::failed(&error)),
            Err(_) => {
                interrupt.interrupt();
                Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the answer took too long; ask about fewer days or one team",
                ))
            }
        }
    }

    fn problem(&self, problem: &Problem, is_for_programs: bool, parts: &Parts) -> Response {
        let mut reply = if is_for_programs {
            Reply::new(PROBLEM, problem.json())
        } else if problem.status == StatusCode::UNAUTHORIZED {
            let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            pages::sign_in(next, None)
        } else {
            pages::problem(problem)
        };
        reply.status = problem.status;
        let mut response = send(&reply);
        let header = match problem.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"podledger\"")),
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "10")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "30")),
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD, POST")),
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

fn not_modified() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn send(reply: &Reply) -> Response {
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
