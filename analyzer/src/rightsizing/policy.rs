//! What we advise: the least that keeps the promises.

use super::history::{History, Observation, Observed, Template};
use super::margins::{self, Margins};
use super::{Decision, MIB, Withheld};

/// What is promised and what is asked of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// In how many of a million runs of a pipeline an attempt may be killed for its memory.
    pub run_risk_ppm: u64,
    /// Which of a million attempts may be.
    pub attempt_risk_ppm: u64,
    /// Below so many runs nothing is advised: a week of a daily run has each weekday once.
    pub least_runs: usize,
    /// Headroom over the most that was seen, whatever was promised, in thousandths: how far what was measured may be from what the kernel counts.
    /// Autopilot adds 10 to 15% (Rzadca et al., EuroSys 2020), KRR and VPA 15%.
    pub headroom_permille: u64,
    /// What a core-hour that was missing costs, in core-hours that were reserved.
    pub cpu_shortage_weight: u64,
    /// No container is advised less.
    pub least_memory_bytes: u64,
    pub least_cpu_millicores: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            run_risk_ppm: 10_000,
            attempt_risk_ppm: 1_000,
            least_runs: 7,
            headroom_permille: 150,
            cpu_shortage_weight: 20,
            least_memory_bytes: 32 * MIB,
            least_cpu_millicores: 10,
        }
    }
}

/// What of an image's name says that a JVM runs in it.
const JVM_IMAGES: &[&str] = &[
    "spark",
    "openjdk",
    "temurin",
    "corretto",
    "-jdk",
    "-jre",
    "/jdk",
    "/jre",
    "java",
    "kafka",
    "flink",
    "hadoop",
    "trino",
    "presto",
    "elasticsearch",
    "cassandra",
    "zookeeper",
    "scala",
    "keycloak",
    "graalvm",
];

/// Whether Spark made the container: its pods keep these names whatever started it, and the outermost system may be another.
pub(super) fn is_spark(template: &Template) -> bool {
    template.container.starts_with("spark-kubernetes-")
}

