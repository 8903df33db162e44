//! Who runs what: teams, their pipelines, and the jobs in them.

use crate::draw::Draw;

/// What makes the pods of a pipeline, and so how they are labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    AirflowOperator,
    AirflowExecutor,
    Spark,
    SparkOperator,
    Argo,
    GitLab,
    CronJob,
    Dask,
    Nextflow,
    Service,
}

impl System {
    /// Whether pods tell which try of their job they are.
    pub(crate) fn numbers_tries(self) -> bool {
        matches!(
            self,
            Self::AirflowOperator | Self::AirflowExecutor | Self::SparkOperator | Self::Argo
        )
    }
}

/// Systems of pipelines, and how many of a hundred pipelines each has.
const SYSTEMS: &[(System, i64)] = &[
    (System::AirflowOperator, 22),
    (System::AirflowExecutor, 14),
    (System::Spark, 9),
    (System::SparkOperator, 5),
    (System::Argo, 14),
    (System::GitLab, 10),
    (System::CronJob, 12),
    (System::Dask, 6),
    (System::Nextflow, 8),
];

/// A unit of work of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub name: String,
    pub pool: usize,
    pub millicores: i64,
    pub mib: i64,
    pub gpus: i64,
    /// Pods of one try that run beside each other.
    pub pods: i64,
    /// How long its pods run, in percent of what is usual.
    pub length_percent: i64,
    /// How many of a thousand tries fail.
    pub failing_permille: i64,
    /// Of those, how many run out of memory.
    pub out_of_memory_permille: i64,
    pub retries: u32,
    /// How much of what they ask for its pods use, in percent. More of the CPU than that is possible.
    pub cpu_percent: i64,
    pub memory_percent: i64,
}

impl Job {
    /// Lets it ask for so many percent, and use what it used.
    pub(crate) fn resize(&mut self, percent: i64) {
        let percent = percent.max(1);
        self.millicores = self.millicores * percent / 100;
        self.mib = self.mib * percent / 100;
        self.cpu_percent = self.cpu_percent * 100 / percent;
        self.memory_percent = self.memory_percent * 100 / percent;
    }
}

/// A recurring definition.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub team: usize,
    pub system: System,
    pub name: String,
    pub every_ms: i64,
    pub first_ms: i64,
    pub jobs: Vec<Job>,
}

/// How long tasks run, in milliseconds: quantiles of `realtime` of 537,460 Nextflow tasks (Lehmann et al., CCGrid 2023: half below
/// 1.2 s, 5 % above 13 s, 0.1 % above 82 s), stretched at the upper end to the lifetimes of pods in Alibaba's openb trace (median
/// 655 s, 95 % below 4.7 h), since a platform has both kinds.
pub(crate) const TASK_MS: &[(i64, i64)] = &[
    (0, 1_000),
    (300, 2_000),
    (500, 8_000),
    (700, 60_000),
    (850, 240_000),
    (930, 655_000),
    (980, 2_303_000),
    (1000, 7_389_000),
];

/// What containers ask for, in millicores and MiB: quantiles in the manner of the same trace (2 to 6 cores and 8 to 36 GiB in the
/// middle), scaled to machines of 8 cores.
const MILLICORES: &[(i64, i64)] = &[
    (0, 100),
    (250, 250),
    (500, 1_000),
    (750, 2_000),
    (950, 4_000),
    (1000, 6_000),
];
const MIB: &[(i64, i64)] = &[
    (0, 128),
    (250, 512),
    (500, 2_048),
    (750, 6_144),
    (950, 12_288),
    (1000, 24_576),
];

/// Use of requests, in percent. The tasks of Lehmann et al. used 1,336 of the 3,152 core-hours that they asked for, and 3 % of the
/// memory at their peaks; theirs asked for memory by the size of the machine, so others are thought to use more of it.
const CPU_PERCENT: &[(i64, i64)] = &[(0, 2), (250, 18), (500, 40), (850, 85), (1000, 150)];
const MEMORY_PERCENT: &[(i64, i64)] = &[(0, 4), (250, 25), (500, 50), (850, 80), (1000, 97)];

pub(crate) fn pipelines(draw: &mut Draw, teams: usize, count: usize, start_ms: i64) -> Vec<Pipeline> {
    (0..count)
        .map(|number| {
            let mut pick = draw.between(1, SYSTEMS.iter().map(|(_, share)| share).sum());
            let system = SYSTEMS
                .iter()
                .find(|(_, share)| {
                    pick -= share;
                    pick <= 0
                })
                .map_or(System::AirflowOperator, |(system, _)| *system);
            let team = usize::try_from(draw.between(0, teams as i64 - 1)).unwrap_or(0);
            let every_ms = [900_000, 3_600_000, 3_600_000, 21_600_000, 86_400_000]
                [usize::try_from(draw.between(0, 4)).unwrap_or(0)];
            let jobs = match system {
                System::Spark | System::SparkOperator | System::CronJob | System::Dask => 1,
                System::Nextflow => draw.between(2, 5),
                _ => draw.between(1, 5),
            };
            let jobs = (0..jobs).map(|job| self::job(draw, system, job)).collect();
            Pipeline {
                team,
                system,
                name: pipeline_name(system, number),
                every_ms,
                // Whole seconds, as Kubernetes writes them.
                first_ms: start_ms + draw.between(0, every_ms / 1000 - 1) * 1000,
                jobs,
            }
        })
        .collect()
}

