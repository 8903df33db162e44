//! Advice made of earlier runs, judged on later ones.
//!
//! An attempt fails if it needed more memory than is asked for, which is taken as the limit too. It is then lost when it was about to end, and
//! run once more with what it had asked for at the time. Where nothing is advised, it ran as it ran.

use podledger_sql::units::{NanoUsd, prorate};
use serde::Serialize;

use super::history::{History, Observation, Observed};
use super::{Decision, MIB, Settings, Strategy, Withheld};

/// Nano-dollars of an hour of a core and of a GiB: 0.031611 and 0.004237 USD, as OpenCost's default prices say. Reference prices: with them
/// ledgers without a price are judged too, and one on another's ground.
const CORE_HOUR: i64 = 31_611_000;
const GIB_HOUR: i64 = 4_237_000;
const CORE_HOUR_MILLICORE_MS: i128 = 1000 * 3_600_000;
const GIB_HOUR_BYTE_MS: i128 = (1 << 30) * 3_600_000;

/// What millicore-milliseconds cost at reference prices.
#[must_use]
pub(super) fn processor_cost(millicore_ms: u128) -> NanoUsd {
    cost(millicore_ms, CORE_HOUR_MILLICORE_MS, CORE_HOUR)
}

/// What byte-milliseconds cost at reference prices.
#[must_use]
pub(super) fn memory_cost(byte_ms: u128) -> NanoUsd {
    cost(byte_ms, GIB_HOUR_BYTE_MS, GIB_HOUR)
}

fn cost(amount: u128, unit: i128, price: i64) -> NanoUsd {
    let amount = i128::try_from(amount).unwrap_or(i128::MAX);
    let whole = i64::try_from(amount / unit)
        .unwrap_or(i64::MAX)
        .saturating_mul(price);
    let rest = prorate(NanoUsd::from_nano(price), amount % unit, unit).map_or(0, NanoUsd::get);
    NanoUsd::from_nano(whole.saturating_add(rest))
}

/// What a failed attempt costs beside what it held: somebody is woken, or something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureCost {
    /// Of a job that nothing runs again.
    pub alone: NanoUsd,
    /// Of one that was seen to be tried again.
    pub retried: NanoUsd,
}

impl Default for FailureCost {
    fn default() -> Self {
        Self {
            alone: NanoUsd::from_nano(5_000_000_000),
            retried: NanoUsd::from_nano(1_000_000_000),
        }
    }
}

/// Where the past ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// At an instant: what had ended is known, what began later is judged.
    At(i64),
    /// After so many percent of each pipeline's runs.
    Runs(u8),
}

/// What a strategy's advice would have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub strategy: Strategy,
    /// Templates for which it advised memory, of those that were judged.
    pub templates_advised: u64,
    pub templates: u64,
    pub attempts: u64,
    pub runs: u64,
    /// Reserved memory, that of second tries too.
    pub requested_byte_ms: u128,
    /// What of it was not needed, and all that was lost.
    pub wasted_byte_ms: u128,
    pub requested_millicore_ms: u128,
    pub wasted_millicore_ms: u128,
    /// Processor time beyond what was asked for: had at others' mercy.
    pub short_millicore_ms: u128,
    pub failed_attempts: u64,
    pub failed_runs: u64,
    /// What second tries reserved, and the price of failures.
    pub retry_cost: NanoUsd,
    /// All that was reserved, at reference prices, and the price of failures.
    pub total_cost: NanoUsd,
}

impl Outcome {
    fn empty(strategy: Strategy) -> Self {
        Self {
            strategy,
            templates_advised: 0,
            templates: 0,
            attempts: 0,
            runs: 0,
            requested_byte_ms: 0,
            wasted_byte_ms: 0,
            requested_millicore_ms: 0,
            wasted_millicore_ms: 0,
            short_millicore_ms: 0,
            failed_attempts: 0,
            failed_runs: 0,
            retry_cost: NanoUsd::from_nano(0),
            total_cost: NanoUsd::from_nano(0),
        }
    }

