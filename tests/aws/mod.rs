//! What is asked of AWS, against servers on loopback: moto where it knows the service, and one that says what a test wants.

mod cost_explorer;
mod moto;
mod prices;
mod refused;
mod spot;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use podledger_sql::facts::Fact;
use podledger_sql::recall::relation;
use serde_json::Value;

use crate::harness::{World, rows};

/// What a server was sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// The operation: `AWSInsightsIndexService.GetCostAndUsage`.
    pub target: String,
    pub body: Value,
}

/// What it answers.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    body: String,
    /// Bytes that are announced and never come.
    missing: usize,
}

pub fn good(body: &Value) -> Reply {
    Reply {
        status: 200,
        body: body.to_string(),
        missing: 0,
    }
}

/// An error in AWS's words. The SDK waits as long as it is told, which is no time.
pub fn bad(code: &str) -> Reply {
    Reply {
        status: 400,
        body: format!("{{\"__type\": \"{code}\", \"message\": \"as the test wants\"}}"),
        missing: 0,
    }
}

/// An answer of which the end does not come.
pub fn torn(body: &Value) -> Reply {
    let body = body.to_string();
    let half = body.len() / 2;
    Reply {
        status: 200,
        body: body[..half].to_owned(),
        missing: body.len() - half,
    }
}

/// A server that speaks AWS's JSON, and says what `script` makes of each request and its number.
pub struct Server {
    pub url: String,
    sent: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn new(script: impl Fn(usize, &Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&sent);
        // It lives as long as the tests do: nobody has to end it.
        std::thread::spawn(move || {
            let mut number = 0;
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = receive(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                let _ = answer(&stream, &script(number, &request));
                number += 1;
            }
        });
        Self { url, sent }
    }

    /// What was sent since this was asked last.
    pub fn sent(&self) -> Vec<Request> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

fn receive(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => target = value.to_owned(),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        target,
        body: serde_json::from_slice(&body).ok()?,
    })
}

fn answer(mut stream: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {} Told\r\nContent-Type: application/x-amz-json-1.1\r\nx-amz-retry-after: 1\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{}",
        reply.status,
        reply.body.len() + reply.missing,
        reply.body
    )?;
    stream.flush()
}

/// The program with the credentials of a test, and nothing else of the environment.
pub fn podledger(world: &World, arguments: &[&str]) -> Command {
    let folder = world.folder.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_podledger"));
    command
        .env_clear()
        .envs([
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "of the test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_MAX_ATTEMPTS", "1"),
        ])
        .env("HOME", folder)
        .current_dir(folder)
        .arg("--data")
        .arg(folder)
        .args(arguments);
    command
}

/// What it printed, if it went well.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Why it failed.
pub fn error(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(!errors.contains("of the test"), "a secret is told: {errors}");
    errors
}

/// Facts in the lake, by a query over one table.
pub fn facts(folder: &Path, table: &str, columns: &str) -> Vec<String> {
    let lake = podledger_sql::lake::Lake::open(&folder.join("lake")).unwrap();
    let relation = relation(&lake, Fact::named(table).unwrap()).unwrap();
    let connection = podledger_sql::ledger::scratch().unwrap();
    rows(
        &connection,
        &format!("select {columns} from {relation} order by all"),
    )
}
