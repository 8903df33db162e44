//! Who is answered, and how it is said when somebody is not.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use podledger_reports::http::{App, Role, Settings, create_token, revoke_token, routes};

use super::{Server, settings};
use crate::harness::{World, snapshots_of};

/// What is answered without a token: whether it is well, and how to sign in.
const OPEN: &[&str] = &[
    "/assets/dashboard.js",
    "/assets/icon.svg",
    "/assets/style.css",
    "/healthz",
    "/readyz",
    "/sign-in",
];

pub fn one_pod() -> World {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 1024, 0);
    world.build(true);
    world
}

pub const HOST: (&str, &str) = ("host", "127.0.0.1:9480");

#[test]
fn no_route_answers_without_a_token_where_there_are_tokens() {
    let world = one_pod();
    let tokens = world.folder.path().join("tokens.toml");
    let viewer = create_token(&tokens, "viewer", Role::Viewer, String::new()).unwrap();
    let admin = create_token(&tokens, "admin", Role::Admin, String::new()).unwrap();
    let server = Server::of_world(&world);
    let mut open: Vec<String> = Vec::new();
    for route in routes() {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = server.ask(method, &route.path, &[HOST], "");
            if route.needs.is_none() {
                if method == "GET" {
                    open.push(route.path.clone());
                }
                continue;
            }
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {}", route.path);
            assert_eq!(
                answer.header(header::WWW_AUTHENTICATE),
                "Bearer realm=\"podledger\"",
                "{}",
                route.path
            );
            assert!(!answer.body.contains("estimate"), "{}", route.path);
        }
        for wrong in ["Bearer ", "Bearer pl_0", "Basic cGw6cGw=", viewer.as_str()] {
            if route.needs.is_some() {
                let headers = [HOST, ("authorization", wrong)];
                // Who guesses often is not looked at any more.
                let status = server.ask("GET", &route.path, &headers, "").status;
                assert!(
                    [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status),
                    "{} {wrong}: {status}",
                    route.path
                );
            }
        }
    }
    open.sort();
    assert_eq!(open, OPEN);
    let unknown = server.ask("GET", "/nowhere", &[HOST], "");
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);

    // Guesses are counted by address: another server knows nothing of them.
    let server = Server::of_world(&world);
    let with = |token: &str, path: &str| {
        let shown = format!("Bearer {token}");
        server
            .ask("GET", path, &[HOST, ("authorization", &shown)], "")
            .status
    };
    assert_eq!(with(&viewer, "/teams"), StatusCode::OK);
    assert_eq!(with(&viewer, "/metrics"), StatusCode::FORBIDDEN);
    assert_eq!(with(&admin, "/metrics"), StatusCode::OK);
    assert_eq!(with(&admin, "/nowhere"), StatusCode::NOT_FOUND);
    revoke_token(&tokens, "viewer").unwrap();
    assert_eq!(with(&viewer, "/teams"), StatusCode::UNAUTHORIZED);
    revoke_token(&tokens, "admin").unwrap();
    std::fs::remove_file(&tokens).unwrap();
    assert_eq!(
        with(&admin, "/teams"),
        StatusCode::UNAUTHORIZED,
        "it stays closed"
    );
}

#[test]
fn the_first_token_closes_a_server_that_runs() {
    let world = one_pod();
    let server = Server::of_world(&world);
    let open = server.get("/teams");
    assert_eq!(open.status, StatusCode::OK);
    assert_eq!(server.get("/metrics").status, StatusCode::OK);
    let tokens = world.folder.path().join("tokens.toml");
    let token = create_token(&tokens, "admin", Role::Admin, String::new()).unwrap();
    assert_eq!(server.get("/teams").status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.get("/metrics").status, StatusCode::UNAUTHORIZED);
    // What was kept for everybody is not what somebody who can sign out is shown.
    let shown = format!("Bearer {token}");
    let headers = [
        HOST,
        ("authorization", shown.as_str()),
        ("if-none-match", open.header(header::ETAG)),
    ];
    let closed = server.ask("GET", "/teams", &headers, "");
    assert_eq!(closed.status, StatusCode::OK);
    assert!(closed.body.contains("/sign-out") && !open.body.contains("/sign-out"));
    revoke_token(&tokens, "admin").unwrap();
    assert_eq!(server.get("/teams").status, StatusCode::UNAUTHORIZED);
}

