//! What happens: runs start when they are due, pods wait for room, machines come and go.

mod machines;
mod pods;
mod runs;
mod settle;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use serde::Serialize;
use serde_json::Value;

use crate::draw::Draw;
use crate::objects;
use crate::truth::{self, Hold, Machine, PodTruth, Truth};
use crate::workload::{Job, Pipeline, System, TASK_MS, pipelines};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

/// Pools, by number.
pub(crate) const SERVICES: i64 = 0;
pub(crate) const SPOT: i64 = 1;
pub(crate) const LARGE: i64 = 2;
pub(crate) const GPU: i64 = 3;

/// What is simulated. Everything follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    pub seed: u64,
    /// First instant, in milliseconds since 1970; a whole hour.
    pub start_ms: i64,
    pub days: u32,
    pub teams: usize,
    pub pipelines: usize,
    /// Whether clocks differ, times are cut off, reports are late or missing, and labels change: as in real clusters. Without
    /// it everything happens in whole seconds and is told as it was.
    pub has_noise: bool,
}

/// What a watch shows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
}

/// An object as Kubernetes would show it.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Object {
    Pod(Box<Pod>),
    Node(Box<Node>),
    Namespace(Box<Namespace>),
    /// A kind of its own, or of which only metadata and status count.
    Other(Box<Value>),
}

/// A change, and when a watcher learned of it.
#[derive(Debug, Clone)]
pub struct Change {
    pub at_ms: i64,
    pub kind: ChangeKind,
    pub object: Object,
}

/// A kind of machines.
#[derive(Debug)]
pub(crate) struct Pool {
    pub name: &'static str,
    pub instance_type: &'static str,
    pub capacity_type: &'static str,
    pub capacity: [i64; 3],
    pub reserved: [i64; 3],
    pub hourly_nano: i64,
    /// Whether machines are ordered one by one, by claims, as Karpenter does; else a group of them grows.
    pub has_claims: bool,
    /// Machines that are always there.
    pub least: usize,
    pub boot_ms: i64,
    /// How long a machine may be empty.
    pub idle_ms: i64,
    /// How many of a thousand machines are taken away while they work.
    pub interrupted_permille: i64,
}

/// The price of a machine's hour from an instant on.
pub(crate) struct Price {
    pub provider: &'static str,
    pub region: &'static str,
    pub instance_type: &'static str,
    pub capacity_type: &'static str,
    pub since_ms: i64,
    pub nano: i64,
}

const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;

pub(crate) const POOLS: [Pool; 4] = [
    Pool {
        name: "services",
        instance_type: "m5.xlarge",
        capacity_type: "on-demand",
        capacity: [4000, 16 * GIB, 0],
        reserved: [80, GIB, 0],
        hourly_nano: 192_000_000,
        has_claims: false,
        least: 2,
        boot_ms: 0,
        idle_ms: 10 * MINUTE,
        interrupted_permille: 0,
    },
    Pool {
        name: "batch-spot",
        instance_type: "m5.2xlarge",
        capacity_type: "spot",
        capacity: [8000, 32 * GIB, 0],
        reserved: [90, 1_536 * MIB, 0],
        hourly_nano: 153_700_000,
        has_claims: true,
        least: 0,
        boot_ms: 47 * SECOND,
        idle_ms: 30 * SECOND,
        interrupted_permille: 60,
    },
    Pool {
        name: "batch-large",
        instance_type: "r5.4xlarge",
        capacity_type: "on-demand",
        capacity: [16_000, 128 * GIB, 0],
        reserved: [110, 2 * GIB, 0],
        hourly_nano: 1_008_000_000,
        has_claims: false,
        least: 0,
        boot_ms: 0,
        idle_ms: 10 * MINUTE,
        interrupted_permille: 0,
    },
    Pool {
        name: "gpu",
        instance_type: "g4dn.2xlarge",
        capacity_type: "on-demand",
        capacity: [8000, 32 * GIB, 1000],
        reserved: [90, 1_536 * MIB, 0],
        hourly_nano: 752_000_000,
        has_claims: true,
        least: 0,
        boot_ms: 95 * SECOND,
        idle_ms: 5 * MINUTE,
        interrupted_permille: 0,
    },
];

/// From the middle of the scenario on, spot machines cost so much.
const LATER_SPOT_NANO: i64 = 171_300_001;

/// How long after its containers finished a pod's last status is written, without noise.
const STATUS_LAG: i64 = 2 * SECOND;

/// How many of a thousand pods cannot have their image at first.
const IMAGE_MISSING_PERMILLE: i64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    StartRun(usize),
    StartTry(usize),
    StartService(usize),
    StartExecutors(usize),
    Schedule(usize),
    Registered(usize),
    ImageMissing(usize),
    Running(usize),
    Patched(usize),
    Finished(usize),
    Released(usize),
    Deleted(usize),
    IdleCheck(usize, i64),
    Interrupted(usize),
}