    fn add(&mut self, other: &Self) {
        self.templates_advised += other.templates_advised;
        self.templates += other.templates;
        self.attempts += other.attempts;
        self.runs += other.runs;
        self.requested_byte_ms += other.requested_byte_ms;
        self.wasted_byte_ms += other.wasted_byte_ms;
        self.requested_millicore_ms += other.requested_millicore_ms;
        self.wasted_millicore_ms += other.wasted_millicore_ms;
        self.short_millicore_ms += other.short_millicore_ms;
        self.failed_attempts += other.failed_attempts;
        self.failed_runs += other.failed_runs;
        let sum = |a: NanoUsd, b: NanoUsd| NanoUsd::from_nano(a.get().saturating_add(b.get()));
        self.retry_cost = sum(self.retry_cost, other.retry_cost);
        self.total_cost = sum(self.total_cost, other.total_cost);
    }
}

/// One origin: what was learned before it, judged until the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Such as `25% of runs`.
    pub learned: String,
    /// In the order of [`Strategy::ALL`].
    pub outcomes: Vec<Outcome>,
}

/// A back-test with rolling origin: no attempt is judged twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backtest {
    pub windows: Vec<Window>,
    /// Sums over all windows.
    pub total: Vec<Outcome>,
}

/// What a strategy comes to with more or less headroom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FrontierPoint {
    pub strategy: Strategy,
    /// How much of its own headroom it is given, in thousandths.
    pub headroom_permille: u64,
    pub wasted_byte_ms: u128,
    pub failed_attempts: u64,
}

/// The part of its headroom that each point of a frontier has, in thousandths.
const HEADROOMS: [u64; 9] = [0, 100, 250, 500, 750, 1000, 1500, 2000, 4000];

/// What is known before a split, and what is judged after it until the next.
struct Origin {
    learned: String,
    past: Observed,
    future: Observed,
}

/// The origins of splits, of which those histories are judged for which `is_judged` says so; all are learned from.
fn origins(observed: &Observed, splits: &[Split], is_judged: impl Fn(&History) -> bool) -> Vec<Origin> {
    // The place of each run among those of its pipeline, in hundredths.
    let mut order: Vec<usize> = (0..observed.runs.len()).collect();
    order.sort_by_key(|number| {
        (
            observed.runs[*number].pipeline,
            observed.runs[*number].started_ms,
            *number,
        )
    });
    let mut place = vec![0_usize; observed.runs.len()];
    for of_pipeline in order.chunk_by(|a, b| observed.runs[*a].pipeline == observed.runs[*b].pipeline) {
        for (before, number) in of_pipeline.iter().enumerate() {
            place[*number] = before * 100 / of_pipeline.len();
        }
    }
    let place_of = |seen: &Observation| {
        usize::try_from(seen.run)
            .ok()
            .and_then(|run| place.get(run))
            .copied()
            .unwrap_or(0)
    };
    let is_past = |seen: &Observation, split: Split| match split {
        Split::At(instant) => seen.ended_ms <= instant,
        Split::Runs(percent) => place_of(seen) < usize::from(percent),
    };
    let is_future = |seen: &Observation, split: Split| match split {
        Split::At(instant) => seen.started_ms >= instant,
        Split::Runs(percent) => place_of(seen) >= usize::from(percent),
    };
    let made = splits.iter().enumerate().map(|(number, split)| {
        let next = splits.get(number + 1).copied();
        let mut future =
            observed.only(|seen| is_future(seen, *split) && next.is_none_or(|next| !is_future(seen, next)));
        for history in &mut future.histories {
            if !is_judged(history) {
                history.observations.clear();
            }
        }
        Origin {
            learned: match split {
                Split::At(instant) => jiff::Timestamp::from_millisecond(*instant)
                    .map_or_else(|_| instant.to_string(), |instant| format!("all before {instant}")),
                Split::Runs(percent) => format!("{percent}% of runs"),
            },
            past: observed.only(|seen| is_past(seen, *split)),
            future,
        }
    });
    made.collect()
}

