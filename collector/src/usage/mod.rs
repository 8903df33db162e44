//! How much of what was asked for was used: from samples to hours.
//!
//! ```text
//! kubelet: /stats/summary ────┐
//! kubelet: /metrics/resource ─┤
//! metrics.k8s.io ─────────────┴─> samples ──> fold ──> an hour of a container: integrals, peak, time at each rate
//! ```
//!
//! Architecture invariant: plain data with one owner; no client, no clock, no lock.

pub mod fold;
pub mod pod_metrics;
pub mod rates;
pub mod resource_metrics;
pub mod summary;

#[cfg(test)]
mod tests;

use crate::facts::{RateTime, UsageHour, Wide};
use crate::words::Word;
use fold::Hour;

/// An hour as the lake takes it.
#[must_use]
pub fn fact(cluster: &str, source: Word, hour: Hour) -> UsageHour {
    let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    // The middle of a bucket may lie a little above the largest rate that it holds.
    let most = hour.cpu_max_millicores.unwrap_or(i64::MAX);
    let quantile = |permille: u64| Some(whole(hour.rates.quantile(permille)?).min(most));
    UsageHour {
        cluster: cluster.to_owned(),
        cpu_p50_millicores: quantile(500),
        cpu_p95_millicores: quantile(950),
        cpu_max_millicores: hour.cpu_max_millicores,
        cpu_rates: hour
            .rates
            .times()
            .into_iter()
            .map(|(millicores, ms)| RateTime {
                millicores: whole(millicores).min(most),
                ms: whole(ms),
            })
            .collect(),
        pod_uid: hour.key.pod_uid,
        container_name: Some(hour.key.container_name),
        hour_start_at: hour.hour_start_at,
        source,
        measured_from_at: hour.measured_from_at,
        measured_to_at: hour.measured_to_at,
        cpu_usage_millicore_ms: hour.cpu_usage_millicore_ms,
        cpu_measured_ms: hour.cpu_measured_ms,
        memory_usage_byte_ms: Wide(hour.memory_usage_byte_ms),
        memory_measured_ms: hour.memory_measured_ms,
        memory_peak_bytes: hour.memory_peak_bytes,
        samples: hour.samples,
        samples_expected: hour.samples_expected,
        cpu_periods: None,
        cpu_throttled_periods: None,
        gpu_usage_milligpu_ms: None,
        gpu_measured_ms: None,
        gpu_memory_peak_bytes: None,
        heap_peak_bytes: None,
        heap_limit_bytes: None,
    }
}
