//! The real commands: two collectors, and a server that watches nothing, with a bucket between them that goes away in the end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::World;
use crate::harness::moto::Moto;
use crate::live::kubectl::{Program, get, simulate_with};

/// Asks over and over: each answer takes its time.
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::yield_now();
    }
}

/// A process with a bucket in moto's S3.
fn podledger(world: &World, moto: &Moto, arguments: &[&str]) -> Program {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .arg("--data")
        .arg(world.folder.path())
        .args(["--bucket", "s3://metering/prod"])
        .args(arguments)
        .envs([
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "of the test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("RUST_LOG", "info"),
        ])
        .env("AWS_ENDPOINT_URL", format!("http://{}", moto.address))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Program)
        .unwrap()
}

/// Where its figures are; what it says later is read, so that it can go on.
fn figures(child: &mut Child) -> String {
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = said
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("address=")?.1.to_owned()));
    std::thread::spawn(move || said.for_each(drop));
    address.unwrap()
}

/// The sum of a figure.
fn figure(address: &str, name: &str) -> f64 {
    get(address, "/metrics")
        .lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn collectors_of_two_clusters_and_a_server_without_one_share_a_bucket_and_go_on_without_it() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("metering");
    let mut collecting = Vec::new();
    for (cluster, seed) in [("cluster-one", "1"), ("cluster-two", "2")] {
        let world = World::new();
        let kubeconfig = world.folder.path().join("kubeconfig");
        let kubeconfig = kubeconfig.to_str().unwrap();
        let (server, _) = simulate_with(&[
            "--cluster",
            cluster,
            "--seed",
            seed,
            "--kubeconfig-out",
            kubeconfig,
        ]);
        let collect = [
            "collect",
            "--no-lease",
            "--usage",
            "off",
            "--listen",
            "127.0.0.1:0",
        ];
        let often = [
            "--seal-every",
            "1",
            "--push-every",
            "1",
            "--kubeconfig",
            kubeconfig,
        ];
        let mut collect = podledger(&world, &moto, &[collect, often].concat());
        let address = figures(&mut collect.0);
        collecting.push((world, server, collect, address));
    }
    let central = World::new();
    let mut serve = podledger(
        &central,
        &moto,
        &[
            "serve",
            "--no-watch",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--postgres-listen",
            "off",
            "--opencost",
            "off",
            "--build-every",
            "1",
        ],
    );
    let mut said = BufReader::new(serve.0.stdout.take().unwrap()).lines();
    let dashboard = said.next().unwrap().unwrap();
    let dashboard = dashboard.split_once("http://").unwrap().1;
    let dashboard = dashboard.split_whitespace().next().unwrap();
    let of_server = figures(&mut serve.0);
    let shown = || -> Vec<String> {
        let answer: serde_json::Value =
            serde_json::from_str(&get(dashboard, "/api/v1/clusters")).unwrap_or_default();
        let rows = answer["rows"].as_array().into_iter().flatten();
        rows.map(|row| row["cluster"].as_str().unwrap().to_owned())
            .collect()
    };
    wait("both clusters", || shown() == ["cluster-one", "cluster-two"]);
    assert_eq!(get(&of_server, "/readyz"), "ok\n");
    assert!(figure(&of_server, "podledger_bucket_pulled_segments_total") > 0.0);
    for (.., address) in &collecting {
        assert!(figure(address, "podledger_bucket_pushed_segments_total") > 0.0);
        assert!(figure(address, "podledger_bucket_last_push_timestamp_seconds") > 0.0);
    }

    drop(moto);
    for (.., address) in &collecting {
        wait("a push that fails", || {
            figure(address, "podledger_bucket_push_failures_total") > 0.0
        });
        let sealed = || figure(address, "podledger_collector_sealed_facts_total");
        let before = sealed();
        wait("another seal", || sealed() > before);
    }
    wait("a pull that fails", || {
        figure(&of_server, "podledger_bucket_pull_failures_total") > 0.0
    });
    assert_eq!(shown(), ["cluster-one", "cluster-two"]);
    let collects = collecting.iter_mut().map(|(_, _, collect, _)| collect);
    for process in collects.chain([&mut serve]) {
        let id = process.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success() && process.0.wait().unwrap().success());
    }
}
