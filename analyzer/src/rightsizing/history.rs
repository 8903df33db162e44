//! What was seen of a template: one observation per attempt.

use serde::{Deserialize, Serialize};

use super::MIB;

/// How a container takes part in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    Container,
    Sidecar,
    Init,
}

impl ContainerKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Sidecar => "sidecar",
            Self::Init => "init",
        }
    }
}

/// What recurs under generated names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Template {
    pub cluster: String,
    pub system: Option<String>,
    pub namespace: Option<String>,
    pub pipeline: String,
    pub job: String,
    /// Name of the container; `(main)` where it is generated.
    pub container: String,
    pub kind: ContainerKind,
}

/// One execution of a pipeline; of what has no runs, one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Number of the pipeline.
    pub pipeline: u32,
    pub started_ms: i64,
}

/// One attempt of a container, or one day of a container that lives for longer. Zero amounts are unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Number of the run in [`Observed::runs`].
    pub run: u32,
    /// Number of the image; the same number is the same image.
    pub image: u32,
    pub started_ms: i64,
    pub ended_ms: i64,
    pub cpu_request_millicores: u32,
    /// For how long its processor time is known.
    pub cpu_measured_ms: u32,
    pub cpu_usage_millicore_ms: u64,
    /// Rates that were not exceeded for 50, 90, 95 and 100% of that time; `None` where only the sum is known.
    pub cpu_percentiles_millicores: Option<Box<[u32; 4]>>,
    pub memory_request_bytes: u64,
    /// What the kernel enforces; 0: the request stands for it.
    pub memory_limit_bytes: u64,
    pub memory_peak_bytes: u64,
    /// Of a JVM: the most of its heap that was used, garbage and all, and what it may grow to.
    pub heap_peak_bytes: u64,
    pub heap_limit_bytes: u64,
    pub is_oom_killed: bool,
    /// Whether its CPU limit held it back for more than a tenth of the periods in which it ran.
    pub is_throttled: bool,
}

impl Observation {
    /// For how long it held what it asked for.
    #[must_use]
    pub fn held_ms(&self) -> u64 {
        u64::try_from(self.ended_ms - self.started_ms).unwrap_or(0)
    }

    /// The limit that it ran under, as far as known.
    #[must_use]
    pub fn memory_ceiling_bytes(&self) -> u64 {
        if self.memory_limit_bytes > 0 {
            self.memory_limit_bytes
        } else {
            self.memory_request_bytes
        }
    }

    /// What it asked for beside its heap, in bytes; `None` where its heap is not known, or does not fit into what it asked for.
    #[must_use]
    pub fn beside_heap_bytes(&self) -> Option<u64> {
        if self.heap_peak_bytes == 0 || self.heap_limit_bytes == 0 {
            return None;
        }
        self.memory_ceiling_bytes().checked_sub(self.heap_limit_bytes)
    }

    /// Whether nine tenths of its heap or more were used at a time: garbage fills what there is, so what was needed is not known.
    #[must_use]
    pub fn is_heap_full(&self) -> bool {
        u128::from(self.heap_peak_bytes) * 10 >= u128::from(self.heap_limit_bytes) * 9
    }

    /// The most that it needed as far as it was measured, in bytes; 0 where it was not. Resident memory of a JVM is its heap, whatever it needs:
    /// where the used part of the heap is known, that counts, with all that was asked for beside it.
    #[must_use]
    pub fn memory_measured_bytes(&self) -> u64 {
        self.beside_heap_bytes()
            .map_or(self.memory_peak_bytes, |beside| self.heap_peak_bytes + beside)
    }

    /// Average millicores while they are known, rounded up.
    #[must_use]
    pub fn cpu_mean_millicores(&self) -> Option<u64> {
        (self.cpu_measured_ms > 0).then(|| {
            self.cpu_usage_millicore_ms
                .div_ceil(u64::from(self.cpu_measured_ms))
        })
    }

    /// The rate that was not exceeded for 95% of the time; the average where no more is known.
    #[must_use]
    pub fn cpu_p95_millicores(&self) -> Option<u64> {
        match &self.cpu_percentiles_millicores {
            Some(rates) => Some(u64::from(rates[2])),
            None => self.cpu_mean_millicores(),
        }
    }

    /// Rates, each with the milliseconds for which it held.
    pub fn cpu_rates(&self) -> impl Iterator<Item = (u64, u64)> {
        let measured = u64::from(self.cpu_measured_ms);
        let steps: [(u64, u64); 4] = match &self.cpu_percentiles_millicores {
            Some(rates) => {
                let shares = [50, 40, 5];
                let parts = shares.map(|share| measured * share / 100);
                let rest = measured - parts.iter().sum::<u64>();
                [
                    (u64::from(rates[0]), parts[0]),
                    (u64::from(rates[1]), parts[1]),
                    (u64::from(rates[2]), parts[2]),
                    (u64::from(rates[3]), rest),
                ]
            }
            None => [
                (self.cpu_mean_millicores().unwrap_or(0), measured),
                (0, 0),
                (0, 0),
                (0, 0),
            ],
        };
        steps.into_iter().filter(|(_, ms)| *ms > 0)
    }