#[test]
fn wrong_tokens_lock_out_nobody_who_has_a_right_one() {
    let world = one_pod();
    let tokens = world.folder.path().join("tokens.toml");
    let token = create_token(&tokens, "somebody", Role::Viewer, String::new()).unwrap();
    let server = Server::of_world(&world);
    let with = |token: &str| {
        let shown = format!("Bearer {token}");
        server
            .ask("GET", "/teams", &[HOST, ("authorization", &shown)], "")
            .status
    };
    let wrong: Vec<StatusCode> = (0..12).map(|_| with("pl_wrong")).collect();
    assert_eq!(wrong[0], StatusCode::UNAUTHORIZED);
    assert_eq!(wrong[11], StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(with(&token), StatusCode::OK);
    let own = [HOST, ("origin", "http://127.0.0.1:9480")];
    let sign_in = |token: &str| server.ask("POST", "/sign-in", &own, &format!("token={token}"));
    assert_eq!(sign_in("pl_wrong").status, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..12 {
        assert_eq!(sign_in(&token).status, StatusCode::SEE_OTHER);
    }
}

#[test]
fn who_asks_too_often_is_told_to_come_again_later() {
    let world = one_pod();
    let slow = Settings {
        requests_per_second: 1,
        ..settings(&world.folder.path().join("tokens.toml"))
    };
    let server = Server::with(world.folder.path(), slow);
    for (path, kind) in [
        ("/healthz", "text/html; charset=utf-8"),
        ("/teams", "text/html; charset=utf-8"),
        ("/api/v1/teams", "application/problem+json"),
        ("/nowhere", "text/html; charset=utf-8"),
    ] {
        // Four at once, and one more for each second that this takes.
        let refused = (0..1000)
            .map(|_| server.get(path))
            .find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS)
            .unwrap();
        let seconds: u32 = refused.header(header::RETRY_AFTER).parse().unwrap();
        assert!((1..=60).contains(&seconds), "{path}: {seconds}");
        assert_eq!(refused.header(header::CONTENT_TYPE), kind, "{path}");
        assert!(
            refused.body.contains("too many requests"),
            "{path}: {}",
            refused.body
        );
        assert!(
            refused.header(header::ETAG).is_empty() && refused.header(header::CACHE_CONTROL) == "no-store"
        );
    }
    // It is one address that waits.
    let of_another = Request::get("/teams")
        .header(HOST.0, HOST.1)
        .extension(SocketAddr::from(([192, 0, 2, 7], 50_000)))
        .body(Body::empty())
        .unwrap();
    assert_eq!(server.at_once(vec![of_another])[0].status, StatusCode::OK);
}

#[test]
fn a_browser_signs_in_with_a_token_and_out_again() {
    let world = one_pod();
    let tokens = world.folder.path().join("tokens.toml");
    let token = create_token(&tokens, "somebody", Role::Viewer, String::new()).unwrap();
    let server = Server::of_world(&world);
    let own = [HOST, ("origin", "http://127.0.0.1:9480")];
    let sign_in = |body: &str| server.ask("POST", "/sign-in", &own, body);
    let wrong = sign_in("token=pl_wrong&next=/teams");
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.body.contains("not known") && wrong.header(header::SET_COOKIE).is_empty());
    let right = sign_in(&format!("token={token}&next=%2Fteams%3Fweek%3D2026-W47"));
    assert_eq!(right.status, StatusCode::SEE_OTHER);
    assert_eq!(right.header(header::LOCATION), "/teams?week=2026-W47");
    let cookie = right.header(header::SET_COOKIE).to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(&token));
    let session = cookie.split(';').next().unwrap();
    let shown = [HOST, ("cookie", session)];
    assert_eq!(server.ask("GET", "/teams", &shown, "").status, StatusCode::OK);
    let elsewhere = sign_in(&format!("token={token}&next=https://evil.example"));
    assert_eq!(elsewhere.header(header::LOCATION), "/");
    let foreign = [HOST, ("cookie", session), ("origin", "http://evil.example")];
    assert_eq!(
        server.ask("POST", "/sign-out", &foreign, "").status,
        StatusCode::FORBIDDEN
    );
    // Who is signed out already is not sent there again after signing in.
    let late = server.ask("POST", "/sign-out", &own, "");
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    assert!(late.body.contains("name=\"next\" value=\"/\""), "{}", late.body);
    server.ask("POST", "/sign-out", &shown, "");
    assert_eq!(
        server.ask("GET", "/teams", &shown, "").status,
        StatusCode::UNAUTHORIZED
    );
    let many: Vec<StatusCode> = (0..12).map(|_| sign_in("token=x").status).collect();
    assert!(many.contains(&StatusCode::TOO_MANY_REQUESTS), "{many:?}");
}

