//! What happens: runs start when they are due, pods wait for room, machines come and go.

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

    // Runs and their tries.

    fn start_run(&mut self, number: usize, at: i64) {
        let pipeline = &self.pipelines[number];
        let (next, system) = (at + pipeline.every_ms, pipeline.system);
        let stamp = objects::stamp(at);
        let id = match system {
            System::AirflowOperator | System::AirflowExecutor => format!("manual__{stamp}"),
            System::Spark => format!("spark-{}", self.draw.uid().replace('-', "")),
            System::Argo => format!("{}-{}", pipeline.name, self.draw.suffix(5)),
            System::CronJob => format!("{}-{}", pipeline.name, at / MINUTE),
            System::Dask => format!("{}-{}", pipeline.name, self.draw.suffix(6)),
            System::Nextflow => format!("{}_{}", self.draw.suffix(7), self.draw.suffix(5)),
            System::GitLab | System::Service => String::new(),
        };
        let run = Run {
            pipeline: number,
            id,
            uid: self.draw.uid(),
            started_ms: at,
            job: 0,
            attempt: 0,
            left: 0,
            failed: false,
        };
        if let Some(object) = objects::run(
            &run,
            &self.pipelines[number],
            &namespace(self.pipelines[number].team),
            None,
            at,
        ) {
            self.change(at, ChangeKind::Added, object);
        }
        self.runs.push(run);
        let run = self.runs.len() - 1;
        self.push(next, Event::StartRun(number));
        let jitter = self.jitter();
        self.push(at + SECOND + jitter, Event::StartTry(run));
    }

    fn start_try(&mut self, run: usize, at: i64) {
        let pipeline = self.pipelines[self.runs[run].pipeline].clone();
        let job = pipeline.jobs[self.runs[run].job].clone();
        let roles: Vec<Role> = match pipeline.system {
            System::Spark => vec![Role::SparkDriver],
            System::Dask => std::iter::once(Role::DaskScheduler)
                .chain((1..job.pods).map(|_| Role::DaskWorker))
                .collect(),
            _ => (0..job.pods).map(|_| Role::Main).collect(),
        };
        self.runs[run].left = roles.len();
        self.runs[run].failed = false;
        // All pods of a Dask cluster live as long as it does.
        let length = self.length(&job);
        for role in roles {
            let length = if pipeline.system == System::Dask {
                length
            } else {
                self.length(&job)
            };
            self.create(run, &pipeline, &job, role, length, None, at);
        }
    }

    /// Whole seconds.
    fn length(&mut self, job: &Job) -> i64 {
        let length = self.draw.quantile(TASK_MS) * job.length_percent / 100;
        (length / SECOND).max(1) * SECOND + self.jitter()
    }

    #[expect(clippy::too_many_arguments, reason = "what a pod is made of")]
    fn create(
        &mut self,
        run: usize,
        pipeline: &Pipeline,
        job: &Job,
        role: Role,
        length_ms: i64,
        owner: Option<(String, String, String)>,
        at: i64,
    ) -> usize {
        let uid = self.draw.uid();
        let suffix = self.draw.suffix(5);
        let fails = self.draw.permille(job.failing_permille)
            && !matches!(
                role,
                Role::SparkExecutor(_) | Role::DaskScheduler | Role::DaskWorker
            );
        let is_out_of_memory = fails && self.draw.permille(job.out_of_memory_permille);
        let known = &self.runs[run];
        let identity = objects::identity(
            pipeline,
            job,
            known,
            role,
            known.attempt,
            &suffix,
            self.pods.len(),
        );
        let team = team_name(pipeline.team);
        let instance = Instance {
            uid,
            name: identity.pod_name,
            namespace: namespace(pipeline.team),
            role,
            run: Some(run),
            owner: owner.or(identity.owner),
            labels: identity.labels,
            annotations: identity.annotations,
            container: identity.container,
            request: [job.millicores, job.mib * MIB, job.gpus * 1000],
            created_ms: at,
            bound_ms: None,
            node: None,
            running_ms: None,
            finished_ms: None,
            exit_code: if is_out_of_memory { 137 } else { i32::from(fails) },
            is_out_of_memory,
            is_interrupted: false,
            deletion_ms: None,
            waiting: None,
            skew_ms: 0,
            is_end_missing: false,
            pool: job.pool,
            server: None,
            hold: 0,
            length_ms,
            is_released: false,
            outcome: "running",
            system: pipeline.system,
            names: [team, identity.pipeline, identity.run, identity.job],
            executors: Vec::new(),
        };
        self.add(instance, at)
    }

    fn add(&mut self, instance: Instance, at: i64) -> usize {
        let (pool, object) = (instance.pool, objects::pod(&instance));
        self.pods.push(Some(Box::new(instance)));
        let pod = self.pods.len() - 1;
        self.change(at, ChangeKind::Added, object);
        self.waiting[pool].push_back(pod);
        self.push(at + SECOND, Event::Schedule(pool));
        pod
    }

    fn start_service(&mut self, team: usize, at: i64) {
        let (uid, suffix) = (self.draw.uid(), self.draw.suffix(5));
        let replica_set = (
            "ReplicaSet".to_owned(),
            format!("api-{team}-7d9f8b6c5"),
            format!("replicaset-{team}"),
        );
        let name = format!("api-{team}");
        self.add(
            Instance {
                uid,
                name: format!("api-{team}-7d9f8b6c5-{suffix}"),
                namespace: namespace(team),
                role: Role::Service,
                run: None,
                owner: Some(replica_set),
                labels: BTreeMap::from([
                    ("app.kubernetes.io/name".to_owned(), name.clone()),
                    ("app.kubernetes.io/component".to_owned(), "server".to_owned()),
                ]),
                annotations: BTreeMap::new(),
                container: "server",
                request: [500, 768 * MIB, 0],
                created_ms: at,
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
                pool: usize::try_from(SERVICES).unwrap_or(0),
                server: None,
                hold: 0,
                length_ms: i64::MAX / 4,
                is_released: false,
                outcome: "running",
                system: System::Service,
                names: [
                    team_name(team),
                    name,
                    "unattributed".to_owned(),
                    "server".to_owned(),
                ],
                executors: Vec::new(),
            },
            at,
        );
    }

    // Pods and where they go.

    fn schedule(&mut self, pool: usize, at: i64) {
        let waiting: Vec<usize> = self.waiting[pool].drain(..).collect();
        for pod in waiting {
            let Some(instance) = &self.pods[pod] else { continue };
            if instance.deletion_ms.is_some() {
                continue;
            }
            let request = instance.request;
            let server = (0..self.servers.len()).rev().take(400).filter(|number| {
                let server = &self.servers[*number];
                server.pool == pool
                    && !server.is_gone
                    && server.registered_ms.is_some()
                    && (0..3).all(|resource| server.free[resource] >= request[resource])
            });
            match server.min() {
                Some(server) => self.bind(pod, server, at),
                None => self.waiting[pool].push_back(pod),
            }
        }
        // As many machines as those that wait would fill, beside those that boot already.
        let mut wanted = [0_i64; 3];
        for pod in &self.waiting[pool] {
            if let Some(instance) = &self.pods[*pod] {
                for (resource, wanted) in wanted.iter_mut().enumerate() {
                    *wanted += instance.request[resource];
                }
            }
        }
        let machine = &POOLS[pool];
        let needed = (0..3)
            .filter_map(|resource| {
                let room = machine.capacity[resource] - machine.reserved[resource] - DAEMON[resource];
                (room > 0).then(|| (wanted[resource] + room - 1) / room)
            })
            .max()
            .unwrap_or(0);
        let booting = self
            .servers
            .iter()
            .rev()
            .take(400)
            .filter(|server| server.pool == pool && !server.is_gone && server.registered_ms.is_none())
            .count();
        for _ in booting..usize::try_from(needed.min(20)).unwrap_or(0) {
            self.launch(pool, at);
        }
    }

    fn bind(&mut self, pod: usize, server: usize, at: i64) {
        let delay = self
            .draw
            .quantile(&[(0, 1), (500, 2), (900, 9), (990, 40), (1000, 90)])
            * SECOND
            + self.jitter();
        let image_missing = self
            .draw
            .permille(IMAGE_MISSING_PERMILLE)
            .then(|| self.draw.between(20, 600) * SECOND);
        let is_end_missing = self.scenario.has_noise && self.draw.permille(10);
        let patched =
            (self.scenario.has_noise && self.draw.permille(50)).then(|| self.draw.between(1, 60_000));
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        let machine = &mut self.servers[server];
        for resource in 0..3 {
            machine.free[resource] -= instance.request[resource];
        }
        let is_system = instance.role == Role::Daemon;
        if !is_system {
            machine.workloads += 1;
        }
        instance.bound_ms = Some(at);
        instance.node = Some(machine.node.clone());
        instance.server = Some(server);
        instance.skew_ms = machine.skew_ms;
        instance.is_end_missing = is_end_missing;
        instance.hold = machine.holds.len();
        machine.holds.push(Hold {
            pod,
            is_system,
            bound_ms: at,
            running_ms: i64::MAX,
            finished_ms: i64::MAX,
            released_ms: i64::MAX,
            stuck_ms: (0, 0),
            request: instance.request,
        });
        machine.on_it.push(pod);
        let object = objects::pod(instance);
        self.change(at, ChangeKind::Modified, object);
        let mut runs_at = at + delay;
        if let Some(missing) = image_missing.filter(|_| !is_system) {
            self.push(runs_at, Event::ImageMissing(pod));
            runs_at += missing;
        }
        self.push(runs_at, Event::Running(pod));
        if let Some(later) = patched {
            self.push(at + later, Event::Patched(pod));
        }
    }

    /// The registry does not have the image: the kubelet says so, and tries again.
    fn miss_image(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released || instance.deletion_ms.is_some() {
            return;
        }
        instance.waiting = Some("ImagePullBackOff");
        let (server, hold, object) = (instance.server, instance.hold, objects::pod(instance));
        if let Some(server) = server {
            self.servers[server].holds[hold].stuck_ms = (at, i64::MAX);
        }
        self.change(at, ChangeKind::Modified, object);
    }

    /// Somebody writes another label on a pod.
    fn patch(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released {
            return;
        }
        instance
            .labels
            .insert("example.com/reviewed".to_owned(), "yes".to_owned());
        let object = objects::pod(instance);
        self.change(at, ChangeKind::Modified, object);
    }

    /// What a pod was stuck on is over: it runs, or it goes.
    fn unstick(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        instance.waiting = None;
        let (server, hold) = (instance.server, instance.hold);
        if let Some(hold) = server.and_then(|server| self.servers[server].holds.get_mut(hold)) {
            hold.stuck_ms.1 = hold.stuck_ms.1.min(at);
        }
    }

    fn run_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released || instance.deletion_ms.is_some() {
            return;
        }
        self.unstick(pod, at);
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        instance.running_ms = Some(at);
        let (role, length, object) = (instance.role, instance.length_ms, objects::pod(instance));
        let (server, hold) = (instance.server, instance.hold);
        if let Some(server) = server {
            self.servers[server].holds[hold].running_ms = at;
        }
        self.change(at, ChangeKind::Modified, object);
        self.push(at.saturating_add(length), Event::Finished(pod));
        if role == Role::SparkDriver {
            self.push(at + 3 * SECOND, Event::StartExecutors(pod));
        }
    }

    fn start_executors(&mut self, driver: usize, at: i64) {
        let Some(instance) = self.pods[driver].as_deref() else {
            return;
        };
        let Some(run) = instance.run else { return };
        if instance.finished_ms.is_some() || instance.is_released {
            return;
        }
        let owner = ("Pod".to_owned(), instance.name.clone(), instance.uid.clone());
        let pipeline = self.pipelines[self.runs[run].pipeline].clone();
        let job = pipeline.jobs[self.runs[run].job].clone();
        let executors: Vec<usize> = (1..=job.pods)
            .map(|number| {
                self.create(
                    run,
                    &pipeline,
                    &job,
                    Role::SparkExecutor(number),
                    i64::MAX / 4,
                    Some(owner.clone()),
                    at,
                )
            })
            .collect();
        if let Some(instance) = self.pods[driver].as_deref_mut() {
            instance.executors = executors;
        }
    }

    fn finish_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released || instance.finished_ms.is_some() {
            return;
        }
        instance.finished_ms = Some(at);
        let (server, hold, executors) = (
            instance.server,
            instance.hold,
            std::mem::take(&mut instance.executors),
        );
        if let Some(server) = server {
            self.servers[server].holds[hold].finished_ms = at;
        }
        let lag = self.status_lag();
        self.push(at + lag, Event::Released(pod));
        for executor in executors {
            self.ask_to_delete(executor, at);
        }
    }

    /// A pod is deleted while it runs or waits: its container gets SIGTERM and goes.
    fn ask_to_delete(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released {
            return;
        }
        instance.deletion_ms = Some(at);
        instance.exit_code = 143;
        let (bound, object) = (instance.bound_ms, objects::pod(instance));
        self.change(at, ChangeKind::Modified, object);
        if bound.is_none() {
            self.push(at, Event::Deleted(pod));
            return;
        }
        self.push(at + SECOND, Event::Finished(pod));
    }

    fn release_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released {
            return;
        }
        instance.is_released = true;
        instance.outcome = match (instance.is_interrupted, instance.deletion_ms, instance.exit_code) {
            (true, _, _) => "lost",
            (_, Some(_), _) => "retired",
            (_, _, 0) => "succeeded",
            _ => "failed",
        };
        let object = objects::pod(instance);
        let (server, hold, request, role, pool) = (
            instance.server,
            instance.hold,
            instance.request,
            instance.role,
            instance.pool,
        );
        let (run, is_good, is_deleted) = (
            instance.run,
            instance.outcome == "succeeded",
            instance.deletion_ms.is_some(),
        );
        self.change(at, ChangeKind::Modified, object);
        if let Some(server) = server {
            let machine = &mut self.servers[server];
            machine.holds[hold].released_ms = at;
            machine.on_it.retain(|other| *other != pod);
            for (free, held) in machine.free.iter_mut().zip(request) {
                *free += held;
            }
            if role != Role::Daemon {
                machine.workloads -= 1;
                if machine.workloads == 0 {
                    self.empty(server, at);
                }
            }
        }
        self.unstick(pod, at);
        self.push(at, Event::Schedule(pool));
        // Some controllers clean up at once.
        let is_cleaned_up = self.scenario.has_noise && self.draw.permille(300);
        let stays = if is_deleted || is_cleaned_up {
            SECOND
        } else {
            5 * MINUTE
        };
        self.push(at + stays, Event::Deleted(pod));
        if let Some(run) = run
            && !matches!(role, Role::SparkExecutor(_))
        {
            self.try_advanced(run, is_good, at);
        }
    }

    fn delete_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref() else {
            return;
        };
        let object = objects::pod(instance);
        self.change(at, ChangeKind::Deleted, object);
        self.tell(pod);
        self.pods[pod] = None;
    }

    /// One pod of a try is over.
    fn try_advanced(&mut self, run: usize, is_good: bool, at: i64) {
        let known = &mut self.runs[run];
        known.left = known.left.saturating_sub(1);
        known.failed |= !is_good;
        if known.left > 0 {
            return;
        }
        let pipeline = &self.pipelines[known.pipeline];
        let job = &pipeline.jobs[known.job];
        let is_over = if known.failed && known.attempt < job.retries {
            known.attempt += 1;
            false
        } else if known.failed || known.job + 1 == pipeline.jobs.len() {
            true
        } else {
            known.job += 1;
            known.attempt = 0;
            false
        };
        if is_over {
            let succeeded = !known.failed;
            let number = known.pipeline;
            let space = namespace(self.pipelines[number].team);
            if let Some(object) = objects::run(
                &self.runs[run],
                &self.pipelines[number],
                &space,
                Some(succeeded),
                at,
            ) {
                self.change(at, ChangeKind::Modified, object);
            }
        } else {
            self.push(at + 5 * SECOND, Event::StartTry(run));
        }
    }

    // Machines.

    fn launch(&mut self, pool: usize, at: i64) {
        let number = self.servers.len();
        let kind = &POOLS[pool];
        let server = Server {
            pool,
            node: format!("{}-{number}", kind.name),
            provider_id: format!("aws:///{}a/i-{:017x}", objects::REGION, number + 1),
            uid: self.draw.uid(),
            boot_id: self.draw.uid(),
            skew_ms: if self.scenario.has_noise {
                self.draw.between(-2000, 2000)
            } else {
                0
            },
            claim_uid: self.draw.uid(),
            launched_ms: at + if kind.has_claims { 2 * SECOND } else { 0 },
            registered_ms: None,
            is_gone: false,
            free: [0; 3],
            workloads: 0,
            idle_since_ms: at,
            holds: Vec::new(),
            daemons: Vec::new(),
            on_it: Vec::new(),
        };
        let registers = server.launched_ms + kind.boot_ms;
        if kind.has_claims {
            let object = objects::node_claim(&server, kind, at);
            self.change(at, ChangeKind::Added, object);
        }
        self.servers.push(server);
        self.push(registers, Event::Registered(number));
    }

    fn register(&mut self, number: usize, at: i64) {
        let kind = &POOLS[self.servers[number].pool];
        self.servers[number].registered_ms = Some(at);
        for resource in 0..3 {
            self.servers[number].free[resource] = kind.capacity[resource] - kind.reserved[resource];
        }
        if kind.has_claims {
            let object = objects::node_claim(&self.servers[number], kind, at);
            self.change(at, ChangeKind::Modified, object);
        }
        let object = objects::node(&self.servers[number], kind, at);
        self.change(at, ChangeKind::Added, object);
        self.add_daemon(number, at);
        if self.draw.permille(kind.interrupted_permille) {
            let lives = self.draw.between(60, 5400) * SECOND;
            self.push(at + lives, Event::Interrupted(number));
        }
        self.empty(number, at);
        let pool = self.servers[number].pool;
        self.push(at, Event::Schedule(pool));
    }

    /// Every machine has a pod of a DaemonSet from its first moment to its last.
    fn add_daemon(&mut self, server: usize, at: i64) {
        let (uid, suffix) = (self.draw.uid(), self.draw.suffix(5));
        let daemon_set = (
            "DaemonSet".to_owned(),
            "log-shipper".to_owned(),
            "daemonset-log-shipper".to_owned(),
        );
        let instance = Instance {
            uid,
            name: format!("log-shipper-{suffix}"),
            namespace: "kube-system".to_owned(),
            role: Role::Daemon,
            run: None,
            owner: Some(daemon_set),
            labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "log-shipper".to_owned())]),
            annotations: BTreeMap::new(),
            container: "shipper",
            request: DAEMON,
            created_ms: at,
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
            pool: self.servers[server].pool,
            server: None,
            hold: 0,
            length_ms: i64::MAX / 4,
            is_released: false,
            outcome: "running",
            system: System::Service,
            names: [
                // Where nothing tells a team, it is the namespace.
                "kube-system".to_owned(),
                "log-shipper".to_owned(),
                "unattributed".to_owned(),
                "unattributed".to_owned(),
            ],
            executors: Vec::new(),
        };
        self.pods.push(Some(Box::new(instance)));
        let pod = self.pods.len() - 1;
        self.servers[server].daemons.push(pod);
        self.bind(pod, server, at);
    }

    /// A machine has nothing to do: it is looked at again when it may go.
    fn empty(&mut self, server: usize, at: i64) {
        let kind = &POOLS[self.servers[server].pool];
        self.servers[server].idle_since_ms = at;
        if server >= POOLS[0].least || self.servers[server].pool != 0 {
            self.push(at + kind.idle_ms, Event::IdleCheck(server, at));
        }
    }

    fn interrupt(&mut self, server: usize, at: i64) {
        if self.servers[server].is_gone {
            return;
        }
        for pod in self.servers[server].on_it.clone() {
            let Some(instance) = self.pods[pod].as_deref_mut() else {
                continue;
            };
            if instance.role == Role::Daemon || instance.is_released {
                continue;
            }
            instance.is_interrupted = true;
            instance.finished_ms = instance.finished_ms.or(instance.running_ms.map(|_| at));
            instance.exit_code = 137;
            let (hold, finished, executors) = (
                instance.hold,
                instance.finished_ms,
                std::mem::take(&mut instance.executors),
            );
            if let Some(finished) = finished {
                self.servers[server].holds[hold].finished_ms = finished;
            }
            self.release_pod(pod, at);
            for executor in executors {
                self.ask_to_delete(executor, at);
            }
        }
        self.remove(server, at);
    }

    fn remove(&mut self, number: usize, at: i64) {
        self.servers[number].is_gone = true;
        for pod in std::mem::take(&mut self.servers[number].daemons) {
            if let Some(instance) = self.pods[pod].as_deref_mut() {
                instance.is_released = true;
                instance.outcome = "unknown";
                let (hold, object) = (instance.hold, objects::pod(instance));
                self.servers[number].holds[hold].released_ms = at;
                self.change(at, ChangeKind::Deleted, object);
            }
        }
        let kind = &POOLS[self.servers[number].pool];
        let object = objects::node(&self.servers[number], kind, at);
        self.change(at, ChangeKind::Deleted, object);
        if kind.has_claims {
            let object = objects::node_claim(&self.servers[number], kind, at);
            self.change(at, ChangeKind::Deleted, object);
        }
        self.settle(number, at, true);
    }

    // The truth.

    /// Reckons what a machine cost.
    fn settle(&mut self, number: usize, end_ms: i64, is_ended: bool) {
        let server = &self.servers[number];
        let kind = &POOLS[server.pool];
        let mut holds = server.holds.clone();
        for hold in &mut holds {
            hold.released_ms = hold.released_ms.min(end_ms);
            // What never ran was starting all along.
            let has_run = hold.running_ms < hold.released_ms;
            hold.finished_ms = if has_run {
                hold.finished_ms.min(hold.released_ms)
            } else {
                hold.released_ms
            };
            hold.running_ms = hold.running_ms.min(hold.finished_ms);
        }
        let machine = Machine {
            node: server.node.clone(),
            launched_ms: server.launched_ms,
            registered_ms: server.registered_ms.unwrap_or(end_ms),
            end_ms,
            is_ended,
            capacity: kind.capacity,
            reserved: kind.reserved,
            prices: self.prices_of(kind),
        };
        let costs = truth::costs(&machine, &holds);
        self.truth.total += costs.total;
        let of_node = self.truth.nodes.entry(machine.node).or_default();
        for (category, cost) in costs.machine {
            *of_node.entry(category).or_default() += cost;
        }
        for hold in holds.iter().filter(|hold| hold.released_ms < end_ms || is_ended) {
            let told = self.tell(hold.pod);
            self.truth.pods[told].released_ms = Some(hold.released_ms);
        }
        for ((pod, stage), cost) in costs.pods {
            let told = self.tell(pod);
            let pod = &mut self.truth.pods[told];
            let category = match (pod.namespace.as_str(), stage.category(), pod.outcome) {
                ("kube-system", _, _) => "system",
                (_, Some(stage), _) => stage,
                (_, None, "failed") => "failed",
                (_, None, "lost") => "lost",
                _ => "unmetered",
            };
            *pod.costs.entry(category).or_default() += cost;
        }
        self.servers[number].holds.clear();
    }

    /// Notes what a pod was.
    fn tell(&mut self, pod: usize) -> usize {
        if let Some(told) = self.told.get(&pod) {
            return *told;
        }
        let instance = self.pods[pod].as_deref();
        self.truth.pods.push(instance.map_or_else(
            // Every pod is told once, and kept until then.
            || PodTruth::nobody(pod),
            |instance| {
                let [team, pipeline, run, job] = instance.names.clone();
                PodTruth {
                    uid: instance.uid.clone(),
                    namespace: instance.namespace.clone(),
                    team,
                    system: format!("{:?}", instance.system),
                    pipeline,
                    run,
                    job,
                    outcome: instance.outcome,
                    bound_ms: instance.bound_ms,
                    released_ms: None,
                    costs: BTreeMap::new(),
                }
            },
        ));
        self.told.insert(pod, self.truth.pods.len() - 1);
        self.truth.pods.len() - 1
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        for number in 0..self.servers.len() {
            // A machine that has not registered yet has no Node: nobody can know what it is.
            let is_seen = self.servers[number].registered_ms.is_some();
            if is_seen && !self.servers[number].is_gone {
                self.settle(number, self.end_ms, false);
            }
        }
        for pod in 0..self.pods.len() {
            if self.pods[pod].is_some() {
                self.tell(pod);
            }
        }
        let end = self.end_ms;
        self.change(end, ChangeKind::Bookmark, objects::bookmark());
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
