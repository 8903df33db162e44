//! What cannot be asked or is not answered: it is said clearly, nothing is stored of it, and asking again goes well.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::json;

use super::cost_explorer::{asking, day, page};
use super::{Reply, Server, bad, error, facts, good, output, podledger, torn};
use crate::harness::World;

/// Asks a server that answers the first page and then `reply`; nothing may be stored, and the same server answers later.
fn refused(reply: Reply, attempts: &str) -> (String, usize) {
    let days = |service| day("2025-03-01", "2025-03-02", false, &[(service, "1")]);
    let well = [page(&[days("S3")], Some("two")), page(&[days("EC2")], None)];
    let is_mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mended = std::sync::Arc::clone(&is_mended);
    let server = Server::new(move |_, request| {
        let is_second = request.body.get("NextPageToken").is_some();
        if is_second && !mended.load(std::sync::atomic::Ordering::Relaxed) {
            return reply.clone();
        }
        good(&well[usize::from(is_second)])
    });
    let world = World::new();
    let run = |command: &mut std::process::Command| {
        command.env("AWS_MAX_ATTEMPTS", attempts);
    };
    let mut command = podledger(&world, &asking(&server.url, &[]));
    run(&mut command);
    let said = error(&mut command);
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(facts(world.folder.path(), "billed_charges", "*"), [""; 0]);
    let sent = server.sent().len();
    // What was asked has cost money nevertheless.
    assert!(
        said.contains(&format!("{sent} were sent now")) || sent == 2,
        "{said}"
    );

    is_mended.store(true, std::sync::atomic::Ordering::Relaxed);
    let after = output(&mut podledger(&world, &asking(&server.url, &[])));
    assert!(after.contains(&format!("has {} of 100", sent + 2)), "{after}");
    assert_eq!(facts(world.folder.path(), "billed_charges", "*").len(), 2);
    (said, sent)
}

#[test]
fn what_aws_refuses_is_told_with_its_mend() {
    for (code, expected) in [
        (
            "ExpiredTokenException",
            "the credentials have expired (ExpiredTokenException: as the test wants); they are of",
        ),
        ("UnrecognizedClientException", "AWS does not know the credentials"),
        ("AccessDeniedException", "allow them `ce:GetCostAndUsage`"),
        (
            "DataUnavailableException",
            "AWS answers DataUnavailableException: as the test wants (HTTP 400)",
        ),
    ] {
        let (said, sent) = refused(bad(code), "1");
        assert!(said.contains(expected), "{code}: {said}");
        assert_eq!(sent, 2);
    }
}

#[test]
fn throttling_is_waited_for_and_then_told() {
    let (said, sent) = refused(bad("LimitExceededException"), "3");
    assert!(
        said.contains("AWS says that it is asked too often") && said.contains("4 were sent now"),
        "{said}"
    );
    // The first page, and the second three times.
    assert_eq!(sent, 4);

    // Where it is over in time nobody notices.
    let day = day("2025-03-01", "2025-03-02", false, &[("S3", "1")]);
    let server = Server::new(move |number, _| match number {
        0 | 1 => bad("ThrottlingException"),
        _ => good(&page(std::slice::from_ref(&day), None)),
    });
    let world = World::new();
    let said = output(podledger(&world, &asking(&server.url, &[])).env("AWS_MAX_ATTEMPTS", "3"));
    assert!(said.contains("3 requests ($0.03)"), "{said}");
}

