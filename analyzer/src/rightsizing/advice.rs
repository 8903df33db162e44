//! What is shown of a decision: against what is asked for now, with its evidence and what speaks against it.

use std::collections::HashMap;

use podledger_sql::units::NanoUsd;
use serde::Serialize;

use super::backtest::{memory_cost, processor_cost};
use super::history::{History, Observation, Observed, Template};
use super::{Decision, MIB, Settings, Strategy, Withheld};

/// How far a request is from what is advised. The bounds are KRR's (`robusta_krr/core/models/severity.py`): 0.5, 0.25 and 0.1 cores; 500, 250
/// and 100 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Unknown,
    Good,
    Ok,
    Warning,
    Critical,
}

impl Severity {
    /// Of a gap in thousandths of the first bound's unit.
    const fn of(gap: u64, critical: u64, warning: u64, ok: u64) -> Self {
        if gap >= critical {
            Self::Critical
        } else if gap >= warning {
            Self::Warning
        } else if gap >= ok {
            Self::Ok
        } else {
            Self::Good
        }
    }

    /// Of a gap in millicores.
    #[must_use]
    pub const fn of_millicores(gap: u64) -> Self {
        Self::of(gap, 500, 250, 100)
    }

    /// Of a gap in bytes.
    #[must_use]
    pub const fn of_bytes(gap: u64) -> Self {
        Self::of(gap, 500 * MIB, 250 * MIB, 100 * MIB)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// How well the promise is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Nothing is promised: the strategy promises nothing, or memory is withheld.
    None,
    /// The evidence allows for a promise per template, not for the one that was asked for over the whole pipeline.
    Medium,
    /// The evidence allows for the promise that was asked for.
    High,
}

impl Confidence {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What may make advice wrong although the evidence is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Less than 31 days were seen: no end of a month may be among them.
    NoMonthSeen,
    /// Memory is what a tool told of itself (resident memory), not what the kernel charges the container.
    NotTheKernelsCount,
    /// An attempt was killed for its memory with the image that runs now.
    WasOomKilled,
    /// A quarter of its attempts or more was not measured.
    PartlyMeasured,
    /// It is a JVM: Spark looked at its heap now and then, and saw its garbage too.
    HeapIsSampled,
}

impl Risk {
    /// In a sentence's words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoMonthSeen => "no whole month was seen",
            Self::NotTheKernelsCount => "memory is what a tool told of itself, not what the kernel counts",
            Self::WasOomKilled => "was killed for its memory",
            Self::PartlyMeasured => "a quarter of its attempts or more was not measured",
            Self::HeapIsSampled => "its heap was looked at now and then, with garbage in it",
        }
    }
}

/// One amount: now, and as advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resource {
    pub current: u64,
    /// `None` where it is withheld.
    pub recommended: Option<u64>,
    pub withheld: Option<Withheld>,
    pub severity: Severity,
}

impl Resource {
    fn new(current: u64, decided: Result<u64, Withheld>, severity: fn(u64) -> Severity) -> Self {
        Self {
            current,
            recommended: decided.ok(),
            withheld: decided.err(),
            severity: decided.map_or(Severity::Unknown, |found| severity(found.abs_diff(current))),
        }
    }
}

/// A row of advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    #[serde(flatten)]
    pub template: Template,
    pub team: String,
    pub image: Option<String>,
    /// Who measured.
    pub source: Option<String>,
    pub strategy: Strategy,
    pub cpu_millicores: Resource,
    pub memory_bytes: Resource,
    /// The limit that the newest attempt ran under; `None` where it is not known.
    pub memory_limit_bytes: Option<u64>,
    /// The most that the heap of its JVM may take, where what is used of it is known: the rest of its request is beside it.
    pub heap_limit_bytes: Option<u64>,
    /// The most that an attempt needed.
    pub memory_seen_bytes: u64,
    /// In how many of a million runs the template is expected to need more memory, at most.
    pub bound_ppm: Option<u64>,
    pub confidence: Confidence,
    pub risks: Vec<Risk>,
    pub attempts: u64,
    pub attempts_measured: u64,
    pub runs: u64,
    pub oom_kills: u64,
    pub from_ms: i64,
    pub until_ms: i64,
    /// When the newest attempt that it rests on began.
    pub last_started_ms: i64,
    /// What asking for so much less would have been worth while it was seen, at reference prices: what was reserved, not what nodes
    /// would have been spared. Negative where more is advised.
    pub nominal_saving: NanoUsd,
}

/// Advice of a strategy on every history that has observations, by nominal saving, the largest first.
#[must_use]
pub fn recommendations(observed: &Observed, strategy: Strategy, settings: &Settings) -> Vec<Recommendation> {
    let decisions = strategy.decide(observed, settings);
    let mut rows: Vec<Recommendation> = observed
        .histories
        .iter()
        .zip(decisions)
        .filter(|(history, _)| !history.observations.is_empty())
        .map(|(history, decision)| recommendation(history, decision, strategy))
        .collect();
    rows.sort_by(|a, b| (b.nominal_saving.get(), &a.template).cmp(&(a.nominal_saving.get(), &b.template)));
    rows
}