    /// What the attempt is known to have needed, in bytes; 0 where nothing is known. One that was killed for its memory needed more
    /// than its limit: it counts with the limit and a fifth, or 100 MiB if that is more, as long as the image is the one
    /// that runs now.
    #[must_use]
    pub fn memory_need_bytes(&self, newest_image: u32) -> u64 {
        let killed = if self.is_oom_killed && self.image == newest_image {
            let ceiling = self.memory_ceiling_bytes();
            ceiling.saturating_add((ceiling / 5).max(100 * MIB))
        } else {
            0
        };
        self.memory_measured_bytes().max(killed)
    }
}

/// All that was seen of a template, in the order of its runs, and in a run by start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub template: Template,
    pub team: String,
    /// The image that ran last.
    pub image: Option<String>,
    /// Who measured, as far as anybody did: the last one.
    pub source: Option<String>,
    /// Containers of its pod, init containers apart: VPA divides its least pod among them.
    pub pod_containers: u32,
    /// Whether its job was tried again in a run: something does so by itself.
    pub is_retried: bool,
    pub observations: Vec<Observation>,
}

impl History {
    /// The observation that began last.
    fn newest(&self) -> Option<&Observation> {
        self.observations
            .iter()
            .max_by_key(|seen| (seen.started_ms, seen.run))
    }

    /// Number of the image that ran last.
    #[must_use]
    pub fn newest_image(&self) -> u32 {
        self.newest().map_or(0, |seen| seen.image)
    }

    /// What is asked for now, in bytes.
    #[must_use]
    pub fn current_memory_bytes(&self) -> u64 {
        self.newest().map_or(0, |seen| seen.memory_request_bytes)
    }

    /// The most that the heap of its JVM may take now, in bytes; `None` where that is not known.
    #[must_use]
    pub fn current_heap_limit_bytes(&self) -> Option<u64> {
        self.newest()
            .filter(|seen| seen.beside_heap_bytes().is_some())
            .map(|seen| seen.heap_limit_bytes)
    }

    /// The limit of now, in bytes; `None` where it is not known.
    #[must_use]
    pub fn current_memory_limit_bytes(&self) -> Option<u64> {
        self.newest()
            .map(|seen| seen.memory_limit_bytes)
            .filter(|limit| *limit > 0)
    }

    /// What is asked for now, in millicores.
    #[must_use]
    pub fn current_cpu_millicores(&self) -> u64 {
        self.newest()
            .map_or(0, |seen| u64::from(seen.cpu_request_millicores))
    }

    /// The most that an attempt needed, in bytes.
    #[must_use]
    pub fn memory_seen_bytes(&self) -> u64 {
        let image = self.newest_image();
        let needs = self.observations.iter().map(|seen| seen.memory_need_bytes(image));
        needs.max().unwrap_or(0)
    }

    /// The least mean, over its first `from` runs, those and the next, and so on, of what a run amounts to: a further run never raises it. With
    /// fewer runs, the mean of all.
    #[must_use]
    pub fn least_mean(&self, from: usize, amount: impl Fn(&[Observation]) -> u128) -> u128 {
        let mut sum = 0;
        let mut least = 0;
        for (before, run) in self.observations.chunk_by(|a, b| a.run == b.run).enumerate() {
            sum += amount(run);
            let mean = sum / (before as u128 + 1);
            least = if before < from { mean } else { mean.min(least) };
        }
        least
    }

    /// The most that each run needed, in bytes, in the order of runs; runs of which nothing is known are left out.
    #[must_use]
    pub fn run_needs_bytes(&self) -> Vec<u64> {
        let image = self.newest_image();
        let mut needs: Vec<(u32, u64)> = Vec::new();
        for seen in &self.observations {
            let need = seen.memory_need_bytes(image);
            match needs.last_mut() {
                Some((run, most)) if *run == seen.run => *most = (*most).max(need),
                _ => needs.push((seen.run, need)),
            }
        }
        needs
            .into_iter()
            .map(|(_, need)| need)
            .filter(|need| *need > 0)
            .collect()
    }
}

/// All histories, with the runs that their observations are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub runs: Vec<Run>,
    pub histories: Vec<History>,
}

impl Observed {
    /// When the last observation ended; 0 without any.
    #[must_use]
    pub fn until_ms(&self) -> i64 {
        let ends = self
            .histories
            .iter()
            .flat_map(|history| history.observations.iter().map(|seen| seen.ended_ms));
        ends.max().unwrap_or(0)
    }

    /// Number of the pipeline of a history; `None` of an empty one.
    #[must_use]
    pub fn pipeline(&self, history: &History) -> Option<u32> {
        let first = history.observations.first()?;
        self.runs
            .get(usize::try_from(first.run).ok()?)
            .map(|run| run.pipeline)
    }

    /// The observations for which `keep` says so, with all histories, some of them empty now.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Observation) -> bool) -> Self {
        let histories = self.histories.iter().map(|history| History {
            observations: history
                .observations
                .iter()
                .filter(|seen| keep(seen))
                .cloned()
                .collect(),
            ..history.clone()
        });
        Self {
            runs: self.runs.clone(),
            histories: histories.collect(),
        }
    }
}