#[test]
fn a_page_that_breaks_off_or_does_not_fit_stores_nothing() {
    let second =
        |date: &str, next: &str, service: &str| page(&[day(date, next, false, &[(service, "1")])], None);
    let mut euro = second("2025-03-01", "2025-03-02", "EC2");
    euro["ResultsByTime"][0]["Groups"][0]["Metrics"]["UnblendedCost"]["Unit"] = "EUR".into();
    let mut keyless = second("2025-03-01", "2025-03-02", "EC2");
    keyless["ResultsByTime"][0]["Groups"][0]["Keys"] = json!(["EC2"]);
    for (reply, expected) in [
        (
            torn(&second("2025-03-01", "2025-03-02", "EC2")),
            "the answer breaks off or is none of AWS",
        ),
        (
            good(&json!("no answer")),
            "the answer breaks off or is none of AWS",
        ),
        (
            good(&second("2025-03-01", "2025-03-02", "S3")),
            "2025-03-01: the group S3, 123456789012 is told twice",
        ),
        (
            good(&second("2025-04-01", "2025-04-02", "EC2")),
            "was asked for the days from 2025-03-01 until 2025-03-03, and tells of 2025-04-01",
        ),
        (
            good(&second("2025-03-01", "2025-03-03", "EC2")),
            "tells of 2025-03-01 until 2025-03-03",
        ),
        (
            good(&page(&[], Some("two"))),
            "the pages of the answer have no end",
        ),
        (good(&keyless), "a group has 1 keys, and 2 were asked for"),
        (
            good(&euro),
            "column `Currency`: `EUR` is another currency than the ledger's, which is USD",
        ),
    ] {
        let (said, _) = refused(reply, "1");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_month_has_so_many_requests_and_no_more() {
    let server = Server::new(|number, _| {
        let days = [day("2025-03-01", "2025-03-02", false, &[("S3", "1")])];
        good(&page(&days, Some(&format!("after {number}"))))
    });
    let world = World::new();
    let ask = || {
        let arguments = asking(&server.url, &["--monthly-requests", "1"]);
        // A refusal of our own is not tried again.
        error(podledger(&world, &arguments).env("AWS_MAX_ATTEMPTS", "4"))
    };
    let said = ask();
    assert!(
        said.contains("1 requests of ") && said.contains("($0.01), of 1 that it may have"),
        "{said}"
    );
    assert!(said.contains("--monthly-requests"), "{said}");
    assert_eq!(server.sent().len(), 1);
    // It is not forgotten with the process, and nothing more is sent.
    ask();
    assert_eq!(server.sent().len(), 0);
    assert_eq!(facts(world.folder.path(), "billed_charges", "*"), [""; 0]);

    // A count that cannot be read is not taken for none.
    std::fs::write(world.folder.path().join("cost-explorer.json"), "{").unwrap();
    let said = ask();
    assert!(
        said.contains("cost-explorer.json: is damaged") && said.contains("move it away"),
        "{said}"
    );
    assert_eq!(server.sent().len(), 0);
}

#[test]
fn wrong_questions_are_told_before_anything_is_sent() {
    let server = Server::new(|_, _| bad("Unasked"));
    let world = World::new();
    std::fs::write(
        world.folder.path().join("podledger.toml"),
        "[billing]\naccounts = ['123456789012', '210987654321']\n",
    )
    .unwrap();
    for (more, expected) in [
        (&["--group-by", "SERVICE,REGION,AZ"][..], "it groups by 2 at most"),
        (
            &["--group-by", "COLOUR"],
            "cannot be grouped by `COLOUR`; group by SERVICE, REGION",
        ),
        (&["--group-by", "SERVICE"], "group by LINKED_ACCOUNT too"),
        (&["--until", "2999-01-01"], "2999-01-01 has not begun"),
    ] {
        let arguments = [
            "import",
            "cost-explorer",
            "--live",
            "--since",
            "2025-03-01",
            "--endpoint-url",
            &server.url,
        ];
        let arguments = [&arguments[..], more].concat();
        let said = error(&mut podledger(&world, &arguments));
        assert!(said.contains(expected), "{expected}: {said}");
    }
    std::fs::write(
        world.folder.path().join("podledger.toml"),
        "[billing]\naccounts = ['a-project']\n",
    )
    .unwrap();
    let said = error(&mut podledger(&world, &asking(&server.url, &[])));
    assert!(
        said.contains("names no account of AWS (12 digits), but a-project"),
        "{said}"
    );
    let said = error(&mut podledger(&world, &asking("ftp://here", &[])));
    assert!(said.contains("`ftp://here` is no URL"), "{said}");
    let mut command = podledger(&world, &asking(&server.url, &[]));
    let said = error(
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY"),
    );
    assert!(
        said.contains("no credentials: ") && said.contains("AWS_PROFILE"),
        "{said}"
    );
    assert_eq!(server.sent().len(), 0);
}

/// A proxy that lets nobody through: its address, and the first line of the first thing that it is asked.
fn closed_proxy() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = sender.send(line.trim_end().to_owned());
            let _ =
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (address, asked)
}

#[test]
fn aws_is_asked_through_the_proxy_of_the_environment() {
    let world = World::new();
    let (address, asked) = closed_proxy();
    let mut command = podledger(&world, &asking("https://ce.example.invalid", &[]));
    let said = error(command.env("HTTPS_PROXY", format!("http://me:of%20the%20test@{address}")));
    assert_eq!(
        asked.try_recv().unwrap(),
        "CONNECT ce.example.invalid:443 HTTP/1.1"
    );
    assert!(
        said.contains("nothing was written") && !said.contains("of%20the%20test"),
        "{said}"
    );

    // What is on this machine needs none.
    let server = Server::new(|_, _| bad("Unasked"));
    let mut command = podledger(&world, &asking(&server.url, &[]));
    let said = error(
        command
            .env("HTTP_PROXY", format!("http://{address}"))
            .env("NO_PROXY", "localhost,127.0.0.1"),
    );
    assert!(said.contains("AWS answers Unasked"), "{said}");
    assert_eq!(server.sent().len(), 1);
    assert!(asked.try_recv().is_err());
}