impl Pipeline {
    /// The jobs that start when all that ran beside `job` are done: one after the other, or, with `has_branches`, those between
    /// the first and the last at once, where each try of a job is one pod that says which try it is.
    pub(crate) fn jobs_after(&self, job: usize, has_branches: bool) -> Vec<usize> {
        let last = self.jobs.len() - 1;
        let can_branch = matches!(
            self.system,
            System::AirflowOperator | System::AirflowExecutor | System::Argo
        );
        match job {
            job if job == last => Vec::new(),
            0 if has_branches && can_branch && last > 1 => (1..last).collect(),
            _ if has_branches && can_branch => vec![last],
            job => vec![job + 1],
        }
    }
}

/// The pipeline that runs most often among those that run every hour at least, and whose runs mostly succeed and have names.
pub(crate) fn most_regular(pipelines: &[Pipeline]) -> Option<usize> {
    let succeeds = |job: &Job| job.failing_permille <= 20 && job.millicores < IMPOSSIBLE;
    let is_regular = |pipeline: &Pipeline| {
        pipeline.system != System::GitLab
            && pipeline.every_ms <= 3_600_000
            && pipeline.jobs.iter().all(succeeds)
    };
    pipelines
        .iter()
        .enumerate()
        .filter(|(_, pipeline)| is_regular(pipeline))
        .min_by_key(|(_, pipeline)| pipeline.every_ms)
        .map(|(number, _)| number)
}

/// The pipeline of the fewest jobs, and of those the most frequent, whose runs are each one pod after the other, mostly succeed, and
/// whose first job may ask for more: `can_grow`.
pub(crate) fn simplest(pipelines: &[Pipeline], can_grow: impl Fn(&Job) -> bool) -> Option<usize> {
    let succeeds = |job: &Job| job.failing_permille <= 20 && job.millicores < IMPOSSIBLE;
    let is_simple = |pipeline: &Pipeline| {
        matches!(
            pipeline.system,
            System::AirflowOperator | System::AirflowExecutor | System::Argo | System::CronJob
        ) && pipeline.every_ms <= 3_600_000
            && pipeline.jobs.iter().all(succeeds)
            && pipeline
                .jobs
                .first()
                .is_some_and(|job| job.gpus == 0 && can_grow(job))
    };
    pipelines
        .iter()
        .enumerate()
        .filter(|(_, pipeline)| is_simple(pipeline))
        .min_by_key(|(_, pipeline)| (pipeline.jobs.len(), pipeline.every_ms))
        .map(|(number, _)| number)
}

/// Some have names that are too long for a label.
fn pipeline_name(system: System, number: usize) -> String {
    let name = name_of(system);
    if number % 9 == 4 && matches!(system, System::AirflowOperator | System::AirflowExecutor) {
        return format!("{name}-of-customers-and-their-orders-by-region-and-by-day-of-the-week-{number}");
    }
    format!("{name}-{number}")
}

fn name_of(system: System) -> &'static str {
    match system {
        System::AirflowOperator | System::AirflowExecutor => "features",
        System::Spark | System::SparkOperator => "sessions",
        System::Argo => "train",
        System::GitLab => "warehouse",
        System::CronJob => "export",
        System::Dask => "explore",
        System::Nextflow => "genome",
        System::Service => "api",
    }
}

/// More millicores than any machine has.
const IMPOSSIBLE: i64 = 64_000;

fn job(draw: &mut Draw, system: System, number: i64) -> Job {
    let name = ["extract", "transform", "join", "train", "load"][usize::try_from(number).unwrap_or(0) % 5];
    let pool = usize::try_from(match draw.between(0, 9) {
        0..=5 => crate::world::SPOT,
        6..=8 => crate::world::LARGE,
        _ => crate::world::GPU,
    })
    .unwrap_or(0);
    // Now and then somebody asks for more than any machine has.
    let is_impossible = draw.flaw(8);
    // Some have too little memory, every time.
    let is_too_small = draw.flaw(12);
    Job {
        name: name.to_owned(),
        pool,
        millicores: if is_impossible {
            IMPOSSIBLE
        } else {
            draw.quantile(MILLICORES)
        },
        mib: draw.quantile(MIB),
        gpus: i64::from(pool == usize::try_from(crate::world::GPU).unwrap_or(0)),
        pods: match system {
            System::Spark | System::SparkOperator | System::Dask => draw.between(2, 6),
            System::Nextflow => draw.between(1, 12),
            _ => 1,
        },
        length_percent: draw.between(40, 250),
        failing_permille: if is_too_small {
            1000
        } else if draw.flaw(150) {
            draw.between(50, 300)
        } else {
            draw.between(0, 15)
        },
        out_of_memory_permille: if is_too_small { 1000 } else { draw.between(0, 1000) },
        cpu_percent: draw.quantile(CPU_PERCENT),
        memory_percent: draw.quantile(MEMORY_PERCENT),
        retries: u32::try_from(draw.between(0, 2)).unwrap_or(0),
    }
}
