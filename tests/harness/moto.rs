//! AWS as moto plays it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::tool;

/// A server that ends with the test.
pub struct Moto {
    child: Child,
    pub address: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    /// `None`, said loudly, where it is not installed.
    pub fn start() -> Option<Self> {
        let mut child = Command::new(tool("moto_server")?)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("http://")?.1.trim().to_owned()));
        // What it says later must be read too.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            address: address.unwrap(),
        })
    }

    /// Sends JSON to moto's own door.
    pub fn post(&self, path: &str, body: &str) {
        self.send("POST", path, body);
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) {
        self.send("PUT", &format!("/{name}"), "");
    }

    fn send(&self, method: &str, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
}
