//! What happens: runs start when they are due, pods wait for room, machines come and go.

mod flaws;
mod machines;
mod pods;
mod pools;
mod runs;
mod settle;
mod steady;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use k8s_openapi::api::core::v1::{Event as ClusterEvent, Namespace, Node, Pod};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pools::{DAEMON, GIB, LATER_SPOT_NANO, MIB, POOLS, Price, STATIC, room};

pub(crate) use pools::{GPU, LARGE, Pool, SERVICES, SPOT};

use crate::causes::{self, RunTruth, StepTruth};
use crate::draw::Draw;
use crate::notes;
use crate::objects;
use crate::truth::{self, Hold, Machine, MachineTruth, PodTruth, Sums, UsageHour, VolumeTruth};
use crate::workload::{Job, Pipeline, System, TASK_MS, pipelines};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

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
    /// Whether Events tell also that containers start, and of which kubelet they are. The world is the same with them.
    pub has_pod_events: bool,
    /// Whether work fails, images are missing, requests are impossible, pods run away, and machines and pods are taken away.
    pub has_flaws: bool,
    /// From when on the first job of one pipeline takes a quarter of an hour longer than before.
    pub slower_from_ms: Option<i64>,
    /// How much of what they would ask for jobs ask for, in percent. They use as much, and how long their pods take to start and to end follows
    /// from the seed and their run alone: of two worlds that differ in this, the same work is done. `None` leaves both to what happens before.
    pub request_percent: Option<i64>,
    /// From when on the first job of one pipeline, whose work is always the same, asks for twice as much as before.
    pub heavier_from_ms: Option<i64>,
    /// Whether the jobs between the first and the last of a pipeline run beside each other, where its system can do that.
    pub has_branches: bool,
}

/// What a watch shows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
    Event(Box<ClusterEvent>),
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

/// What a world tells as it goes on: what a watch shows, and the truth of what is over.
#[derive(Debug, Clone)]
pub enum Told {
    Change(Change),
    Usage(UsageHour),
    Pod(PodTruth),
    Machine(MachineTruth),
    Volume(VolumeTruth),
    Run(RunTruth),
}

/// How long after its containers finished a pod's last status is written, without noise.
const STATUS_LAG: i64 = 2 * SECOND;

/// How many of a thousand pods cannot have their image at first, and how many never can.
const IMAGE_MISSING_PERMILLE: i64 = 4;
const IMAGE_GONE_PERMILLE: i64 = 1;

/// How many of a thousand pods are in the way when their machine runs short of memory.
const EVICTED_PERMILLE: i64 = 4;

/// How many of a thousand times machines are consolidated where they could be.
const CONSOLIDATED_PERMILLE: i64 = 60;

/// How many of a thousand pods without a deadline never end.
const RUNAWAY_PERMILLE: i64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    StartRun(usize),
    StartTry(usize, usize),
    StartService(usize),
    StartExecutors(usize),
    Schedule(usize),
    Registered(usize),
    Unmirrored(usize),
    Mirrored(usize),
    ImageMissing(usize),
    GivenUp(usize),
    Restarted(usize),
    Evicted(usize),
    Consolidate(usize),
    RunDeleted(usize),
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
    /// Whether it is about to go, and takes no pods any more.
    pub is_cordoned: bool,
    free: [i64; 3],
    workloads: usize,
    idle_since_ms: i64,
    holds: Vec<Hold>,
    /// Pods of its own: those of DaemonSets.
    daemons: Vec<usize>,
    on_it: Vec<usize>,
}

/// What a run is.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub pipeline: usize,
    pub id: String,
    pub uid: String,
    pub started_ms: i64,
    /// The last try of each job that was started, or is about to be.
    tries: BTreeMap<usize, Try>,
    /// Jobs that run beside each other and are not done.
    open_jobs: usize,
    /// How many lengths were drawn for its pods.
    lengths: u64,
    failed: bool,
    /// Executors of the last try that had some.
    executors: Vec<usize>,
    /// Pods of all tries that were taken away: a later try tells that theirs had failed.
    doubtful: Vec<usize>,
    /// The volume that was made for it.
    pub volume: Option<Volume>,
    truth: RunTruth,
}

/// A try of a job.
#[derive(Debug, Clone, Default)]
struct Try {
    attempt: u32,
    /// Pods that are not over.
    left: usize,
    failed: bool,
    /// Pods that are, without executors.
    ended: Vec<usize>,
    /// Steps of the run whose end started it.
    after: Vec<usize>,
    /// Its own steps that ended last.
    last: Vec<usize>,
}

