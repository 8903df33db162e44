//! Live collection from a simulated API server, through the client and the watches of real clusters, in simulated time.

mod access;
pub mod costs;
mod equal;
mod faults;
pub mod known;
pub mod kubectl;
pub mod leases;
mod month;
pub mod platform;
mod real_cluster;
mod recorded;
mod restarts;
mod things;
mod usage;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::recording;
use podledger_collector::live::{Clock, Collection, Ended, Figures, Settings};
use podledger_simulator::{ApiServer, Change, Scenario, Told, World as Simulated};
use podledger_sql::intake::Intake;
use podledger_sql::lake::Lake;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::harness::World;

/// Monday 2026-11-02, 00:00 UTC.
pub const START_MS: i64 = 1_793_577_600_000;

pub fn start() -> Timestamp {
    Timestamp::from_millisecond(START_MS).unwrap()
}

pub fn scenario(seed: u64, days: u32, pipelines: usize, has_noise: bool) -> Scenario {
    Scenario {
        seed,
        start_ms: START_MS,
        days,
        teams: 3,
        pipelines,
        has_noise,
        has_pod_events: false,
        has_flaws: true,
        slower_from_ms: None,
        request_percent: None,
        heavier_from_ms: None,
        has_branches: false,
    }
}

/// The changes of a scenario.
pub fn changes(scenario: Scenario) -> impl Iterator<Item = Change> + use<> {
    Simulated::new(scenario).filter_map(|told| match told {
        Told::Change(change) => Some(change),
        _ => None,
    })
}

/// A client of a simulated API server, without sockets; `account` names who asks.
pub fn client(server: &ApiServer, account: Option<&'static str>) -> Client {
    let service = server
        .router()
        .map_request(move |request: axum::http::Request<kube::client::Body>| {
            let mut request = request.map(axum::body::Body::new);
            if let Some(account) = account {
                let bearer = format!("Bearer {account}").parse().unwrap();
                request.headers_mut().insert("authorization", bearer);
            }
            request
        });
    Client::new(service, "default")
}

/// Runs `work` in simulated time: it passes when nothing is left to do at an instant.
pub fn in_simulated_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// How tests collect: the file is written less often than in real time, since every commit is flushed to the disk.
pub fn settings(world: &World) -> Settings {
    Settings {
        annotations: world.config.annotations().unwrap(),
        watch_timeout: Duration::from_secs(3600),
        commit_every: Duration::from_secs(1800),
        seal_every: Duration::from_secs(6 * 3600),
        ..Settings::default()
    }
}

/// Begins to collect a server into the world's lake.
pub fn collection(world: &World, server: &ApiServer, settings: Settings) -> Collection {
    let store = Intake::open(&world.folder.path().join("intake.duckdb"), server.now()).unwrap();
    collection_into(world.folder.path(), server, store, settings)
}

/// A collection of a server into the lake in a folder.
pub fn collection_into(folder: &Path, server: &ApiServer, store: Intake, settings: Settings) -> Collection {
    let told = server.clone();
    Collection {
        client: client(server, None),
        kubelets: Some(client(server, None)),
        name: "test".to_owned(),
        settings: Arc::new(settings),
        store: Arc::new(store),
        lake: Lake::open(&folder.join("lake")).unwrap(),
        bucket: None,
        clock: Clock::new(move || told.now()),
        figures: Figures::default(),
    }
}

/// A collection that runs, until it is stopped.
pub struct Running {
    stop: watch::Sender<bool>,
    ended: JoinHandle<podledger_collector::Result<Ended>>,
}

/// Begins to collect as the command does: what fails later is tried again.
pub fn begin_to_keep(collection: Collection) -> Running {
    let (stop, stopped) = watch::channel(false);
    let kept = async { collection.keep(stopped).await.map(|()| Ended::Stopped) };
    Running {
        stop,
        ended: tokio::spawn(kept),
    }
}

pub fn begin(collection: Collection) -> Running {
    let (stop, stopped) = watch::channel(false);
    Running {
        stop,
        ended: tokio::spawn(collection.run(stopped)),
    }
}

impl Running {
    pub async fn stop(self) -> Ended {
        // One that has failed already hears nothing; why it failed is then the message.
        let _ = self.stop.send(true);
        self.ended.await.unwrap().unwrap()
    }

    /// As a process that is killed: it says nothing more.
    pub fn kill(self) {
        self.ended.abort();
    }
}

/// A server in which a scenario happens.
pub async fn serve(
    settings: podledger_simulator::Settings,
    scenario: Scenario,
) -> (ApiServer, JoinHandle<()>) {
    serve_changes(settings, changes(scenario)).await
}

/// A server in which changes happen.
pub async fn serve_changes(
    settings: podledger_simulator::Settings,
    changes: impl Iterator<Item = Change> + Send + 'static,
) -> (ApiServer, JoinHandle<()>) {
    let server = ApiServer::new(settings);
    let platform = tokio::spawn({
        let server = server.clone();
        async move { server.run(changes).await }
    });
    // What is there at first has to be there before it is asked for.
    tokio::task::yield_now().await;
    (server, platform)
}

/// Collects a scenario from beginning to end.
pub fn collect(
    world: &World,
    scenario: Scenario,
    server: podledger_simulator::Settings,
    settings: Settings,
) -> ApiServer {
    in_simulated_time(async {
        let (server, platform) = serve(server, scenario).await;
        let running = begin(collection(world, &server, settings));
        platform.await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.stop().await;
        server
    })
}

/// Imports what a watch of the scenario would have recorded.
pub fn import(world: &World, scenario: Scenario) {
    let out = world.folder.path().join("recorded");
    std::fs::create_dir(&out).unwrap();
    podledger_simulator::record(scenario, &out, |_| {}).unwrap();
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: jiff::civil::date(2026, 11, 16),
    };
    let (_, contents) = recording::import(&world.lake(), &out, &options).unwrap();
    assert_eq!(contents.rejected, Vec::<String>::new());
}
