//! What Robusta's KRR would advise with its strategy `simple`.
//!
//! Source: github.com/robusta-dev/krr, `robusta_krr/strategies/simple.py` (`SimpleStrategySettings`, `calculate_memory_proposal`,
//! `calculate_cpu_proposal`) and `robusta_krr/core/runner.py` (`_round_value`): the highest of the pods' 95th percentiles of CPU; the largest
//! memory and 15%; nothing below 100 points of 75 s in 14 days; rounded up to whole millicores and mebibytes, at least 10m and
//! 100Mi. What it asks for in memory is the limit too.
//!
//! It is given more than it would find: it groups by workload, and work of generated names has none. Here it gets the
//! template's attempts, and the true peak of each, however short it was; points are those that 75 s apart fall into the time that was measured.

use super::history::{History, Observation};
use super::{Decision, MIB, Withheld};

const HISTORY_MS: i64 = 14 * 86_400_000;
const POINT_MS: u64 = 75_000;
pub(super) const LEAST_POINTS: u64 = 100;
const LEAST_CPU_MILLICORES: u64 = 10;
const LEAST_MEMORY_BYTES: u64 = 100 * MIB;

/// What it decides of a history, at an instant, from so many points on.
pub(super) fn decide(history: &History, now_ms: i64, least_points: u64) -> Decision {
    let recent = || {
        history
            .observations
            .iter()
            .filter(|seen| seen.ended_ms > now_ms - HISTORY_MS)
    };
    let points = |is_known: fn(&Observation) -> bool| {
        let measured: u64 = recent()
            .filter(|seen| is_known(seen))
            .map(Observation::held_ms)
            .sum();
        measured / POINT_MS
    };
    let enough = |points: u64, found: Option<u64>| match found {
        None => Err(Withheld::Unmetered),
        Some(_) if points < least_points => Err(Withheld::TooFewPoints),
        Some(found) => Ok(found),
    };
    let peak = recent()
        .map(|seen| seen.memory_peak_bytes)
        .max()
        .filter(|peak| *peak > 0);
    let rate = recent().filter_map(Observation::cpu_p95_millicores).max();
    Decision {
        memory: enough(points(|seen| seen.memory_peak_bytes > 0), peak).map(|peak| with_buffer(peak, 150)),
        cpu: enough(points(|seen| seen.cpu_measured_ms > 0), rate).map(|rate| rate.max(LEAST_CPU_MILLICORES)),
        memory_seen_bytes: peak.unwrap_or(0),
        bound_ppm: None,
        is_calibrated: false,
    }
}

/// A peak and a buffer of so many thousandths, in whole mebibytes.
pub(super) fn with_buffer(peak: u64, buffer_permille: u64) -> u64 {
    let buffered = (u128::from(peak) * u128::from(1000 + buffer_permille)).div_ceil(1000);
    let bytes = u64::try_from(buffered.div_ceil(u128::from(MIB)) * u128::from(MIB)).unwrap_or(u64::MAX);
    bytes.max(LEAST_MEMORY_BYTES)
}