/// A machine that lives.
pub(crate) struct Server {
    pub pool: usize,
    pub node: String,
    pub provider_id: String,
    pub uid: String,
    pub boot_id: String,
    /// How far the kubelet's clock is ahead.
    pub skew_ms: i64,
    pub claim_uid: String,
    pub launched_ms: i64,
    pub registered_ms: Option<i64>,
    pub is_gone: bool,
    free: [i64; 3],
    workloads: usize,
    idle_since_ms: i64,
    holds: Vec<Hold>,
    /// Pods of its own: those of DaemonSets.
    daemons: Vec<usize>,
    on_it: Vec<usize>,
}

/// What a run is.
pub(crate) struct Run {
    pub pipeline: usize,
    pub id: String,
    pub uid: String,
    pub started_ms: i64,
    job: usize,
    attempt: u32,
    left: usize,
    failed: bool,
    /// Executors of the last try that had some.
    executors: Vec<usize>,
}

/// What part a pod has in its try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Main,
    SparkDriver,
    SparkExecutor(i64),
    DaskScheduler,
    DaskWorker,
    Service,
    Daemon,
}

/// A pod that lives.
pub(crate) struct Instance {
    pub uid: String,
    pub name: String,
    pub namespace: String,
    pub role: Role,
    pub run: Option<usize>,
    pub owner: Option<(String, String, String)>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub container: &'static str,
    pub request: [i64; 3],
    pub created_ms: i64,
    pub bound_ms: Option<i64>,
    pub node: Option<String>,
    pub running_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    pub exit_code: i32,
    pub is_out_of_memory: bool,
    pub is_interrupted: bool,
    pub deletion_ms: Option<i64>,
    /// Why its container waits.
    pub waiting: Option<&'static str>,
    /// How far the clock of its kubelet is ahead.
    pub skew_ms: i64,
    /// Whether the kubelet reports no end of its container.
    pub is_end_missing: bool,
    /// Whether it is deleted by force, so that its last status is never seen.
    pub is_forced: bool,
    pool: usize,
    server: Option<usize>,
    hold: usize,
    length_ms: i64,
    is_released: bool,
    outcome: &'static str,
    system: System,
    names: [String; 4],
    executors: Vec<usize>,
}

impl Instance {
    /// A pod that waits, and that would run without end: what is the same of all pods at first.
    fn unbound(created_ms: i64) -> Self {
        Self {
            uid: String::new(),
            name: String::new(),
            namespace: String::new(),
            role: Role::Service,
            run: None,
            owner: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            container: "",
            request: [0; 3],
            created_ms,
            bound_ms: None,
            node: None,
            running_ms: None,
            finished_ms: None,
            exit_code: 0,
            is_out_of_memory: false,
            is_interrupted: false,
            deletion_ms: None,
            waiting: None,
            skew_ms: 0,
            is_end_missing: false,
            is_forced: false,
            pool: 0,
            server: None,
            hold: 0,
            length_ms: i64::MAX / 4,
            is_released: false,
            outcome: "running",
            system: System::Service,
            names: [const { String::new() }; 4],
            executors: Vec::new(),
        }
    }

    /// Whether its last status has been written.
    pub(crate) fn is_over(&self) -> bool {
        self.is_released && self.role != Role::Daemon
    }
}

