//! A life of a collecting process: the tests' own binary, told what to do by a variable.
//!
//! The platform and its API server live in the same process, in simulated time, and what happens in them follows from the
//! seed alone: a new process goes through the platform's past unwatched, until some time after the last life's last commit,
//! and collects from there on.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use jiff::civil::date;
use podledger_collector::live::{Settings, cluster_of};
use podledger_simulator::{ApiServer, Change, Load};
use podledger_sql::crash;
use podledger_sql::intake::Intake;
use podledger_sql::lake::Lake;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::disks::{Trouble, on_small_disk};
use crate::live::platform::told_more;
use crate::live::{
    begin, begin_to_keep, client, collection_into, in_simulated_time, scenario, serve_changes, start,
};

/// Tells the tests' binary that it is such a process, and what it does.
const VARIABLE: &str = "PODLEDGER_TEST_LIFE";

/// What there is to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Platform {
    /// Teams with pipelines, of some hundred pods.
    Pipelines,
    /// Pods that replace each other: so many at any time, on so many nodes, with so many changes a second.
    Load {
        pods: u64,
        nodes: u64,
        changes_per_second: u64,
    },
}

/// What a process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Life {
    /// Where its intake and its lake are.
    pub folder: PathBuf,
    pub platform: Platform,
    pub seed: u64,
    /// How long the platform goes on.
    pub minutes: u64,
    /// How long nobody collects after the last commit of the life before.
    pub down_seconds: u64,
    /// Where there was none, when it begins to collect.
    pub begins_after_minutes: u64,
    /// How much of the past the API server remembers.
    pub history_seconds: u64,
    pub seal_minutes: u64,
    /// Whether the day's segments are merged at the end.
    pub compacts: bool,
    /// What goes wrong with its disk. What fails then is tried again.
    pub trouble: Option<Trouble>,
}

/// How a life ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

impl Life {
    /// A platform of some hours, all of which the API server remembers.
    pub fn new(folder: &Path, seed: u64) -> Self {
        Self {
            folder: folder.to_path_buf(),
            platform: Platform::Pipelines,
            seed,
            minutes: 8 * 60,
            down_seconds: 45,
            begins_after_minutes: 0,
            history_seconds: 9 * 3600,
            seal_minutes: 60,
            compacts: true,
            trouble: None,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "crashes::life::a_process_of_other_tests",
                "--exact",
                "--nocapture",
            ])
            .env(VARIABLE, serde_json::to_string(self).unwrap())
            .env_remove(crash::VARIABLE);
        command
    }

    /// Lives to the end, or to a point at which it is to be ended.
    pub fn run(&self, crash_at: Option<&str>) -> Ended {
        let mut command = self.command();
        if let Some(point) = crash_at {
            command.env(crash::VARIABLE, point);
        }
        ended(command)
    }

    /// Runs a shell's commands with the folder on a disk of its own, of so many MiB: `"$0" "$@"` is the life.
    pub fn run_on_small_disk(&self, mebibytes: u32, then: &str) -> Ended {
        let mut command = self.command();
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let variable = serde_json::to_string(self).unwrap();
        command = on_small_disk(&self.folder, mebibytes, then);
        command
            .arg(program)
            .args(arguments)
            .env(VARIABLE, variable)
            .env_remove(crash::VARIABLE);
        ended(command)
    }

    /// Lives until it has told so many times how far it has come, and is then killed, wherever it is.
    pub fn kill_after(&self, tellings: usize) -> ExitStatus {
        let mut child = self.command().stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .map_while(Result::ok)
            .filter(|line| line.starts_with("came to"));
        let _ = told.take(tellings).count();
        let _ = child.kill();
        child.wait().unwrap()
    }

    fn changes(&self) -> Box<dyn Iterator<Item = Change> + Send> {
        match self.platform {
            Platform::Pipelines => Box::new(told_more(scenario(self.seed, 1, 8, false))),
            Platform::Load {
                pods,
                nodes,
                changes_per_second,
            } => {
                let load = Load {
                    start_ms: start().as_millisecond(),
                    pods,
                    nodes,
                    changes_per_second,
                };
                Box::new(load.changes())
            }
        }
    }

    fn live(&self) {
        let intake = self.folder.join("intake.duckdb");
        in_simulated_time(async {
            let settings = podledger_simulator::Settings {
                history: Duration::from_secs(self.history_seconds),
                ..podledger_simulator::Settings::new(start())
            };
            let begun = Instant::now();
            let (server, platform) = serve_changes(settings, self.changes()).await;
            let store = Intake::open(&intake, start()).unwrap();
            let cluster = cluster_of(&client(&server, None), "test").await.unwrap();
            let told = store.of(&cluster).unwrap().positions().unwrap();
            if let Some(through) = told.iter().map(|position| position.through).max() {
                let passed = Duration::try_from(through.duration_since(start())).unwrap();
                sleep_until(begun + passed + Duration::from_secs(self.down_seconds)).await;
            } else {
                sleep_until(begun + Duration::from_secs(60 * self.begins_after_minutes)).await;
            }
            let settings = Settings {
                watch_timeout: Duration::from_secs(3600),
                commit_every: Duration::from_secs(300),
                seal_every: Duration::from_secs(60 * self.seal_minutes),
                ..Settings::default()
            };
            let collection = collection_into(&self.folder, &server, store, settings);
            let progress = tokio::spawn(tell_progress(server));
            let running = if let Some(trouble) = self.trouble.clone() {
                tokio::spawn(trouble.strike(self.folder.clone(), begun));
                begin_to_keep(collection)
            } else {
                begin(collection)
            };
            sleep_until(begun + Duration::from_secs(60 * self.minutes)).await;
            running.stop().await;
            progress.abort();
            platform.abort();
        });
        if self.compacts {
            let lake = Lake::open(&self.folder.join("lake")).unwrap();
            lake.compact(date(2026, 11, 3)).unwrap();
        }
    }
}

async fn tell_progress(server: ApiServer) {
    loop {
        println!("came to {}", server.now());
        sleep(Duration::from_secs(300)).await;
    }
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Ended {
        status: output.status,
        said: String::from_utf8_lossy(&said).into_owned(),
    }
}

/// What [`Life`] starts; run with the other tests it has nothing to do.
#[test]
fn a_process_of_other_tests() {
    if let Ok(life) = std::env::var(VARIABLE) {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .with_writer(std::io::stderr)
            .init();
        serde_json::from_str::<Life>(&life).unwrap().live();
    }
}