/// Whether a container's memory is a JVM's heap, as far as its system and image say.
fn is_jvm(history: &History) -> bool {
    let image = history.image.as_deref().unwrap_or("").to_lowercase();
    // A digest or a tag may spell anything.
    let image = image.split('@').next().unwrap_or("");
    let image = match image.rsplit_once(':') {
        // What has a slash after it is the port of a registry.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    is_spark(&history.template) || JVM_IMAGES.iter().any(|name| image.contains(name))
}

/// The least heap with which Spark starts: one and a half times what it keeps for itself (`UnifiedMemoryManager`:
/// `RESERVED_SYSTEM_MEMORY_BYTES` is 300 MiB).
pub(super) const LEAST_HEAP_BYTES: u64 = 450 * MIB;

/// Whether it is known of every measured attempt how much of its heap was used, and that this was not all; and none was killed, which says that
/// what it has beside its heap is too little.
fn is_heap_known(history: &History) -> bool {
    let image = history.newest_image();
    let mut measured = history
        .observations
        .iter()
        .filter(|seen| seen.memory_peak_bytes > 0 || seen.is_oom_killed);
    measured.all(|seen| {
        let is_killed = seen.is_oom_killed && seen.image == image;
        seen.beside_heap_bytes().is_some() && !seen.is_heap_full() && !is_killed
    })
}

/// So many times as often as chance allows has the most been exceeded lately, or more.
const RECORDS: usize = 5;

/// Whether runs need more and more: in the later half the most of all before was exceeded five times or more, which a sequence whose order means
/// nothing does in less than one of a thousand cases (such records are about Poisson with the mean ln 2: Rényi 1962), and by
/// more, all together, than the factor that would have been added.
fn is_growing(needs: &[u64], factor_ppm: u64) -> bool {
    let (early, late) = needs.split_at(needs.len() / 2);
    let Some(before) = early.iter().copied().max() else {
        return false;
    };
    let mut most = before;
    let mut records = 0;
    for need in late {
        if *need > most {
            most = *need;
            records += 1;
        }
    }
    records >= RECORDS && most > margins::times(before, factor_ppm)
}

/// What it decides of each history.
pub(super) fn decide(observed: &Observed, settings: &Settings) -> Vec<Decision> {
    let needs: Vec<Vec<u64>> = observed.histories.iter().map(History::run_needs_bytes).collect();
    let margins = Margins::of(&needs);
    let shares = margins::shares_ppm(observed, &needs, settings.least_runs);
    let histories = observed
        .histories
        .iter()
        .zip(needs.iter().zip(shares))
        .enumerate();
    histories
        .map(|(number, (history, (needs, share)))| {
            // Of a run that exceeds what is asked for one attempt does, so there may be as many such runs as the attempts of a run allow.
            let attempts = history.least_mean(settings.least_runs, |run| run.len() as u128);
            let attempts = u64::try_from(attempts).unwrap_or(1);
            let per_attempt = settings
                .attempt_risk_ppm
                .saturating_mul(attempts.max(1))
                .saturating_mul(margins::WHOLE_PPM);
            let part = settings.run_risk_ppm.saturating_mul(share).min(per_attempt);
            let whole = margins::WHOLE_PPM * margins::WHOLE_PPM;
            let factor = margins.factor(number, needs.len(), settings.least_runs, part, whole);
            Decision {
                memory: memory(history, needs, factor, settings),
                cpu: cpu(history, needs.len(), settings),
                memory_seen_bytes: needs.iter().copied().max().unwrap_or(0),
                bound_ppm: (!needs.is_empty()).then_some(factor.bound_ppm),
                is_calibrated: factor.is_calibrated,
            }
        })
        .collect()
}

fn memory(
    history: &History,
    needs: &[u64],
    factor: margins::Factor,
    settings: &Settings,
) -> Result<u64, Withheld> {
    let most = needs.iter().copied().max().ok_or(Withheld::Unmetered)?;
    if is_jvm(history) && !is_heap_known(history) {
        return Err(Withheld::HeapCensored);
    }
    if needs.len() < settings.least_runs {
        return Err(Withheld::TooFewRuns);
    }
    // A template's own runs say that the next one exceeds them all in 1 of n + 1 cases, whatever others do.
    let own_ppm =
        margins::WHOLE_PPM.div_ceil(u64::try_from(needs.len()).unwrap_or(u64::MAX).saturating_add(1));
    if factor.bound_ppm.min(own_ppm) > settings.run_risk_ppm {
        return Err(Withheld::UnknownTail);
    }
    if is_growing(needs, factor.factor_ppm) {
        return Err(Withheld::Growing);
    }
    let least = (u128::from(most) * u128::from(1000 + settings.headroom_permille)).div_ceil(1000);
    // A JVM keeps what it asks for beside its heap, and Spark starts none with less than its least heap.
    let beside_heap = history
        .observations
        .iter()
        .filter_map(Observation::beside_heap_bytes);
    let least_heap = beside_heap.max().map_or(0, |beside| beside + LEAST_HEAP_BYTES);
    let bytes = margins::times(most, factor.factor_ppm)
        .max(u64::try_from(least).unwrap_or(u64::MAX))
        .max(settings.least_memory_bytes)
        .max(least_heap);
    Ok(bytes.div_ceil(MIB).saturating_mul(MIB))
}

/// The rate that is exceeded for one part of time in `cpu_shortage_weight`: there another millicore costs as much as it saves (the newsvendor's
/// quantile, Arrow, Harris, Marschak 1951).
fn cpu(history: &History, runs: usize, settings: &Settings) -> Result<u64, Withheld> {
    let mut rates: Vec<(u64, u64)> = history
        .observations
        .iter()
        .flat_map(Observation::cpu_rates)
        .collect();
    if rates.is_empty() {
        return Err(Withheld::Unmetered);
    }
    if runs < settings.least_runs {
        return Err(Withheld::TooFewRuns);
    }
    rates.sort_unstable();
    let whole: u64 = rates.iter().map(|(_, ms)| ms).sum();
    let weight = settings.cpu_shortage_weight.max(1);
    let enough = u128::from(whole) * u128::from(weight - 1);
    let mut passed = 0;
    let mut rate = 0;
    for (millicores, ms) in rates {
        rate = millicores;
        passed += ms;
        if u128::from(passed) * u128::from(weight) >= enough {
            break;
        }
    }
    let millicores = rate.max(settings.least_cpu_millicores);
    // What was held back would have used more, nobody knows how much.
    let throttled = history
        .observations
        .iter()
        .filter(|seen| seen.is_throttled)
        .count();
    if throttled * 10 > history.observations.len() && millicores < history.current_cpu_millicores() {
        return Err(Withheld::Throttled);
    }
    Ok(millicores)
}
