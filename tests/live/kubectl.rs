//! `kubectl` against the simulated API server, and `collect` against it over a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::World;

/// `kubectl`, or nothing where it is not installed and need not be.
fn kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("kubectl"))
        .find(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
            "kubectl is missing: run `make kubectl`"
        );
        eprintln!("SKIPPED: kubectl is not installed");
    }
    found
}

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves an hour of a platform per second; returns the address.
fn simulate(kubeconfig: &Path) -> (Program, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podledger"))
        .args([
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--speed",
            "3600",
            "--days",
            "1",
            "--pipelines",
            "6",
        ])
        .arg("--kubeconfig-out")
        .arg(kubeconfig)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Both lines: who writes to somebody who does not read any more is ended.
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines.map_while(Result::ok).take(2).collect();
    let line = &said[0];
    let address = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .unwrap()
        .to_owned();
    (Program(child), address)
}

/// Runs `kubectl`, which may keep what it learns in `home`.
fn run(kubectl: &Path, home: &Path, address: &str, arguments: &[&str]) -> String {
    let output = Command::new(kubectl)
        .env("HOME", home)
        .args(["--server", address])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kubectl_reads_the_simulated_cluster() {
    let Some(kubectl) = kubectl() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = simulate(&folder.path().join("kubeconfig"));

    let nodes = run(&kubectl, folder.path(), &address, &["get", "nodes"]);
    assert!(nodes.starts_with("NAME") && nodes.contains("Ready"), "{nodes}");
    // Pods come as time goes on; a watch shows the first ones.
    let mut watch = Command::new(&kubectl)
        .env("HOME", folder.path())
        .args(["--server", &address, "get", "pods", "-A", "-w"])
        .stdout(Stdio::piped())
        .spawn()
        .map(Program)
        .unwrap();
    let lines: Vec<String> = BufReader::new(watch.0.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .take(40)
        .collect();
    assert_eq!(lines.len(), 40);
    assert!(
        lines[0].starts_with("NAMESPACE") && lines[0].contains("STATUS"),
        "{}",
        lines[0]
    );
    assert!(lines.iter().any(|line| line.contains("Running")), "{lines:#?}");
    let pods = run(&kubectl, folder.path(), &address, &["get", "pods", "-A"]);
    assert!(pods.lines().count() > 5, "{pods}");
    let json = run(
        &kubectl,
        folder.path(),
        &address,
        &["get", "pods", "-A", "-o", "json"],
    );
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(list["kind"], "List");
    assert!(list["items"].as_array().unwrap().len() > 4);
}

#[test]
fn collect_reads_a_cluster_over_a_socket_and_ends_when_it_is_told_to() {
    let world = World::new();
    let kubeconfig = world.folder.path().join("kubeconfig");
    let (server, _) = simulate(&kubeconfig);
    let mut collect = Command::new(env!("CARGO_BIN_EXE_podledger"))
        .arg("--data")
        .arg(world.folder.path())
        .args([
            "collect",
            "--listen",
            "127.0.0.1:0",
            "--seal-every",
            "1",
            "--kubeconfig",
        ])
        .arg(&kubeconfig)
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(collect.stderr.take().unwrap());
    let (mut address, mut lines) = (None, Vec::new());
    for line in said.by_ref().lines().map_while(Result::ok) {
        if let Some((_, listening)) = line.split_once("address=") {
            address = Some(listening.to_owned());
        }
        lines.push(line);
        if lines.last().is_some_and(|line| line.contains("open_pods")) {
            break;
        }
    }
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let address = address.unwrap();
    // It is ready when the first lists are read: asked for over and over, each answer takes its time.
    let get = |path: &str| -> String {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let lake = world.folder.path().join("lake/pod_states");
    let is_sealed = || std::fs::read_dir(&lake).is_ok_and(|folders| folders.count() > 1);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while (get("/readyz") != "ok\n" || !is_sealed()) && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let metrics = get("/metrics");
    for figure in [
        "changes_total",
        "facts_total",
        "queued_changes",
        "lag_seconds",
        "relists",
        "skipped_objects",
        "leader",
    ] {
        assert!(
            metrics.contains(&format!("podledger_collector_{figure}")),
            "{figure} is missing in {metrics}"
        );
    }
    let id = collect.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(collect.wait().unwrap().success());
    drop(server);
    world.build(true);
    let pods: i64 = world.rows("select count(*) from marts.pods")[0].parse().unwrap();
    assert!(pods > 0);
    assert!(!world.lake().segments().unwrap().is_empty());
}
