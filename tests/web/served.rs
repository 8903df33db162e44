//! `podledger serve`, over a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const PODLEDGER: &str = env!("CARGO_BIN_EXE_podledger");

/// The program, of the data in a folder.
pub fn podledger(data: &Path) -> Command {
    let mut command = Command::new(PODLEDGER);
    command.current_dir(data).arg("--data").arg(data);
    for name in ["PODLEDGER_DATA", "PODLEDGER_CONFIG"] {
        command.env_remove(name);
    }
    command
}

/// `podledger serve --no-collect` of the data in a folder, at any port.
pub fn serve(data: &Path) -> Command {
    let mut command = podledger(data);
    command
        .args([
            "serve",
            "--no-collect",
            "--listen",
            "127.0.0.1:0",
            "--postgres-listen",
            "off",
            "--opencost",
            "off",
        ])
        .args(["--requests-per-second", "100000"])
        .stderr(Stdio::null());
    command
}

/// A server, until it is dropped.
pub struct Served {
    child: Child,
    /// Such as `http://127.0.0.1:1234`.
    pub url: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    pub fn of(data: &Path) -> Self {
        Self::begin(&mut serve(data))
    }

    pub fn begin(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.find_map(|line| {
            let line = line.unwrap();
            line.split_whitespace()
                .find(|word| word.contains("://"))
                .map(str::to_owned)
        });
        Self {
            child,
            url: told.unwrap(),
        }
    }

    /// Such as `127.0.0.1:1234`.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// The whole answer to a request: its head, and its body.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream
            .write_all(request(self.address(), method, path, headers, body).as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    pub fn get(&self, path: &str) -> String {
        let (head, body) = self.ask("GET", path, &[], "");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}\n{body}");
        body
    }

    pub fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.get(path)).unwrap()
    }
}

/// A request of HTTP/1.1, after which the connection ends.
pub fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}
