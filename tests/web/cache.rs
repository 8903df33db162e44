//! Answers are kept: each is computed once for its URL, the role of who asks, and the build.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use podledger_reports::http::{Role, create_token};

use super::safety::{HOST, one_pod};
use super::{Answer, Server};

/// How many answers were computed, kept from before, and not sent because they were known.
type Counts = (u64, u64, u64);

fn counts(server: &Server, admin: &str) -> Counts {
    let told = ask(server, admin, "/metrics").body;
    let count = |name: &str| -> u64 {
        let name = format!("podledger_http_answers_{name}_total ");
        let line = told.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap().parse().unwrap()
    };
    (count("computed"), count("cached"), count("unchanged"))
}

fn ask(server: &Server, token: &str, url: &str) -> Answer {
    let shown = format!("Bearer {token}");
    server.ask("GET", url, &[HOST, ("authorization", &shown)], "")
}

#[test]
fn an_answer_is_computed_once_for_its_url_role_and_build() {
    let world = one_pod();
    let tokens = world.folder.path().join("tokens.toml");
    let token = |name: &str, role: Role| create_token(&tokens, name, role, String::new()).unwrap();
    let viewer = token("viewer", Role::Viewer);
    let other = token("other", Role::Viewer);
    let admin = token("admin", Role::Admin);
    let server = Server::of_world(&world);
    let counts = || counts(&server, &admin);
    let read = |token: &str, url: &str| {
        let answer = ask(&server, token, url);
        assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
        answer
    };
    assert_eq!(counts(), (0, 0, 0));
    let first = read(&viewer, "/teams");
    assert_eq!(counts(), (1, 0, 0));
    // Whoever has the role reads what was computed for the first.
    assert_eq!(read(&viewer, "/teams").body, first.body);
    assert_eq!(read(&other, "/teams").body, first.body);
    assert_eq!(counts(), (1, 2, 0));
    for (token, url) in [
        (&admin, "/teams"),
        (&viewer, "/teams?sort=team"),
        (&viewer, "/api/v1/teams"),
    ] {
        let before = counts();
        read(token, url);
        assert_eq!(counts(), (before.0 + 1, before.1, 0), "{url}");
    }
    // Who has the answer is told so before anything is looked for.
    let shown = format!("Bearer {viewer}");
    let known = [
        HOST,
        ("authorization", shown.as_str()),
        ("if-none-match", first.header(header::ETAG)),
    ];
    let before = counts();
    let again = server.ask("GET", "/teams", &known, "");
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert_eq!(counts(), (before.0, before.1, 1));
    // What is wrong is no answer, and what is open has none to keep.
    for url in ["/teams?sort=nothing", "/healthz", "/nowhere"] {
        ask(&server, &viewer, url);
        assert_eq!(counts(), (before.0, before.1, 1), "{url}");
    }
    // Who asks while it is computed waits for it.
    let requests = (0..32).map(|number| {
        let token = if number % 2 == 0 { &viewer } else { &other };
        let request = Request::get("/pipelines").header(HOST.0, HOST.1);
        let request = request.header("authorization", format!("Bearer {token}"));
        request.body(Body::empty()).unwrap()
    });
    let answers = server.at_once(requests.collect());
    assert_eq!(answers.len(), 32);
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(counts(), (before.0 + 1, before.1 + 31, 1));
    // Another build has answers of its own.
    world.given_pod("q", 500, 512, 0);
    world.build(false);
    assert!(server.snapshots.take().unwrap());
    let before = counts();
    assert_ne!(read(&viewer, "/teams").body, first.body);
    assert_eq!(counts(), (before.0 + 1, before.1, before.2));
}
