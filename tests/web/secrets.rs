//! What lets somebody in stays out of logs and answers, and so do values of requests out of logs.

use std::fs::File;

use podledger_reports::http::{Role, create_token};

use super::served::{Served, serve};
use crate::sql_door::world;

/// What somebody tries, and what others ask about: none of it is anybody else's business.
const WRONG: &str = "pl_wrong-and-still-secret";
const STRANGER: &str = "c29tZWJvZHk6c2VjcmV0";
const TEAM: &str = "team-of-a-secret-project";
const LITERAL: &str = "literal-of-a-secret-query";

#[test]
fn tokens_sessions_and_values_of_requests_are_not_told_to_logs_nor_tokens_to_anybody() {
    let world = world();
    let folder = world.folder.path();
    let token = create_token(
        &folder.join("tokens.toml"),
        "somebody",
        Role::Analyst,
        String::new(),
    )
    .unwrap();
    let log = folder.join("log");
    let served = Served::begin(
        serve(folder)
            .env("RUST_LOG", "trace")
            .stderr(File::create(&log).unwrap()),
    );
    let (right, wrong) = (format!("Bearer {token}"), format!("Bearer {WRONG}"));
    let own = ("Origin", served.url.as_str());
    let sign_in = |token: &str| served.ask("POST", "/sign-in", &[own], &format!("token={token}&next=/teams"));
    let (head, _) = sign_in(&token);
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let session = cookie.split_once('=').unwrap().1.to_owned();
    let forged = format!("podledger_session={WRONG}");
    let basic = format!("Basic {STRANGER}");
    let bearer = ("Authorization", right.as_str());
    let json = ("Content-Type", "application/json");
    let query = |text: &str| serde_json::json!({ "query": text }).to_string();
    let mut answers = Vec::new();
    for (status, method, path, headers, body) in [
        (200, "GET", "/teams".to_owned(), vec![bearer], String::new()),
        (
            200,
            "GET",
            "/teams".to_owned(),
            vec![("Cookie", cookie.as_str())],
            String::new(),
        ),
        (
            200,
            "GET",
            "/pods?limit=5".to_owned(),
            vec![bearer],
            String::new(),
        ),
        (
            200,
            "GET",
            format!("/teams?team={TEAM}"),
            vec![bearer],
            String::new(),
        ),
        (
            200,
            "GET",
            format!("/tables/pods.csv?team={TEAM}"),
            vec![bearer],
            String::new(),
        ),
        (200, "GET", "/rightsizing".to_owned(), vec![bearer], String::new()),
        (
            200,
            "POST",
            "/api/v1/sql".to_owned(),
            vec![bearer, json],
            query(&format!("select '{LITERAL}' as told")),
        ),
        (
            400,
            "POST",
            "/api/v1/sql".to_owned(),
            vec![bearer, json],
            query(&format!("select \"{LITERAL}\" from costs_daily")),
        ),
        (
            422,
            "POST",
            "/api/v1/sql".to_owned(),
            vec![bearer, json],
            query(&format!("from read_csv('/{LITERAL}')")),
        ),
        (
            400,
            "POST",
            "/api/v1/sql".to_owned(),
            vec![bearer, json],
            format!("{{\"query\": 1, \"{LITERAL}\": 2}}"),
        ),
        (
            401,
            "GET",
            "/teams".to_owned(),
            vec![("Authorization", wrong.as_str())],
            String::new(),
        ),
        (
            401,
            "GET",
            "/api/v1/teams".to_owned(),
            vec![("Authorization", wrong.as_str())],
            String::new(),
        ),
        (
            401,
            "GET",
            "/api/v1/teams".to_owned(),
            vec![("Authorization", basic.as_str())],
            String::new(),
        ),
        (
            401,
            "GET",
            "/api/v1/teams".to_owned(),
            vec![("Authorization", WRONG)],
            String::new(),
        ),
        (
            401,
            "GET",
            "/teams".to_owned(),
            vec![("Cookie", forged.as_str())],
            String::new(),
        ),
        (
            401,
            "POST",
            "/sign-in".to_owned(),
            vec![own],
            format!("token={WRONG}&next=/teams"),
        ),
        (403, "GET", "/metrics".to_owned(), vec![bearer], String::new()),
        // Whoever puts a token into a URL is not told it back.
        (
            400,
            "GET",
            format!("/api/v1/teams?token={token}"),
            vec![bearer],
            String::new(),
        ),
        (
            400,
            "GET",
            format!("/teams?token={token}"),
            vec![bearer],
            String::new(),
        ),
        (404, "GET", format!("/{token}"), vec![bearer], String::new()),
        (
            303,
            "POST",
            "/sign-out".to_owned(),
            vec![own, ("Cookie", cookie.as_str())],
            String::new(),
        ),
        (
            401,
            "GET",
            "/teams".to_owned(),
            vec![("Cookie", cookie.as_str())],
            String::new(),
        ),
    ] {
        let (head, body) = served.ask(method, &path, &headers, &body);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {head}\n{body}"
        );
        answers.push(format!("{head}\n{body}"));
    }
    // What it had to say is said when it has ended.
    drop(served);
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(
        told.contains("DEBUG") && told.contains("question="),
        "the log tells nothing: {told}"
    );
    for secret in [token.as_str(), session.as_str(), WRONG, STRANGER] {
        assert!(!told.contains(secret), "the log tells {secret}");
        for answer in &answers {
            assert!(!answer.contains(secret), "{secret} is told in {answer}");
        }
    }
    for value in [TEAM, LITERAL] {
        assert!(!told.contains(value), "the log tells {value}");
    }
}