/// Judges every strategy from each split until the next one; the last until the end. Only those histories are judged for which `is_judged` says so,
/// by what all tell.
#[must_use]
pub fn backtest(
    observed: &Observed,
    splits: &[Split],
    settings: &Settings,
    failure_cost: FailureCost,
    is_judged: impl Fn(&History) -> bool,
) -> Backtest {
    let mut total = Strategy::ALL.map(Outcome::empty);
    let mut windows = Vec::new();
    for origin in origins(observed, splits, is_judged) {
        let outcomes: Vec<Outcome> = Strategy::ALL
            .iter()
            .map(|strategy| {
                let decisions = strategy.decide(&origin.past, settings);
                judge(*strategy, &decisions, &origin.future, failure_cost)
            })
            .collect();
        for (sum, outcome) in total.iter_mut().zip(&outcomes) {
            sum.add(outcome);
        }
        windows.push(Window {
            learned: origin.learned,
            outcomes,
        });
    }
    Backtest {
        windows,
        total: total.to_vec(),
    }
}

/// What the strategies that advise come to over all windows, with none to four times their own headroom.
#[must_use]
pub fn frontier(
    observed: &Observed,
    splits: &[Split],
    settings: &Settings,
    is_judged: impl Fn(&History) -> bool,
) -> Vec<FrontierPoint> {
    let origins = origins(observed, splits, is_judged);
    let mut points = Vec::new();
    for strategy in Strategy::DRAWN {
        let decided: Vec<Vec<Decision>> = origins
            .iter()
            .map(|origin| strategy.decide(&origin.past, settings))
            .collect();
        for headroom_permille in HEADROOMS {
            let mut point = FrontierPoint {
                strategy,
                headroom_permille,
                wasted_byte_ms: 0,
                failed_attempts: 0,
            };
            for (origin, decisions) in origins.iter().zip(&decided) {
                let scaled: Vec<Decision> = decisions
                    .iter()
                    .map(|decision| Decision {
                        memory: decision.memory.map(|bytes| {
                            scaled(strategy, bytes, decision.memory_seen_bytes, headroom_permille)
                        }),
                        ..*decision
                    })
                    .collect();
                let outcome = judge(strategy, &scaled, &origin.future, FailureCost::default());
                point.wasted_byte_ms += outcome.wasted_byte_ms;
                point.failed_attempts += outcome.failed_attempts;
            }
            points.push(point);
        }
    }
    points
}

/// The points of peers that none of ours is at or below: at no more waste, each of ours has more failed attempts.
#[must_use]
pub fn undominated(points: &[FrontierPoint]) -> Vec<FrontierPoint> {
    let (ours, peers): (Vec<FrontierPoint>, Vec<FrontierPoint>) = points
        .iter()
        .copied()
        .partition(|point: &FrontierPoint| point.strategy == Strategy::Podledger);
    let is_dominated = |peer: &FrontierPoint| {
        ours.iter().any(|point| {
            point.wasted_byte_ms <= peer.wasted_byte_ms && point.failed_attempts <= peer.failed_attempts
        })
    };
    peers.into_iter().filter(|peer| !is_dominated(peer)).collect()
}

/// Bytes with a part of the headroom: over the most that was seen; of VPA, over its percentile, which is its target without 15%.
fn scaled(strategy: Strategy, bytes: u64, seen: u64, headroom_permille: u64) -> u64 {
    let base = match strategy {
        Strategy::Vpa => bytes * 100 / 115,
        _ => seen.min(bytes),
    };
    let least = match strategy {
        Strategy::Podledger => 32 * MIB,
        Strategy::Krr | Strategy::KrrOfAnyPoints => 100 * MIB,
        Strategy::Vpa => 250 * MIB,
        Strategy::Current => 0,
    };
    let headroom = u128::from(bytes - base) * u128::from(headroom_permille) / 1000;
    u64::try_from(u128::from(base) + headroom)
        .unwrap_or(u64::MAX)
        .max(least)
}