/// What each row would have saved of the attempts that began from one instant until before another, at reference prices.
#[must_use]
pub fn nominal_savings(
    observed: &Observed,
    rows: &[Recommendation],
    from_ms: i64,
    until_ms: i64,
) -> Vec<NanoUsd> {
    let histories: HashMap<&Template, &History> = observed
        .histories
        .iter()
        .map(|history| (&history.template, history))
        .collect();
    rows.iter()
        .map(|row| {
            let seen: Vec<Observation> = histories
                .get(&row.template)
                .into_iter()
                .flat_map(|history| &history.observations)
                .filter(|seen| seen.started_ms >= from_ms && seen.started_ms < until_ms)
                .cloned()
                .collect();
            nominal_saving(
                &seen,
                row.cpu_millicores.recommended,
                row.memory_bytes.recommended,
            )
        })
        .collect()
}

const DAY_MS: i64 = 86_400_000;

fn recommendation(history: &History, decision: Decision, strategy: Strategy) -> Recommendation {
    let seen = &history.observations;
    let cpu = Resource::new(
        history.current_cpu_millicores(),
        decision.cpu,
        Severity::of_millicores,
    );
    let memory = Resource::new(
        history.current_memory_bytes(),
        decision.memory,
        Severity::of_bytes,
    );
    let mut runs: Vec<u32> = seen.iter().map(|seen| seen.run).collect();
    runs.sort_unstable();
    runs.dedup();
    let measured = seen.iter().filter(|seen| seen.memory_peak_bytes > 0).count();
    let kills = seen.iter().filter(|seen| seen.is_oom_killed).count();
    let from_ms = seen.iter().map(|seen| seen.started_ms).min().unwrap_or(0);
    let until_ms = seen.iter().map(|seen| seen.ended_ms).max().unwrap_or(0);
    let mut risks = Vec::new();
    if until_ms - from_ms < 31 * DAY_MS {
        risks.push(Risk::NoMonthSeen);
    }
    if matches!(history.source.as_deref(), Some("engine" | "declared")) {
        risks.push(Risk::NotTheKernelsCount);
    }
    let newest = history.newest_image();
    if seen.iter().any(|seen| seen.is_oom_killed && seen.image == newest) {
        risks.push(Risk::WasOomKilled);
    }
    if measured * 4 < seen.len() * 3 {
        risks.push(Risk::PartlyMeasured);
    }
    let heap_limit_bytes = history.current_heap_limit_bytes();
    if heap_limit_bytes.is_some() {
        risks.push(Risk::HeapIsSampled);
    }
    let confidence = match (decision.memory, decision.bound_ppm, decision.is_calibrated) {
        (Ok(_), Some(_), true) => Confidence::High,
        (Ok(_), Some(_), false) => Confidence::Medium,
        _ => Confidence::None,
    };
    Recommendation {
        template: history.template.clone(),
        team: history.team.clone(),
        image: history.image.clone(),
        source: history.source.clone(),
        strategy,
        cpu_millicores: cpu,
        memory_bytes: memory,
        memory_limit_bytes: history.current_memory_limit_bytes(),
        heap_limit_bytes,
        memory_seen_bytes: decision.memory_seen_bytes,
        bound_ppm: decision.bound_ppm,
        confidence,
        risks,
        attempts: count(seen.len()),
        attempts_measured: count(measured),
        runs: count(runs.len()),
        oom_kills: count(kills),
        from_ms,
        until_ms,
        last_started_ms: seen.iter().map(|seen| seen.started_ms).max().unwrap_or(0),
        nominal_saving: nominal_saving(seen, cpu.recommended, memory.recommended),
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// What was reserved less what would have been, at reference prices.
fn nominal_saving(seen: &[Observation], cpu: Option<u64>, memory: Option<u64>) -> NanoUsd {
    let mut processor = [0_u128; 2];
    let mut bytes = [0_u128; 2];
    for seen in seen {
        let held = u128::from(seen.held_ms());
        let millicores = u64::from(seen.cpu_request_millicores);
        processor[0] += u128::from(millicores) * held;
        processor[1] += u128::from(cpu.unwrap_or(millicores)) * held;
        bytes[0] += u128::from(seen.memory_request_bytes) * held;
        bytes[1] += u128::from(memory.unwrap_or(seen.memory_request_bytes)) * held;
    }
    let before = processor_cost(processor[0])
        .get()
        .saturating_add(memory_cost(bytes[0]).get());
    let after = processor_cost(processor[1])
        .get()
        .saturating_add(memory_cost(bytes[1]).get());
    NanoUsd::from_nano(before.saturating_sub(after))
}