/// A volume that was made for a run.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub claim: String,
    pub claim_uid: String,
    pub uid: String,
    pub gib: i64,
    pub created_ms: i64,
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
    /// A member of a StatefulSet, whose name comes again.
    Member,
    Daemon,
    /// A static pod, that the kubelet mirrors in the API.
    Static,
}

impl Role {
    /// Whether it belongs to its machine and comes and goes with it.
    pub(crate) fn is_of_machine(self) -> bool {
        matches!(self, Self::Daemon | Self::Static)
    }

    /// Whether its containers are to run for ever.
    pub(crate) fn is_steady(self) -> bool {
        self.is_of_machine() || matches!(self, Self::Service | Self::Member)
    }
}

/// A pod that lives.
pub(crate) struct Instance {
    pub uid: String,
    pub name: String,
    pub namespace: String,
    pub role: Role,
    pub run: Option<usize>,
    /// Which job of its pipeline it works for.
    job: usize,
    pub owner: Option<(String, String, String)>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub container: &'static str,
    pub request: [i64; 3],
    pub created_ms: i64,
    /// When the scheduler first found no room for it.
    refused_ms: Option<i64>,
    pub bound_ms: Option<i64>,
    pub node: Option<String>,
    pub running_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    /// When its last status was written.
    pub released_ms: Option<i64>,
    pub exit_code: i32,
    pub is_out_of_memory: bool,
    /// Who took it away, in Kubernetes' words.
    pub disruption: Option<&'static str>,
    pub deletion_ms: Option<i64>,
    /// Why its container waits.
    pub waiting: Option<&'static str>,
    /// How far the clock of its kubelet is ahead.
    pub skew_ms: i64,
    /// Whether the kubelet reports no end of its container.
    pub is_end_missing: bool,
    /// Whether it is deleted by force, so that its last status is never seen.
    pub is_forced: bool,
    /// Name of the claim of a volume that it mounts.
    pub claim: Option<String>,
    /// The UID of that volume.
    pub volume: Option<String>,
    /// UID and creation of the object that mirrors a static pod.
    pub mirror: Option<(String, i64)>,
    /// What was made to go wrong with it.
    planted: Option<&'static str>,
    /// What it waited for before it was bound.
    waits: BTreeMap<&'static str, i64>,
    /// How much of its requested CPU and memory it uses, in percent.
    pub usage_percent: [i64; 2],
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
            job: 0,
            owner: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            container: "",
            request: [0; 3],
            created_ms,
            refused_ms: None,
            bound_ms: None,
            node: None,
            running_ms: None,
            finished_ms: None,
            released_ms: None,
            exit_code: 0,
            is_out_of_memory: false,
            disruption: None,
            deletion_ms: None,
            waiting: None,
            skew_ms: 0,
            is_end_missing: false,
            is_forced: false,
            claim: None,
            volume: None,
            mirror: None,
            planted: None,
            waits: BTreeMap::new(),
            usage_percent: [40, 55],
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
        self.is_released && !self.role.is_of_machine()
    }
}

/// The truth of a pod that is not whole yet.
#[derive(Debug)]
struct Open {
    truth: PodTruth,
    usage_percent: [i64; 2],
    /// Whether its object is gone.
    is_gone: bool,
    /// Whether its machine's cost is known, or it never had one.
    is_settled: bool,
    /// Whether a later try of its run may still tell of it.
    is_held: bool,
}