#[test]
fn nobody_is_served_over_a_network_without_a_token() {
    let world = one_pod();
    let snapshots = snapshots_of(world.folder.path());
    let mut open = settings(&world.folder.path().join("tokens.toml"));
    open.listen = "0.0.0.0:9480".parse().unwrap();
    let refused = App::new(snapshots, open).err().unwrap().to_string();
    assert!(refused.contains("podledger token create"), "{refused}");
}

#[test]
fn other_hosts_and_pages_of_others_are_refused() {
    let world = one_pod();
    let server = Server::of_world(&world);
    for (headers, status) in [
        (vec![HOST], StatusCode::OK),
        (vec![("host", "costs.example.com")], StatusCode::OK),
        (
            vec![("host", "evil.example:9480")],
            StatusCode::MISDIRECTED_REQUEST,
        ),
        (vec![], StatusCode::BAD_REQUEST),
        (
            vec![HOST, ("origin", "http://evil.example")],
            StatusCode::FORBIDDEN,
        ),
        (vec![HOST, ("origin", "null")], StatusCode::FORBIDDEN),
    ] {
        for path in ["/teams", "/api/v1/teams", "/tables/teams.csv"] {
            let answer = server.ask("GET", path, &headers, "");
            assert_eq!(answer.status, status, "{path} {headers:?}");
            assert!(status == StatusCode::OK || !answer.body.contains("unattributed"));
        }
    }
    let long = format!("/teams?team={}", "x".repeat(9_000));
    assert_eq!(server.get(&long).status, StatusCode::URI_TOO_LONG);
    let large = server.ask("POST", "/sign-in", &[HOST], &"x".repeat(100_000));
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    for (method, path, allowed) in [
        ("DELETE", "/teams", "GET, HEAD"),
        ("POST", "/teams", "GET, HEAD"),
        ("GET", "/sign-out", "POST"),
        ("PUT", "/sign-in", "GET, HEAD, POST"),
    ] {
        let answer = server.ask(method, path, &[HOST], "");
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(answer.header(header::ALLOW), allowed, "{method} {path}");
    }
    // A kubelet asks by the pod's address, which nobody names beforehand.
    for path in ["/healthz", "/readyz"] {
        let answer = server.ask("GET", path, &[("host", "10.244.1.7:9480")], "");
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    // A filter that applies to nothing here is said to.
    let page = server.get("/teams?category=failed").body;
    assert!(page.contains("Not filtered by category"), "{page}");
}

#[test]
fn every_answer_bears_the_headers_that_keep_browsers_safe() {
    let world = one_pod();
    let server = Server::of_world(&world);
    for path in ["/", "/api/v1/teams", "/nowhere", "/healthz", "/assets/style.css"] {
        let answer = server.get(path);
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(answer.header(header::REFERRER_POLICY), "same-origin");
        assert!(answer.header(header::CACHE_CONTROL).contains("no-"), "{path}");
    }
    for (url, page) in server.pages("/", 1) {
        // A report is a file of its own, with a policy of its own; the others are no pages.
        if url.starts_with("/report?") || !page.starts_with("<!DOCTYPE html>") {
            continue;
        }
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for inline in ["<style", " style=", "onclick", "<script>", "http://", "https://"] {
            assert!(!page.contains(inline), "{url}: {inline}");
        }
    }
}

#[test]
fn programs_are_told_what_is_wrong_in_problem_details() {
    let world = one_pod();
    let server = Server::of_world(&world);
    for (url, status, told) in [
        ("/api/v1/teams?weak=1", 400, "`weak`"),
        ("/api/v1/teams?week=2026-W77", 400, "2026-W77"),
        ("/api/v1/teams?sort=nothing", 400, "`nothing`"),
        ("/api/v1/teams?sort=cost%3Bdrop", 400, "sort"),
        ("/api/v1/teams?pool=x", 400, "`pool` is no filter"),
        ("/api/v1/teams?limit=99999", 400, "`limit`"),
        ("/api/v1/run", 400, "pipeline"),
        ("/tables/pod-hours.csv", 400, "pod"),
        ("/api/v1/weekly-report?team=nobody", 404, "nobody"),
        ("/api/v1/nothing", 404, "nothing here"),
    ] {
        let answer = server.get(url);
        assert_eq!(answer.status.as_u16(), status, "{url}");
        assert_eq!(
            answer.header(header::CONTENT_TYPE),
            "application/problem+json",
            "{url}"
        );
        let body = answer.json();
        assert_eq!(body["status"], status, "{url}");
        assert!(body["detail"].as_str().unwrap().contains(told), "{url}: {body}");
        assert!(body["type"].is_string() && body["title"].is_string());
    }
    for url in [
        "/pod?pod=none",
        "/run?run=x&pipeline=y",
        "/machine?machine=x",
        "/nowhere",
    ] {
        let answer = server.get(url);
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{url}");
        assert!(answer.header(header::CONTENT_TYPE).starts_with("text/html"));
    }
}

#[test]
fn an_answer_changes_with_its_build_alone() {
    let world = one_pod();
    let server = Server::of_world(&world);
    let first = server.get("/teams");
    let tag = first.header(header::ETAG).to_owned();
    assert!(!tag.is_empty());
    let again = server.ask("GET", "/teams", &[HOST, ("if-none-match", &tag)], "");
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty() && again.header(header::ETAG) == tag);
    assert_ne!(server.get("/teams?week=2026-W46").header(header::ETAG), tag);
    assert!(!server.snapshots.take().unwrap(), "nothing has changed");
    world.given_pod("q", 500, 512, 0);
    world.build(false);
    assert!(server.snapshots.take().unwrap());
    let fresh = server.ask("GET", "/teams", &[HOST, ("if-none-match", &tag)], "");
    assert_eq!(fresh.status, StatusCode::OK);
    assert_ne!(fresh.header(header::ETAG), tag);
    assert_eq!(server.get("/api/v1/pods").json()["total"], 2);
    // No copy is left in the folder.
    let left = std::fs::read_dir(world.folder.path()).unwrap();
    let names: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| !name.contains("served")), "{names:?}");
}

#[test]
fn another_process_builds_beside_a_server_and_is_shown() {
    let world = one_pod();
    let server = Server::of_world(&world);
    world.given_pod("q", 500, 512, 0);
    let built = std::process::Command::new(env!("CARGO_BIN_EXE_podledger"))
        .current_dir(world.folder.path())
        .env_remove("PODLEDGER_CONFIG")
        .args(["--data", ".", "build"])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    assert_eq!(server.get("/api/v1/pods").json()["total"], 1);
    assert!(server.snapshots.take().unwrap());
    assert_eq!(server.get("/api/v1/pods").json()["total"], 2);
}

#[test]
fn the_first_visit_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::of(folder.path());
    let page = server.get("/");
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("podledger import kubernetes") && page.body.contains("podledger demo"));
    for (path, status) in [
        ("/api/v1/teams", 503),
        ("/tables/teams.csv", 503),
        ("/readyz", 503),
        ("/healthz", 200),
    ] {
        assert_eq!(server.get(path).status.as_u16(), status, "{path}");
    }
}
