//! What a script adds to pages, and who is shown what.

use std::process::Command;

use axum::http::StatusCode;
use podledger_reports::http::{Role, create_token};

use super::Server;
use super::browser::said;
use super::served::Served;
use crate::harness::{system_tool, tool};
use crate::weekly::fortnight;

#[test]
fn rows_are_sorted_and_found_work_is_told_and_a_first_visit_ends() {
    let world = fortnight();
    let served = Served::of(world.folder.path());
    let (Some(python), Some(_), Some(_)) = (tool("python"), tool("playwright"), system_tool("chromium"))
    else {
        return;
    };
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/handy.py");
    said(Command::new(python).arg(program).arg(&served.url));
}

#[test]
fn who_may_not_ask_in_sql_is_not_shown_the_way_there() {
    let world = fortnight();
    let tokens = world.folder.path().join("tokens.toml");
    let token = |name: &str, role| create_token(&tokens, name, role, String::new()).unwrap();
    let (viewer, analyst) = (token("v", Role::Viewer), token("a", Role::Analyst));
    let server = Server::of_world(&world);
    for (token, is_shown) in [(viewer, false), (analyst, true)] {
        let bearer = format!("Bearer {token}");
        let headers = [("host", "127.0.0.1:9480"), ("authorization", bearer.as_str())];
        let page = server.ask("GET", "/teams", &headers, "");
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.body.contains("href=\"/sql\""), is_shown);
        let sql = server.ask("GET", "/sql", &headers, "");
        assert_eq!(sql.status == StatusCode::FORBIDDEN, !is_shown);
    }
}