/// The world, as it goes on: an iterator of what it tells, changes in the order in which a watcher would see them. It keeps
/// what lives, and forgets what is over.
pub struct World {
    scenario: Scenario,
    end_ms: i64,
    draw: Draw,
    /// For what is told beside: it must not change what happens.
    aside: Draw,
    queue: BinaryHeap<Reverse<(i64, u64, Event)>>,
    number: u64,
    pipelines: Vec<Pipeline>,
    /// Runs that are not over, by number.
    runs: BTreeMap<usize, Run>,
    run_count: usize,
    pods: Vec<Option<Box<Instance>>>,
    servers: Vec<Server>,
    /// Machines that live, by pool, oldest first.
    live: Vec<Vec<usize>>,
    /// Pods that wait for room, by pool.
    waiting: Vec<VecDeque<usize>>,
    /// When the scheduler looks at a pool next, if it does.
    due_ms: Vec<Option<i64>>,
    told: VecDeque<Told>,
    /// Until when the watch is held up.
    stalled_ms: i64,
    last_ms: i64,
    /// Pods of tries that were tried again: these tries had failed, whatever became of the pods.
    retried: BTreeSet<usize>,
    /// How the drivers of executors ended, and why: drivers speak for them.
    drivers: BTreeMap<usize, (&'static str, Option<&'static str>)>,
    open: BTreeMap<usize, Open>,
    /// The pipeline of which a job becomes slower, or asks for more.
    changed: Option<usize>,
    sums: Sums,
    is_over: bool,
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let mut draw = Draw::with_flaws(scenario.seed, scenario.has_flaws);
        let mut pipelines = pipelines(
            &mut draw,
            scenario.teams.max(1),
            scenario.pipelines,
            scenario.start_ms,
        );
        if let Some(percent) = scenario.request_percent {
            for job in pipelines.iter_mut().flat_map(|pipeline| &mut pipeline.jobs) {
                job.resize(percent);
            }
        }
        let changed = match (scenario.slower_from_ms, scenario.heavier_from_ms) {
            (_, Some(_)) => crate::workload::simplest(&pipelines, |job| {
                let room = room(&POOLS[job.pool]);
                job.millicores * 2 <= room[0] && job.mib * MIB * 2 <= room[1]
            }),
            (Some(_), None) => crate::workload::most_regular(&pipelines),
            (None, None) => None,
        };
        let end_ms = scenario.start_ms + i64::from(scenario.days.max(1)) * DAY;
        let mut world = Self {
            end_ms,
            draw,
            aside: Draw::with_flaws(!scenario.seed, scenario.has_flaws),
            queue: BinaryHeap::new(),
            number: 0,
            pipelines,
            runs: BTreeMap::new(),
            run_count: 0,
            pods: Vec::new(),
            servers: Vec::new(),
            live: POOLS.iter().map(|_| Vec::new()).collect(),
            waiting: POOLS.iter().map(|_| VecDeque::new()).collect(),
            due_ms: POOLS.iter().map(|_| None).collect(),
            told: VecDeque::new(),
            stalled_ms: 0,
            last_ms: 0,
            retried: BTreeSet::new(),
            drivers: BTreeMap::new(),
            open: BTreeMap::new(),
            changed,
            sums: Sums::default(),
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

    /// What it all came to, once nothing more is told.
    #[must_use]
    pub fn sums(&self) -> &Sums {
        &self.sums
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
        for (pool, kind) in POOLS.iter().enumerate() {
            if kind.has_claims {
                self.push(at + 10 * MINUTE, Event::Consolidate(pool));
            }
        }
    }

    fn change(&mut self, at_ms: i64, kind: ChangeKind, object: Object) {
        // A watch that is held up shows later what happened meanwhile.
        if self.scenario.has_noise
            && at_ms > self.stalled_ms
            && self.draw.permille(1)
            && self.draw.permille(20)
        {
            self.stalled_ms = at_ms + self.draw.between(2, 25) * SECOND;
        }
        self.tell(at_ms, kind, object);
    }

    fn tell(&mut self, at_ms: i64, kind: ChangeKind, object: Object) {
        self.last_ms = self.last_ms.max(at_ms).max(self.stalled_ms.min(self.end_ms));
        let at_ms = self.last_ms;
        self.told.push_back(Told::Change(Change { at_ms, kind, object }));
    }

    /// What a controller writes about an object for people to read.
    fn note(&mut self, at: i64, note: &notes::Note<'_>) {
        let uid = self.draw.uid();
        self.change(at, ChangeKind::Added, notes::event(uid, note, at));
    }

    /// What is only told where Events of pods are wanted.
    fn note_aside(&mut self, at: i64, note: &notes::Note<'_>) {
        let uid = self.aside.uid();
        self.tell(at, ChangeKind::Added, notes::event(uid, note, at));
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
            Event::StartTry(run, job) => self.start_try(run, job, at),
            Event::StartService(team) => self.start_service(team, at),
            Event::StartExecutors(driver) => self.start_executors(driver, at),
            Event::Schedule(pool) => self.schedule(pool, at),
            Event::Registered(server) => self.register(server, at),
            Event::Unmirrored(pod) => self.unmirror(pod, at),
            Event::Mirrored(pod) => self.mirror_again(pod, at),
            Event::ImageMissing(pod) => self.miss_image(pod, at),
            Event::GivenUp(pod) => self.ask_to_delete(pod, at),
            Event::Restarted(pod) => self.restart(pod, at),
            Event::Evicted(pod) => self.evict_by_kubelet(pod, at),
            Event::Consolidate(pool) => self.consolidate(pool, at),
            Event::RunDeleted(run) => self.delete_run(run, at),
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
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        while self.told.is_empty() && !self.is_over {
            self.step();
        }
        self.told.pop_front()
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

fn namespace(team: usize) -> String {
    format!("data-{team}")
}

fn team_name(team: usize) -> String {
    format!("team-{team}")
}