fn judge(
    strategy: Strategy,
    decisions: &[Decision],
    future: &Observed,
    failure_cost: FailureCost,
) -> Outcome {
    let mut sum = Outcome::empty(strategy);
    let mut failures = 0_i64;
    let mut retried = (0_u128, 0_u128);
    let mut runs = vec![(false, false); future.runs.len()];
    for (history, decision) in future.histories.iter().zip(decisions) {
        // The current request is that of each attempt.
        let advised = match strategy {
            Strategy::Current => (Err(Withheld::Unmetered), Err(Withheld::Unmetered)),
            _ => (decision.memory, decision.cpu),
        };
        let mut is_judged = false;
        for seen in &history.observations {
            // Of an attempt that was not measured nobody knows what it needed.
            let peak = seen.memory_measured_bytes();
            if peak == 0 && !seen.is_oom_killed {
                continue;
            }
            is_judged = true;
            let held = u128::from(seen.held_ms());
            let memory = advised.0.unwrap_or(seen.memory_request_bytes);
            let is_failed = match advised.0 {
                _ if seen.is_oom_killed => memory <= seen.memory_ceiling_bytes(),
                Ok(memory) => memory < peak,
                Err(_) => false,
            };
            let millicores = advised.1.unwrap_or(u64::from(seen.cpu_request_millicores));
            sum.attempts += 1;
            let requested = u128::from(memory) * held;
            let needed = u128::from(peak) * held;
            sum.requested_byte_ms += requested;
            let processor = u128::from(millicores) * held;
            let used = u128::from(seen.cpu_usage_millicore_ms);
            sum.requested_millicore_ms += processor;
            sum.short_millicore_ms +=
                used.saturating_sub(u128::from(millicores) * u128::from(seen.cpu_measured_ms));
            if is_failed {
                sum.failed_attempts += 1;
                let cost = if history.is_retried {
                    failure_cost.retried
                } else {
                    failure_cost.alone
                };
                failures = failures.saturating_add(cost.get());
                let again = u128::from(seen.memory_request_bytes) * held;
                let again_processor = u128::from(seen.cpu_request_millicores) * held;
                sum.requested_byte_ms += again;
                sum.requested_millicore_ms += again_processor;
                sum.wasted_byte_ms += requested + again.saturating_sub(needed);
                sum.wasted_millicore_ms += processor + again_processor.saturating_sub(used);
                retried.0 += again;
                retried.1 += again_processor;
            } else {
                sum.wasted_byte_ms += requested.saturating_sub(needed);
                sum.wasted_millicore_ms += processor.saturating_sub(used);
            }
            if let Some(run) = usize::try_from(seen.run).ok().and_then(|run| runs.get_mut(run)) {
                run.0 = true;
                run.1 |= is_failed;
            }
        }
        sum.templates += u64::from(is_judged);
        sum.templates_advised += u64::from(is_judged && advised.0.is_ok());
    }
    let count = |of: usize| u64::try_from(of).unwrap_or(u64::MAX);
    sum.runs = count(runs.iter().filter(|run| run.0).count());
    sum.failed_runs = count(runs.iter().filter(|run| run.1).count());
    let both = |memory: u128, processor: u128| {
        let costs = memory_cost(memory)
            .get()
            .saturating_add(processor_cost(processor).get());
        NanoUsd::from_nano(costs.saturating_add(failures))
    };
    sum.retry_cost = both(retried.0, retried.1);
    sum.total_cost = both(sum.requested_byte_ms, sum.requested_millicore_ms);
    sum
}