/// The world, as it goes on. An iterator of the changes that a watcher would see, in order.
pub struct World {
    scenario: Scenario,
    end_ms: i64,
    draw: Draw,
    queue: BinaryHeap<Reverse<(i64, u64, Event)>>,
    number: u64,
    pipelines: Vec<Pipeline>,
    runs: Vec<Run>,
    pods: Vec<Option<Box<Instance>>>,
    servers: Vec<Server>,
    /// Pods that wait for room, by pool.
    waiting: Vec<VecDeque<usize>>,
    changes: VecDeque<Change>,
    truth: Truth,
    /// Executors of tries that were tried again: these tries had failed, whatever became of the executors.
    failed_executors: Vec<usize>,
    /// Place in `truth.pods` of each pod.
    told: BTreeMap<usize, usize>,
    is_over: bool,
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let mut draw = Draw::new(scenario.seed);
        let pipelines = pipelines(
            &mut draw,
            scenario.teams.max(1),
            scenario.pipelines,
            scenario.start_ms,
        );
        let end_ms = scenario.start_ms + i64::from(scenario.days.max(1)) * DAY;
        let mut world = Self {
            end_ms,
            draw,
            queue: BinaryHeap::new(),
            number: 0,
            pipelines,
            runs: Vec::new(),
            pods: Vec::new(),
            servers: Vec::new(),
            waiting: POOLS.iter().map(|_| VecDeque::new()).collect(),
            changes: VecDeque::new(),
            truth: Truth::default(),
            failed_executors: Vec::new(),
            told: BTreeMap::new(),
            is_over: false,
            scenario,
        };
        world.begin();
        world
    }

    /// What machines cost.
    pub(crate) fn prices(&self) -> Vec<Price> {
        let mut prices = Vec::new();
        for pool in &POOLS {
            for (since_ms, nano) in self.prices_of(pool) {
                prices.push(Price {
                    provider: "aws",
                    region: objects::REGION,
                    instance_type: pool.instance_type,
                    capacity_type: pool.capacity_type,
                    since_ms,
                    nano,
                });
            }
        }
        prices
    }

    fn prices_of(&self, pool: &Pool) -> Vec<(i64, i64)> {
        let mut prices = vec![(0, pool.hourly_nano)];
        if pool.capacity_type == "spot" {
            // In the middle of an hour.
            let middle = self.scenario.start_ms + (self.end_ms - self.scenario.start_ms) / 2;
            prices.push((middle - middle % DAY + 37 * MINUTE, LATER_SPOT_NANO));
        }
        prices
    }

    /// What it all came to, once there are no more changes.
    #[must_use]
    pub fn truth(self) -> Truth {
        self.truth
    }

    fn begin(&mut self) {
        let at = self.scenario.start_ms;
        self.change(at, ChangeKind::Added, objects::namespace("kube-system", None, at));
        for team in 0..self.scenario.teams.max(1) {
            self.change(
                at,
                ChangeKind::Added,
                objects::namespace(&namespace(team), Some(&team_name(team)), at),
            );
        }
        for (number, pool) in POOLS.iter().enumerate() {
            for _ in 0..pool.least {
                self.launch(number, at);
            }
        }
        for number in 0..self.pipelines.len() {
            let first = self.pipelines[number].first_ms;
            if self.pipelines[number].system == System::CronJob {
                let object = objects::cron_job(
                    &self.pipelines[number],
                    &namespace(self.pipelines[number].team),
                    at,
                );
                self.change(at, ChangeKind::Added, object);
            }
            self.push(first, Event::StartRun(number));
        }
        for team in 0..self.scenario.teams.clamp(1, 4) {
            self.push(at + 90 * SECOND, Event::StartService(team));
        }
    }

    fn change(&mut self, at_ms: i64, kind: ChangeKind, object: Object) {
        self.changes.push_back(Change { at_ms, kind, object });
    }

    /// Part of a second, where things do not happen in whole seconds.
    fn jitter(&mut self) -> i64 {
        if self.scenario.has_noise {
            self.draw.between(0, 999)
        } else {
            0
        }
    }

    fn status_lag(&mut self) -> i64 {
        if self.scenario.has_noise {
            self.draw.between(1_000, 15_000)
        } else {
            STATUS_LAG
        }
    }

    fn push(&mut self, at: i64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number, event)));
    }

    fn step(&mut self) {
        match self.queue.pop() {
            Some(Reverse((at, _, event))) if at < self.end_ms => self.happen(at, event),
            _ => self.finish(),
        }
    }

    fn happen(&mut self, at: i64, event: Event) {
        match event {
            Event::StartRun(pipeline) => self.start_run(pipeline, at),
            Event::StartTry(run) => self.start_try(run, at),
            Event::StartService(team) => self.start_service(team, at),
            Event::StartExecutors(driver) => self.start_executors(driver, at),
            Event::Schedule(pool) => self.schedule(pool, at),
            Event::Registered(server) => self.register(server, at),
            Event::ImageMissing(pod) => self.miss_image(pod, at),
            Event::Running(pod) => self.run_pod(pod, at),
            Event::Patched(pod) => self.patch(pod, at),
            Event::Finished(pod) => self.finish_pod(pod, at),
            Event::Released(pod) => self.release_pod(pod, at),
            Event::Deleted(pod) => self.delete_pod(pod, at),
            Event::IdleCheck(server, since) => {
                let known = &self.servers[server];
                if !known.is_gone && known.workloads == 0 && known.idle_since_ms == since {
                    self.remove(server, at);
                }
            }
            Event::Interrupted(server) => self.interrupt(server, at),
        }
    }
}

impl Iterator for World {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        while self.changes.is_empty() && !self.is_over {
            self.step();
        }
        self.changes.pop_front()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("World")
            .field("scenario", &self.scenario)
            .finish_non_exhaustive()
    }
}

/// What the DaemonSet's pod asks for.
pub(crate) const DAEMON: [i64; 3] = [100, 128 * MIB, 0];

fn namespace(team: usize) -> String {
    format!("data-{team}")
}

fn team_name(team: usize) -> String {
    format!("team-{team}")
}
