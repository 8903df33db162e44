//! `kubectl` against the simulated API server, and `collect` against it over a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{World, system_tool};

/// A program that ends with the test.
pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves an hour of a platform per second; returns the address.
fn simulate(kubeconfig: &Path) -> (Program, String) {
    simulate_with(&["--kubeconfig-out", kubeconfig.to_str().unwrap()])
}

/// The same, with more options.
pub fn simulate_with(options: &[&str]) -> (Program, String) {
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
        .args(options)
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
    let Some(kubectl) = system_tool("kubectl") else {
        return;
    };
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
    let address = listening(&mut collect, 1);
    // It is ready when the first lists are read: asked for over and over, each answer takes its time.
    let get = |path: &str| get(&address, path);
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

#[test]
fn serve_collects_several_clusters_and_computes_what_they_cost() {
    let world = World::new();
    let (_one, first) = simulate_with(&["--cluster", "cluster-one", "--seed", "1"]);
    let (_two, second) = simulate_with(&["--cluster", "cluster-two", "--seed", "2"]);
    let kubeconfig = world.folder.path().join("kubeconfig");
    let context = |name: &str, server: &str| {
        (
            format!("- name: {name}\n  cluster:\n    server: {server}\n"),
            format!("- name: {name}\n  context:\n    cluster: {name}\n    user: nobody\n"),
        )
    };
    let ((one, of_one), (two, of_two)) = (context("one", &first), context("two", &second));
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n{one}{two}contexts:\n{of_one}{of_two}users:\n- name: nobody\n  user: {{}}\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_podledger"))
        .arg("--data")
        .arg(world.folder.path())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--postgres-listen",
            "off",
            "--opencost",
            "off",
            "--seal-every",
            "1",
            "--build-every",
            "1",
        ])
        .args(["--context", "one", "--context", "two", "--kubeconfig"])
        .arg(&kubeconfig)
        .env("RUST_LOG", "info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(serve.stdout.take().unwrap()).lines();
    let dashboard = said.next().unwrap().unwrap();
    let dashboard = dashboard.split_once("http://").unwrap().1;
    let dashboard = dashboard.split_whitespace().next().unwrap();
    let address = listening(&mut serve, 2);
    let is_built = || {
        let metrics = get(&address, "/metrics");
        let builds = metrics
            .lines()
            .find_map(|line| line.strip_prefix("podledger_build_builds_total "));
        builds.is_some_and(|builds| builds.parse::<f64>().unwrap() >= 3.0)
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while (get(&address, "/readyz") != "ok\n" || !is_built()) && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    // What it builds is what its own dashboard shows, as soon as it has built it.
    let shown = || -> Vec<String> {
        let answer = get(dashboard, "/api/v1/clusters");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let rows = answer["rows"].as_array().into_iter().flatten();
        rows.map(|row| row["cluster"].as_str().unwrap().to_owned())
            .collect()
    };
    while shown() != ["cluster-one", "cluster-two"] && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(shown(), ["cluster-one", "cluster-two"]);
    let page = get(dashboard, "/pods");
    assert!(
        page.contains("<meta name=\"podledger-build\"") && page.contains("<h1>Pods</h1>"),
        "{page}"
    );
    let id = serve.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(told.success());
    assert!(serve.wait().unwrap().success());
    world.build(false);
    let clusters = world.rows("select cluster, count(*) > 0 from marts.pods group by all order by all");
    assert_eq!(clusters, ["cluster-one|true", "cluster-two|true"]);
}

/// Waits until a collecting command has begun with so many clusters; returns where it listens.
fn listening(command: &mut Child, clusters: usize) -> String {
    let (mut address, mut begun) = (None, 0);
    let mut said = BufReader::new(command.stderr.take().unwrap()).lines();
    while begun < clusters {
        let line = said.next().unwrap().unwrap();
        if let Some((_, listening)) = line.split_once("address=") {
            address = Some(listening.to_owned());
        }
        begun += usize::from(line.contains("open_pods"));
    }
    // What it says later is read, so that it can go on.
    std::thread::spawn(move || said.for_each(drop));
    address.unwrap()
}

/// What a server answers.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
